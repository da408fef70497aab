// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/internal.h"

enum { PORTS_MAX = 128 };

struct port {
        int64_t number;
        struct str protocol, name;
        char made_name[16];
};

struct ports {
        struct port list[PORTS_MAX];
        size_t count;
};

static int compare_ports(const void *a, const void *b)
{
        const struct port *x = a, *y = b;

        if (x->number != y->number)
                return x->number < y->number ? -1 : 1;
        return str_compare(x->protocol, y->protocol);
}

static void add_ports(struct ports *ports, struct json_value container)
{
        json_for_each (it, json_get(container, "ports")) {
                struct port port = {
                        .number = json_int64_or(json_get(it.value, "containerPort"), 0),
                        .protocol = json_string_or(json_get(it.value, "protocol"), STR("TCP")),
                        .name = json_string(json_get(it.value, "name")),
                };
                bool known = false;

                for (size_t i = 0; i < ports->count; i++)
                        known |= compare_ports(&ports->list[i], &port) == 0;
                if (!known && port.number > 0 && ports->count < PORTS_MAX)
                        ports->list[ports->count++] = port;
        }
}

/* Names must differ within a Service. */
static bool name_is_taken(const struct ports *ports, size_t index)
{
        for (size_t i = 0; i < index; i++) {
                if (str_equal(ports->list[i].name, ports->list[index].name))
                        return true;
        }
        return false;
}

static void collect_ports(struct json_value pod_spec, struct ports *ret)
{
        ret->count = 0;
        json_for_each (it, json_get(pod_spec, "containers"))
                add_ports(ret, it.value);
        json_for_each (it, json_get(pod_spec, "initContainers")) {
                if (json_string_is(json_get(it.value, "restartPolicy"), STR("Always")))
                        add_ports(ret, it.value);
        }
        qsort(ret->list, ret->count, sizeof(ret->list[0]), compare_ports);
        for (size_t i = 0; i < ret->count; i++) {
                struct port *port = &ret->list[i];
                int length;

                if (port->name.length && !name_is_taken(ret, i))
                        continue;
                length = snprintf(port->made_name, sizeof(port->made_name), "p-%u-%.*s",
                                  (unsigned)port->number & 0xffff,
                                  (int)MIN(port->protocol.length, (size_t)4), port->protocol.data);
                for (int j = 0; j < length; j++) {
                        if (port->made_name[j] >= 'A' && port->made_name[j] <= 'Z')
                                port->made_name[j] = (char)(port->made_name[j] - 'A' + 'a');
                }
                port->name = (struct str){ port->made_name, (size_t)length };
        }
}

static void write_ports(struct json_writer *writer, const struct ports *ports)
{
        json_field_array(writer, "ports");
        for (size_t i = 0; i < ports->count; i++) {
                const struct port *port = &ports->list[i];

                json_begin_object(writer);
                json_field_string(writer, "name", port->name);
                json_field_int(writer, "port", port->number);
                json_field_string(writer, "protocol", port->protocol);
                json_field_int(writer, "targetPort", port->number);
                json_end_object(writer);
        }
        json_end_array(writer);
}

static bool ports_are(struct json_value present, const struct ports *ports)
{
        if (json_count(present) != ports->count)
                return false;
        for (size_t i = 0; i < ports->count; i++) {
                const struct port *port = &ports->list[i];
                struct json_value element = json_element(present, i);

                if (json_int64_or(json_get(element, "port"), 0) != port->number ||
                    !json_string_is(json_get(element, "name"), port->name) ||
                    !str_equal(json_string_or(json_get(element, "protocol"), STR("TCP")),
                               port->protocol))
                        return false;
        }
        return true;
}

/* The Sandbox's own Pod and no other, whatever a Service that was taken over selected before. */
static bool selector_is(struct json_value present, struct str hash)
{
        return json_count(present) == 1 &&
               json_string_is(json_member(present, LABEL_NAME_HASH), hash);
}

static void write_selector_change(struct json_writer *writer, struct json_value present,
                                  struct str hash)
{
        json_field_object(writer, "selector");
        json_for_each (it, present) {
                if (str_equal(it.key, LABEL_NAME_HASH))
                        continue;
                json_key(writer, it.key);
                json_write_null(writer);
        }
        json_key(writer, LABEL_NAME_HASH);
        json_write_string(writer, hash);
        json_end_object(writer);
}

int service_create(struct plan *plan, struct str namespace, struct str name,
                   const struct object_meta *owner, int created_owner, struct json_value pod_spec,
                   int after)
{
        char hash[NAME_HASH_SIZE];
        struct ports *ports = arena_new(plan->arena, struct ports, 1);
        struct json_writer *writer = plan_body(plan);

        if (!ports) {
                plan_fail(plan, -ENOMEM);
                return ACTION_NONE;
        }
        collect_ports(pod_spec, ports);
        name_hash(name, hash);
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", STR("v1"));
        json_field_string(writer, "kind", STR("Service"));
        json_field_object(writer, "metadata");
        json_field_string(writer, "name", name);
        json_field_string(writer, "namespace", namespace);
        json_field_object(writer, "labels");
        json_key(writer, LABEL_NAME_HASH);
        json_write_string(writer, str_from(hash));
        json_end_object(writer);
        if (owner)
                write_owner(writer, &kind_sandbox, owner);
        else
                write_created_owner(plan, created_owner);
        json_end_object(writer);
        json_field_object(writer, "spec");
        json_field_string(writer, "clusterIP", STR("None"));
        json_field_object(writer, "selector");
        json_key(writer, LABEL_NAME_HASH);
        json_write_string(writer, str_from(hash));
        json_end_object(writer);
        if (ports->count)
                write_ports(writer, ports);
        json_end_object(writer);
        json_end_object(writer);
        return plan_create(plan, &kind_service, namespace, name, after);
}

int service_patch(struct plan *plan, const struct cache_entry *service,
                  const struct object_meta *owner, struct json_value pod_spec, bool take)
{
        const struct service *typed = service->typed;
        struct ports *ports = arena_new(plan->arena, struct ports, 1);
        struct json_writer *writer;
        char buffer[NAME_HASH_SIZE];
        struct str hash;

        if (!ports) {
                plan_fail(plan, -ENOMEM);
                return ACTION_NONE;
        }
        collect_ports(pod_spec, ports);
        hash = name_hash(service->meta.name, buffer);
        if (!take && ports_are(typed->ports, ports) && selector_is(typed->selector, hash))
                return ACTION_NONE;
        writer = plan_patch_body(plan, &service->meta, EXPECT_VERSION);
        if (take)
                write_owner(writer, &kind_sandbox, owner);
        json_end_object(writer);
        json_field_object(writer, "spec");
        write_selector_change(writer, typed->selector, hash);
        write_ports(writer, ports);
        json_end_object(writer);
        return plan_patch(plan, &kind_service, &service->meta, json_root(service->doc),
                          ACTION_NONE);
}
