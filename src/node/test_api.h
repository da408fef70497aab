// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/http_server.h"
#include "net/test_loop.h"
#include "json/json.h"

/*
 * As much of a Kubernetes API as a node talks to, on a free port of loopback: objects by path, with
 * create, get, list, merge patch, delete; watches with WatchList. It believes everything.
 */
enum { TEST_API_OBJECTS = 256, TEST_API_WATCHES = 8 };

struct test_api {
        struct test_loop *loop;
        struct http_server *server;
        struct listener *listener;
        char url[64];
        struct test_object {
                char path[512]; /* "/api/v1/namespaces/n/pods/p" */
                struct json_doc *doc;
        } objects[TEST_API_OBJECTS];
        size_t count;
        struct test_watch {
                struct http_exchange *exchange; /* NULL: free */
                char plural[32];
        } watches[TEST_API_WATCHES];
        uint64_t revision;
        unsigned status_patches, deletes, refused_patches;
        unsigned fail_patches; /* so many status patches are answered 500 */
};

void test_api_start(struct test_api *api, struct test_loop *loop);
void test_api_stop(struct test_api *api);

/* Stores what `json` says at `path` and tells watchers. */
void test_api_put(struct test_api *api, const char *path, const char *json);
void test_api_remove(struct test_api *api, const char *path);

/* The object at `path`, or absent. */
struct json_value test_api_get(const struct test_api *api, const char *path);

/* How many objects there are whose path begins so. */
size_t test_api_count(const struct test_api *api, const char *prefix);

/* Applies a merge patch as a user would. */
void test_api_patch(struct test_api *api, const char *path, const char *json);
