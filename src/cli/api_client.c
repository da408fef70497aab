// SPDX-License-Identifier: Apache-2.0
#include "cli/api_client.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/instance.h"
#include "client/resource.h"
#include "json/writer.h"

enum {
        WRITE_ATTEMPTS = 4, /* only what was certainly not carried out is repeated */
        PAGE_SIZE = 500,
};

/* ---- opening ---- */

static int find_config(const struct api_client_options *options, struct kube_config *config,
                       struct error *error)
{
        const char *variable = getenv("KUBECONFIG");
        struct instance instance;

        if (options->kubeconfig)
                return kube_config_load(options->kubeconfig, STR_EMPTY, error, config);
        if (variable && *variable)
                return kube_config_find(NULL, STR_EMPTY, error, config);
        int r = instance_open(NULL, false, error, &instance);
        if (r == 0 && access(instance.kubeconfig, F_OK) < 0 && errno == ENOENT)
                r = -ENOENT; /* of a start that did not succeed */
        if (r < 0)
                return error_set(error, r,
                                 "no API is known: start one with cay up, or name a cluster's "
                                 "kubeconfig with --kubeconfig or $KUBECONFIG");
        if (access(instance.kubeconfig, R_OK) < 0 && errno == EACCES)
                return error_set(error, -EACCES,
                                 "%s is its administrator's: run this as root, or set $KUBECONFIG "
                                 "to a copy of yours",
                                 instance.kubeconfig);
        return kube_config_load(instance.kubeconfig, STR_EMPTY, error, config);
}

static void on_signal(uv_signal_t *handle, int signal)
{
        struct api_client *api = handle->data;

        api->stops++;
        if (api->stopped == 0)
                api->stopped = signal;
}

static int open_loop(struct api_client *api)
{
        static const int numbers[] = { SIGINT, SIGTERM };
        int r = uv_loop_init(&api->uv);

        if (r < 0)
                return r;
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++) {
                r = uv_signal_init(&api->uv, &api->signals[i]);
                api->signals[i].data = api;
                if (r == 0)
                        r = uv_signal_start(&api->signals[i], on_signal, numbers[i]);
        }
        return r < 0 ? r : net_loop_new(&api->uv, &api->loop);
}

int api_client_open(struct api_client *api, const struct api_client_options *options,
                    struct error *error)
{
        struct kube_client_options client = { .config = &api->config,
                                              .user_agent = STR("cay/" CAY_VERSION) };

        *api = (struct api_client){};
        int r = find_config(options, &api->config, error);
        if (r < 0)
                return r;
        /* A reader that goes away is told by write(2) alone. */
        signal(SIGPIPE, SIG_IGN);
        r = open_loop(api);
        if (r < 0) {
                kube_config_deinit(&api->config);
                return error_set(error, r, "cannot make an event loop: %s", strerror(-r));
        }
        client.loop = api->loop;
        api->name_space =
                options->name_space ? str_from(options->name_space) : api->config.name_space;
        r = kube_client_new(&client, error, &api->client);
        if (r < 0)
                api_client_close(api);
        return r;
}

void api_client_close(struct api_client *api)
{
        if (!api->loop)
                return;
        net_timer_stop(&api->deadline);
        kube_client_free(api->client);
        for (size_t i = 0; i < ARRAY_SIZE(api->signals); i++)
                uv_close((uv_handle_t *)&api->signals[i], NULL);
        net_loop_free(api->loop);
        uv_run(&api->uv, UV_RUN_DEFAULT);
        uv_loop_close(&api->uv);
        kube_config_deinit(&api->config);
        api->loop = NULL;
}

/* ---- waiting ---- */

static void on_deadline(struct net_timer *timer)
{
        container_of(timer, struct api_client, deadline)->is_late = true;
}

void api_client_set_deadline(struct api_client *api, uint64_t ns)
{
        api->is_late = false;
        net_timer_stop(&api->deadline);
        uv_update_time(&api->uv);
        if (ns > 0)
                net_timer_start(api->loop, &api->deadline, (ns + NS_PER_MS - 1) / NS_PER_MS,
                                on_deadline);
}

void api_client_forget_signals(struct api_client *api)
{
        api->stops = 0;
}

