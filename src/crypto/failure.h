// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * After a failed OpenSSL call: empties the thread's error queue, so that TLS, which looks into it,
 * does not stumble over this failure later. Returns -ENOMEM if that was the cause, else `code`.
 */
int crypto_failure(int code);
