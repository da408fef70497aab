// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/macro.h"
#include "base/str.h"
#include "json/json.h"

/* The text (or number) of one cell while it is made; what does not fit is cut. */
struct cell {
        char text[1024];
        size_t length;
        int64_t number; /* of an integer column */
        uint64_t now_ns;
};

void cell_add(struct cell *cell, const char *format, ...) _printf_(2, 3);
void cell_add_string(struct cell *cell, struct json_value value);
void cell_add_or(struct cell *cell, struct json_value value, const char *fallback);
void cell_add_selector(struct cell *cell, struct json_value selector); /* a LabelSelector */
void cell_add_map(struct cell *cell, struct json_value map);
void cell_add_containers(struct cell *cell, struct json_value pod_spec, const char *key);

/* Writes the cells of one kind, all but Name, Age and Created At. */
struct column_printer {
        struct str group, plural;
        void (*print)(struct cell *cell, struct str column, struct json_value object);
};
extern const struct column_printer column_printers[];
extern const size_t column_printers_count;

/* columns_pod.c: a Pod's Ready, Status and Restarts say more than one field does. */
void print_pod(struct cell *cell, struct str column, struct json_value object);
