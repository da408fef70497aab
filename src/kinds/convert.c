// SPDX-License-Identifier: Apache-2.0
#include "kinds/convert.h"

#include <errno.h>

int kind_convert(const struct kind *kind, struct json_doc *doc, struct str to_version,
                 struct error *error, struct json_doc **ret_doc)
{
        struct str group, version;
        struct str api_version = json_string(json_get(json_root(doc), "apiVersion"));

        if (!str_cut(api_version, '/', &group, &version) || !str_equal(version, to_version))
                return error_set(error, -EINVAL, "%.*s cannot be converted from %.*s to %.*s",
                                 STR_FORMAT(kind->kind), STR_FORMAT(api_version),
                                 STR_FORMAT(to_version));
        *ret_doc = json_doc_ref(doc);
        return 0;
}
