// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "kube/quantity.h"
#include "node/pod_read.h"

enum {
        VOLUMES_MAX = 64,
        ITEMS_MAX = 1024,
        SOURCES_MAX = 32,
        MODE_DEFAULT = 0644,
        TOKEN_SECONDS = 3600,
        TOKEN_SECONDS_MIN = 600,
};

static int read_field_item(struct pod_reader *reader, struct json_value value,
                           struct pod_item *item)
{
        static const char *const known[] = { "path", "mode", "fieldRef", "resourceFieldRef", NULL };
        struct json_value field = json_get(value, "fieldRef");
        struct json_value resource = json_get(value, "resourceFieldRef");

        int r = pod_check_members(reader, value, known);
        if (r < 0)
                return r;
        if (json_exists(field))
                return pod_read_string(reader, field, "fieldPath", STR_EMPTY, &item->key);
        item->is_resource = true;
        r = pod_read_string(reader, resource, "resource", STR_EMPTY, &item->key);
        if (r >= 0)
                r = pod_read_string(reader, resource, "containerName", STR_EMPTY, &item->container);
        return r < 0 ? r : pod_read_divisor(reader, resource, &item->divisor_milli);
}

static int read_items(struct pod_reader *reader, struct json_value source,
                      struct pod_projection *projection)
{
        static const char *const known[] = { "key", "path", "mode", NULL };
        struct pod_item *items;
        size_t i = 0;

        int r = pod_read_array(reader, source, "items", ITEMS_MAX, struct pod_item, &items,
                               &projection->item_count);
        if (r < 0)
                return r;
        projection->items = items;
        json_for_each (it, json_get(source, "items")) {
                struct pod_item *item = &items[i];
                size_t back = pod_path_enter(reader, ".items[%zu]", i++);
                int64_t mode;

                if (projection->kind == POD_PROJECT_DOWNWARD_API) {
                        r = read_field_item(reader, it.value, item);
                } else {
                        r = pod_check_members(reader, it.value, known);
                        if (r >= 0)
                                r = pod_read_string(reader, it.value, "key", STR_EMPTY, &item->key);
                }
                if (r >= 0)
                        r = pod_read_string(reader, it.value, "path", STR_EMPTY, &item->path);
                if (r >= 0)
                        r = pod_read_int(reader, it.value, "mode", 0, 0777, -1, &mode);
                if (r < 0)
                        return r;
                if (!pod_path_is_relative(item->path) || str_starts_with(item->path, STR("..")))
                        return pod_refuse(reader, -EINVAL, "path",
                                          "must be relative and must not begin with \"..\"");
                item->mode = (int32_t)mode;
                pod_path_leave(reader, back);
        }
        return 0;
}

/* ConfigMap, Secret or downward API, alone or in a projected volume. */
static int read_files(struct pod_reader *reader, struct json_value source, const char *name_key,
                      struct pod_projection *projection)
{
        static const char *const known[] = { "name",     "secretName",  "items",
                                             "optional", "defaultMode", NULL };

        int r = pod_check_members(reader, source, known);
        if (r >= 0 && name_key)
                r = pod_read_string(reader, source, name_key, STR_EMPTY, &projection->name);
        if (r >= 0)
                r = pod_read_bool(reader, source, "optional", false, &projection->optional);
        return r < 0 ? r : read_items(reader, source, projection);
}

static int read_token(struct pod_reader *reader, struct json_value source,
                      struct pod_projection *projection)
{
        static const char *const known[] = { "audience", "expirationSeconds", "path", NULL };
        int64_t seconds;

        int r = pod_check_members(reader, source, known);
        if (r >= 0)
                r = pod_read_string(reader, source, "audience", STR_EMPTY, &projection->audience);
        if (r >= 0)
                r = pod_read_string(reader, source, "path", STR_EMPTY, &projection->token_path);
        if (r >= 0)
                r = pod_read_int(reader, source, "expirationSeconds", TOKEN_SECONDS_MIN, INT32_MAX,
                                 TOKEN_SECONDS, &seconds);
        if (r < 0)
                return r;
        if (!pod_path_is_relative(projection->token_path))
                return pod_refuse(reader, -EINVAL, "path", "must be relative and without \"..\"");
        projection->token_seconds = (uint64_t)seconds;
        return 0;
}

