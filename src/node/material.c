// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "client/resource.h"
#include "node/internal.h"
#include "json/writer.h"

enum {
        ITEMS_MAX = 512,
        REFRESH_MS = 60 * 1000,
        REFRESH_SPREAD_MS = 30 * 1000,
};

enum material_kind {
        MATERIAL_CONFIG_MAP = POD_SOURCE_CONFIG_MAP,
        MATERIAL_SECRET = POD_SOURCE_SECRET,
        MATERIAL_CLAIM,
        MATERIAL_TOKEN,
};

struct material_item {
        enum material_kind kind;
        char name[LIMIT_NAME + 1];
        size_t volume, projection; /* of a token */
        struct json_doc *doc;      /* NULL: absent, or not answered yet */
        uint64_t got_at_ms;        /* of a token */
        struct kube_call *call;
        struct pod_material *material;
};

struct pod_material {
        struct node_pod *pod;
        struct material_item *items;
        size_t count, outstanding;
        size_t mounting;  /* volumes in memory whose mount has not been answered */
        bool has_changed; /* since the volumes were written */
        bool is_quiet;    /* a renewal: nobody waits */
        bool is_start;    /* container_start() waits, not PREPARE */
        size_t index;
        uint32_t attempt;
        char why[512]; /* what could not be got, though it may be there; empty: all answered */
        struct net_timer refresh;
};

static const char *const kind_names[] = { "configmap", "secret", "persistentvolumeclaim",
                                          "service-account token" };
static const struct kind *const kinds[] = { &kind_config_map, &kind_secret,
                                            &kind_persistent_volume_claim, &kind_service_account };

static const struct material_item *find_item(const struct pod_material *material,
                                             enum material_kind kind, struct str name)
{
        for (size_t i = 0; material && i < material->count; i++)
                if (material->items[i].kind == kind &&
                    str_equal(str_from(material->items[i].name), name))
                        return &material->items[i];
        return NULL;
}

static struct json_value find_source(void *userdata, enum pod_source_kind kind, struct str name)
{
        const struct material_item *item = find_item(userdata, (enum material_kind)kind, name);

        return item && item->doc ? json_root(item->doc) : (struct json_value){};
}

struct pod_sources material_sources(struct node_pod *pod)
{
        return (struct pod_sources){ .find = find_source, .userdata = pod->material };
}

struct str material_claim_volume(const struct node_pod *pod, struct str claim)
{
        const struct material_item *item = find_item(pod->material, MATERIAL_CLAIM, claim);
        struct json_value root = item && item->doc ? json_root(item->doc) : (struct json_value){};

        if (!json_string_is(json_get(root, "status", "phase"), STR("Bound")))
                return STR_EMPTY;
        return json_string(json_get(root, "spec", "volumeName"));
}

struct str material_token(const struct node_pod *pod, size_t volume, size_t projection)
{
        const struct pod_material *material = pod->material;

        for (size_t i = 0; material && i < material->count; i++) {
                const struct material_item *item = &material->items[i];
                if (item->kind == MATERIAL_TOKEN && item->volume == volume &&
                    item->projection == projection && item->doc)
                        return json_string(json_get(json_root(item->doc), "status", "token"));
        }
        return STR_EMPTY;
}

/* ---- what is needed ---- */

static void add_item(struct pod_material *material, enum material_kind kind, struct str name,
                     size_t volume, size_t projection)
{
        if (name.length == 0 || name.length > LIMIT_NAME || material->count == ITEMS_MAX ||
            (kind != MATERIAL_TOKEN && find_item(material, kind, name)))
                return;
        struct material_item *item = &material->items[material->count++];
        *item = (struct material_item){ .kind = kind, .volume = volume, .projection = projection };
        item->material = material;
        snprintf(item->name, sizeof(item->name), "%.*s", STR_FORMAT(name));
}

