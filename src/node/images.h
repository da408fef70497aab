// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

/*
 * The images of the native runtime have no layers: each is a name, what is run by default, and
 * which private executables stand in the skeleton root beside the host's /usr.
 */
struct image_file {
        const char
                *source; /* file below the libexec folder, or NULL for the `cay` program itself */
        const char *target; /* absolute path inside the container; mounted read-only, executable */
};

struct image {
        const char *name;        /* canonical: "docker.io/library/busybox:latest" */
        const char *const *argv; /* a CMD without ENTRYPOINT */
        const char *const *env;  /* NAME=value */
        const char *working_dir;
        int user, group; /* image USER: the ids inside the container */
        const struct image_file *files;
        size_t file_count;
};

/* Environment that every image starts from, NAME=value, NULL-terminated. */
extern const char *const image_base_env[];

/* The built-in images and the names that a map file gives them. All zero is the built-ins alone. */
struct images {
        struct arena arena;
        struct image_alias *aliases;
        size_t alias_count;
};

void images_deinit(struct images *images);

/*
 * Reads the map of other names: lines "NAME BUILT-IN" (blanks between, "#" comments), NAME
 * any image reference, BUILT-IN one of the built-in ones. Replaces what was read before, or leaves
 * it on failure. Returns 0, -EINVAL (the sentence names the line) or -ENOMEM.
 */
int images_read_map(struct images *images, struct str text, struct error *error);

/*
 * What a reference names: the canonical form adds "docker.io/library/" and ":latest" where
 * they are left out (distribution's reference grammar); a digest is kept and never found.
 * Returns 0, -ENOENT (no such image here) or -EINVAL (no image reference).
 */
int images_find(const struct images *images, struct str reference, const struct image **ret_image);

/* The canonical form, NUL-terminated in the arena. Returns 0, -EINVAL or -ENOMEM. */
int image_reference_normalise(struct str reference, struct arena *arena, struct str *ret_canonical);
