// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "client/client.h"
#include "plan/executor.h"

/*
 * Carries out plans over the wire: the executor's backend in which every action is one request.
 * What was not sent for sure is told as -ECONNREFUSED, and what may have happened as -ETIMEDOUT;
 * nothing is repeated here, for the executor plans anew.
 */
struct wire_executor;

/* `on_answer` is called after each answer was told: keys may then be due. */
int wire_executor_new(struct kube_client *client, void (*on_answer)(void *user), void *user,
                      struct wire_executor **ret_executor);

/*
 * Writes are sent only while `may_write` says so, asked just before each goes out; the others are
 * told as -ECONNREFUSED. For leaders: a process that was paused until somebody else leads writes
 * nothing when it wakes. Before the first submission.
 */
void wire_executor_set_fence(struct wire_executor *executor, bool (*may_write)(void *user),
                             void *user);

/*
 * Whether nothing is forbidden by RBAC that was tried; else `why` says what is, until the same is
 * allowed again. The log says both when they change.
 */
enum { WIRE_EXECUTOR_WHY_SIZE = 256 };
bool wire_executor_is_allowed(const struct wire_executor *executor,
                              char why[static WIRE_EXECUTOR_WHY_SIZE]);

/* Withdraws what is on its way, without answers. */
void wire_executor_free(struct wire_executor *executor);

/* For controllers_new(). Lives as long as the executor. */
const struct executor_backend *wire_executor_backend(const struct wire_executor *executor);
