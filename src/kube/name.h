// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/arena.h"
#include "base/random.h"
#include "base/str.h"

/*
 * The rules for names (k8s.io/apimachinery pkg/util/validation). Each check returns NULL when all
 * is well, else the sentence that kube-apiserver gives: a constant, without a field in front.
 */
typedef const char *(*name_check_fn)(struct str name);

/* RFC 1123 label, ≤ 63: namespaces, Services' and containers' names. */
const char *name_check_dns_label(struct str name);

/* RFC 1123 subdomain, ≤ 253: most names of objects. */
const char *name_check_dns_subdomain(struct str name);

/* RFC 1035 label, ≤ 63: names of Services. */
const char *name_check_dns1035_label(struct str name);

/* What may stand in a path: names of RBAC kinds and Leases of any form. */
const char *name_check_path_segment(struct str name);

/* Keys of labels, annotations, taints, finalizers: [prefix/]name. */
const char *name_check_qualified(struct str key);

/* Values of labels. */
const char *name_check_label_value(struct str value);

/* Keys of ConfigMap and Secret data. */
const char *name_check_config_key(struct str key);

/* generateName is cut to 63 - 5 characters before the random suffix. */
enum { NAME_GENERATE_BASE = 63 - NAME_SUFFIX_LENGTH };

/* The base of a generated name with a fresh suffix, in the arena; data NULL without memory. */
struct str name_generate(struct arena *arena, struct str base);
