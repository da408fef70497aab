// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/options.h"
#include "client/client.h"
#include "client/config.h"
#include "client/reflector.h"
#include "kinds/kind.h"
#include "json/json.h"

/*
 * A command's way to the API. Commands are short stories, so its calls return when the answer is
 * there. What waits is ended by SIGINT and SIGTERM with -EINTR and by the deadline with -ETIME; a
 * write that is on its way is waited for still, until a second signal, so that the command knows
 * what it has made and can take it back.
 */
struct api_client {
        uv_loop_t uv;
        struct net_loop *loop;
        struct kube_config config;
        struct kube_client *client;
        struct str name_space;  /* of --namespace, or the context's */
        uv_signal_t signals[2]; /* SIGINT, SIGTERM */
        int stopped;            /* the first signal that ever came; 0: none */
        unsigned stops;         /* how many came, and were not forgotten */
        struct net_timer deadline;
        bool is_late;
};

/* What every command that talks to the API is told by options. */
struct api_client_options {
        const char *kubeconfig, *name_space;
};
#define API_CLIENT_OPTIONS(options)                                                                \
        OPTION_STRING("kubeconfig", 0, &(options)->kubeconfig, "FILE",                             \
                      "how to reach the API ($KUBECONFIG, or else cay up's)"),                     \
                OPTION_STRING("namespace", 'n', &(options)->name_space, "NAME",                    \
                              "namespace (the kubeconfig's, or default)")

/*
 * Prepares the way: --kubeconfig, else $KUBECONFIG, else the kubeconfig of the instance on this
 * machine. Connects with the first call. Returns 0 or a negative errno with a sentence.
 */
int api_client_open(struct api_client *api, const struct api_client_options *options,
                    struct error *error);
void api_client_close(struct api_client *api);

/* From now on waiting ends after `ns`, 0: never. */
void api_client_set_deadline(struct api_client *api, uint64_t ns);

/* For taking back what was made: only signals that come from now on end waiting. */
void api_client_forget_signals(struct api_client *api);

/* Runs the loop until *done. Returns 0, -EINTR or -ETIME with a sentence. */
int api_client_wait(struct api_client *api, const bool *done, struct error *error);

/*
 * Calls. `name_space` is api->name_space unless told otherwise. Returned documents are the
 * caller's; `ret_doc` may be NULL. Errors have the server's sentence: -ENOENT (no such object, or
 * no such kind), -EEXIST, -EBUSY (conflict), -EACCES, -EPROTO (refused for another reason),
 * -EHOSTUNREACH (not sent), -EKEYREJECTED (no trust in the server), -ECONNRESET (the answer was
 * lost: it may have happened), -EBADMSG (no answer of an API server's).
 */
int api_client_get(struct api_client *api, const struct kind *kind, struct str name,
                   struct error *error, struct json_doc **ret_doc);
int api_client_create(struct api_client *api, const struct kind *kind, struct str body,
                      struct error *error, struct json_doc **ret_doc);
int api_client_merge_patch(struct api_client *api, const struct kind *kind, struct str name,
                           struct str body, struct error *error, struct json_doc **ret_doc);

/* Deletes this very object: 0 also when it is gone, or another one has its name. */
int api_client_delete(struct api_client *api, const struct kind *kind, struct str name,
                      struct str uid, struct error *error);

/* The errno of those above that says the same as KUBE_…; another negative errno is returned as is.
 */
int api_client_errno(int error);

/* All objects of a kind. `name_space` empty: of all namespaces. */
struct api_client_list {
        struct json_doc **pages;
        size_t count;
};
int api_client_list(struct api_client *api, const struct kind *kind, struct str name_space,
                    struct str label_selector, struct error *error,
                    struct api_client_list *ret_list);
void api_client_list_deinit(struct api_client_list *list);
#define _cleanup_api_client_list_ _cleanup_(api_client_list_deinit)

/* The objects of a page, to be walked with json_for_each(). */
static inline struct json_value api_client_list_items(const struct api_client_list *list,
                                                      size_t page)
{
        return json_get(json_root(list->pages[page]), "items");
}

/*
 * Follows one object. `on_change` gets it as it is and after each change, absent once it is gone.
 * The first time that this returns other than 0 is the last, and api_client_watch_wait() returns it
 * (above 0: the object is as wished; negative: it never will be, with a sentence in `error`).
 */
typedef int (*api_client_watch_fn)(void *user, struct json_value object, struct error *error);
struct api_client_watch {
        struct api_client *api;
        struct kube_reflector *reflector;
        api_client_watch_fn on_change;
        void *user;
        bool is_optional; /* whether it may be watched does not matter */
        bool *ended;      /* set when it is done; NULL: nobody wants to know */
        bool was_there, is_there, done;
        int result;
        struct error error;
};

/* Begins; the fields above `was_there` that are not arguments are the caller's to set before. */
int api_client_watch_begin(struct api_client_watch *watch, struct api_client *api,
                           const struct kind *kind, struct str name, api_client_watch_fn on_change,
                           void *user, struct error *error);
int api_client_watch_wait(struct api_client_watch *watch, struct error *error);
void api_client_watch_end(struct api_client_watch *watch);
#define _cleanup_api_client_watch_ _cleanup_(api_client_watch_end)
