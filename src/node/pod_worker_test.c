// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/test.h"
#include "node/pod_worker.h"

/*
 * Stories of one Pod: each step is an event and the actions that it must cause (those that are
 * Kubernetes Events left out), with the state that the status then shows.
 */
struct step {
        const char *event, *actions, *state;
};

struct story {
        struct arena arena;
        struct json_doc *doc;
        struct pod_spec spec;
        struct pod_worker worker;
        struct pod_actions actions;
        struct pod_time now;
        struct buffer trace;
};

#define NOW_REALTIME (UINT64_C(1800000000) * NS_PER_SECOND)

static void read_pod(struct story *story, const char *json)
{
        struct error error = {};

        assert_int_equal(json_doc_parse(str_from(json), NULL, NULL, &error, &story->doc), 0);
        int r = pod_spec_read(json_root(story->doc), &story->arena, &error, &story->spec);
        if (r < 0)
                print_error("%s\n", error.message);
        assert_int_equal(r, 0);
}

#define POD(spec)                                                                                  \
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{" spec "}}"
#define MAIN "\"containers\":[{\"name\":\"main\",\"image\":\"busybox\"}]"

static void begin(struct story *story, const char *json)
{
        *story = (struct story){ .now = { .monotonic = NS_PER_SECOND, .realtime = NOW_REALTIME } };
        read_pod(story, json);
        pod_worker_init(&story->worker, 0x0a000001);
}

static void end(struct story *story)
{
        pod_worker_deinit(&story->worker);
        buffer_deinit(&story->trace);
        json_doc_unref(story->doc);
        arena_deinit(&story->arena);
}

static void trace_actions(struct story *story)
{
        static const char *const names[] = { "prepare", "create", "start",  "stop",   "kill",
                                             "destroy", "probe+", "probe-", "hook+",  "hook-",
                                             "publish", "delete", "event",  "release" };
        static const char *const roles[] = { "startup", "liveness", "readiness" };

        for (size_t i = 0; i < story->actions.count; i++) {
                const struct pod_action *action = &story->actions.items[i];
                struct str name = story->spec.container_count > action->container
                                          ? story->spec.containers[action->container].name
                                          : STR_EMPTY;
                if (action->type == POD_ACTION_EVENT)
                        continue;
                buffer_printf(&story->trace, "%s%s", story->trace.length ? " " : "",
                              names[action->type]);
                if (action->type == POD_ACTION_RUN_HOOK)
                        buffer_printf(&story->trace, "%s",
                                      action->hook == POD_HOOK_PRE_STOP ? "stop" : "start");
                if ((action->type >= POD_ACTION_START && action->type <= POD_ACTION_KILL) ||
                    action->type == POD_ACTION_RUN_HOOK)
                        buffer_printf(&story->trace, ":%.*s", STR_FORMAT(name));
                if (action->type == POD_ACTION_START_PROBE || action->type == POD_ACTION_STOP_PROBE)
                        buffer_printf(&story->trace, ":%.*s:%s", STR_FORMAT(name),
                                      roles[action->role]);
        }
        story->actions.count = 0;
}

static void tell(struct story *story, const struct pod_event *event)
{
        pod_worker_handle(&story->worker, event, story->now, &story->actions);
        trace_actions(story);
}

/* Lets time pass, waking the worker when it asked for it. */
static void pass(struct story *story, uint64_t ns)
{
        uint64_t until = story->now.monotonic + ns;
        const struct pod_event timer = { .type = POD_EVENT_TIMER };

        for (int i = 0; story->worker.deadline && story->worker.deadline <= until; i++) {
                uint64_t step = MAX(story->worker.deadline, story->now.monotonic);
                assert_true(i < 100);
                story->now.realtime += step - story->now.monotonic;
                story->now.monotonic = step;
                tell(story, &timer);
        }
        story->now.realtime += until - story->now.monotonic;
        story->now.monotonic = until;
}

