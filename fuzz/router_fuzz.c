// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>

#include "router/forward.h"
#include "router/options.h"
#include "router/target.h"

/*
 * The input as a file of --config: what is taken leaves options that are valid or refused with a
 * sentence. And as the fields of a request, one a line: what is taken names a sandbox.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_config(struct str text)
{
        struct router_options options;
        struct error error = {};

        router_options_init(&options);
        int r = router_options_take_yaml(&options, text, &error);
        check(r == 0 || (r < 0 && error.message[0] != '\0'));
        if (r == 0)
                r = router_options_check(&options, &error);
        check(r == 0 || error.message[0] != '\0');
        if (r == 0)
                check(options.retries >= 0 && options.max_body >= 0 &&
                      options.review_cache_size > 0 && options.cluster_domain[0] != '\0');
        router_options_deinit(&options);
}

static void check_request(struct str text)
{
        _cleanup_arena_ struct arena arena = {};
        struct trace_source traces = {};
        struct http_headers headers = {};
        struct router_target target;
        struct str line, name, value;
        struct trace trace;

        while (text.length > 0) {
                str_cut(text, '\n', &line, &text);
                if (str_cut(line, ':', &name, &value) && http_is_token(name) &&
                    http_is_field_value(value) &&
                    http_headers_add(&headers, &arena, name, str_trim(value)) < 0)
                        break;
        }
        if (!router_target_read(&headers, false, &target)) {
                check(router_is_dns_label(target.id) && router_is_dns_label(target.name_space));
                check(target.port > 0);
                check(target.pod_ip.length == 0 || !net_address_is_loopback(&target.pod_ip));
        }
        trace_begin(&headers, NULL, &traces, &trace);
        check(strlen(trace.text) == TRACEPARENT_SIZE - 1 && trace_context_exists(&trace.context));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct str text = { (const char *)data, size };

        check_config(text);
        check_request(text);
        return 0;
}
