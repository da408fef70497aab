// SPDX-License-Identifier: Apache-2.0
#include "apiserver/commit_hold.h"

static void on_task(struct net_task *task)
{
        commit_hold_end(container_of(task, struct commit_hold, task));
}

void commit_hold_init(struct commit_hold *hold, struct net_loop *loop, struct storage *storage)
{
        *hold = (struct commit_hold){ .loop = loop, .storage = storage, .task.run = on_task };
}

void commit_hold_begin(struct commit_hold *hold)
{
        if (hold->holds)
                return;
        hold->holds = true;
        storage_cork(hold->storage);
        net_loop_defer(hold->loop, &hold->task);
}

void commit_hold_end(struct commit_hold *hold)
{
        if (!hold->holds)
                return;
        hold->holds = false;
        net_task_cancel(&hold->task);
        storage_uncork(hold->storage);
}