static const struct {
        const char *key;
        enum pod_projection_kind kind;
        const char *name_key;
} projection_kinds[] = {
        { "configMap", POD_PROJECT_CONFIG_MAP, "name" },
        { "secret", POD_PROJECT_SECRET, "name" },
        { "downwardAPI", POD_PROJECT_DOWNWARD_API, NULL },
        { "serviceAccountToken", POD_PROJECT_TOKEN, NULL },
};

static int read_projection(struct pod_reader *reader, struct json_value value,
                           struct pod_projection *projection)
{
        static const char *const known[] = { "configMap", "secret", "downwardAPI",
                                             "serviceAccountToken", NULL };

        int r = pod_check_members(reader, value, known);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(projection_kinds); i++) {
                struct json_value source = json_get(value, projection_kinds[i].key);
                if (!json_exists(source))
                        continue;
                pod_path_enter(reader, ".%s", projection_kinds[i].key);
                projection->kind = projection_kinds[i].kind;
                if (projection->kind == POD_PROJECT_TOKEN)
                        return read_token(reader, source, projection);
                return read_files(reader, source, projection_kinds[i].name_key, projection);
        }
        return pod_refuse(reader, -EINVAL, NULL, "must name a source");
}

static int read_projected(struct pod_reader *reader, struct json_value source,
                          struct pod_volume *volume)
{
        static const char *const known[] = { "sources", "defaultMode", NULL };
        struct pod_projection *items;
        size_t i = 0;

        int r = pod_check_members(reader, source, known);
        if (r >= 0)
                r = pod_read_array(reader, source, "sources", SOURCES_MAX, struct pod_projection,
                                   &items, &volume->projection_count);
        if (r < 0)
                return r;
        volume->projections = items;
        json_for_each (it, json_get(source, "sources")) {
                size_t back = pod_path_enter(reader, ".sources[%zu]", i);
                r = read_projection(reader, it.value, &items[i++]);
                if (r < 0)
                        return r;
                pod_path_leave(reader, back);
        }
        return 0;
}

static int read_single(struct pod_reader *reader, struct json_value source,
                       enum pod_projection_kind kind, const char *name_key,
                       struct pod_volume *volume)
{
        struct pod_projection *projection = arena_new(reader->arena, struct pod_projection, 1);

        if (!projection)
                return -ENOMEM;
        projection->kind = kind;
        volume->projections = projection;
        volume->projection_count = 1;
        return read_files(reader, source, name_key, projection);
}

static int read_empty_dir(struct pod_reader *reader, struct json_value source,
                          struct pod_volume *volume)
{
        static const char *const known[] = { "medium", "sizeLimit", NULL };
        static const char *const media[] = { "", "Memory" };
        struct json_value limit = json_get(source, "sizeLimit");
        unsigned medium;

        int r = pod_check_members(reader, source, known);
        if (r >= 0)
                r = pod_read_enum(reader, source, "medium", media, 2, 0, &medium);
        if (r < 0)
                return r;
        volume->in_memory = medium == 1;
        if (json_exists(limit)) {
                struct quantity size;
                if (quantity_read(limit, &size) < 0 || size.nano < 0)
                        return pod_refuse(reader, -EINVAL, "sizeLimit", "is no amount");
                volume->size_limit = (uint64_t)quantity_whole(&size);
        }
        return 0;
}

static int read_claim(struct pod_reader *reader, struct json_value source,
                      struct pod_volume *volume)
{
        static const char *const known[] = { "claimName", "readOnly", NULL };

