// SPDX-License-Identifier: Apache-2.0
#include "control/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/internal_call.h"
#include "apiserver/local_feed.h"
#include "base/clock.h"
#include "base/log.h"
#include "kinds/mirrored.h"
#include "net/loop.h"
#include "json/writer.h"

enum { SHOW_AGAIN_MS = 500 };

struct mirror {
        struct mirror_options options; /* `done` is NULL once it was called */
        size_t waiting;                /* for answers, and for the end of mirror_new() */
        struct local_feed *feeds[4];   /* of the kinds of objects that are made */
        struct net_timer again;
        bool lacks_namespace, lacks[MIRRORED_PROGRAMS]; /* until `again` */
};

/* ---- objects ---- */

static void write_metadata(struct json_writer *w, const char *name, const char *label,
                           const char *annotation)
{
        json_field_object(w, "metadata");
        json_field_string(w, "name", str_from(name));
        json_field_string(w, "namespace", STR(MIRRORED_NAMESPACE));
        json_field_object(w, "labels");
        json_field_string(w, "app", str_from(label));
        json_end_object(w);
        if (annotation) {
                json_field_object(w, "annotations");
                json_field_string(w, annotation, STR("built-in"));
                json_end_object(w);
        }
        json_end_object(w);
}

static void write_containers(struct json_writer *w, const struct mirrored_program *program)
{
        json_field_array(w, "containers");
        json_begin_object(w);
        json_field_string(w, "name", str_from(program->container));
        json_field_string(w, "image", str_from(program->image));
        json_field_array(w, "ports");
        json_begin_object(w);
        json_field_int(w, "containerPort", program->port);
        json_end_object(w);
        json_end_array(w);
        json_end_object(w);
        json_end_array(w);
}

static void write_selector(struct json_writer *w, const char *key,
                           const struct mirrored_program *program)
{
        json_field_object(w, key);
        json_field_string(w, "app", str_from(program->label));
        json_end_object(w);
}

static void write_deployment(struct json_writer *w, const struct mirror *mirror,
                             const struct mirrored_program *program)
{
        (void)mirror;
        write_metadata(w, program->deployment, program->label, "cay.dev/mirror");
        json_field_object(w, "spec");
        json_field_int(w, "replicas", 1);
        json_field_object(w, "selector");
        write_selector(w, "matchLabels", program);
        json_end_object(w);
        json_field_object(w, "template");
        json_field_object(w, "metadata");
        write_selector(w, "labels", program);
        json_end_object(w);
        json_field_object(w, "spec");
        write_containers(w, program);
        json_end_object(w);
        json_end_object(w);
        json_end_object(w);
}

static void write_pod(struct json_writer *w, const struct mirror *mirror,
                      const struct mirrored_program *program)
{
        write_metadata(w, program->pod, program->label, "kubernetes.io/config.mirror");
        json_field_object(w, "spec");
        json_field_string(w, "nodeName", mirror->options.node_name);
        json_field_bool(w, "hostNetwork", true);
        json_field_bool(w, "automountServiceAccountToken", false);
        write_containers(w, program);
        json_end_object(w);
}

static void write_service(struct json_writer *w, const struct mirror *mirror,
                          const struct mirrored_program *program)
{
        (void)mirror;
        write_metadata(w, program->service, program->label, NULL);
        json_field_object(w, "spec");
        write_selector(w, "selector", program);
        json_field_array(w, "ports");
        json_begin_object(w);
        json_field_string(w, "name", STR("http"));
        json_field_int(w, "port", program->port);
        json_end_object(w);
        json_end_array(w);
        json_end_object(w);
}

static void write_namespace(struct json_writer *w, const struct mirror *mirror,
                            const struct mirrored_program *program)
{
        (void)mirror, (void)program;
        json_field_object(w, "metadata");
        json_field_string(w, "name", STR(MIRRORED_NAMESPACE));
        json_end_object(w);
}

static void write_condition(struct json_writer *w, const char *type, const char *now)
{
        json_begin_object(w);
        json_field_string(w, "type", str_from(type));
        json_field_string(w, "status", STR("True"));
        json_field_string(w, "lastTransitionTime", str_from(now));
        json_end_object(w);
}

static void write_deployment_status(struct json_writer *w, const struct mirror *mirror,
                                    const struct mirrored_program *program, const char *now)
{
        static const char *const counts[] = { "replicas", "updatedReplicas", "readyReplicas",
                                              "availableReplicas", "observedGeneration" };

        (void)mirror, (void)program;
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                json_field_int(w, counts[i], 1);
        json_field_array(w, "conditions");
        write_condition(w, "Available", now);
        json_end_array(w);
}

