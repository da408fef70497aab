// SPDX-License-Identifier: Apache-2.0
#include "node/dns_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/limit.h"
#include "base/list.h"
#include "kinds/core.h"
#include "kube/meta.h"
#include "node/address.h"

/* A Pod under one of its labels. */
struct member {
        struct list in_label;
        struct label *label;
        struct pod_names *pod;
};

/* The Pods of a namespace that have a label with a value. */
struct label {
        struct list members;
        UT_hash_handle hh;
        char key[]; /* namespace, label and value, each with NUL */
};

struct pod_names {
        struct json_doc *doc;
        struct json_value labels;
        struct str name_space, hostname, subdomain;
        uint32_t address;
        bool is_ready;
        struct member *members;
        size_t member_count;
        UT_hash_handle hh;
        char uid[];
};

struct service_names {
        struct json_doc *doc;
        struct service service;
        uint32_t cluster_address; /* 0: headless, or none of IPv4 */
        struct namespace_names *name_space;
        UT_hash_handle hh;
        char key[]; /* namespace "/" name */
};

/* A namespace with Services. */
struct namespace_names {
        size_t services;
        UT_hash_handle hh;
        char key[];
};

struct dns_names {
        char *domain;
        struct service_names *services;
        struct pod_names *pods;
        struct label *labels;
        struct namespace_names *name_spaces;
};

enum { KEY_SIZE = 2 * LIMIT_NAME + 2 };

int dns_names_new(struct str domain, struct dns_names **ret_names)
{
        struct dns_names *names = calloc(1, sizeof(*names));

        if (!names)
                return -ENOMEM;
        names->domain = str_dup(domain);
        if (!names->domain) {
                free(names);
                return -ENOMEM;
        }
        *ret_names = names;
        return 0;
}

struct str dns_names_domain(const struct dns_names *names)
{
        return str_from(names->domain);
}

/* Names of objects are at most so long; what is longer is none. */
static bool make_key(struct str name_space, struct str name, char key[static KEY_SIZE])
{
        if (name_space.length > LIMIT_NAME || name.length > LIMIT_NAME)
                return false;
        snprintf(key, KEY_SIZE, "%.*s/%.*s", STR_FORMAT(name_space), STR_FORMAT(name));
        return true;
}

/* ---- Services ---- */

static struct service_names *find_service(const struct dns_names *names, struct str name_space,
                                          struct str name)
{
        struct service_names *found = NULL;
        char key[KEY_SIZE];

        if (make_key(name_space, name, key))
                HASH_FIND_STR(names->services, key, found);
        return found;
}

static struct namespace_names *hold_namespace(struct dns_names *names, struct str name_space)
{
        struct namespace_names *found;

        HASH_FIND(hh, names->name_spaces, name_space.data, (unsigned)name_space.length, found);
        if (!found) {
                found = calloc(1, sizeof(*found) + name_space.length + 1);
                if (!found)
                        return NULL;
                memcpy(found->key, name_space.data, name_space.length);
                HASH_ADD_KEYPTR(hh, names->name_spaces, found->key, (unsigned)name_space.length,
                                found);
        }
        found->services++;
        return found;
}

static void free_service(struct dns_names *names, struct service_names *service)
{
        struct namespace_names *name_space = service->name_space;

        if (--name_space->services == 0) {
                HASH_DELETE(hh, names->name_spaces, name_space);
                free(name_space);
        }
        HASH_DELETE(hh, names->services, service);
        json_doc_unref(service->doc);
        free(service);
}

void dns_names_remove_service(struct dns_names *names, struct str name_space, struct str name)
{
        struct service_names *found = find_service(names, name_space, name);

        if (found)
                free_service(names, found);
}

int dns_names_put_service(struct dns_names *names, struct json_doc *doc)
{
        struct object_meta meta;
        char key[KEY_SIZE];

        object_meta_read(json_root(doc), &meta);
        dns_names_remove_service(names, meta.namespace, meta.name);
        if (meta.name.length == 0 || meta.namespace.length == 0 ||
            !make_key(meta.namespace, meta.name, key))
                return 0;
        struct service_names *service = calloc(1, sizeof(*service) + strlen(key) + 1);
        if (!service)
                return -ENOMEM;
        service->name_space = hold_namespace(names, meta.namespace);
        if (!service->name_space) {
                free(service);
                return -ENOMEM;
        }
        service->doc = json_doc_ref(doc);
        service_read(json_root(doc), &service->service);
        if (address_parse(service->service.cluster_ip, &service->cluster_address) < 0)
                service->cluster_address = 0;
        memcpy(service->key, key, strlen(key));
        HASH_ADD_STR(names->services, key, service);
        return 0;
}