static void collect_env(struct pod_material *material, const struct pod_container *container)
{
        for (size_t i = 0; i < container->env_from_count; i++)
                add_item(material, (enum material_kind)container->env_from[i].kind,
                         container->env_from[i].name, 0, 0);
        for (size_t i = 0; i < container->env_count; i++) {
                const struct pod_env *env = &container->env[i];
                if (env->kind == POD_ENV_CONFIG_MAP_KEY)
                        add_item(material, MATERIAL_CONFIG_MAP, env->name_of, 0, 0);
                else if (env->kind == POD_ENV_SECRET_KEY)
                        add_item(material, MATERIAL_SECRET, env->name_of, 0, 0);
        }
}

static void collect_volume(struct pod_material *material, const struct pod_spec *spec, size_t index)
{
        const struct pod_volume *volume = &spec->volumes[index];

        if (volume->kind == POD_VOLUME_CLAIM)
                add_item(material, MATERIAL_CLAIM, volume->claim, 0, 0);
        for (size_t i = 0; i < volume->projection_count; i++) {
                const struct pod_projection *projection = &volume->projections[i];
                if (projection->kind == POD_PROJECT_CONFIG_MAP)
                        add_item(material, MATERIAL_CONFIG_MAP, projection->name, 0, 0);
                else if (projection->kind == POD_PROJECT_SECRET)
                        add_item(material, MATERIAL_SECRET, projection->name, 0, 0);
                else if (projection->kind == POD_PROJECT_TOKEN)
                        add_item(material, MATERIAL_TOKEN, spec->service_account, index, i);
        }
}

static size_t count_references(const struct pod_spec *spec)
{
        size_t count = 0;

        for (size_t i = 0; i < spec->container_count; i++)
                count += spec->containers[i].env_count + spec->containers[i].env_from_count;
        for (size_t i = 0; i < spec->volume_count; i++)
                count += spec->volumes[i].projection_count + 1;
        return MIN(count, (size_t)ITEMS_MAX);
}

static struct pod_material *material_new(struct node_pod *pod)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        struct pod_material *material = calloc(1, sizeof(*material));

        if (!material)
                return NULL;
        material->pod = pod;
        material->items = calloc(MAX(count_references(spec), 1), sizeof(*material->items));
        if (!material->items) {
                free(material);
                return NULL;
        }
        for (size_t i = 0; i < spec->container_count; i++)
                collect_env(material, &spec->containers[i]);
        for (size_t i = 0; i < spec->volume_count; i++)
                collect_volume(material, spec, i);
        return material;
}

void material_free(struct pod_material *material)
{
        if (!material)
                return;
        net_timer_stop(&material->refresh);
        for (size_t i = 0; i < material->count; i++) {
                if (material->items[i].call)
                        kube_call_cancel(material->items[i].call);
                if (material->items[i].doc)
                        json_doc_unref(material->items[i].doc);
        }
        free(material->items);
        free(material);
}

/* ---- getting it ---- */

static void finish(struct pod_material *material);

static void take_answer(struct material_item *item, const struct kube_response *response)
{
        struct pod_material *material = item->material;
        struct json_doc *doc = kube_response_ok(response) ? response->doc : NULL;

        if (!doc && response->status != 404) {
                snprintf(material->why, sizeof(material->why), "%s \"%s\": %.*s",
                         kind_names[item->kind], item->name,
                         (int)MIN(response->message.length, (size_t)150),
                         response->message.data ? response->message.data : "");
                if (material->is_quiet)
                        return; /* what there is stays */
        }
        bool is_same = doc && item->doc && str_equal(json_doc_text(doc), json_doc_text(item->doc));
        material->has_changed |= !is_same;
        if (item->doc)
                json_doc_unref(item->doc);
        item->doc = doc ? json_doc_ref(doc) : NULL;
        item->got_at_ms = net_loop_now_ms(material->pod->node->loop);
}

static void on_answer(void *user, const struct kube_response *response)
{
        struct material_item *item = user;

        item->call = NULL;
        take_answer(item, response);
        if (--item->material->outstanding == 0)
                finish(item->material);
}

