// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One thing that sandboxes need of the machine, and what to do where it is missing. */
struct machine_need {
        const char *name;
        bool (*holds)(void);
        const char *cure;  /* a part of a sentence */
        bool before_start; /* cheap, sure, and nothing starts without it */
};

extern const struct machine_need machine_needs[]; /* ended by one without a name */

/* The first need that does not hold, of all or those `before_start`; NULL if every one does. */
const struct machine_need *machine_lacks(bool before_start);
