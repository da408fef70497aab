// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "initproto/logring.h"
#include "node/internal.h"

enum {
        BUSY_RETRY_MS = 10,
        BUSY_RETRIES = 200,
        CONNECT_RETRY_MS = 1,
        CONNECT_RETRY_LAST_MS = 1000,
        EXIT_WAIT_MS = 1000, /* for the rest of what init said, after its death */
        MESSAGE_BYTES = 4096,
        LOG_MESSAGE_BYTES = 2048,
        START_ERROR_CODE = 128, /* as the OCI runtimes' "StartError" */
        KILLED_CODE = 137,
};

void container_key(const struct node_pod *pod, size_t index, uint32_t attempt,
                   struct container_key *ret_key)
{
        *ret_key = (struct container_key){ .container = (uint32_t)index, .attempt = attempt };
        memcpy(ret_key->sandbox, pod->uid, sizeof(ret_key->sandbox));
}

static void tell(struct node_container *container, struct pod_event *event)
{
        event->container = container->index;
        event->attempt = container->attempt;
        pod_tell(container->pod, event);
}

static struct net_loop *loop_of(const struct node_container *container)
{
        return container->pod->node->loop;
}

/* ---- the end ---- */

static void end_users(struct node_container *container);
static void end_followers(struct node_container *container);

static void drop_connection(struct node_container *container)
{
        net_timer_stop(&container->retry);
        if (container->stream)
                stream_close(container->stream);
        container->stream = NULL;
        initproto_client_free(container->init);
        container->init = NULL;
        end_users(container);
        end_followers(container);
}

void container_free(struct node_container *container)
{
        if (!container)
                return;
        for (unsigned role = 0; role < POD_PROBE_ROLES; role++)
                probe_stop(container, (enum pod_probe_role)role);
        hook_stop(container);
        container->is_over = true;
        drop_connection(container);
        buffer_deinit(&container->argv);
        buffer_deinit(&container->env);
        arena_deinit(&container->arena);
        free(container);
}