static const struct {
        const char *verb;
        enum pod_event_type type;
} verbs[] = {
        { "prepared", POD_EVENT_PREPARED },
        { "prepare-failed", POD_EVENT_PREPARE_FAILED },
        { "sandbox", POD_EVENT_SANDBOX_CREATED },
        { "sandbox-failed", POD_EVENT_SANDBOX_FAILED },
        { "sandbox-interrupted", POD_EVENT_SANDBOX_INTERRUPTED },
        { "sandbox-lost", POD_EVENT_SANDBOX_LOST },
        { "destroyed", POD_EVENT_SANDBOX_DESTROYED },
        { "started", POD_EVENT_STARTED },
        { "refused", POD_EVENT_START_REFUSED },
        { "interrupted", POD_EVENT_START_INTERRUPTED },
        { "exited", POD_EVENT_EXITED },
        { "signal", POD_EVENT_EXITED },
        { "oom", POD_EVENT_EXITED },
        { "stale", POD_EVENT_EXITED },
        { "probe", POD_EVENT_PROBE },
        { "hook", POD_EVENT_HOOK_ENDED },
        { "evicted", POD_EVENT_EVICTED },
        { "removed", POD_EVENT_REMOVED },
        { "unsupported", POD_EVENT_REFUSED },
        { "delete-failed", POD_EVENT_DELETE_FAILED },
        { "restored", POD_EVENT_RESTORED },
        { "desired", POD_EVENT_DESIRED },
        { "delete", POD_EVENT_DESIRED },
};

/* "VERB [CONTAINER] [NUMBER or WORD] [WORD]" */
static void play(struct story *story, const char *text)
{
        char verb[32] = "", name[32] = "", word[32] = "", more[32] = "";
        struct pod_event event = {
                .spec = &story->spec, .address = 0x0af40005, .id = "c1", .message = "why"
        };

        sscanf(text, "%31s %31s %31s %31s", verb, name, word, more);
        if (strcmp(verb, "wait") == 0) {
                pass(story, strtoull(name, NULL, 10) * NS_PER_MS);
                return;
        }
        size_t i = 0;
        while (i < ARRAY_SIZE(verbs) && strcmp(verbs[i].verb, verb) != 0)
                i++;
        assert_true(i < ARRAY_SIZE(verbs));
        event.type = verbs[i].type;
        int index = pod_spec_find_container(&story->spec, str_from(name));
        event.container = index < 0 ? 0 : (size_t)index;
        event.attempt = story->worker.containers[event.container].attempt;
        if (strcmp(verb, "delete") == 0) {
                story->spec.is_deleting = true;
                story->spec.deletion_grace_s = strtoull(name, NULL, 10);
        } else if (strcmp(verb, "signal") == 0) {
                event.signal = atoi(word);
        } else if (strcmp(verb, "oom") == 0) {
                event.oom = true;
        } else if (strcmp(verb, "stale") == 0) {
                event.attempt--;
        } else if (strcmp(verb, "probe") == 0) {
                event.role = word[0] == 's'   ? POD_PROBE_STARTUP
                             : word[0] == 'l' ? POD_PROBE_LIVENESS
                                              : POD_PROBE_READINESS;
                event.healthy = strcmp(more, "up") == 0;
        } else if (strcmp(verb, "hook") == 0) {
                event.hook = strcmp(word, "stop") == 0 ? POD_HOOK_PRE_STOP : POD_HOOK_POST_START;
                event.healthy = strcmp(more, "ok") == 0;
        } else if (event.type == POD_EVENT_START_REFUSED || event.type == POD_EVENT_REFUSED) {
                event.reason = word[0] ? word : name;
        } else {
                event.code = atoi(word);
        }
        tell(story, &event);
}

/* "PHASE READY CONTAINER:STATE#RESTARTS …", e.g. "Running True main:running#0". */
static void describe(const struct story *story, struct buffer *out)
{
        _cleanup_buffer_ struct buffer status = {};
        _cleanup_doc_ struct json_doc *doc = NULL;

        assert_int_equal(pod_worker_write_status(&story->worker, &status), 0);
        assert_int_equal(json_doc_parse(buffer_str(&status), NULL, NULL, NULL, &doc), 0);
        struct json_value root = json_root(doc);
        buffer_printf(out, "%.*s", STR_FORMAT(json_string(json_get(root, "phase"))));
        json_for_each (it, json_get(root, "conditions")) {
                if (json_string_is(json_get(it.value, "type"), STR("Ready")))
                        buffer_printf(out, " %.*s",
                                      STR_FORMAT(json_string(json_get(it.value, "status"))));
        }
        for (int init = 1; init >= 0; init--) {
                const char *key = init ? "initContainerStatuses" : "containerStatuses";
                json_for_each (it, json_get(root, key)) {
                        struct json_value state = json_get(it.value, "state");
                        struct json_value reason = json_get(state, "waiting", "reason");
                        if (!json_exists(reason))
                                reason = json_get(state, "terminated", "reason");
                        struct str shown = json_exists(json_get(state, "running"))
                                                   ? STR("running")
                                                   : json_string(reason);
                        buffer_printf(out, " %.*s:%.*s#%d",
                                      STR_FORMAT(json_string(json_get(it.value, "name"))),
                                      STR_FORMAT(shown),
                                      (int)json_int64_or(json_get(it.value, "restartCount"), -1));
                }
        }
        buffer_append_char(out, '\0');
}

