// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "node/dns_message.h"
#include "node/dns_server.h"

/*
 * The first byte says whether the rest came over UDP. Whatever it is, the answer repeats id and
 * question, keeps its limit, and is no query itself.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc;

        check(json_doc_parse(str_from(text), NULL, NULL, NULL, &doc) == 0);
        return doc;
}

static struct dns_names *make_names(void)
{
        _cleanup_doc_ struct json_doc *service =
                parse("{\"metadata\":{\"name\":\"box\",\"namespace\":\"n\"},\"spec\":{"
                      "\"clusterIP\":\"None\",\"selector\":{\"a\":\"1\"}}}");
        struct dns_names *names;

        check(dns_names_new(STR("cluster.local"), &names) == 0);
        check(dns_names_put_service(names, service) == 0);
        for (uint32_t i = 0; i < 100; i++) {
                char text[256];
                snprintf(text, sizeof(text),
                         "{\"metadata\":{\"name\":\"p\",\"uid\":\"p%u\",\"namespace\":\"n\","
                         "\"labels\":{"
                         "\"a\":\"1\"}},\"spec\":{\"hostname\":\"h\",\"subdomain\":\"box\"}}",
                         i);
                _cleanup_doc_ struct json_doc *pod = parse(text);
                check(dns_names_put_pod(names, pod, 0x0a580002 + i, true) == 0);
        }
        return names;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct dns_names *names;
        _cleanup_buffer_ struct buffer out = {};

        if (!names)
                names = make_names();
        if (size == 0)
                return 0;
        bool is_udp = data[0] & 1;
        struct str message = { (const char *)data + 1, size - 1 };
        int r = dns_respond(names, message, is_udp, &out);
        check(r == 0 || r == 1);
        if (r == 1) {
                check(out.length == 0);
                return 0;
        }
        check(out.length >= 12 && out.length <= (is_udp ? DNS_UDP_MAX : DNS_TCP_MAX));
        check(memcmp(out.data, message.data, 2) == 0 && (out.data[2] & 0x80));
        struct dns_query query, again;
        r = dns_query_read(message, &query);
        check(query.question.length == 0 ||
              memcmp(out.data + 12, query.question.data, query.question.length) == 0);
        check(dns_query_read(buffer_str(&out), &again) < 0);
        return 0;
}
