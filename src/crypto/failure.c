// SPDX-License-Identifier: Apache-2.0
#include "crypto/failure.h"

#include <errno.h>
#include <openssl/err.h>

int crypto_failure(int code)
{
        unsigned long error;

        while ((error = ERR_get_error()) != 0)
                if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
                        code = -ENOMEM;
        return code;
}