static void run_steps(struct story *story, const struct step *steps, size_t count)
{
        for (size_t i = 0; i < count; i++) {
                story->trace.length = 0;
                play(story, steps[i].event);
                assert_int_equal(buffer_append_char(&story->trace, '\0'), 0);
                if (strcmp(story->trace.data, steps[i].actions) != 0)
                        print_error("step %zu, %s\n", i, steps[i].event);
                assert_string_equal(story->trace.data, steps[i].actions);
                if (steps[i].state) {
                        _cleanup_buffer_ struct buffer state = {};
                        describe(story, &state);
                        if (strcmp(state.data, steps[i].state) != 0)
                                print_error("step %zu, %s\n", i, steps[i].event);
                        assert_string_equal(state.data, steps[i].state);
                }
        }
}

static void tell_story(const char *json, const struct step *steps, size_t count)
{
        struct story story;

        begin(&story, json);
        run_steps(&story, steps, count);
        end(&story);
}

#define STORY(json, ...)                                                                           \
        tell_story((json), (const struct step[]){ __VA_ARGS__ },                                   \
                   ARRAY_SIZE(((const struct step[]){ __VA_ARGS__ })))

#define UP                                                                                         \
        { "desired", "prepare create" }, { "prepared", "start:main" }, { "sandbox", "" },          \
        {                                                                                          \
                "started main", "publish", "Running True main:running#0"                           \
        }

static void a_pod_without_probes_is_ready_with_one_write(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP, { "wait 60000", "" });
}

static void slow_progress_is_shown(void **state)
{
        (void)state;
        STORY(POD(MAIN), { "desired", "prepare create", "Pending False main:ContainerCreating#0" },
              { "wait 1999", "" }, { "wait 1", "publish" }, { "sandbox", "" },
              { "wait 250", "publish" }, { "prepared", "start:main" }, { "wait 5000", "" },
              { "started main", "publish", "Running True main:running#0" });
}

static void readiness_waits_for_its_probe(void **state)
{
        (void)state;
        STORY(POD("\"containers\":[{\"name\":\"main\",\"image\":\"busybox\",\"readinessProbe\":{"
                  "\"tcpSocket\":{\"port\":80}},\"livenessProbe\":{\"tcpSocket\":{\"port\":80}},"
                  "\"startupProbe\":{\"exec\":{\"command\":[\"true\"]}}}]"),
              { "desired", "prepare create" }, { "prepared", "start:main" }, { "sandbox", "" },
              { "started main", "probe+:main:startup", "Running False main:running#0" },
              { "probe main startup up",
                "probe-:main:startup probe+:main:liveness probe+:main:readiness",
                "Running False main:running#0" },
              { "probe main readiness up", "publish", "Running True main:running#0" },
              { "probe main readiness up", "" },
              { "probe main readiness down", "publish", "Running False main:running#0" },
              { "probe main liveness down",
                "probe-:main:liveness probe-:main:readiness stop:main" },
              { "wait 30000", "kill:main" },
              { "signal main 9", "start:main publish", "Running False main:ContainerCreating#1" },
              { "started main", "probe+:main:startup", "Running False main:running#1" },
              { "probe main startup down", "probe-:main:startup stop:main" },
              { "exited main 0", "publish", "Running False main:CrashLoopBackOff#1" });
}

#define HOOKED(lifecycle, more)                                                                    \
        POD("\"containers\":[{\"name\":\"main\",\"image\":\"b\"," more "\"lifecycle\":{" lifecycle \
            "}}]")
#define EXEC_HOOK "{\"exec\":{\"command\":[\"true\"]}}"
#define READINESS "\"readinessProbe\":{\"tcpSocket\":{\"port\":80}},"

