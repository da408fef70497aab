// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "json/json.h"

enum selector_operator {
        SELECTOR_IN,     /* also = and == */
        SELECTOR_NOT_IN, /* also !=; an object without the key matches */
        SELECTOR_EXISTS,
        SELECTOR_NOT_EXISTS,
        SELECTOR_GREATER, /* integers; string form only */
        SELECTOR_LESS,
};

struct selector_requirement {
        struct str key;
        enum selector_operator how;
        const struct str *values;
        size_t value_count;
};

/* All requirements must hold; none matches everything. Strings live in the arena. */
struct label_selector {
        const struct selector_requirement *requirements;
        size_t count;
        bool matches_nothing; /* a null selector object */
};

/*
 * The string form of ?labelSelector=: "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>5". Keys and values
 * are checked as labels. Returns 0, -EINVAL with the sentence, or -ENOMEM.
 */
int label_selector_parse(struct str text, struct arena *arena, struct error *error,
                         struct label_selector *ret_selector);

/*
 * A metav1.LabelSelector {matchLabels, matchExpressions}. Absent or null matches nothing, {}
 * everything. Borrows from the document. Returns 0, -EINVAL, -ENOMEM.
 */
int label_selector_read(struct json_value selector, struct arena *arena, struct error *error,
                        struct label_selector *ret_selector);

/* A map of labels that all must be equal (Service.spec.selector). Absent matches nothing. */
int label_selector_read_map(struct json_value labels, struct arena *arena,
                            struct label_selector *ret_selector);

/* `labels` is an object of strings, or absent. Does not allocate. */
bool label_selector_matches(const struct label_selector *selector, struct json_value labels);

/* The value that a matching object must have under `key`, when the selector says just one. */
bool label_selector_requires(const struct label_selector *selector, struct str key,
                             struct str *ret_value);

/* The string form, in the given order. Returns 0 or -ENOMEM. */
int label_selector_write(const struct label_selector *selector, struct buffer *out);

struct field_requirement {
        struct str path; /* "metadata.name" */
        struct str value;
        bool negated;
};

struct field_selector {
        const struct field_requirement *requirements;
        size_t count;
};

/*
 * ?fieldSelector=: "metadata.name=x,status.phase!=Running" with "\," "\=" "\\" escapes. Which
 * paths a kind supports is for the caller to check. Returns 0, -EINVAL, -ENOMEM.
 */
int field_selector_parse(struct str text, struct arena *arena, struct error *error,
                         struct field_selector *ret_selector);

/*
 * By the values found at the dotted paths; what is absent is "", booleans and numbers are their
 * text. Does not allocate.
 */
bool field_selector_matches(const struct field_selector *selector, struct json_value object);

/* The value that `path` must have, when the selector says so. */
bool field_selector_requires(const struct field_selector *selector, struct str path,
                             struct str *ret_value);
