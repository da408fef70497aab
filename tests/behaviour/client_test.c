// SPDX-License-Identifier: Apache-2.0

/*
 * The wire client against whatever API server the kubeconfig names: the local one or a real
 * kube-apiserver. What a server in the same process cannot prove: discovery of what it has, TLS,
 * real conflicts, real watches.
 *
 * usage: KUBECONFIG=… client_test        (TAP; an administrator's kubeconfig)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/client.h"
#include "client/reflector.h"
#include "client/resource.h"
#include "serve/leader.h"

static const struct kind config_maps = { .version = STR("v1"),
                                         .kind = STR("ConfigMap"),
                                         .plural = STR("configmaps"),
                                         .namespaced = true };
static const struct kind namespaces = { .version = STR("v1"),
                                        .kind = STR("Namespace"),
                                        .plural = STR("namespaces") };

enum { DEADLINE_MS = 20 * 1000, ANSWER_SIZE = 512 };

struct scene {
        uv_loop_t uv;
        struct net_loop *loop;
        struct net_timer deadline;
        bool late;
        struct kube_config config;
        struct kube_client *client;
        char name_space[64];
        unsigned number;
        bool failed;
};

static void on_late(struct net_timer *timer)
{
        container_of(timer, struct scene, deadline)->late = true;
}

/* Runs the loop until the condition holds; whether it did in time. */
#define wait_until(scene, condition)                                                               \
        ({                                                                                         \
                uv_update_time(&(scene)->uv);                                                      \
                (scene)->late = false;                                                             \
                net_timer_start((scene)->loop, &(scene)->deadline, DEADLINE_MS, on_late);          \
                while (!(condition) && !(scene)->late)                                             \
                        uv_run(&(scene)->uv, UV_RUN_ONCE);                                         \
                net_timer_stop(&(scene)->deadline);                                                \
                !(scene)->late;                                                                    \
        })

static void report(struct scene *scene, bool good, const char *what, const char *more)
{
        scene->number++;
        printf("%s %u - %s\n", good ? "ok" : "not ok", scene->number, what);
        if (!good) {
                printf("# %s\n", more);
                scene->failed = true;
        }
        fflush(stdout);
}

/* ---- requests ---- */

struct answer {
        bool there;
        int error;
        unsigned status;
        char reason[64], message[ANSWER_SIZE], version[64];
};

static void on_answer(void *user, const struct kube_response *response)
{
        struct answer *answer = user;
        struct json_value root = response->doc ? json_root(response->doc) : (struct json_value){};
        struct str version = json_string(json_get(root, "metadata", "resourceVersion"));

        answer->there = true;
        answer->error = response->error;
        answer->status = response->status;
        snprintf(answer->reason, sizeof(answer->reason), "%.*s", STR_FORMAT(response->reason));
        snprintf(answer->message, sizeof(answer->message), "%.*s", STR_FORMAT(response->message));
        snprintf(answer->version, sizeof(answer->version), "%.*s", STR_FORMAT(version));
}

static struct answer ask(struct scene *scene, const char *method, const struct kind *kind,
                         const char *name_space, const char *name, const char *body)
{
        _cleanup_buffer_ struct buffer path = {};
        struct answer answer = {};
        struct kube_request request = { .method = str_from(method), .body = str_from(body) };

        if (kube_path_append(&path, kind, str_from(name_space), str_from(name), STR_EMPTY) < 0)
                return answer;
        request.path = buffer_str(&path);
        if (str_equal(request.method, STR("PATCH")))
                request.content_type = STR("application/merge-patch+json");
        if (kube_client_request(scene->client, &request, on_answer, &answer, NULL) < 0 ||
            !wait_until(scene, answer.there))
                snprintf(answer.message, sizeof(answer.message), "no answer");
        return answer;
}

static struct answer put_map(struct scene *scene, const char *name, const char *labels)
{
        char body[ANSWER_SIZE];

        snprintf(body, sizeof(body),
                 "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"data\":{\"a\":\"b\"}}", name,
                 labels);
        return ask(scene, "POST", &config_maps, scene->name_space, "", body);
}

