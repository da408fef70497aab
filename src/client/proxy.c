// SPDX-License-Identifier: Apache-2.0
#include "client/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/encode.h"
#include "net/address.h"
#include "net/http.h"

/* ---- the address of a proxy ---- */

static int read_authorization(struct arena *arena, struct str pair, struct str *ret)
{
        _cleanup_buffer_ struct buffer text = {};
        struct str user, password, decoded[2];
        bool has_password = str_cut(pair, ':', &user, &password);
        int r = http_percent_decode(arena, user, false, &decoded[0]);

        if (r == 0)
                r = http_percent_decode(arena, has_password ? password : STR_EMPTY, false,
                                        &decoded[1]);
        if (r < 0)
                return r;
        struct str plain =
                arena_printf(arena, "%.*s:%.*s", STR_FORMAT(decoded[0]), STR_FORMAT(decoded[1]));
        if (!plain.data)
                return -ENOMEM;
        r = buffer_append_str(&text, STR("Basic "));
        if (r == 0)
                r = base64_append(&text, BASE64_STANDARD, plain.data, plain.length);
        if (r < 0)
                return r;
        *ret = arena_str(arena, buffer_str(&text));
        return ret->data ? 0 : -ENOMEM;
}

/* "host", "host:port", "[::1]:port". */
static int read_authority(struct str authority, uint16_t usual, struct str *ret_host,
                          uint16_t *ret_port)
{
        struct str rest, port_text = STR_EMPTY;
        uint64_t port = usual;

        if (str_starts_with(authority, STR("["))) {
                if (!str_cut(str_slice(authority, 1, authority.length), ']', ret_host, &rest) ||
                    (rest.length > 0 && rest.data[0] != ':'))
                        return -EINVAL;
                port_text = str_slice(rest, rest.length > 0, rest.length);
        } else {
                str_cut(authority, ':', ret_host, &port_text);
        }
        if (ret_host->length == 0 || !http_is_authority(*ret_host) ||
            (port_text.length > 0 && (str_to_u64(port_text, UINT16_MAX, &port) < 0 || port == 0)))
                return -EINVAL;
        *ret_port = (uint16_t)port;
        return 0;
}

/* Where "scheme://" ends; 0 without one. */
static size_t scheme_length(struct str url)
{
        const char *found = url.length > 3 ? memmem(url.data, url.length, "://", 3) : NULL;

        return found ? (size_t)(found - url.data) : 0;
}

int kube_proxy_parse(struct arena *arena, struct str url, struct error *error,
                     struct kube_proxy *ret_proxy)
{
        struct kube_proxy proxy = {};
        size_t scheme_end = scheme_length(url);
        struct str scheme = scheme_end > 0 ? str_slice(url, 0, scheme_end) : STR("http");
        struct str rest = scheme_end > 0 ? str_slice(url, scheme_end + 3, url.length) : url;
        struct str authority, path, user = STR_EMPTY, host;

        proxy.tls = str_equal_ignoring_case(scheme, STR("https"));
        if (!proxy.tls && !str_equal_ignoring_case(scheme, STR("http")))
                return error_set(error, -EOPNOTSUPP,
                                 "a proxy by %.*s:// is not supported, only http:// and https://",
                                 (int)MIN(scheme.length, (size_t)20), scheme.data);
        str_cut(rest, '/', &authority, &path);
        const char *at = memrchr(authority.data ? authority.data : "", '@', authority.length);
        if (at) {
                user = str_slice(authority, 0, (size_t)(at - authority.data));
                authority = str_slice(authority, user.length + 1, authority.length);
        }
        int r = path.length > 0 ? -EINVAL : 0;
        if (r == 0)
                r = read_authority(authority, proxy.tls ? 443 : 80, &host, &proxy.port);
        if (r < 0)
                return error_set(error, r, "\"%.*s\" is no address of a proxy",
                                 (int)MIN(authority.length, (size_t)100), authority.data);
        proxy.host = arena_str(arena, host);
        if (!proxy.host.data)
                return error_set(error, -ENOMEM, "out of memory");
        if (user.length > 0) {
                r = read_authorization(arena, user, &proxy.authorization);
                if (r < 0)
                        return error_set(error, r, "the proxy's user is not percent-encoded");
        }
        *ret_proxy = proxy;
        return 0;
}

/* ---- exceptions ---- */