/* As of a Pod with hostNetwork: its address is the Node's. */
static void write_addresses(struct json_writer *w, struct str address)
{
        static const char *const fields[][2] = { { "hostIP", "hostIPs" }, { "podIP", "podIPs" } };

        for (size_t i = 0; address.length > 0 && i < ARRAY_SIZE(fields); i++) {
                json_field_string(w, fields[i][0], address);
                json_field_array(w, fields[i][1]);
                json_begin_object(w);
                json_field_string(w, "ip", address);
                json_end_object(w);
                json_end_array(w);
        }
}

static void write_pod_status(struct json_writer *w, const struct mirror *mirror,
                             const struct mirrored_program *program, const char *now)
{
        static const char *const conditions[] = { "PodScheduled", "Initialized", "ContainersReady",
                                                  "Ready" };

        json_field_string(w, "phase", STR("Running"));
        write_addresses(w, mirror->options.address);
        json_field_string(w, "startTime", str_from(now));
        json_field_array(w, "conditions");
        for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
                write_condition(w, conditions[i], now);
        json_end_array(w);
        json_field_array(w, "containerStatuses");
        json_begin_object(w);
        json_field_string(w, "name", str_from(program->container));
        json_field_string(w, "image", str_from(program->image));
        json_field_string(w, "imageID", STR(""));
        json_field_bool(w, "ready", true);
        json_field_bool(w, "started", true);
        json_field_int(w, "restartCount", 0);
        json_field_object(w, "state");
        json_field_object(w, "running");
        json_field_string(w, "startedAt", str_from(now));
        json_end_object(w);
        json_end_object(w);
        json_end_object(w);
        json_end_array(w);
}

/* ---- requests ---- */

static void settle(struct mirror *mirror)
{
        if (--mirror->waiting > 0 || !mirror->options.done)
                return;
        mirror->options.done(mirror->options.user);
        mirror->options.done = NULL;
}

static void answered(void *user, unsigned code, struct json_doc *doc)
{
        if (code >= 300 && code != 409) /* it stands from an earlier start */
                log_warning("a mirror object was refused: %u %.*s", code,
                            STR_FORMAT(doc ? json_string(json_get(json_root(doc), "message"))
                                           : STR_EMPTY));
        settle(user);
}

static int send_request(struct mirror *mirror, struct internal_request *request,
                        struct buffer *text)
{
        _cleanup_doc_ struct json_doc *doc = NULL;
        int r = json_doc_from_buffer(text, &doc);

        if (r < 0)
                return r;
        request->manager = STR("cay");
        request->body = doc;
        request->done = answered;
        request->user = mirror;
        mirror->waiting++;
        r = internal_call_start(mirror->options.server, request, NULL);
        if (r < 0)
                mirror->waiting--;
        return r;
}

static int create(struct mirror *mirror, struct str group, struct str plural,
                  void (*write)(struct json_writer *w, const struct mirror *mirror,
                                const struct mirrored_program *program),
                  const struct mirrored_program *program)
{
        _cleanup_buffer_ struct buffer text = {};
        struct internal_request request = {
                .verb = API_CREATE,
                .group = group,
                .plural = plural,
                .name_space = program ? STR(MIRRORED_NAMESPACE) : STR_EMPTY,
        };
        struct json_writer w;

        json_writer_init(&w, &text);
        json_begin_object(&w);
        write(&w, mirror, program);
        json_end_object(&w);
        int r = json_writer_finish(&w);
        return r < 0 ? r : send_request(mirror, &request, &text);
}

static int set_status(struct mirror *mirror, struct str group, struct str plural, const char *name,
                      void (*write)(struct json_writer *w, const struct mirror *mirror,
                                    const struct mirrored_program *program, const char *now),
                      const struct mirrored_program *program, const char *now)
{
        _cleanup_buffer_ struct buffer text = {};
        struct internal_request request = {
                .verb = API_PATCH,
                .group = group,
                .plural = plural,
                .subresource = STR("status"),
                .name_space = STR(MIRRORED_NAMESPACE),
                .name = str_from(name),
                .content_type = STR("application/merge-patch+json"),
        };
        struct json_writer w;

        json_writer_init(&w, &text);
        json_begin_object(&w);
        json_field_object(&w, "status");
        write(&w, mirror, program, now);
        json_end_object(&w);
        json_end_object(&w);
        int r = json_writer_finish(&w);
        return r < 0 ? r : send_request(mirror, &request, &text);
}

