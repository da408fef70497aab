// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "kube/jsonpath.h"
#include "json/json.h"
#include "json/writer.h"

/* One column of a metav1.Table. */
struct table_column {
        struct str name;
        struct str type;   /* string, integer, number, boolean, date */
        struct str format; /* "name" for the first; else mostly empty */
        struct str description;
        int64_t priority;            /* above 0: only with -o wide */
        const struct jsonpath *path; /* NULL: the caller writes the cell */
};

struct table_columns {
        const struct table_column *list;
        size_t count;
};

/*
 * The columns of a CRD version: Name first, then additionalPrinterColumns; Name and Age when it has
 * none. Copied into the arena. Returns 0, -EINVAL (a bad jsonPath), -ENOMEM.
 */
int table_columns_read(struct json_value additional_printer_columns, struct arena *arena,
                       struct error *error, struct table_columns *ret_columns);

/* Writes the array columnDefinitions. */
void table_write_definitions(struct json_writer *writer, const struct table_columns *columns);

/*
 * Writes one cell as kube-apiserver would: integers and booleans as such, dates as an age, what is
 * absent as null.
 */
void table_write_cell(struct json_writer *writer, const struct table_column *column,
                      struct json_value object, uint64_t now_ns);

/* The array cells of an object: Name and every column. */
void table_write_cells(struct json_writer *writer, const struct table_columns *columns,
                       struct json_value object, uint64_t now_ns);

/* kubectl's duration.HumanDuration: "5s", "3m2s", "4d"; "<invalid>" when negative. */
enum { HUMAN_DURATION_SIZE = 32 };
struct str human_duration(int64_t seconds, char text[static HUMAN_DURATION_SIZE]);

/* The age of an RFC 3339 time, or "<unknown>". */
struct str human_age(struct json_value time, uint64_t now_ns,
                     char text[static HUMAN_DURATION_SIZE]);

/* {"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":…} */
void partial_object_metadata_write(struct json_writer *writer, struct json_value object);