/* What the container left in its terminationMessagePath. */
static void read_message_file(const struct node_container *container, struct buffer *out)
{
        char path[POD_PATH_SIZE];

        files_message_path(container->pod, container->index, container->attempt, path);
        int fd = openat(container->pod->node->volumes_fd, path,
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return;
        size_t length = 0;
        if (buffer_reserve(out, MESSAGE_BYTES) >= 0 &&
            fd_read_full(fd, out->data, MESSAGE_BYTES, &length) >= 0)
                out->length = length;
        fd_close(fd);
}

/* The last bytes of the log, for FallbackToLogsOnError. */
static void read_log_tail(const struct node_container *container, struct buffer *out)
{
        struct container_key key;
        struct logring_status status;
        struct logring_record record;
        struct logring_reader reader;
        int fd;

        container_key(container->pod, container->index, container->attempt, &key);
        if (runtime_open_log(container->pod->node->runtime, &key, &fd) < 0)
                return;
        if (logring_read_status(fd, &status) >= 0) {
                logring_reader_init(&reader, fd, status.tail);
                while (logring_read(&reader, &record) > 0) {
                        if (buffer_append_str(out, record.data) < 0)
                                break;
                        if (out->length > 16 * LOG_MESSAGE_BYTES)
                                buffer_consume(out, out->length - LOG_MESSAGE_BYTES);
                }
                logring_reader_deinit(&reader);
        }
        fd_close(fd);
        if (out->length > LOG_MESSAGE_BYTES)
                buffer_consume(out, out->length - LOG_MESSAGE_BYTES);
}

static const char *exit_message(const struct node_container *container, int code,
                                struct buffer *out)
{
        const struct pod_spec *spec = pod_spec_of(container->pod);

        if (container->start_failed)
                return container->start_error;
        if (container->index >= spec->container_count)
                return NULL;
        read_message_file(container, out);
        if (out->length == 0 && code != 0 &&
            spec->containers[container->index].message_falls_back_to_log)
                read_log_tail(container, out);
        if (out->length == 0 || buffer_append_char(out, '\0') < 0)
                return NULL;
        return out->data;
}

static void tell_exit(struct node_container *container)
{
        _cleanup_buffer_ struct buffer text = {};
        const struct container_exit *exit = &container->exit;
        struct pod_event event = { .type = POD_EVENT_EXITED, .oom = exit->out_of_memory };

        if (container->is_over)
                return;
        container->is_over = true;
        hook_stop(container);
        drop_connection(container);
        if (container->start_failed) {
                event.code = START_ERROR_CODE;
                event.reason = "StartError";
        } else if (exit->is_known) {
                event.code = (int)(exit->exit.code & 0xff);
                event.signal = (int)(exit->exit.signal & 0x7f);
        } else {
                event.code = KILLED_CODE;
        }
        event.message = exit_message(container, event.signal ? 1 : event.code, &text);
        tell(container, &event);
}

static void exit_wait_expired(struct net_timer *timer)
{
        tell_exit(container_of(timer, struct node_container, retry));
}

void container_exited(struct node_pod *pod, size_t index, uint32_t attempt,
                      const struct container_exit *exit)
{
        struct node_container *container = index < LIMIT_CONTAINERS ? pod->containers[index] : NULL;

        if (!container || container->attempt != attempt || container->has_exited)
                return;
        container->has_exited = true;
        container->exit = *exit;
        /* Why it never started stands in the rest of the connection. */
        if (container->stream && !container->was_started && !container->start_failed)
                net_timer_start(loop_of(container), &container->retry, EXIT_WAIT_MS,
                                exit_wait_expired);
        else
                tell_exit(container);
}

/* ---- what init says ---- */

static void container_flush(struct node_container *container)
{
        if (!container->init || !container->stream)
                return;
        struct buffer *output = initproto_client_output(container->init);
        if (output->length == 0)
                return;
        stream_write_str(container->stream, buffer_str(output));
        buffer_consume(output, output->length);
}

static void tell_started(struct node_container *container)
{
        char id[POD_CONTAINER_ID_SIZE];
        struct pod_event event = { .type = POD_EVENT_STARTED, .id = id };

        if (container->was_started)
                return;
        container->was_started = true;
        snprintf(id, sizeof(id), "%s-%zu-%u", container->pod->uid, container->index,
                 container->attempt);
        tell(container, &event);
}

static void fail_start(struct node_container *container, struct str reason, int error)
{
        struct container_key key;
        uint64_t call;

        if (reason.length == 0)
                reason = str_from(strerror(error < 0 ? -error : error));
        container->start_failed = true;
        snprintf(container->start_error, sizeof(container->start_error), "%.*s",
                 STR_FORMAT(reason));
        container_key(container->pod, container->index, container->attempt, &key);
        runtime_kill(container->pod->node->runtime, &key, &call);
}

static void on_hello(void *owner, const struct initproto_hello *hello)
{
        struct node_container *container = owner;

        if (hello->state == INITPROTO_RUNNING)
                tell_started(container);
        if (!list_is_empty(&container->followers))
                initproto_client_watch_log(container->init, 0);
        if (hello->state != INITPROTO_IDLE || container->start_failed)
                return;
        if (!container->has_process) {
                fail_start(container, STR("what to run was lost when the node restarted"), 0);
                return;
        }
        int r = initproto_client_start(container->init, &container->process);
        if (r < 0)
                fail_start(container, STR_EMPTY, r);
}

static bool is_main(const struct initproto_stream *stream)
{
        return stream->id == INITPROTO_STREAM_MAIN;
}

static void on_started(void *owner, struct initproto_stream *stream, uint32_t pid, uint64_t time_ns)
{
        struct container_user *user = stream->owner;

        (void)pid, (void)time_ns;
        if (is_main(stream))
                tell_started(owner);
        else if (user->on->started)
                user->on->started(user);
}

/* Takes the user off the stream, which is gone. */
static void detach(struct container_user *user)
{
        list_remove(&user->link);
        user->container = NULL;
        user->stream = NULL;
}

static void on_failed(void *owner, struct initproto_stream *stream, int error, struct str reason)
{
        struct container_user *user = stream->owner;

        if (is_main(stream)) {
                fail_start(owner, reason, error);
                return;
        }
        detach(user);
        if (user->on->failed)
                user->on->failed(user, error, reason);
}

static void on_output(void *owner, struct initproto_stream *stream, enum initproto_channel channel,
                      struct str data)
{
        struct node_container *container = owner;
        struct container_user *user = stream->owner;

        if (!is_main(stream) && user->on->output)
                user->on->output(user, channel, data);
        else if (data.length > 0)
                initproto_client_consumed(container->init, stream, channel, data.length);
}

static void on_init_exited(void *owner, struct initproto_stream *stream,
                           const struct initproto_exit *exit)
{
        struct container_user *user = stream->owner;

        (void)owner;
        if (is_main(stream))
                return;
        detach(user);
        if (user->on->ended)
                user->on->ended(user, exit);
}

static void on_writable(void *owner, struct initproto_stream *stream)
{
        struct container_user *user = stream->owner;

        (void)owner;
        if (!is_main(stream) && user->on->writable)
                user->on->writable(user);
}

static void on_log(void *owner, uint64_t log_end)
{
        struct node_container *container = owner;
        struct container_follower *follower;

        list_for_each (follower, &container->followers, link)
                follower->grown(follower);
        if (!list_is_empty(&container->followers))
                initproto_client_watch_log(container->init, log_end);
}

static const struct initproto_events init_events = {
        .hello = on_hello,
        .started = on_started,
        .failed = on_failed,
        .output = on_output,
        .exited = on_init_exited,
        .writable = on_writable,
        .log = on_log,
};

/* ---- the connection ---- */

static void connect_to_init(struct node_container *container);

static void retry_expired(struct net_timer *timer)
{
        connect_to_init(container_of(timer, struct node_container, retry));
}

static void connect_later(struct node_container *container)
{
        uint64_t delay = MIN((uint64_t)CONNECT_RETRY_MS << MIN(container->retries, 10U),
                             (uint64_t)CONNECT_RETRY_LAST_MS);

        container->retries++;
        net_timer_start(loop_of(container), &container->retry, delay, retry_expired);
}

/* Streams went with the connection; whoever uses them hears of it. */
static void end_users(struct node_container *container)
{
        while (!list_is_empty(&container->users)) {
                struct container_user *user =
                        list_entry(container->users.next, struct container_user, link);
                detach(user);
                if (user->on->ended)
                        user->on->ended(user, NULL);
        }
}

static void end_followers(struct node_container *container)
{
        while (!list_is_empty(&container->followers)) {
                struct container_follower *follower =
                        list_entry(container->followers.next, struct container_follower, link);
                list_remove(&follower->link);
                follower->ended(follower);
        }
}

static void connection_ended(struct node_container *container)
{
        initproto_client_free(container->init);
        container->init = NULL;
        end_users(container);
        if (container->has_exited)
                tell_exit(container);
        else if (!container->is_over)
                connect_later(container);
}

static void on_stream_data(struct stream *stream, void *user, struct str data)
{
        struct node_container *container = user;

        int r = initproto_client_receive(container->init, data);
        if (container->stream != stream)
                return; /* it was closed from inside */
        if (r < 0) {
                log_warning("init of container %zu of Pod %s broke the protocol; killing it",
                            container->index, container->pod->uid);
                stream_close(stream);
                container->stream = NULL;
                if (r != -ENOMEM)
                        container_kill(container->pod, container->index);
                connection_ended(container);
                return;
        }
        container_flush(container);
}

static void on_stream_close(struct stream *stream, void *user, int error)
{
        struct node_container *container = user;

        (void)stream, (void)error;
        container->stream = NULL;
        connection_ended(container);
}

static const struct stream_callbacks stream_callbacks = {
        .on_data = on_stream_data,
        .on_close = on_stream_close,
};

static void connect_to_init(struct node_container *container)
{
        struct container_key key;
        int fd;

        container_key(container->pod, container->index, container->attempt, &key);
        int r = runtime_connect(container->pod->node->runtime, &key, &fd);
        if (r < 0) {
                connect_later(container);
                return;
        }
        r = initproto_client_new(&init_events, container, &container->init);
        if (r >= 0)
                r = stream_adopt(loop_of(container), fd, &container->stream);
        if (r < 0) {
                fd_close(fd);
                initproto_client_free(container->init);
                container->init = NULL;
                connect_later(container);
                return;
        }
        container->retries = 0;
        stream_start(container->stream, &stream_callbacks, container);
        container_flush(container);
}

/* ---- starting ---- */

static void refuse(struct node_pod *pod, size_t index, uint32_t attempt, const char *reason,
                   const char *message)
{
        const struct pod_event event = { .type = POD_EVENT_START_REFUSED,
                                         .container = index,
                                         .attempt = attempt,
                                         .reason = reason,
                                         .message = message };

        pod_tell(pod, &event);
}

/* The launcher died meanwhile: there may be a container or not, and nobody would wait for it. Or it
 * died before, and the sandbox has not even its namespaces any more (-ESTALE). */
static void give_up(struct node_pod *pod, size_t index, uint32_t attempt)
{
        const struct pod_event event = { .type = POD_EVENT_START_INTERRUPTED,
                                         .container = index,
                                         .attempt = attempt };
        struct container_key key;
        uint64_t call;

        container_key(pod, index, attempt, &key);
        int r = runtime_kill(pod->node->runtime, &key, &call);
        if (r < 0)
                log_warning("cannot kill container %zu of Pod %s: %s", index, pod->uid,
                            strerror(-r));
        runtime_forget(pod->node->runtime, &key);
        pod_tell(pod, &event);
}

static void on_launched(struct node *node, const struct node_call *call, int result,
                        const char *reason)
{
        struct node_pod *pod = call->pod;
        struct node_container *container = pod ? pod->containers[call->index] : NULL;

        (void)node;
        if (!container || container->attempt != call->attempt || container->is_over)
                return;
        if (result < 0) {
                pod->containers[call->index] = NULL;
                container_free(container);
                /* ECANCELED: the sandbox is being destroyed, which tells its own end. */
                if (result == -ECONNRESET || result == -ESTALE)
                        give_up(pod, call->index, call->attempt);
                else if (result != -ECANCELED)
                        refuse(pod, call->index, call->attempt, "RunContainerError", reason);
                return;
        }
        container->is_launched = true;
        connect_to_init(container);
}

/* Whether there is an image to run; else says why not. */
static bool find_image(struct node_pod *pod, const struct pod_container *container, size_t index,
                       uint32_t attempt, const struct image **ret_image)
{
        char message[POD_MESSAGE_SIZE];
        int length = (int)MIN(container->image.length, (size_t)300);

        int r = images_find(&pod->node->images, container->image, ret_image);
        if (r >= 0)
                return true;
        if (r == -ENOMEM) {
                refuse(pod, index, attempt, "CreateContainerError", "out of memory");
        } else if (r == -EINVAL) {
                snprintf(message, sizeof(message), "\"%.*s\" is no image reference", length,
                         container->image.data);
                refuse(pod, index, attempt, "InvalidImageName", message);
        } else if (container->pull_policy == POD_PULL_NEVER) {
                snprintf(message, sizeof(message),
                         "Container image \"%.*s\" is not present with pull policy of Never",
                         length, container->image.data);
                refuse(pod, index, attempt, "ErrImageNeverPull", message);
        } else {
                snprintf(message, sizeof(message),
                         "Back-off pulling image \"%.*s\": it is no built-in image, and this node "
                         "pulls none; name it in the map of images",
                         length, container->image.data);
                refuse(pod, index, attempt, "ImagePullBackOff", message);
        }
        return false;
}

static int fill_strings(struct buffer *out, char *const *strings)
{
        buffer_clear(out);
        for (; *strings; strings++) {
                int r = initproto_append_string(out, str_from(*strings));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Command and environment as init wants them. */
static int make_process(struct node_container *container, const struct image *image,
                        struct error *error)
{
        struct node_pod *pod = container->pod;
        const struct pod_spec *spec = pod_spec_of(pod);
        const struct pod_container *wanted = &spec->containers[container->index];
        const struct pod_sources sources = material_sources(pod);
        char address[ADDRESS_TEXT_SIZE];
        const struct pod_facts facts = pod_facts_of(pod, address);
        struct pod_process process;

        arena_reset(&container->arena);
        int r = pod_process_resolve(spec, wanted, image, &sources, &facts, &container->arena, error,
                                    &process);
        if (r >= 0)
                r = fill_strings(&container->argv, process.argv);
        if (r >= 0)
                r = fill_strings(&container->env, process.env);
        if (r < 0)
                return r;
        container->process = (struct initproto_process){
                .flags = (wanted->has_tty ? INITPROTO_TERMINAL : 0U) |
                         (wanted->has_stdin ? INITPROTO_STDIN : 0U),
                .argv_count = (uint32_t)process.argc,
                .env_count = (uint32_t)process.env_count,
                .argv = buffer_str(&container->argv),
                .env = buffer_str(&container->env),
                .working_directory = str_from(process.working_dir),
        };
        container->has_process = true;
        return 0;
}

/* Whom it runs as. Returns 0 or -EACCES with the sentence. */
static int fill_identity(const struct pod_spec *spec, const struct pod_container *container,
                         const struct image *image, struct container_spec *launch,
                         struct error *error)
{
        const struct pod_security *security = &container->security;

        launch->user = security->user >= 0 ? (uint32_t)security->user : (uint32_t)image->user;
        launch->group = security->group >= 0  ? (uint32_t)security->group
                        : security->user >= 0 ? 0
                                              : (uint32_t)image->group;
        if (security->must_run_as_non_root && launch->user == 0)
                return error_set(error, -EACCES,
                                 "container has runAsNonRoot and image will run as root");
        if (launch->user > UINT16_MAX || launch->group > UINT16_MAX)
                return error_set(error, -EACCES, "users and groups above 65535 do not exist here");
        for (size_t i = 0; i < spec->group_count && launch->group_count < RUNTIME_GROUPS; i++)
                launch->groups[launch->group_count++] = spec->groups[i];
        if (spec->fs_group >= 0 && launch->group_count < RUNTIME_GROUPS)
                launch->groups[launch->group_count++] = (uint32_t)spec->fs_group;
        for (size_t i = 0; i < launch->group_count; i++)
                if (launch->groups[i] > UINT16_MAX)
                        return error_set(error, -EACCES, "groups above 65535 do not exist here");
        launch->read_only_root = security->read_only_root;
        return 0;
}

static void fill_limits(const struct pod_container *container, struct container_limits *limits)
{
        *limits = (struct container_limits){
                .cpu_milli = (uint32_t)MIN(container->limits.cpu_milli, UINT32_MAX),
                .cpu_weight_milli = (uint32_t)MIN(container->requests.cpu_milli, UINT32_MAX),
                .memory = container->limits.memory,
                .storage = container->limits.ephemeral_storage,
        };
}

static int launch(struct node_container *container, const struct image *image, struct error *error)
{
        struct node_pod *pod = container->pod;
        const struct pod_spec *spec = pod_spec_of(pod);
        const struct pod_container *wanted = &spec->containers[container->index];
        struct container_spec *launch = arena_new(&container->arena, struct container_spec, 1);
        uint64_t call;

        if (!launch)
                return -ENOMEM;
        launch->container = (uint32_t)container->index;
        launch->attempt = container->attempt;
        memcpy(launch->sandbox, pod->uid, sizeof(launch->sandbox));
        fill_limits(wanted, &launch->limits);
        int r = fill_identity(spec, wanted, image, launch, error);
        if (r >= 0)
                r = files_mounts(pod, wanted, container->index, container->attempt, image, launch,
                                 error);
        if (r >= 0)
                r = runtime_container_launch(pod->node->runtime, launch, &call);
        if (r >= 0)
                r = node_expect(pod->node, call,
                                &(struct node_call){ .answered = on_launched,
                                                     .pod = pod,
                                                     .index = container->index,
                                                     .attempt = container->attempt });
        return r;
}

static void forget_old_log(struct node_pod *pod, size_t index, uint32_t attempt)
{
        struct container_key key;

        if (attempt <= 2)
                return;
        container_key(pod, index, attempt - 2, &key);
        runtime_forget(pod->node->runtime, &key);
        files_remove_message(pod, index, attempt - 2);
}

static struct node_container *container_new(struct node_pod *pod, size_t index, uint32_t attempt)
{
        struct node_container *container = calloc(1, sizeof(*container));

        if (!container)
                return NULL;
        container->pod = pod;
        container->index = index;
        container->attempt = attempt;
        list_init(&container->users);
        list_init(&container->followers);
        return container;
}

static void start(struct node_pod *pod, size_t index, uint32_t attempt, unsigned retries);

static void busy_expired(struct net_timer *timer)
{
        struct node_container *container = container_of(timer, struct node_container, retry);

        start(container->pod, container->index, container->attempt, container->retries + 1);
}

static void start(struct node_pod *pod, size_t index, uint32_t attempt, unsigned retries)
{
        const struct pod_container *wanted = &pod_spec_of(pod)->containers[index];
        struct error error = {};
        const struct image *image;

        if (!find_image(pod, wanted, index, attempt, &image))
                return;
        container_free(pod->containers[index]);
        struct node_container *container = container_new(pod, index, attempt);
        pod->containers[index] = container;
        if (!container) {
                refuse(pod, index, attempt, "CreateContainerError", "out of memory");
                return;
        }
        forget_old_log(pod, index, attempt);
        int r = make_process(container, image, &error);
        bool is_config = r == -ENOENT || r == -EINVAL || r == -EBADMSG || r == -E2BIG;
        if (r >= 0)
                r = launch(container, image, &error);
        if (r >= 0)
                return;
        /* The end of the attempt before is still to be told. */
        if (r == -EBUSY && retries < BUSY_RETRIES) {
                container->retries = retries;
                net_timer_start(loop_of(container), &container->retry, BUSY_RETRY_MS, busy_expired);
                return;
        }
        pod->containers[index] = NULL;
        container_free(container);
        if (r == -ENOENT && is_config && material_refresh(pod, index, attempt))
                return;
        if (!error.code)
                error_set(&error, r, "%s", strerror(-r));
        refuse(pod, index, attempt,
               is_config || r == -EACCES ? "CreateContainerConfigError" : "CreateContainerError",
               error.message);
}

void container_start(struct node_pod *pod, size_t index, uint32_t attempt)
{
        start(pod, index, attempt, 0);
}

int container_adopt(struct node_pod *pod, size_t index, uint32_t attempt)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        struct node_container *container = container_new(pod, index, attempt);
        const struct image *image;
        struct error error = {};

        if (!container)
                return -ENOMEM;
        container->is_launched = true;
        container_free(pod->containers[index]);
        pod->containers[index] = container;
        tell_started(container);
        /* If the last node ended between launching it and telling it what to run. */
        if (images_find(&pod->node->images, spec->containers[index].image, &image) >= 0)
                make_process(container, image, &error);
        connect_to_init(container);
        return 0;
}

/* ---- stopping ---- */

void container_stop(struct node_pod *pod, size_t index)
{
        struct node_container *container = pod->containers[index];

        if (!container || !container->init)
                return;
        initproto_client_signal(container->init, initproto_client_main(container->init), SIGTERM);
        container_flush(container);
}

void container_kill(struct node_pod *pod, size_t index)
{
        struct node_container *container = pod->containers[index];
        struct container_key key;
        uint64_t call;

        if (!container)
                return;
        container_key(pod, index, container->attempt, &key);
        int r = runtime_kill(pod->node->runtime, &key, &call);
        if (r < 0)
                log_warning("cannot kill container %zu of Pod %s: %s", index, pod->uid,
                            strerror(-r));
}

/* ---- processes and connections inside ---- */

static void attach(struct node_container *container, const struct container_user_events *on,
                   struct initproto_stream *stream, struct container_user *user)
{
        *user = (struct container_user){ .on = on, .container = container, .stream = stream };
        list_append(&container->users, &user->link);
        container_flush(container);
}

int container_exec(struct node_container *container, const struct initproto_process *process,
                   const struct container_user_events *on, struct container_user *user)
{
        struct initproto_stream *stream;

        if (!container->init || !container->stream || !container->was_started)
                return -ENOTCONN;
        int r = initproto_client_exec(container->init, process, user, &stream);
        if (r >= 0)
                attach(container, on, stream, user);
        return r;
}

int container_connect(struct node_container *container, struct str host, uint16_t port,
                      const struct container_user_events *on, struct container_user *user)
{
        struct initproto_stream *stream;

        if (!container->init || !container->stream)
                return -ENOTCONN;
        int r = initproto_client_connect(container->init, host, port, user, &stream);
        if (r >= 0)
                attach(container, on, stream, user);
        return r;
}

ssize_t container_input(struct container_user *user, struct str data)
{
        if (!user->container)
                return -EPIPE;
        ssize_t taken = initproto_client_input(user->container->init, user->stream, data);
        container_flush(user->container);
        return taken;
}

void container_consumed(struct container_user *user, enum initproto_channel channel, size_t bytes)
{
        if (!user->container || bytes == 0)
                return;
        initproto_client_consumed(user->container->init, user->stream, channel, bytes);
        container_flush(user->container);
}

void container_resize(struct container_user *user, uint16_t rows, uint16_t columns)
{
        if (!user->container)
                return;
        initproto_client_resize(user->container->init, user->stream, rows, columns);
        container_flush(user->container);
}

void container_leave(struct container_user *user)
{
        struct node_container *container = user->container;

        if (!container)
                return;
        initproto_client_close(container->init, user->stream);
        detach(user);
        container_flush(container);
}

ssize_t container_main_input(struct node_container *container, struct str data)
{
        if (!container->init)
                return -ENOTCONN;
        ssize_t taken = initproto_client_input(container->init,
                                               initproto_client_main(container->init), data);
        container_flush(container);
        return taken;
}

void container_main_resize(struct node_container *container, uint16_t rows, uint16_t columns)
{
        if (!container->init)
                return;
        initproto_client_resize(container->init, initproto_client_main(container->init), rows,
                                columns);
        container_flush(container);
}

void container_follow(struct node_container *container, struct container_follower *follower,
                      uint64_t log_end)
{
        list_append(&container->followers, &follower->link);
        if (!container->init)
                return;
        initproto_client_watch_log(container->init, log_end);
        container_flush(container);
}

const struct initproto_process *container_process(const struct node_container *container)
{
        return &container->process;
}