/* ---- Pods ---- */

static struct pod_names *find_pod(const struct dns_names *names, struct str uid)
{
        struct pod_names *found;

        HASH_FIND(hh, names->pods, uid.data, (unsigned)uid.length, found);
        return found;
}

static void free_pod(struct dns_names *names, struct pod_names *pod)
{
        for (size_t i = 0; i < pod->member_count; i++) {
                struct label *label = pod->members[i].label;
                list_remove(&pod->members[i].in_label);
                if (list_is_empty(&label->members)) {
                        HASH_DELETE(hh, names->labels, label);
                        free(label);
                }
        }
        HASH_DELETE(hh, names->pods, pod);
        json_doc_unref(pod->doc);
        free(pod->members);
        free(pod);
}

void dns_names_remove_pod(struct dns_names *names, struct str uid)
{
        struct pod_names *found = find_pod(names, uid);

        if (found)
                free_pod(names, found);
}

static int label_key(struct str name_space, struct str key, struct str value, struct buffer *out)
{
        int r = buffer_append_str(out, name_space);
        if (r >= 0)
                r = buffer_append_char(out, '\0');
        if (r >= 0)
                r = buffer_append_str(out, key);
        if (r >= 0)
                r = buffer_append_char(out, '\0');
        return r < 0 ? r : buffer_append_str(out, value);
}

static int add_label(struct dns_names *names, struct pod_names *pod, struct str name_space,
                     struct str name, struct str value)
{
        _cleanup_buffer_ struct buffer key = {};
        struct member *member = &pod->members[pod->member_count];
        struct label *label;

        int r = label_key(name_space, name, value, &key);
        if (r < 0)
                return r;
        HASH_FIND(hh, names->labels, key.data, (unsigned)key.length, label);
        if (!label) {
                label = calloc(1, sizeof(*label) + key.length);
                if (!label)
                        return -ENOMEM;
                list_init(&label->members);
                memcpy(label->key, key.data, key.length);
                HASH_ADD_KEYPTR(hh, names->labels, label->key, (unsigned)key.length, label);
        }
        *member = (struct member){ .label = label, .pod = pod };
        list_append(&label->members, &member->in_label);
        pod->member_count++;
        return 0;
}

static void fill_pod(struct pod_names *pod, struct json_doc *doc, const struct object_meta *meta,
                     uint32_t address, bool is_ready)
{
        struct json_value spec = json_get(json_root(doc), "spec");
        struct json_doc *old = pod->doc;

        pod->doc = json_doc_ref(doc);
        if (old)
                json_doc_unref(old);
        pod->labels = meta->labels;
        pod->name_space = meta->namespace;
        pod->hostname = json_string(json_get(spec, "hostname"));
        pod->subdomain = json_string(json_get(spec, "subdomain"));
        pod->address = address;
        pod->is_ready = is_ready;
}

static int add_pod(struct dns_names *names, struct json_doc *doc, const struct object_meta *meta,
                   uint32_t address, bool is_ready)
{
        struct pod_names *pod = calloc(1, sizeof(*pod) + meta->uid.length + 1);
        int r = 0;

        if (!pod)
                return -ENOMEM;
        pod->members = calloc(json_count(meta->labels) + 1, sizeof(*pod->members));
        if (!pod->members) {
                free(pod);
                return -ENOMEM;
        }
        fill_pod(pod, doc, meta, address, is_ready);
        memcpy(pod->uid, meta->uid.data, meta->uid.length);
        HASH_ADD_KEYPTR(hh, names->pods, pod->uid, (unsigned)meta->uid.length, pod);
        json_for_each (it, meta->labels) {
                if (r >= 0)
                        r = add_label(names, pod, meta->namespace, it.key, json_string(it.value));
        }
        if (r < 0)
                free_pod(names, pod);
        return r;
}

int dns_names_put_pod(struct dns_names *names, struct json_doc *doc, uint32_t address,
                      bool is_ready)
{
        struct object_meta meta;

        object_meta_read(json_root(doc), &meta);
        if (meta.uid.length == 0)
                return 0;
        struct pod_names *pod = find_pod(names, meta.uid);
        /* Most changes are of the status. */
        if (pod && str_equal(pod->name_space, meta.namespace) &&
            str_equal(json_text(pod->labels), json_text(meta.labels))) {
                fill_pod(pod, doc, &meta, address, is_ready);
                return 0;
        }
        if (pod)
                free_pod(names, pod);
        return add_pod(names, doc, &meta, address, is_ready);
}

