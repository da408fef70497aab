// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "base/list.h"
#include "json/json.h"

/*
 * A CustomResourceDefinition that is deleted takes its objects with it: they are deleted as by
 * anybody, finalizers and all, and the definition is held by a finalizer of the server's until none
 * is left (apiextensions-apiserver, pkg/controller/finalizer). No new ones are made meanwhile.
 */
#define CLEANUP_FINALIZER STR("customresourcecleanup.apiextensions.k8s.io")

/* Whether the definition is being deleted and waits for its objects. */
bool cleanup_is_wanted(struct json_value definition);

/*
 * Deletes the definition's objects and then takes its finalizer away. One that is under way for it
 * already goes on. Returns 0 or -ENOMEM.
 */
int cleanup_start(struct apiserver *server, struct list *cleanups, struct json_value definition);

/* Ends it, if there is one; `name` is the definition's. */
void cleanup_stop(struct list *cleanups, struct str name);

/* Ends all. The internal calls must have been cancelled. */
void cleanup_stop_all(struct list *cleanups);