static void readiness_waits_for_post_start(void **state)
{
        (void)state;
        STORY(HOOKED("\"postStart\":" EXEC_HOOK, READINESS), { "desired", "prepare create" },
              { "prepared", "start:main" }, { "sandbox", "" },
              { "started main", "hook+start:main", "Pending False main:ContainerCreating#0" },
              { "hook main stop ok", "" },
              { "hook main start ok", "probe+:main:readiness", "Running False main:running#0" },
              { "probe main readiness up", "publish", "Running True main:running#0" },
              { "hook main start down", "" });
        /* A container whose hook fails is ended and treated as any that ended. */
        STORY(HOOKED("\"postStart\":" EXEC_HOOK ",\"preStop\":" EXEC_HOOK, ""),
              { "desired", "prepare create" }, { "prepared", "start:main" }, { "sandbox", "" },
              { "started main", "hook+start:main" },
              { "hook main start down", "hook+stop:main", "Running False main:running#0" },
              { "hook main stop ok", "stop:main" },
              { "exited main 143", "start:main publish", "Running False main:ContainerCreating#1" },
              { "started main", "hook+start:main", "Running False main:ContainerCreating#1" },
              { "exited main 0", "publish", "Running False main:CrashLoopBackOff#1" },
              { "hook main start ok", "" });
        /* Deletion does not wait for it. */
        STORY(HOOKED("\"postStart\":" EXEC_HOOK, ""), { "desired", "prepare create" },
              { "prepared", "start:main" }, { "sandbox", "" },
              { "started main", "hook+start:main" }, { "delete 30", "hook- stop:main" },
              { "hook main start ok", "" });
}

static void pre_stop_comes_before_the_signal(void **state)
{
        static const char pod[] = HOOKED("\"preStop\":" EXEC_HOOK, "");

        (void)state;
        STORY(pod, UP, { "delete 30", "hook+stop:main" }, { "wait 29000", "" },
              { "hook main stop ok", "stop:main" }, { "wait 999", "" }, { "wait 1", "kill:main" },
              { "signal main 9", "destroy publish" });
        STORY(pod, UP, { "delete 30", "hook+stop:main" }, { "hook main stop down", "stop:main" },
              { "exited main 0", "destroy publish" });
        /* It takes too long. */
        STORY(pod, UP, { "delete 5", "hook+stop:main" }, { "wait 4999", "" },
              { "wait 1", "hook- stop:main" }, { "hook main stop ok", "" }, { "wait 1999", "" },
              { "wait 1", "kill:main" }, { "signal main 9", "destroy publish" });
        /* The main process ends of itself meanwhile, and one that has no time gets no hook. */
        STORY(pod, UP, { "delete 30", "hook+stop:main" }, { "exited main 0", "destroy publish" },
              { "hook main stop ok", "" });
        STORY(pod, UP, { "delete 0", "kill:main" });
}

static void eviction_leaves_a_second(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP, { "evicted", "stop:main" }, { "evicted", "" }, { "wait 999", "" },
              { "wait 1", "kill:main" },
              { "signal main 9", "destroy publish", "Failed False main:Error#0" },
              { "destroyed", "" }, { "evicted", "" });
}

static void crashes_back_off(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP, { "exited main 1", "start:main publish" },
              { "started main", "publish" },
              { "exited main 1", "publish", "Running False main:CrashLoopBackOff#1" },
              { "wait 9999", "" }, { "wait 1", "start:main" }, { "started main", "publish" },
              { "exited main 1", "publish" }, { "wait 19999", "" }, { "wait 1", "start:main" },
              { "started main", "publish", "Running True main:running#3" }, { "wait 700000", "" },
              { "exited main 1", "start:main publish" }, { "started main", "publish" },
              { "exited main 0", "publish" }, { "wait 9999", "" }, { "wait 1", "start:main" });
}

static void back_off_ends_at_five_minutes(void **state)
{
        struct story story;
        uint64_t waited = 0;

        (void)state;
        begin(&story, POD(MAIN));
        run_steps(&story, (const struct step[]){ UP }, 4);
        for (int i = 0; i < 8; i++) {
                play(&story, "exited main 1");
                uint64_t before = story.now.monotonic;
                while (story.worker.containers[0].phase == POD_CONTAINER_WAITING)
                        pass(&story, NS_PER_SECOND);
                waited = story.now.monotonic - before;
                play(&story, "started main");
        }
        assert_int_equal(waited, 300 * NS_PER_SECOND);
        end(&story);
}

