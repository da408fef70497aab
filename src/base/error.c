// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
        assert(code < 0);
        if (!error)
                return code;

        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof(error->message), format, arguments);
        va_end(arguments);
        error->code = code;
        return code;
}

int error_prefix(struct error *error, int code, const char *format, ...)
{
        assert(code < 0);
        if (!error)
                return code;

        char context[256], before[sizeof(error->message)];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(context, sizeof(context), format, arguments);
        va_end(arguments);

        snprintf(before, sizeof(before), "%s", error->code ? error->message : strerror(-code));
        size_t used = (size_t)snprintf(error->message, sizeof(error->message), "%s: ", context);
        if (used < sizeof(error->message))
                snprintf(error->message + used, sizeof(error->message) - used, "%.*s",
                         (int)(sizeof(error->message) - used - 1), before);
        error->code = code;
        return code;
}
