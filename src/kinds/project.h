// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kinds/kind.h"

/*
 * What the controllers of a cluster read of an object, as a document of its own: without
 * managedFields but for who created it (generation_read()), and of a Pod's spec only the node. What
 * they may patch is all there, so that a merge patch changes the projection if and only if it
 * changes the object. Returns 0, -EINVAL (no object) or -ENOMEM.
 */
int kind_project(const struct kind *kind, const struct json_doc *doc, struct json_doc **ret_doc);
