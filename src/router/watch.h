// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "router/index.h"

/*
 * Feeds the index from a cluster: watches Sandboxes, and the Pods that carry a Sandbox's label.
 * A client that may not watch them leaves the index incomplete, and says so once in the log.
 */
struct router_watch;

/* `name_space` empty: all. Views are copied. Begins at once. 0, -ENOMEM or -EINVAL. */
int router_watch_new(struct kube_client *client, struct router_index *index, struct str name_space,
                     void (*on_settled)(void *user), void *user, struct router_watch **ret_watch);
void router_watch_free(struct router_watch *watch);

/* Whether everything has been listed, or may not be: on_settled is told when that becomes true. */
bool router_watch_is_settled(const struct router_watch *watch);

/* What the index keeps of the two kinds; views into the document. */
void index_sandbox_read(const struct json_doc *doc, struct index_sandbox *ret_sandbox);
void index_pod_read(const struct json_doc *doc, struct index_pod *ret_pod);
