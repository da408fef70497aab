// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/apiserver.h"
#include "plan/executor.h"

/*
 * Carries out plans in the same process: the executor's backend that takes a plan whole. Its
 * actions go through the handlers that HTTP requests go through, in order, each seeing what the
 * ones before it did, and are one transaction of the store; answers come when it is on disk.
 */
struct local_executor;

/*
 * `manager` is who acts, in managedFields; a constant. `on_answer` is called after each answer was
 * told: keys may then be due.
 */
int local_executor_new(struct apiserver *server, struct str manager, void (*on_answer)(void *user),
                       void *user, struct local_executor **ret_executor);

/* Lets what was told to feeds, and what was submitted upon it, go to the disk (commit_hold.h). */
void local_executor_commit(struct local_executor *executor);

/* Withdraws what is on its way, without answers. Before apiserver_free(). */
void local_executor_free(struct local_executor *executor);

/* For controllers_new(). Lives as long as the executor. */
const struct executor_backend *local_executor_backend(const struct local_executor *executor);
