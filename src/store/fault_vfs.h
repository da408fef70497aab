// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/* An SQLite VFS for tests that passes everything on, until it is told to fail. */
#define FAULT_VFS "fault"

struct fault_vfs {
        atomic_int countdown; /* the n-th write or sync from now fails; 0: none */
        atomic_bool lasting;  /* and all after it */
        atomic_bool full;     /* fails with "no space" (writes only), else with an I/O error */
        atomic_int calls;     /* writes and syncs so far */
        atomic_int failures;
};
extern struct fault_vfs fault_vfs;

/* Makes it known to SQLite under its name. */
int fault_vfs_register(void);

/* Fails nothing from now on. */
void fault_vfs_reset(void);