static int wait_through(struct api_client *api, const bool *done, unsigned signals,
                        bool until_deadline, struct error *error)
{
        while (!*done) {
                if (api->stops > signals)
                        return error_set(error, -EINTR, "interrupted");
                if (until_deadline && api->is_late)
                        return error_set(error, -ETIME, "it took too long");
                uv_run(&api->uv, UV_RUN_ONCE);
        }
        return 0;
}

int api_client_wait(struct api_client *api, const bool *done, struct error *error)
{
        return wait_through(api, done, 0, true, error);
}

/* ---- calls ---- */

struct answer {
        bool done;
        int r;
        struct error *error;
        struct json_doc *doc;
};

int api_client_errno(int error)
{
        switch (error) {
        case KUBE_UNREACHABLE:
                return -EHOSTUNREACH;
        case KUBE_UNTRUSTED:
                return -EKEYREJECTED;
        case KUBE_LOST:
                return -ECONNRESET;
        case KUBE_MALFORMED:
                return -EBADMSG;
        default:
                return error;
        }
}

static int code_of(const struct kube_response *response)
{
        if (response->error != 0)
                return api_client_errno(response->error);
        switch (response->status) {
        case 401:
        case 403:
                return -EACCES;
        case 404:
                return -ENOENT;
        case 409:
                return str_equal(response->reason, STR("AlreadyExists")) ? -EEXIST : -EBUSY;
        default:
                return -EPROTO;
        }
}

static void on_answer(void *user, const struct kube_response *response)
{
        struct answer *answer = user;
        const char *way_out = "";

        answer->done = true;
        if (kube_response_ok(response)) {
                answer->doc = response->doc ? json_doc_ref(response->doc) : NULL;
                return;
        }
        answer->r = code_of(response);
        if (answer->r == -EHOSTUNREACH)
                way_out = " (cay up starts an API here; $KUBECONFIG names another)";
        else if (response->status == 401)
                way_out = " (the kubeconfig's credentials are not accepted)";
        else if (response->status == 404 && response->reason.length == 0)
                way_out = " (has this cluster the Agent Sandbox kinds? See api/crds)";
        error_set(answer->error, answer->r, "%.*s%s", STR_FORMAT(response->message), way_out);
}

static int call(struct api_client *api, const struct kube_request *request, struct error *error,
                struct json_doc **ret_doc)
{
        struct answer answer = { .error = error };
        struct kube_call *pending;
        bool is_read = str_equal(request->method, STR("GET"));
        int r = kube_client_request(api->client, request, on_answer, &answer, &pending);

        if (r < 0)
                return error_set(error, r, "cannot ask the API: %s", strerror(-r));
        r = wait_through(api, &answer.done, is_read ? 0 : 1, is_read, error);
        if (r < 0) {
                kube_call_cancel(pending);
                return r;
        }
        if (answer.r < 0)
                return answer.r;
        if (!ret_doc)
                json_doc_unref(answer.doc);
        else if (!answer.doc)
                return error_set(error, -EBADMSG, "the API's answer is empty");
        else
                *ret_doc = answer.doc;
        return 0;
}

static int name_refused(struct str name, const struct kind *kind, int r, struct error *error)
{
        return error_set(error, r == -EINVAL ? -EPROTO : r, "'%.*s' is no name of a %.*s",
                         STR_FORMAT(name), STR_FORMAT(kind->kind));
}

static struct str name_space_of(const struct api_client *api, const struct kind *kind)
{
        return kind->namespaced ? api->name_space : STR_EMPTY;
}

int api_client_get(struct api_client *api, const struct kind *kind, struct str name,
                   struct error *error, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = name.length > 0
                        ? kube_path_append(&path, kind, name_space_of(api, kind), name, STR_EMPTY)
                        : -EINVAL;

        if (r < 0)
                return name_refused(name, kind, r, error);
        struct kube_request request = { .method = STR("GET"), .path = buffer_str(&path) };
        return call(api, &request, error, ret_doc);
}

