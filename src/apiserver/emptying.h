// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "base/list.h"
#include "base/str.h"

/*
 * A namespace that goes takes all objects in it along (k8s.io/kubernetes
 * pkg/controller/namespace/deletion). The controller of namespaces deletes what it watches, which
 * is not every kind that is served: whatever is left when it is through goes here, custom resources
 * and those kinds that are only stored.
 */

/* Whether nothing is in the namespace, nor on its way into it. */
bool namespace_is_empty(struct apiserver *server, struct str name);

/*
 * Deletes what is in it, as by anybody, finalizers and all, piece by piece, until everything is on
 * its way. One that is under way for it already goes on. Returns 0 or -ENOMEM.
 */
int emptying_start(struct apiserver *server, struct str name);

/* Ends all. The internal calls must have been cancelled. */
void emptying_stop_all(struct apiserver *server);