static void errors_are_told_apart(struct scene *scene)
{
        struct answer made = put_map(scene, "one", "");
        struct answer again = put_map(scene, "one", "");
        struct answer absent = ask(scene, "GET", &config_maps, scene->name_space, "two", NULL);
        struct answer stale =
                ask(scene, "PATCH", &config_maps, scene->name_space, "one",
                    "{\"metadata\":{\"resourceVersion\":\"1\"},\"data\":{\"a\":\"c\"}}");
        struct answer refused =
                ask(scene, "DELETE", &config_maps, scene->name_space, "one",
                    "{\"preconditions\":{\"uid\":\"00000000-0000-4000-8000-000000000000\"}}");
        struct answer gone = ask(scene, "DELETE", &config_maps, scene->name_space, "one", NULL);

        report(scene, made.status == 201 && made.version[0], "a POST makes an object",
               made.message);
        report(scene, again.status == 409 && !strcmp(again.reason, "AlreadyExists"),
               "a second one is refused as AlreadyExists", again.message);
        report(scene, absent.status == 404 && !strcmp(absent.reason, "NotFound"),
               "what is absent is NotFound", absent.message);
        report(scene, stale.status == 409 && !strcmp(stale.reason, "Conflict"),
               "a patch of an old version is a Conflict", stale.message);
        report(scene, refused.status == 409 && !strcmp(refused.reason, "Conflict"),
               "a deletion of another uid is a Conflict", refused.message);
        report(scene, gone.status == 200, "a deletion is answered 200", gone.message);
}

/* ---- reflectors ---- */

struct heard {
        struct buffer text;
        enum kube_reflector_state state;
        char message[ANSWER_SIZE];
};

static void on_event(void *user, const struct kube_event *event)
{
        static const char marks[] = { [KUBE_LIST_BEGIN] = '[',
                                      [KUBE_ADDED] = '+',
                                      [KUBE_MODIFIED] = '~',
                                      [KUBE_DELETED] = '-',
                                      [KUBE_LIST_END] = ']' };
        struct heard *heard = user;

        buffer_printf(&heard->text, "%c%.*s ", marks[event->type], STR_FORMAT(event->name));
}

static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct heard *heard = user;

        heard->state = state;
        if (message.length > 0)
                snprintf(heard->message, sizeof(heard->message), "%.*s", STR_FORMAT(message));
}

static bool heard_is(const struct heard *heard, const char *expected)
{
        return str_equal(buffer_str(&heard->text), str_from(expected));
}

static void a_reflector_follows(struct scene *scene, bool streamed)
{
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;
        const struct kube_reflector_options options = {
                .client = scene->client,
                .kind = &config_maps,
                .name_space = str_from(scene->name_space),
                .label_selector = streamed ? STR("for=streamed") : STR("for in (listed)"),
                .chunk = 1,
                .no_watch_list = !streamed,
                .handler = on_event,
                .on_state = on_state,
                .user = &heard,
        };
        const char *label = streamed ? "\"for\":\"streamed\"" : "\"for\":\"listed\"";

        put_map(scene, "a", label);
        put_map(scene, "b", label);
        put_map(scene, "c", "");
        if (kube_reflector_new(&options, &reflector) < 0)
                return;
        bool good = wait_until(scene, heard.state == KUBE_REFLECTOR_WATCHING &&
                                              heard_is(&heard, "[ +a +b ] "));
        ask(scene, "PATCH", &config_maps, scene->name_space, "a", "{\"data\":{\"a\":\"c\"}}");
        ask(scene, "PATCH", &config_maps, scene->name_space, "c", "{\"data\":{\"a\":\"c\"}}");
        ask(scene, "PATCH", &config_maps, scene->name_space, "b",
            "{\"metadata\":{\"labels\":{\"for\":null}}}");
        ask(scene, "DELETE", &config_maps, scene->name_space, "a", NULL);
        good = good && wait_until(scene, heard_is(&heard, "[ +a +b ] ~a -b -a "));
        buffer_append_char(&heard.text, '\0');
        report(scene, good,
               streamed ? "a streamed list and its watch tell all" : "chunks and a watch tell all",
               heard.text.data);
        kube_reflector_free(reflector);
        buffer_deinit(&heard.text);
        ask(scene, "DELETE", &config_maps, scene->name_space, "b", NULL);
        ask(scene, "DELETE", &config_maps, scene->name_space, "c", NULL);
}

