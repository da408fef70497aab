// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/job.h"

#include <assert.h>

static void on_thread(uv_work_t *work)
{
        struct job *job = work->data;

        job->run(job);
}

static void on_loop(uv_work_t *work, int status)
{
        struct job *job = work->data;

        (void)status; /* nobody cancels */
        job->finish(job);
}

void job_start(uv_loop_t *uv, struct job *job)
{
        int r;

        job->work.data = job;
        r = uv_queue_work(uv, &job->work, on_thread, on_loop);
        assert(r == 0);
        (void)r;
}