int api_client_create(struct api_client *api, const struct kind *kind, struct str body,
                      struct error *error, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = kube_path_append(&path, kind, name_space_of(api, kind), STR_EMPTY, STR_EMPTY);

        if (r < 0)
                return name_refused(api->name_space, &kind_namespace, r, error);
        struct kube_request request = { .method = STR("POST"),
                                        .path = buffer_str(&path),
                                        .body = body,
                                        .attempts = WRITE_ATTEMPTS };
        return call(api, &request, error, ret_doc);
}

int api_client_merge_patch(struct api_client *api, const struct kind *kind, struct str name,
                           struct str body, struct error *error, struct json_doc **ret_doc)
{
        _cleanup_buffer_ struct buffer path = {};
        int r = name.length > 0
                        ? kube_path_append(&path, kind, name_space_of(api, kind), name, STR_EMPTY)
                        : -EINVAL;

        if (r < 0)
                return name_refused(name, kind, r, error);
        struct kube_request request = { .method = STR("PATCH"),
                                        .path = buffer_str(&path),
                                        .content_type = STR("application/merge-patch+json"),
                                        .body = body,
                                        .attempts = WRITE_ATTEMPTS };
        return call(api, &request, error, ret_doc);
}

static int write_delete_options(struct buffer *body, struct str uid)
{
        struct json_writer writer;

        json_writer_init(&writer, body);
        json_begin_object(&writer);
        json_field_string(&writer, "kind", STR("DeleteOptions"));
        json_field_string(&writer, "apiVersion", STR("v1"));
        json_field_string(&writer, "propagationPolicy", STR("Background"));
        json_field_object(&writer, "preconditions");
        json_field_string(&writer, "uid", uid);
        json_end_object(&writer);
        json_end_object(&writer);
        return json_writer_finish(&writer);
}

int api_client_delete(struct api_client *api, const struct kind *kind, struct str name,
                      struct str uid, struct error *error)
{
        _cleanup_buffer_ struct buffer path = {}, body = {};
        struct error refusal = {};
        int r = kube_path_append(&path, kind, name_space_of(api, kind), name, STR_EMPTY);

        if (r == 0)
                r = write_delete_options(&body, uid);
        if (r < 0)
                return name_refused(name, kind, r, error);
        /* The uid makes it safe to ask again when an answer was lost. */
        for (unsigned attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
                struct kube_request request = { .method = STR("DELETE"),
                                                .path = buffer_str(&path),
                                                .body = buffer_str(&body),
                                                .attempts = WRITE_ATTEMPTS };
                r = call(api, &request, &refusal, NULL);
                if (r != -ECONNRESET)
                        break;
        }
        if (r == -ENOENT || r == -EBUSY)
                return 0;
        return r < 0 ? error_set(error, r, "%s", refusal.message) : 0;
}

/* ---- lists ---- */

void api_client_list_deinit(struct api_client_list *list)
{
        for (size_t i = 0; i < list->count; i++)
                json_doc_unref(list->pages[i]);
        free(list->pages);
        *list = (struct api_client_list){};
}

static int add_page(struct api_client_list *list, struct json_doc *page)
{
        struct json_doc **pages = reallocarray(list->pages, list->count + 1, sizeof(*pages));

        if (!pages)
                return -ENOMEM;
        list->pages = pages;
        list->pages[list->count++] = page;
        return 0;
}

static int list_path(const struct kind *kind, struct str name_space, struct str label_selector,
                     bool in_pages, struct str after, struct buffer *path)
{
        char size[16];
        int r = kube_path_append(path, kind, name_space, STR_EMPTY, STR_EMPTY);

        snprintf(size, sizeof(size), "%d", PAGE_SIZE);
        if (r == 0 && label_selector.length > 0)
                r = kube_query_append(path, "labelSelector", label_selector);
        if (r == 0 && in_pages)
                r = kube_query_append(path, "limit", str_from(size));
        if (r == 0 && after.length > 0)
                r = kube_query_append(path, "continue", after);
        return r;
}

static int list_pages(struct api_client *api, const struct kind *kind, struct str name_space,
                      struct str label_selector, bool in_pages, struct error *error,
                      struct api_client_list *list)
{
        struct str after = STR_EMPTY;