        int r = pod_check_members(reader, source, known);
        if (r >= 0)
                r = pod_read_string(reader, source, "claimName", STR_EMPTY, &volume->claim);
        if (r >= 0)
                r = pod_read_bool(reader, source, "readOnly", false, &volume->read_only);
        return r;
}

/* RFC 1123; volumes are folders of this name. */
static bool is_label(struct str name)
{
        if (name.length == 0 || name.length > LIMIT_LABEL || name.data[0] == '-')
                return false;
        for (size_t i = 0; i < name.length; i++)
                if (!(name.data[i] >= 'a' && name.data[i] <= 'z') &&
                    !(name.data[i] >= '0' && name.data[i] <= '9') && name.data[i] != '-')
                        return false;
        return true;
}

static int read_volume(struct pod_reader *reader, struct json_value value,
                       struct pod_volume *volume)
{
        static const char *const known[] = { "name",
                                             "emptyDir",
                                             "configMap",
                                             "secret",
                                             "downwardAPI",
                                             "projected",
                                             "persistentVolumeClaim",
                                             NULL };
        struct json_value source;
        int64_t mode;

        int r = pod_check_members(reader, value, known);
        if (r >= 0)
                r = pod_read_string(reader, value, "name", STR_EMPTY, &volume->name);
        if (r < 0)
                return r;
        if (!is_label(volume->name))
                return pod_refuse(reader, -EINVAL, "name", "must be a DNS label");
        size_t back = pod_path_enter(reader, ".");
        if (json_exists(source = json_get(value, "configMap"))) {
                volume->kind = POD_VOLUME_CONFIG_MAP;
                pod_path_enter(reader, "configMap");
                r = read_single(reader, source, POD_PROJECT_CONFIG_MAP, "name", volume);
        } else if (json_exists(source = json_get(value, "secret"))) {
                volume->kind = POD_VOLUME_SECRET;
                pod_path_enter(reader, "secret");
                r = read_single(reader, source, POD_PROJECT_SECRET, "secretName", volume);
        } else if (json_exists(source = json_get(value, "downwardAPI"))) {
                volume->kind = POD_VOLUME_DOWNWARD_API;
                pod_path_enter(reader, "downwardAPI");
                r = read_single(reader, source, POD_PROJECT_DOWNWARD_API, NULL, volume);
        } else if (json_exists(source = json_get(value, "projected"))) {
                volume->kind = POD_VOLUME_PROJECTED;
                pod_path_enter(reader, "projected");
                r = read_projected(reader, source, volume);
        } else if (json_exists(source = json_get(value, "persistentVolumeClaim"))) {
                volume->kind = POD_VOLUME_CLAIM;
                pod_path_enter(reader, "persistentVolumeClaim");
                r = read_claim(reader, source, volume);
        } else {
                source = json_get(value, "emptyDir");
                volume->kind = POD_VOLUME_EMPTY_DIR;
                pod_path_enter(reader, "emptyDir");
                r = read_empty_dir(reader, source, volume);
        }
        if (r >= 0)
                r = pod_read_int(reader, source, "defaultMode", 0, 0777, MODE_DEFAULT, &mode);
        if (r < 0)
                return r;
        volume->default_mode = (int32_t)mode;
        pod_path_leave(reader, back);
        return 0;
}

int pod_read_volumes(struct pod_reader *reader, struct json_value pod_spec)
{
        struct pod_volume *items;
        size_t i = 0, count;

        int r = pod_read_array(reader, pod_spec, "volumes", VOLUMES_MAX, struct pod_volume, &items,
                               &count);
        if (r < 0)
                return r;
        json_for_each (it, json_get(pod_spec, "volumes")) {
                size_t back = pod_path_enter(reader, ".volumes[%zu]", i);
                r = read_volume(reader, it.value, &items[i++]);
                if (r < 0)
                        return r;
                pod_path_leave(reader, back);
        }
        reader->spec->volumes = items;
        reader->spec->volume_count = count;
        return 0;
}
