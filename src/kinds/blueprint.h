// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kinds/sandbox.h"

enum { BLUEPRINT_HASH_SIZE = 17 };

/*
 * What a warm member must have been made from to be fresh: 16 hex digits over the Pod spec with
 * Kubernetes' defaults filled in, the volume claim templates and `service`. Metadata, the order of
 * members and the spelling of quantities do not matter.
 */
void blueprint_hash(const struct blueprint *blueprint, char text[static BLUEPRINT_HASH_SIZE]);
