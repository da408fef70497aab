// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "apiserver/registry.h"
#include "json/writer.h"

/*
 * The cells of one row of a Table: by the paths of a CRD's columns, or as kube-apiserver's printers
 * write them for its own kinds (k8s.io/kubernetes pkg/printers/internalversion).
 */
void columns_write_cells(struct json_writer *writer, const struct api_resource *resource,
                         const struct api_version *version, struct json_value object,
                         uint64_t now_ns);
