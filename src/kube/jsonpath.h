// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "json/json.h"

/*
 * The part of Kubernetes' JSONPath that printer columns, scale paths and `kubectl wait` need:
 *     .spec.replicas   ['key']   .metadata.annotations.example\.com/key   [0]   [-1]   [*]
 *     [?(@.type=='Ready')]   (==, != with a string, number, true, false; @.a.b)
 * with or without {} around it and a leading $.
 */
struct jsonpath;

/* Compiled into the arena; borrows nothing. Returns 0, -EINVAL with a sentence, -ENOMEM. */
int jsonpath_parse(struct str text, struct arena *arena, struct error *error,
                   const struct jsonpath **ret_path);

/*
 * Puts up to `capacity` of the values found, in order, into `found`; returns how many there are in
 * all. Does not allocate.
 */
size_t jsonpath_find(const struct jsonpath *path, struct json_value root, struct json_value *found,
                     size_t capacity);

/* The first value found, or absent. */
struct json_value jsonpath_first(const struct jsonpath *path, struct json_value root);
