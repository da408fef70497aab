// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/protowire.h"
#include "sandboxd/process_messages.h"

/*
 * The first byte says which message of sandboxd's process API the rest is. What a StartRequest is
 * read as must be fit for execve(2), and a message written anew from its fields must read the same.
 */
static void check_start(struct str message)
{
        _cleanup_arena_ struct arena arena = { 0 };
        struct start_request request;

        if (start_request_read(&arena, message, &request) < 0)
                return;
        for (size_t i = 0; i < request.config.command_count; i++)
                if (!request.config.command[i])
                        abort();
        if (request.config.command_count > 0 &&
            request.config.command[request.config.command_count])
                abort();
        for (size_t i = 0; i < request.config.variable_count; i++) {
                const char *variable = request.config.variables[i];
                size_t length = strcspn(variable, "=");

                if (length == 0 || variable[length] != '=')
                        abort();
                for (size_t j = 0; j < i; j++)
                        if (strncmp(request.config.variables[j], variable, length + 1) == 0)
                                abort();
        }
}

static void check_fields(struct str message)
{
        _cleanup_buffer_ struct buffer again = { 0 };
        struct protowire_writer writer = { .out = &again };
        struct protowire_field field, other;
        struct str rest = message;

        while (protowire_next(&rest, &field) > 0) {
                buffer_clear(&again);
                if (field.type == PROTOWIRE_VARINT)
                        protowire_write_varint(&writer, field.number, field.value);
                else if (field.type == PROTOWIRE_FIXED64)
                        protowire_write_fixed64(&writer, field.number, field.value);
                else if (field.type == PROTOWIRE_FIXED32)
                        protowire_write_fixed32(&writer, field.number, (uint32_t)field.value);
                else
                        protowire_write_bytes(&writer, field.number, field.bytes);
                struct str written = buffer_str(&again);
                if (writer.failure || protowire_next(&written, &other) != 1 || written.length > 0 ||
                    other.number != field.number || other.type != field.type ||
                    other.value != field.value || !str_equal(other.bytes, field.bytes))
                        abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct process_request request;

        if (size == 0)
                return 0;
        struct str message = { (const char *)data + 1, size - 1 };
        check_fields(message);
        if (data[0] % 4 == 0) {
                check_start(message);
        } else if (process_request_read((enum process_message)(data[0] % 4 - 1), message,
                                        &request) == 0) {
                if (request.eof && request.input.length > 0)
                        abort();
        }
        return 0;
}
