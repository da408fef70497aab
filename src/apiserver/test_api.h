// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include "apiserver/apiserver.h"
#include "apiserver/local_feed.h"
#include "base/test_folder.h"
#include "crypto/jwt.h"
#include "net/http_client.h"
#include "json/json.h"

/* An API server on a free port of the loopback, and a client, for tests. */
struct test_api {
        uv_loop_t uv;
        struct net_loop *loop;
        struct apiserver *server;
        struct http_client *client;
        struct net_address address;
        struct jwt_key *key;
        struct test_folder folder; /* of the data; without a path: memory only */
        const char *vfs;
        int failed; /* what config.failed was told */

        /* the last answer */
        unsigned code;
        struct json_doc *doc; /* NULL if it was no JSON */
        struct buffer body;
        char warning[512];
        bool done;
        int error; /* of the connection */
};

/* "admin" is of system:masters, "dev" of the group devs, "node" of system:nodes: their tokens. */
int test_api_setup(void **state);         /* in memory */
int test_api_setup_on_disk(void **state); /* with data */
int test_api_setup_faulty(void **state);  /* with data, through FAULT_VFS */
int test_api_teardown(void **state);

/* Ends the server and starts one on the same data. */
void test_api_restart(struct test_api *api);

/*
 * One request; returns the status and keeps the answer. `token` NULL: none. `type` NULL: JSON. In
 * `body` (NULL: none) single quotes stand for double ones.
 */
unsigned ask(struct test_api *api, const char *token, const char *method, const char *path,
             const char *type, const char *body);

/* By the administrator. */
unsigned get(struct test_api *api, const char *path);
unsigned post(struct test_api *api, const char *path, const char *body);
unsigned merge(struct test_api *api, const char *path, const char *body);
unsigned delete_it(struct test_api *api, const char *path, const char *body);

/* A string of the last answer by members' names; "" if there is none. In a static buffer. */
#define answer_text(api, ...) answer_text_at((api), (const char *const[]){ __VA_ARGS__, NULL })
const char *answer_text_at(struct test_api *api, const char *const *path);
#define answer_number(api, ...) answer_number_at((api), (const char *const[]){ __VA_ARGS__, NULL })
int64_t answer_number_at(struct test_api *api, const char *const *path);
struct json_value answer_root(struct test_api *api);

/* The answer is a failure: a Status with this code and reason. */
void assert_refused(struct test_api *api, unsigned code, const char *reason);

/* ---- feeds ---- */

/*
 * Begins one of the ConfigMaps in `default` and waits for the end of its list. What it tells stands
 * in `fed`, a word an event: "begin +a end ~a -a aborted ". `handler` NULL: test_feed_event(),
 * which another handler calls too.
 */
struct local_feed *test_feed_start(struct test_api *api, kube_event_fn handler);
void test_feed_event(void *user, const struct kube_event *event);
extern char fed[1024];

/* ---- watches ---- */

struct test_watch {
        struct test_api *api;
        struct http_call *call;
        struct buffer text;
        unsigned status;
        bool ended;
};
void test_watch_open(struct test_watch *watch, struct test_api *api, const char *path);

/*
 * Waits for the next event and describes it: "ADDED name label:value=…" is "A:name", "M:name",
 * "D:name", "B:revision", "E:code". "" when the stream has ended. In a static buffer.
 */
const char *test_watch_next(struct test_watch *watch);
void test_watch_close(struct test_watch *watch);