static void an_absent_kind_is_waited_for(struct scene *scene)
{
        static const struct kind absent = { .group = STR("absent.example.com"),
                                            .version = STR("v1"),
                                            .kind = STR("Absent"),
                                            .plural = STR("absents") };
        struct heard heard = {};
        struct kube_reflector *reflector = NULL;
        const struct kube_reflector_options options = { .client = scene->client,
                                                        .kind = &absent,
                                                        .handler = on_event,
                                                        .on_state = on_state,
                                                        .user = &heard };

        if (kube_reflector_new(&options, &reflector) < 0)
                return;
        bool good = wait_until(scene, heard.state == KUBE_REFLECTOR_WAITING);
        report(scene, good && heard.message[0], "a kind that is not served is waited for",
               heard.message);
        kube_reflector_free(reflector);
        buffer_deinit(&heard.text);
}

/* ---- leaders ---- */

struct candidate {
        struct leader *leader;
        unsigned leads, losses;
        char why[ANSWER_SIZE];
};

static void on_lead(void *user)
{
        ((struct candidate *)user)->leads++;
}

static void on_lost(void *user, struct str why)
{
        struct candidate *candidate = user;

        candidate->losses++;
        snprintf(candidate->why, sizeof(candidate->why), "%.*s", STR_FORMAT(why));
}

static void on_released(void *user)
{
        *(bool *)user = true;
}

static int run_for_leader(struct scene *scene, struct candidate *candidate, const char *identity)
{
        const struct leader_options options = { .client = scene->client,
                                                .name_space = str_from(scene->name_space),
                                                .name = STR("lease"),
                                                .identity = str_from(identity),
                                                .retry_ms = 200,
                                                .on_lead = on_lead,
                                                .on_lost = on_lost,
                                                .user = candidate };

        return leader_new(&options, &candidate->leader);
}

static void one_leads_until_it_releases(struct scene *scene)
{
        struct candidate first = {}, second = {};
        bool released = false;

        if (run_for_leader(scene, &first, "first") < 0)
                return;
        bool good = wait_until(scene, first.leads == 1);
        if (run_for_leader(scene, &second, "second") < 0)
                return;
        good = good && wait_until(scene, str_equal(leader_holder(second.leader), STR("first")));
        good = good && second.leads == 0 && leader_is_leading(first.leader);
        report(scene, good, "one candidate leads, the other sees it", first.why);

        uint64_t begin = clock_monotonic_ns();
        leader_release(first.leader, on_released, &released);
        good = wait_until(scene, released && second.leads == 1);
        report(scene, good && clock_monotonic_ns() - begin < 5 * NS_PER_SECOND,
               "a released lease is taken at once", second.why);
        leader_free(first.leader);
        leader_free(second.leader);
}

/* ---- all ---- */

static int set_up(struct scene *scene, struct error *error)
{
        char suffix[NAME_SUFFIX_LENGTH + 1], body[128];
        const struct kube_client_options options = { .config = &scene->config };

        int r = uv_loop_init(&scene->uv);
        if (r == 0)
                r = net_loop_new(&scene->uv, &scene->loop);
        if (r == 0)
                r = kube_config_find(NULL, STR_EMPTY, error, &scene->config);
        if (r < 0)
                return r;
        struct kube_client_options with_loop = options;
        with_loop.loop = scene->loop;
        r = kube_client_new(&with_loop, error, &scene->client);
        if (r < 0)
                return r;
        random_name_suffix(suffix);
        snprintf(scene->name_space, sizeof(scene->name_space), "client-test-%s", suffix);
        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\"}}", scene->name_space);
        struct answer made = ask(scene, "POST", &namespaces, "", "", body);
        if (made.status != 201)
                return error_set(error, -EIO, "cannot make a namespace: %s", made.message);
        return 0;
}

int main(void)
{
        static struct scene scene;
        struct error error = {};

        if (set_up(&scene, &error) < 0) {
                printf("Bail out! %s\n", error.message);
                return EXIT_FAILURE;
        }
        errors_are_told_apart(&scene);
        a_reflector_follows(&scene, false);
        a_reflector_follows(&scene, true);
        an_absent_kind_is_waited_for(&scene);
        one_leads_until_it_releases(&scene);
        ask(&scene, "DELETE", &namespaces, "", scene.name_space, NULL);
        printf("1..%u\n", scene.number);
        kube_client_free(scene.client);
        kube_config_deinit(&scene.config);
        net_loop_free(scene.loop);
        uv_run(&scene.uv, UV_RUN_DEFAULT);
        uv_loop_close(&scene.uv);
        return scene.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
