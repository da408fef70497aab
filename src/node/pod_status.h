// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "node/pod_worker.h"

/* What the worker and its status share; for pod_worker.c and pod_status.c only. */

/* Whether the container, having ended as it did, is to be started again. */
bool pod_worker_restarts(const struct pod_worker *worker, size_t index);

/* Whether all init containers have done their part. */
bool pod_worker_is_initialized(const struct pod_worker *worker);

/* Whether all regular containers, or an init container, have ended for good. */
bool pod_worker_has_finished(const struct pod_worker *worker);

bool pod_worker_is_stopping(const struct pod_worker *worker);

/* Whether no container runs or is being started. */
bool pod_worker_is_idle(const struct pod_worker *worker);

/*
 * Derives phase and conditions from the containers, with transition times, and marks the status
 * dirty where they changed. Returns whether the change concerns somebody who waits: the Pod became
 * ready, stopped being so, or came to its end.
 */
bool pod_status_derive(struct pod_worker *worker, uint64_t realtime);

/* Takes over the document as it is now. */
void pod_worker_attach(struct pod_worker *worker, const struct pod_spec *spec, struct pod_time now);
