// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "json/edit.h"

/*
 * The defaults of a PodSpec that no schema tells (k8s.io/kubernetes pkg/apis/core/v1/defaults.go),
 * at `pointer` ("/spec", "/spec/template/spec") of the edit's document. Returns 0 or -ENOMEM.
 */
int pod_set_defaults(struct arena *arena, struct json_value spec, const char *pointer,
                     struct json_edit *edit);