void dns_names_free(struct dns_names *names)
{
        struct service_names *service, *next_service;
        struct pod_names *pod, *next_pod;

        if (!names)
                return;
        HASH_ITER (hh, names->services, service, next_service)
                free_service(names, service);
        HASH_ITER (hh, names->pods, pod, next_pod)
                free_pod(names, pod);
        free(names->domain);
        free(names);
}

/* ---- looking up ---- */

static bool matches(const struct pod_names *pod, struct json_value selector)
{
        json_for_each (it, selector) {
                struct json_value label = json_member(pod->labels, it.key);
                if (!json_exists(label) || !str_equal(json_string(label), json_string(it.value)))
                        return false;
        }
        return true;
}

/* The Pods that have the selector's first label: mostly just the right ones. */
static struct label *candidates(const struct dns_names *names, const struct service_names *service,
                                struct str name_space)
{
        struct json_iterator first = json_iterate(service->service.selector);
        _cleanup_buffer_ struct buffer key = {};
        struct label *label = NULL;

        if (!json_next(&first) ||
            label_key(name_space, first.key, json_string(first.value), &key) < 0)
                return NULL;
        HASH_FIND(hh, names->labels, key.data, (unsigned)key.length, label);
        return label;
}

/* `host` empty: all Pods of the Service; else the one so named under it. */
static size_t collect(const struct dns_names *names, const struct service_names *service,
                      struct str name_space, struct str name, struct str host, uint32_t *addresses)
{
        struct label *label = candidates(names, service, name_space);
        struct member *member;
        size_t count = 0;

        if (!label)
                return 0;
        list_for_each (member, &label->members, in_label) {
                const struct pod_names *pod = member->pod;
                if (count == DNS_ADDRESSES_MAX)
                        break;
                if (pod->address == 0 || (!pod->is_ready && !service->service.publish_not_ready) ||
                    !matches(pod, service->service.selector))
                        continue;
                if (host.length > 0 &&
                    (!str_equal(pod->hostname, host) || !str_equal(pod->subdomain, name)))
                        continue;
                addresses[count++] = pod->address;
        }
        return count;
}

static enum dns_found find_of_service(const struct dns_names *names, struct str name_space,
                                      struct str name, struct str host, uint32_t *addresses,
                                      size_t *ret_count)
{
        const struct service_names *service = find_service(names, name_space, name);

        if (!service)
                return DNS_FOUND_NOTHING;
        if (str_equal(service->service.cluster_ip, STR("None"))) {
                *ret_count = collect(names, service, name_space, name, host, addresses);
                if (*ret_count > 0)
                        return DNS_FOUND_ADDRESSES;
                return host.length > 0 ? DNS_FOUND_NOTHING : DNS_FOUND_EMPTY;
        }
        if (host.length > 0)
                return DNS_FOUND_NOTHING;
        if (service->cluster_address == 0)
                return DNS_FOUND_EMPTY;
        addresses[0] = service->cluster_address;
        *ret_count = 1;
        return DNS_FOUND_ADDRESSES;
}

/* Cuts the last label off. */
static struct str take_last(struct str *name)
{
        const char *dot = name->length > 0 ? memrchr(name->data, '.', name->length) : NULL;
        size_t begin = dot ? (size_t)(dot - name->data) + 1 : 0;
        struct str last = str_slice(*name, begin, name->length);

        *name = str_slice(*name, 0, dot ? begin - 1 : 0);
        return last;
}

enum dns_found dns_names_find(const struct dns_names *names, struct str name,
                              uint32_t *ret_addresses, size_t *ret_count)
{
        struct str domain = str_from(names->domain), rest = name;
        struct namespace_names *known;

        *ret_count = 0;
        if (!str_ends_with(name, domain))
                return DNS_FOUND_OUTSIDE;
        rest.length -= domain.length;
        if (rest.length == 0)
                return DNS_FOUND_EMPTY;
        if (rest.data[--rest.length] != '.')
                return DNS_FOUND_OUTSIDE;
        if (!str_equal(take_last(&rest), STR("svc")))
                return DNS_FOUND_NOTHING;
        if (rest.length == 0)
                return DNS_FOUND_EMPTY;
        struct str name_space = take_last(&rest);
        if (rest.length == 0) {
                HASH_FIND(hh, names->name_spaces, name_space.data, (unsigned)name_space.length,
                          known);
                return known ? DNS_FOUND_EMPTY : DNS_FOUND_NOTHING;
        }
        struct str service = take_last(&rest);
        return find_of_service(names, name_space, service, rest, ret_addresses, ret_count);
}