static void restart_policy_decides(void **state)
{
        (void)state;
        STORY(POD("\"restartPolicy\":\"Never\"," MAIN), UP,
              { "exited main 3", "destroy publish", "Failed False main:Error#0" },
              { "destroyed", "" }, { "wait 25", "publish" }, { "wait 60000", "" });
        STORY(POD("\"restartPolicy\":\"OnFailure\"," MAIN), UP,
              { "exited main 3", "start:main publish" }, { "started main", "publish" },
              { "exited main 0", "destroy publish", "Succeeded False main:Completed#1" });
        STORY(POD("\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"main\",\"image\":\"b\"},"
                  "{\"name\":\"other\",\"image\":\"b\"}]"),
              { "desired", "prepare create" }, { "prepared", "start:main start:other" },
              { "sandbox", "" },
              { "started main", "",
                "Pending False main:running#0 "
                "other:ContainerCreating#0" },
              { "started other", "publish" },
              { "exited main 0", "publish", "Running False main:Completed#0 other:running#0" },
              { "oom other", "destroy publish",
                "Failed False main:Completed#0 other:OOMKilled#0" });
}

static void init_containers_run_in_order(void **state)
{
        static const char pod[] = POD("\"restartPolicy\":\"Never\",\"initContainers\":[{\"name\":"
                                      "\"one\",\"image\":\"b\"},{\"name\":\"side\",\"image\":\"b\","
                                      "\"restartPolicy\":\"Always\"},{\"name\":\"two\",\"image\":"
                                      "\"b\"}]," MAIN);

        (void)state;
        STORY(pod, { "desired", "prepare create" }, { "prepared", "start:one" }, { "sandbox", "" },
              { "started one", "" }, { "exited one 0", "start:side publish" },
              { "started side", "start:two" },
              { "started two", "",
                "Pending False one:Completed#0 side:running#0 two:running#0 "
                "main:PodInitializing#0" },
              { "exited two 0", "start:main publish" },
              { "started main", "publish",
                "Running True one:Completed#0 side:running#0 two:Completed#0 main:running#0" },
              { "exited side 1", "start:side publish" }, { "started side", "publish" },
              { "exited main 0", "stop:side publish" },
              { "exited side 0", "destroy publish",
                "Succeeded False one:Completed#0 side:Completed#1 two:Completed#0 "
                "main:Completed#0" });
        STORY(pod, { "desired", "prepare create" }, { "prepared", "start:one" }, { "sandbox", "" },
              { "started one", "" },
              { "exited one 1", "destroy publish",
                "Failed False one:Error#0 side:PodInitializing#0 two:PodInitializing#0 "
                "main:PodInitializing#0" });
}

static void deletion_stops_kills_destroys_and_deletes(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP, { "delete 30", "stop:main" }, { "wait 29999", "" },
              { "wait 1", "kill:main" }, { "signal main 9", "destroy publish" },
              { "destroyed", "delete" }, { "delete-failed", "" }, { "wait 999", "publish" },
              { "wait 1", "delete" }, { "removed", "release" });
        STORY(POD(MAIN), UP, { "delete 30", "stop:main" }, { "delete 1", "" },
              { "wait 1000", "kill:main" }, { "wait 10000", "destroy" },
              { "destroyed", "publish delete" }, { "removed", "release" });
        STORY(POD(MAIN), UP, { "delete 0", "kill:main" },
              { "signal main 9", "destroy publish", "Failed False main:Error#0" },
              { "destroyed", "delete" }, { "removed", "release" });
        STORY(POD(MAIN), { "delete 30", "delete" }, { "removed", "release" });
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepared", "start:main" },
              { "delete 30", "" }, { "sandbox", "" }, { "started main", "stop:main publish" },
              { "exited main 0", "destroy publish", "Succeeded False main:Completed#0" },
              { "destroyed", "delete" });
}

static void a_vanished_object_ends_everything(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP, { "removed", "destroy kill:main" }, { "signal main 9", "" },
              { "destroyed", "release" }, { "wait 100000", "" });
        STORY(POD(MAIN), { "desired", "prepare create" }, { "removed", "destroy" },
              { "sandbox", "" }, { "destroyed", "release" });
}

