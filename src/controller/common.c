// SPDX-License-Identifier: Apache-2.0
#include "controller/internal.h"

bool controlled_by_kind(const struct object_meta *meta, const struct kind *kind,
                        struct owner_reference *ret_owner)
{
        struct owner_reference owner;

        if (!object_meta_controller(meta, &owner) || !str_equal(owner.group, kind->group) ||
            !str_equal(owner.kind, kind->kind))
                return false;
        *ret_owner = owner;
        return true;
}

bool is_held_back(const struct view *seen, uint64_t creation_ns, uint64_t *ret_until_ns)
{
        uint64_t now_ns = seen->now.realtime_ns, until_ns = creation_ns + PROGRESS_HOLD_NS;

        *ret_until_ns = until_ns;
        return until_ns > now_ns && until_ns - now_ns <= PROGRESS_HOLD_NS;
}

bool controlled_by_uid(const struct cache_entry *entry, struct str uid)
{
        return uid.length && str_equal(entry->controller, uid);
}

static void begin_owner(struct json_writer *writer, const struct kind *kind, struct str name)
{
        char api_version[128];

        json_field_array(writer, "ownerReferences");
        json_begin_object(writer);
        json_field_string(writer, "apiVersion", kind_api_version(kind, api_version));
        json_field_string(writer, "kind", kind->kind);
        json_field_string(writer, "name", name);
        json_field_bool(writer, "controller", true);
        json_field_bool(writer, "blockOwnerDeletion", true);
        json_key(writer, STR("uid"));
}

static void end_owner(struct json_writer *writer)
{
        json_end_object(writer);
        json_end_array(writer);
}

void write_owner(struct json_writer *writer, const struct kind *kind,
                 const struct object_meta *owner)
{
        begin_owner(writer, kind, owner->name);
        json_write_string(writer, owner->uid);
        end_owner(writer);
}

void write_created_owner(struct plan *plan, int created)
{
        const struct action *create;

        if (plan->failure)
                return;
        create = &plan->actions[created];
        begin_owner(&plan->writer, create->kind, create->name);
        plan_write_result(plan, created, ACTION_FIELD_UID);
        end_owner(&plan->writer);
}

bool may_adopt(const struct object_meta *meta, struct str sandbox_name)
{
        char hash[NAME_HASH_SIZE];

        return str_equal(object_meta_label(meta, LABEL_ADOPTABLE), STR("true")) ||
               str_equal(object_meta_label(meta, LABEL_NAME_HASH), name_hash(sandbox_name, hash));
}

static struct str ip_text(struct json_value element)
{
        return json_type(element) == JSON_STRING ? json_string(element)
                                                 : json_string(json_get(element, "ip"));
}

void write_ips(struct json_writer *writer, struct json_value ips)
{
        json_begin_array(writer);
        json_for_each (it, ips)
                json_write_string(writer, ip_text(it.value));
        json_end_array(writer);
}

bool ips_equal(struct json_value a, struct json_value b)
{
        if (json_count(a) != json_count(b))
                return false;
        for (size_t i = 0; i < json_count(a); i++) {
                if (!str_equal(ip_text(json_element(a, i)), ip_text(json_element(b, i))))
                        return false;
        }
        return true;
}
