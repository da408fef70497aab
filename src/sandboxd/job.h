// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <uv.h>

#include "net/http_server.h"

/*
 * One answer that needs calls which may block: `run` does them on uv's thread pool, `finish` goes
 * on with the result on the loop. Embedded in what both work on. The client may go while `run`
 * works, so that must not touch the exchange nor its arena, and `finish` frees the whole.
 */
struct job {
        uv_work_t work;
        void (*run)(struct job *job);
        void (*finish)(struct job *job);
};

void job_start(uv_loop_t *uv, struct job *job);