/* The launcher died: that is not the Pod's fault, so nothing is told and nothing waits. */
static void interrupted_work_begins_anew_at_once(void **state)
{
        (void)state;
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepared", "start:main" },
              { "sandbox-interrupted", "destroy", "Pending False main:ContainerCreating#0" },
              { "interrupted main", "" }, { "destroyed", "create start:main" }, { "sandbox", "" },
              { "started main", "publish", "Running True main:running#0" });
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepared", "start:main" },
              { "sandbox", "" }, { "interrupted main", "destroy" },
              { "destroyed", "create start:main" });
        STORY(POD("\"containers\":[{\"name\":\"main\",\"image\":\"b\"},{\"name\":\"side\","
                  "\"image\":\"b\"}]"),
              { "desired", "prepare create" }, { "prepared", "start:main start:side" },
              { "sandbox", "" }, { "started main", "" }, { "interrupted side", "start:side" });
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepared", "start:main" },
              { "delete 30", "" }, { "sandbox-interrupted", "destroy" }, { "destroyed", "delete" });
}

static void refusals_are_shown_and_tried_again(void **state)
{
        (void)state;
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepared", "start:main" },
              { "sandbox", "" },
              { "refused main ErrImageNeverPull", "publish",
                "Pending False main:ErrImageNeverPull#0" },
              { "wait 9999", "" }, { "wait 1", "start:main" },
              { "refused main ErrImageNeverPull", "publish" }, { "wait 19999", "" },
              { "wait 1", "start:main" },
              { "started main", "publish", "Running True main:running#0" });
        STORY(POD(MAIN), { "desired", "prepare create" }, { "prepare-failed", "" },
              { "wait 999", "" }, { "wait 1", "prepare" }, { "prepared", "start:main" },
              { "sandbox-failed", "" }, { "wait 999", "" },
              { "wait 1", "create start:main publish" }, { "sandbox", "" },
              { "started main", "publish", "Running True main:running#0" });
        STORY(POD(MAIN), { "unsupported UnsupportedPod", "" },
              { "desired", "publish", "Failed False main:ContainerCreating#0" },
              { "delete 30", "delete" });
}

static void a_lost_sandbox_is_made_anew(void **state)
{
        (void)state;
        STORY(POD(MAIN), UP,
              { "sandbox-lost", "create start:main publish",
                "Running False main:ContainerCreating#1" },
              { "stale main", "" }, { "sandbox", "" },
              { "started main", "publish", "Running True main:running#1" });
        STORY(POD("\"restartPolicy\":\"Never\"," MAIN), UP,
              { "sandbox-lost", "publish", "Failed False main:Error#0" });
        /* What never started may start, whatever the policy. */
        STORY(POD("\"restartPolicy\":\"Never\"," MAIN), { "desired", "prepare create" },
              { "prepared", "start:main" }, { "sandbox", "" },
              { "sandbox-lost", "create start:main" }, { "stale main", "" }, { "sandbox", "" },
              { "started main", "publish", "Running True main:running#0" });
}

static void the_active_deadline_ends_a_pod(void **state)
{
        (void)state;
        STORY(POD("\"activeDeadlineSeconds\":5,\"terminationGracePeriodSeconds\":2," MAIN), UP,
              { "wait 4999", "" }, { "wait 1", "stop:main" }, { "wait 2000", "kill:main" },
              { "signal main 9", "destroy publish", "Failed False main:Error#0" });
}

/* ---- the document ---- */

static struct json_doc *status_of(const struct story *story)
{
        _cleanup_buffer_ struct buffer status = {};
        struct json_doc *doc = NULL;

        assert_int_equal(pod_worker_write_status(&story->worker, &status), 0);
        assert_int_equal(json_doc_parse(buffer_str(&status), NULL, NULL, NULL, &doc), 0);
        return doc;
}

static struct json_value condition(struct json_value status, const char *type)
{
        json_for_each (it, json_get(status, "conditions")) {
                if (json_string_is(json_get(it.value, "type"), str_from(type)))
                        return it.value;
        }
        return (struct json_value){};
}

static void assert_string(struct json_value value, const char *text)
{
        struct str s = json_string(value);

        if (!str_equal(s, str_from(text)))
                print_error("\"%.*s\" is not \"%s\"\n", STR_FORMAT(s), text);
        assert_true(str_equal(s, str_from(text)));
}