static int show(struct mirror *mirror, const struct mirrored_program *program, const char *now)
{
        int r = create(mirror, STR("apps"), STR("deployments"), write_deployment, program);

        if (r == 0)
                r = create(mirror, STR_EMPTY, STR("pods"), write_pod, program);
        if (r == 0 && program->service)
                r = create(mirror, STR_EMPTY, STR("services"), write_service, program);
        if (r == 0)
                r = set_status(mirror, STR("apps"), STR("deployments"), program->deployment,
                               write_deployment_status, program, now);
        if (r == 0)
                r = set_status(mirror, STR_EMPTY, STR("pods"), program->pod, write_pod_status,
                               program, now);
        return r;
}

static void show_again(struct net_timer *timer)
{
        struct mirror *mirror = container_of(timer, struct mirror, again);
        char now[RFC3339_SECONDS_SIZE];

        if (mirror->lacks_namespace &&
            create(mirror, STR_EMPTY, STR("namespaces"), write_namespace, NULL) < 0)
                log_warning("cannot make the namespace " MIRRORED_NAMESPACE " again");
        mirror->lacks_namespace = false;
        rfc3339_format_seconds(clock_realtime_ns(), now);
        for (size_t i = 0; i < MIRRORED_PROGRAMS; i++) {
                if (!mirror->lacks[i])
                        continue;
                mirror->lacks[i] = false;
                int r = show(mirror, &mirrored_programs[i], now);
                if (r < 0)
                        log_warning("cannot show cay %s again: %s", mirrored_programs[i].role,
                                    strerror(-r));
        }
}

/*
 * Whoever deletes one gets it again, as with the mirror Pods of a kubelet; so does who deletes the
 * namespace, as the manifests of upstream's releases do when they are taken back. But not at once:
 * a client that waits for the deletion would take the new one for the old (kubectl does).
 */
static void on_event(void *user, const struct kube_event *event)
{
        struct mirror *mirror = user;

        if (event->type != KUBE_DELETED)
                return;
        bool is_namespace = event->name_space.length == 0;
        if (is_namespace && !str_equal(event->name, STR(MIRRORED_NAMESPACE)))
                return;
        bool is_ours = is_namespace;
        mirror->lacks_namespace = mirror->lacks_namespace || is_namespace;
        for (size_t i = 0; i < MIRRORED_PROGRAMS; i++) {
                const struct mirrored_program *program = &mirrored_programs[i];
                if (is_namespace || str_equal(event->name, str_from(program->deployment)) ||
                    str_equal(event->name, str_from(program->pod)) ||
                    (program->service && str_equal(event->name, str_from(program->service))))
                        is_ours = mirror->lacks[i] = true;
        }
        if (is_ours)
                net_timer_start(mirror->options.loop, &mirror->again, SHOW_AGAIN_MS, show_again);
}

static int start_feeds(struct mirror *mirror)
{
        const struct kind *const kinds[] = { &kind_pod, &kind_deployment, &kind_service,
                                             &kind_namespace };

        for (size_t i = 0; i < ARRAY_SIZE(mirror->feeds); i++) {
                const struct local_feed_options options = {
                        .server = mirror->options.server,
                        .kind = kinds[i],
                        .name_space = kinds[i]->namespaced ? STR(MIRRORED_NAMESPACE) : STR_EMPTY,
                        .handler = on_event,
                        .user = mirror,
                };
                int r = local_feed_new(&options, &mirror->feeds[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

int mirror_new(const struct mirror_options *options, struct mirror **ret_mirror)
{
        struct mirror *mirror = calloc(1, sizeof(*mirror));
        char now[RFC3339_SECONDS_SIZE];
        int r = 0;

        if (!mirror)
                return -ENOMEM;
        *mirror = (struct mirror){ .options = *options, .waiting = 1 };
        rfc3339_format_seconds(clock_realtime_ns(), now);
        for (size_t i = 0; r == 0 && i < MIRRORED_PROGRAMS; i++)
                r = show(mirror, &mirrored_programs[i], now);
        if (r == 0)
                r = start_feeds(mirror);
        if (r < 0)
                log_warning("not every mirror object could be made: %s", strerror(-r));
        *ret_mirror = mirror;
        settle(mirror);
        return 0;
}

void mirror_free(struct mirror *mirror)
{
        if (!mirror)
                return;
        net_timer_stop(&mirror->again);
        for (size_t i = 0; i < ARRAY_SIZE(mirror->feeds); i++)
                if (mirror->feeds[i])
                        local_feed_free(mirror->feeds[i]);
        free(mirror);
}
