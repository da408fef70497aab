// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"

/*
 * The lower layer of every container's root: empty folders, links into /usr, and of /etc only what
 * is named here and readable by all: nothing private gets in by being new. `folder` is an open,
 * empty directory. `host` is the host's root folder. Returns 0 or a negative errno with a sentence.
 */
int skeleton_make(int folder, int host, struct error *error);

/*
 * The contents of every container's /dev in the empty directory `folder`: device nodes, links and
 * mount points.
 */
int skeleton_make_devices(int folder, struct error *error);

/* Removes everything inside `folder` without leaving its file system or following links. */
int skeleton_empty(int folder);

/* The same, but for the entry `name`. */
int skeleton_empty_except(int folder, const char *name);