static void status_has_what_clients_read(void **state)
{
        struct story story;

        (void)state;
        begin(&story,
              "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},\"spec\":{" MAIN
              "},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\","
              "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"},{\"type\":\"example.com/x\","
              "\"status\":\"False\"}]}}");
        run_steps(&story, (const struct step[]){ UP }, 4);
        pass(&story, 90 * NS_PER_SECOND);
        play(&story, "exited main 7");
        play(&story, "started main");
        play(&story, "oom main");

        _cleanup_doc_ struct json_doc *doc = status_of(&story);
        struct json_value root = json_root(doc);
        assert_string(json_get(root, "podIP"), "10.244.0.5");
        assert_string(json_get(json_element(json_get(root, "podIPs"), 0), "ip"), "10.244.0.5");
        assert_string(json_get(root, "hostIP"), "10.0.0.1");
        assert_string(json_get(root, "startTime"), "2027-01-15T08:00:00Z");
        assert_string(json_get(root, "qosClass"), "BestEffort");
        assert_int_equal(json_count(json_get(root, "conditions")), 6);
        assert_string(json_get(condition(root, "PodScheduled"), "lastTransitionTime"),
                      "2026-01-01T00:00:00Z");
        assert_string(json_get(condition(root, "Ready"), "lastTransitionTime"),
                      "2027-01-15T08:01:30Z");
        assert_string(json_get(condition(root, "Ready"), "reason"), "ContainersNotReady");
        assert_string(json_get(condition(root, "Ready"), "message"),
                      "containers with unready status: [main]");
        assert_string(json_get(condition(root, "Initialized"), "lastTransitionTime"),
                      "2027-01-15T08:00:00Z");
        struct json_value main = json_element(json_get(root, "containerStatuses"), 0);
        assert_string(json_get(main, "containerID"), "cay://c1");
        assert_string(json_get(main, "state", "waiting", "reason"), "CrashLoopBackOff");
        assert_string(json_get(main, "state", "waiting", "message"),
                      "back-off 10s restarting failed container=main pod=p_n(u)");
        struct json_value last = json_get(main, "lastState", "terminated");
        assert_int_equal(json_int64_or(json_get(last, "exitCode"), 0), 137);
        assert_string(json_get(last, "reason"), "OOMKilled");
        assert_string(json_get(last, "finishedAt"), "2027-01-15T08:01:30Z");
        end(&story);
}

/* Writes the status into the Pod, and begins again as a new process of the node would. */
static void restart_node(struct story *story)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *status = status_of(story);

        struct str pod = json_doc_text(story->doc);
        assert_int_equal(buffer_printf(&text, "%.*s,\"status\":%.*s}", (int)pod.length - 1,
                                       pod.data, STR_FORMAT(json_doc_text(status))),
                         0);
        assert_int_equal(buffer_append_char(&text, '\0'), 0);
        pod_worker_deinit(&story->worker);
        arena_deinit(&story->arena);
        json_doc_unref(story->doc);
        read_pod(story, text.data);
        pod_worker_init(&story->worker, 0x0a000001);
        pass(story, NS_PER_SECOND);
        pod_worker_restore(&story->worker, &story->spec, story->now);
}

static void a_restarted_node_finds_its_pods(void **state)
{
        struct story story;

        (void)state;
        begin(&story, POD(MAIN));
        run_steps(&story, (const struct step[]){ UP }, 4);
        _cleanup_doc_ struct json_doc *before = status_of(&story);
        restart_node(&story);
        const struct step found[] = {
                { "sandbox", "" },
                { "started main", "" },
                { "restored", "prepare", "Running True main:running#0" },
                { "wait 25", "publish" },
        };
        run_steps(&story, found, ARRAY_SIZE(found));
        _cleanup_doc_ struct json_doc *after = status_of(&story);
        assert_true(json_equal(json_root(before), json_root(after)));

        restart_node(&story);
        const struct step lost[] = {
                { "restored", "prepare create publish", "Running False main:ContainerCreating#0" },
                { "prepared", "start:main" },
                { "sandbox", "" },
                { "started main", "publish", "Running True main:running#1" },
        };
        run_steps(&story, lost, ARRAY_SIZE(lost));

        restart_node(&story);
        const struct step crashed[] = {
                { "sandbox", "" },
                { "started main", "" },
                { "exited main 2", "" },
                { "restored", "prepare publish", "Running False main:ContainerCreating#1" },
                { "prepared", "start:main" },
        };
        run_steps(&story, crashed, ARRAY_SIZE(crashed));
        end(&story);
}