static bool is_in_network(const struct net_address *address, struct str network)
{
        struct str base, bits_text;
        struct net_address other;
        uint64_t bits;
        const unsigned char *a, *b;
        unsigned size;

        if (!str_cut(network, '/', &base, &bits_text) || net_address_from_ip(base, 0, &other) < 0 ||
            other.generic.sa_family != address->generic.sa_family)
                return false;
        if (address->generic.sa_family == AF_INET) {
                a = (const unsigned char *)&address->in.sin_addr;
                b = (const unsigned char *)&other.in.sin_addr;
                size = 32;
        } else {
                a = (const unsigned char *)&address->in6.sin6_addr;
                b = (const unsigned char *)&other.in6.sin6_addr;
                size = 128;
        }
        if (str_to_u64(bits_text, size, &bits) < 0)
                return false;
        for (uint64_t i = 0; i < bits; i++)
                if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
                        return false;
        return true;
}

static bool is_same_address(const struct net_address *address, struct str text)
{
        struct net_address other;
        char one[NET_ADDRESS_SIZE], two[NET_ADDRESS_SIZE];

        if (net_address_from_ip(text, 0, &other) < 0)
                return false;
        net_address_format_ip(address, one);
        net_address_format_ip(&other, two);
        return strcmp(one, two) == 0;
}

static bool is_name_of(struct str pattern, struct str host)
{
        bool subdomains_only = false;

        if (str_starts_with(pattern, STR("*.")))
                pattern = str_slice(pattern, 1, pattern.length);
        if (str_starts_with(pattern, STR("."))) {
                subdomains_only = true;
                pattern = str_slice(pattern, 1, pattern.length);
        }
        if (pattern.length == 0 || host.length < pattern.length)
                return false;
        struct str end = str_slice(host, host.length - pattern.length, host.length);
        if (!str_equal_ignoring_case(end, pattern))
                return false;
        if (host.length == pattern.length)
                return !subdomains_only;
        return host.data[host.length - pattern.length - 1] == '.';
}

static bool excepts(struct str entry, struct str host, uint16_t port,
                    const struct net_address *address)
{
        struct str name;
        uint16_t its_port = 0;

        if (str_equal(entry, STR("*")))
                return true;
        if (address && (is_in_network(address, entry) || is_same_address(address, entry)))
                return true;
        if (memchr(entry.data, '/', entry.length) || read_authority(entry, 0, &name, &its_port) < 0)
                return false;
        if (its_port != 0 && its_port != port)
                return false;
        return address ? is_same_address(address, name) : is_name_of(name, host);
}

bool kube_proxy_is_excepted(struct str list, struct str host, uint16_t port)
{
        struct net_address address;
        bool is_address = net_address_from_ip(host, 0, &address) == 0;
        struct str entry;

        while (list.length > 0) {
                str_cut(list, ',', &entry, &list);
                entry = str_trim(entry);
                if (entry.length > 0 && excepts(entry, host, port, is_address ? &address : NULL))
                        return true;
        }
        return false;
}

/* ---- the choice ---- */

static bool is_loopback(struct str host)
{
        struct net_address address;

        return str_equal_ignoring_case(host, STR("localhost")) ||
               (net_address_from_ip(host, 0, &address) == 0 && net_address_is_loopback(&address));
}

static struct str variable(const char *upper, const char *lower)
{
        const char *value = getenv(upper);

        if (!value || !*value)
                value = getenv(lower);
        return str_from(value);
}

int kube_proxy_find(const struct kube_config *config, struct arena *arena, struct error *error,
                    struct kube_proxy *ret_proxy)
{
        int r;

        if (config->proxy.length > 0) {
                r = kube_proxy_parse(arena, config->proxy, error, ret_proxy);
                return r < 0 ? error_prefix(error, r, "proxy-url") : 1;
        }
        const char *name = config->tls ? "HTTPS_PROXY" : "HTTP_PROXY";
        struct str url = variable(name, config->tls ? "https_proxy" : "http_proxy");
        if (url.length == 0 || is_loopback(config->host) ||
            kube_proxy_is_excepted(variable("NO_PROXY", "no_proxy"), config->host, config->port))
                return 0;
        r = kube_proxy_parse(arena, url, error, ret_proxy);
        return r < 0 ? error_prefix(error, r, "%s", name) : 1;
}