static int write_token_request(const struct material_item *item, struct buffer *body)
{
        const struct node_pod *pod = item->material->pod;
        const struct pod_projection *projection =
                &pod_spec_of(pod)->volumes[item->volume].projections[item->projection];
        struct json_writer writer;

        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_string(&writer, "apiVersion", STR("authentication.k8s.io/v1"));
        json_field_string(&writer, "kind", STR("TokenRequest"));
        json_field_object(&writer, "spec");
        json_field_array(&writer, "audiences");
        if (projection->audience.length > 0)
                json_write_string(&writer, projection->audience);
        json_end_array(&writer);
        json_field_int(&writer, "expirationSeconds", (int64_t)projection->token_seconds);
        json_field_object(&writer, "boundObjectRef");
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_string(&writer, "kind", STR("Pod"));
        json_field_string(&writer, "name", str_from(pod->name));
        json_field_string(&writer, "uid", str_from(pod->uid));
        json_end_object(&writer);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

static int ask(struct material_item *item)
{
        const struct node_pod *pod = item->material->pod;
        bool is_token = item->kind == MATERIAL_TOKEN;
        _cleanup_buffer_ struct buffer path = {}, body = {};

        int r = kube_path_append(&path, kinds[item->kind], str_from(pod->namespace),
                                 str_from(item->name), is_token ? STR("token") : STR_EMPTY);
        if (r >= 0 && is_token)
                r = write_token_request(item, &body);
        if (r < 0)
                return r;
        const struct kube_request request = {
                .method = is_token ? STR("POST") : STR("GET"),
                .path = buffer_str(&path),
                .body = buffer_str(&body),
        };
        return kube_client_request(pod->node->client, &request, on_answer, item, &item->call);
}

/* A token is used for four fifths of its life. */
static bool is_fresh_token(const struct material_item *item)
{
        const struct node_pod *pod = item->material->pod;

        if (item->kind != MATERIAL_TOKEN || !item->doc)
                return false;
        uint64_t life_s =
                pod_spec_of(pod)->volumes[item->volume].projections[item->projection].token_seconds;
        return net_loop_now_ms(pod->node->loop) - item->got_at_ms < life_s * 800;
}

/* Asks for all, or for what is absent only. Tells the end by finish(), at once if nothing is. */
static void ask_all(struct pod_material *material, bool only_absent)
{
        material->why[0] = '\0';
        material->outstanding = 1;
        for (size_t i = 0; i < material->count; i++) {
                struct material_item *item = &material->items[i];
                if (item->call || (only_absent && item->doc) ||
                    (material->is_quiet && is_fresh_token(item)))
                        continue;
                int r = ask(item);
                if (r >= 0)
                        material->outstanding++;
                else
                        snprintf(material->why, sizeof(material->why), "%s \"%s\": %s",
                                 kind_names[item->kind], item->name, strerror(-r));
        }
        if (--material->outstanding == 0)
                finish(material);
}

/* ---- the end of it ---- */

static void renew(struct net_timer *timer)
{
        struct pod_material *material = container_of(timer, struct pod_material, refresh);

        material->is_quiet = true;
        material->is_start = false;
        material->has_changed = false;
        ask_all(material, false);
}

/* Tokens run out, ConfigMaps and Secrets change: volumes of them are looked after. */
static void plan_renewal(struct pod_material *material)
{
        const struct pod_spec *spec = pod_spec_of(material->pod);
        uint64_t delay = REFRESH_MS + str_fnv1a(str_from(material->pod->uid)) % REFRESH_SPREAD_MS;
        bool has_files = false;

        for (size_t i = 0; i < spec->volume_count; i++)
                has_files |= spec->volumes[i].projection_count > 0;
        if (has_files && material->count > 0)
                net_timer_start(material->pod->node->loop, &material->refresh, delay, renew);
}

static void fail(struct pod_material *material, const char *message)
{
        const struct pod_event event = { .type = POD_EVENT_PREPARE_FAILED, .message = message };

        if (material->is_quiet) {
                log_warning("volumes of Pod %s are not renewed: %s", material->pod->uid, message);
                plan_renewal(material);
                return;
        }
        pod_tell(material->pod, &event);
}

static void tell_prepared(struct pod_material *material)
{
        const struct pod_event event = { .type = POD_EVENT_PREPARED };

        plan_renewal(material);
        eviction_begin(material->pod);
        pod_tell(material->pod, &event);
}

static void memory_answered(struct node *node, const struct node_call *call, int result,
                            const char *reason)
{
        struct node_pod *pod = call->pod;
        char message[POD_MESSAGE_SIZE];

        (void)node;
        if (!pod || !pod->material || pod->material->mounting == 0)
                return;
        const struct pod_volume *volume = &pod_spec_of(pod)->volumes[call->index];
        if (result >= 0)
                result = files_own(pod, volume);
        if (result < 0)
                snprintf(pod->material->why, sizeof(pod->material->why),
                         "MountVolume.SetUp failed for volume \"%.*s\" : %s: %s",
                         STR_FORMAT(volume->name), reason, strerror(-result));
        if (--pod->material->mounting > 0)
                return;
        if (!pod->material->why[0]) {
                tell_prepared(pod->material);
                return;
        }
        snprintf(message, sizeof(message), "%s", pod->material->why);
        fail(pod->material, message);
}

/* Has the runtime make the volumes in memory; memory_answered() goes on when all are there. */
static int mount_memory(struct pod_material *material)
{
        struct node_pod *pod = material->pod;
        const struct pod_spec *spec = pod_spec_of(pod);
        int r = 0;

        for (size_t i = 0; i < spec->volume_count && r >= 0; i++) {
                char path[POD_PATH_SIZE];
                uint64_t call;
                if (spec->volumes[i].kind != POD_VOLUME_EMPTY_DIR || !spec->volumes[i].in_memory)
                        continue;
                files_volume_path(pod, &spec->volumes[i], path);
                r = runtime_memory(pod->node->runtime, path,
                                   files_memory_size(spec, &spec->volumes[i]), &call);
                if (r >= 0)
                        r = node_expect(pod->node, call,
                                        &(struct node_call){ .answered = memory_answered,
                                                             .pod = pod,
                                                             .index = i });
                if (r >= 0)
                        material->mounting++;
        }
        return r;
}

static void finish(struct pod_material *material)
{
        struct node_pod *pod = material->pod;
        struct error error = {};

        if (material->is_start) {
                const struct pod_container_state *state = &pod->worker.containers[material->index];
                material->is_start = false;
                if (state->phase == POD_CONTAINER_STARTING && state->attempt == material->attempt)
                        container_start(pod, material->index, material->attempt);
                return;
        }
        if (material->why[0]) {
                fail(material, material->why);
                return;
        }
        if (!material->is_quiet || material->has_changed) {
                int r = files_write(pod, &error);
                if (r < 0) {
                        fail(material, error.code ? error.message : strerror(-r));
                        return;
                }
        }
        if (material->is_quiet) {
                plan_renewal(material);
                return;
        }
        int r = mount_memory(material);
        if (r < 0 && material->mounting == 0)
                fail(material, strerror(-r));
        else if (r < 0)
                snprintf(material->why, sizeof(material->why), "%s", strerror(-r));
        else if (material->mounting == 0)
                tell_prepared(material);
}

void material_prepare(struct node_pod *pod)
{
        const struct pod_event event = { .type = POD_EVENT_PREPARE_FAILED,
                                         .message = "out of memory" };

        material_free(pod->material);
        pod->material = material_new(pod);
        if (!pod->material) {
                pod_tell(pod, &event);
                return;
        }
        ask_all(pod->material, false);
}

bool material_refresh(struct node_pod *pod, size_t index, uint32_t attempt)
{
        struct pod_material *material = pod->material;

        if (!material || material->outstanding > 0 ||
            (material->index == index && material->attempt == attempt))
                return false;
        material->is_start = true;
        material->is_quiet = false;
        material->index = index;
        material->attempt = attempt;
        ask_all(material, true);
        return true;
}