static void a_restarted_node_leaves_finished_pods(void **state)
{
        struct story story;
        const struct step finish[] = { UP, { "exited main 0", "destroy publish" } };
        const struct step again[] = {
                { "sandbox", "" },
                { "restored", "destroy", "Succeeded False main:Completed#0" },
                { "destroyed", "" },
                { "wait 60000", "publish" },
        };

        (void)state;
        begin(&story, POD("\"restartPolicy\":\"Never\"," MAIN));
        run_steps(&story, finish, ARRAY_SIZE(finish));
        restart_node(&story);
        run_steps(&story, again, ARRAY_SIZE(again));
        end(&story);
}

/* Random events in any order: nothing may be asserted wrong, and deletion always ends it. */
static void any_order_of_events_ends(void **state)
{
        static const char *const events[] = {
                "prepared",
                "prepare-failed",
                "sandbox",
                "sandbox-failed",
                "sandbox-lost",
                "destroyed",
                "started main",
                "started one",
                "started side",
                "exited main 0",
                "exited main 1",
                "exited one 0",
                "exited side 1",
                "refused main X",
                "probe main r up",
                "probe main l down",
                "wait 500",
                "wait 15000",
                "delete-failed",
                "desired",
                "started main",
                "probe main s up",
                "probe main s down",
                "interrupted main",
                "sandbox-interrupted",
        };
        static const char pod[] =
                POD("\"initContainers\":[{\"name\":\"one\",\"image\":\"b\"},{\"name\":\"side\","
                    "\"image\":\"b\",\"restartPolicy\":\"Always\"}],\"containers\":[{\"name\":"
                    "\"main\",\"image\":\"b\",\"livenessProbe\":{\"tcpSocket\":{\"port\":1}},"
                    "\"readinessProbe\":{\"tcpSocket\":{\"port\":1}},\"startupProbe\":{"
                    "\"tcpSocket\":{\"port\":1}}}]");
        uint32_t random = 12345;

        (void)state;
        for (int round = 0; round < 300; round++) {
                struct story story;
                begin(&story, pod);
                play(&story, "desired");
                for (int i = 0; i < 60; i++) {
                        random = random * 1664525 + 1013904223;
                        play(&story, events[(random >> 8) % ARRAY_SIZE(events)]);
                }
                play(&story, "delete 5");
                for (int i = 0; i < 10 && !story.worker.delete_sent; i++) {
                        if (story.worker.sandbox == POD_SANDBOX_CREATING)
                                play(&story, "sandbox");
                        if (story.worker.sandbox == POD_SANDBOX_DESTROYING)
                                play(&story, "destroyed");
                        pass(&story, 20 * NS_PER_SECOND);
                }
                assert_true(story.worker.delete_sent);
                play(&story, "removed");
                assert_true(story.worker.is_released);
                end(&story);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_pod_without_probes_is_ready_with_one_write),
                cmocka_unit_test(slow_progress_is_shown),
                cmocka_unit_test(readiness_waits_for_its_probe),
                cmocka_unit_test(readiness_waits_for_post_start),
                cmocka_unit_test(pre_stop_comes_before_the_signal),
                cmocka_unit_test(eviction_leaves_a_second),
                cmocka_unit_test(crashes_back_off),
                cmocka_unit_test(back_off_ends_at_five_minutes),
                cmocka_unit_test(restart_policy_decides),
                cmocka_unit_test(init_containers_run_in_order),
                cmocka_unit_test(deletion_stops_kills_destroys_and_deletes),
                cmocka_unit_test(a_vanished_object_ends_everything),
                cmocka_unit_test(interrupted_work_begins_anew_at_once),
                cmocka_unit_test(refusals_are_shown_and_tried_again),
                cmocka_unit_test(a_lost_sandbox_is_made_anew),
                cmocka_unit_test(the_active_deadline_ends_a_pod),
                cmocka_unit_test(status_has_what_clients_read),
                cmocka_unit_test(a_restarted_node_finds_its_pods),
                cmocka_unit_test(a_restarted_node_leaves_finished_pods),
                cmocka_unit_test(any_order_of_events_ends),
        };

        return run_unit_tests("pod_worker", tests);
}
