// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "kinds/kind.h"
#include "json/json.h"

/*
 * Conversion of our four kinds between v1alpha1 and v1beta1, the hub (docs/api.md). `to_version` is
 * "v1alpha1" or "v1beta1"; the document says its own. The result is owned by the caller; it is
 * `doc` again when the versions are the same.
 *
 * It is lossless both ways. What the other version cannot say goes along in an annotation,
 * api.agents.x-k8s.io/<version>-<kind>-state: an object of the version left, cut down to the
 * members that conversion back would get wrong, so most objects need none. The annotation is taken
 * off on the way back and believed only where it agrees with what the object itself says then: a
 * change made in the other version wins. Malformed state is ignored. Upstream's state (a whole
 * v1alpha1 object) is read; upstream reads ours.
 *
 * Returns 0, -EINVAL (another kind or version, metadata that is no object), -E2BIG (on the way to
 * the hub: more than LIMIT_ANNOTATIONS; reading never fails for its size), each with a sentence;
 * -ENOMEM.
 */
int kind_convert(const struct kind *kind, struct json_doc *doc, struct str to_version,
                 struct error *error, struct json_doc **ret_doc);

/*
 * The dialect of some guides: SandboxTemplate and SandboxClaim under agents.x-k8s.io/v1alpha1, the
 * claim with `templateRef` for sandboxTemplateRef and `ttl` (a Go duration as "1h30m", counted
 * from `created_ns`, realtime) for a shutdownTime with policy Delete. Makes it the extensions'
 * v1alpha1 object, to be pruned and validated as one. Where both words stand, the dialect's
 * wins: applying the same file again patches them in anew, to the same result.
 *
 * The result is owned by the caller: `doc` again when it is of no such kind. Returns 0, -EINVAL
 * (no such duration, with a sentence), -ENOMEM.
 */
int kind_adopt_dialect(struct json_doc *doc, uint64_t created_ns, struct error *error,
                       struct json_doc **ret_doc);