        do {
                _cleanup_buffer_ struct buffer path = {};
                _cleanup_doc_ struct json_doc *page = NULL;
                int r = list_path(kind, name_space, label_selector, in_pages, after, &path);
                if (r < 0)
                        return name_refused(name_space, &kind_namespace, r, error);
                struct kube_request request = { .method = STR("GET"), .path = buffer_str(&path) };
                r = call(api, &request, error, &page);
                if (r < 0)
                        return r;
                r = add_page(list, page);
                if (r < 0)
                        return error_set(error, r, "out of memory");
                after = json_string(json_get(json_root(page), "metadata", "continue"));
                page = NULL;
        } while (after.length > 0);
        return 0;
}

int api_client_list(struct api_client *api, const struct kind *kind, struct str name_space,
                    struct str label_selector, struct error *error,
                    struct api_client_list *ret_list)
{
        _cleanup_api_client_list_ struct api_client_list list = {};
        int r = list_pages(api, kind, name_space, label_selector, true, error, &list);

        if (r == -EPROTO && list.count > 0) {
                /* The continue token has expired under way. */
                api_client_list_deinit(&list);
                r = list_pages(api, kind, name_space, label_selector, false, error, &list);
        }
        if (r < 0)
                return r;
        *ret_list = list;
        list = (struct api_client_list){};
        return 0;
}

/* ---- watches ---- */

static void end_watch(struct api_client_watch *watch, int result)
{
        watch->result = result;
        watch->done = true;
        if (watch->ended)
                *watch->ended = true;
}

static void tell(struct api_client_watch *watch, struct json_value object)
{
        int r = watch->done ? 0 : watch->on_change(watch->user, object, &watch->error);

        if (r != 0)
                end_watch(watch, r);
}

static void on_event(void *user, const struct kube_event *event)
{
        struct api_client_watch *watch = user;

        switch (event->type) {
        case KUBE_LIST_BEGIN:
                watch->is_there = false;
                return;
        case KUBE_ADDED:
        case KUBE_MODIFIED:
                watch->is_there = watch->was_there = true;
                tell(watch, json_root(event->doc));
                return;
        case KUBE_DELETED:
                watch->is_there = false;
                tell(watch, (struct json_value){});
                return;
        case KUBE_BOOKMARK:
                return;
        case KUBE_LIST_END:
                /* The first list may come from a cache that does not know the object yet. */
                if (watch->was_there && !watch->is_there)
                        tell(watch, (struct json_value){});
                return;
        }
}

/* A lost connection is the reflector's to mend, within the deadline. A right may not come back. */
static void on_state(void *user, enum kube_reflector_state state, struct str message)
{
        struct api_client_watch *watch = user;

        if (state != KUBE_REFLECTOR_FORBIDDEN || watch->is_optional || watch->done)
                return;
        end_watch(watch, error_set(&watch->error, -EACCES, "%.*s", STR_FORMAT(message)));
}

int api_client_watch_begin(struct api_client_watch *watch, struct api_client *api,
                           const struct kind *kind, struct str name, api_client_watch_fn on_change,
                           void *user, struct error *error)
{
        _cleanup_buffer_ struct buffer selector = {};
        int r = buffer_printf(&selector, "metadata.name=%.*s", STR_FORMAT(name));

        watch->api = api;
        watch->on_change = on_change;
        watch->user = user;
        watch->done = watch->is_there = watch->was_there = false;
        watch->result = 0;
        watch->error = (struct error){};
        const struct kube_reflector_options options = { .client = api->client,
                                                        .kind = kind,
                                                        .name_space = api->name_space,
                                                        .field_selector = buffer_str(&selector),
                                                        .handler = on_event,
                                                        .on_state = on_state,
                                                        .user = watch };
        if (r == 0)
                r = kube_reflector_new(&options, &watch->reflector);
        return r < 0 ? error_set(error, r, "cannot watch %.*s: %s", STR_FORMAT(name), strerror(-r))
                     : 0;
}

int api_client_watch_wait(struct api_client_watch *watch, struct error *error)
{
        int r = api_client_wait(watch->api, &watch->done, error);

        if (r < 0)
                return r;
        return watch->result < 0 ? error_set(error, watch->result, "%s", watch->error.message)
                                 : watch->result;
}

void api_client_watch_end(struct api_client_watch *watch)
{
        if (watch->reflector)
                kube_reflector_free(watch->reflector);
        watch->reflector = NULL;
}
