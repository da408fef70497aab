// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <errno.h>

#include "net/websocket.h"

enum {
        BIT_FINAL = 0x80,
        BITS_RESERVED = 0x70,
        BITS_OPCODE = 0x0f,
        BIT_MASKED = 0x80,
        BITS_LENGTH = 0x7f,
        LENGTH_16 = 126,
        LENGTH_64 = 127,
        CONTROL_MAX = 125,
};

static bool is_known(unsigned opcode)
{
        return opcode <= WEBSOCKET_BINARY ||
               (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

int websocket_parse_head(struct str input, struct websocket_frame *ret_frame)
{
        const uint8_t *bytes = (const uint8_t *)input.data;
        struct websocket_frame frame = {};
        size_t need = 2;

        if (input.length < need)
                return 0;
        unsigned opcode = bytes[0] & BITS_OPCODE, length = bytes[1] & BITS_LENGTH;
        bool control = opcode >= WEBSOCKET_CLOSE;
        frame.final = bytes[0] & BIT_FINAL;
        frame.masked = bytes[1] & BIT_MASKED;
        frame.opcode = (enum websocket_opcode)opcode;
        if ((bytes[0] & BITS_RESERVED) || !is_known(opcode))
                return -EBADMSG;
        if (control && (!frame.final || length > CONTROL_MAX))
                return -EBADMSG;

        size_t mask_at = length == LENGTH_64 ? 10 : length == LENGTH_16 ? 4 : 2;
        need = mask_at + (frame.masked ? sizeof(frame.mask) : 0);
        if (input.length < need)
                return 0;
        if (length == LENGTH_16) {
                uint16_t wire;
                memcpy(&wire, bytes + 2, sizeof(wire));
                frame.length = be16toh(wire);
                if (frame.length < LENGTH_16)
                        return -EBADMSG;
        } else if (length == LENGTH_64) {
                uint64_t wire;
                memcpy(&wire, bytes + 2, sizeof(wire));
                frame.length = be64toh(wire);
                if (frame.length <= UINT16_MAX || frame.length > INT64_MAX)
                        return -EBADMSG;
        } else {
                frame.length = length;
        }
        if (frame.masked)
                memcpy(frame.mask, bytes + mask_at, sizeof(frame.mask));
        *ret_frame = frame;
        return (int)need;
}

size_t websocket_write_head(char out[static WEBSOCKET_HEAD_SIZE],
                            const struct websocket_frame *frame)
{
        uint8_t *bytes = (uint8_t *)out;
        unsigned mask_bit = frame->masked ? BIT_MASKED : 0;
        size_t at = 2;

        bytes[0] = (uint8_t)((frame->final ? BIT_FINAL : 0) | (unsigned)frame->opcode);
        if (frame->length < LENGTH_16) {
                bytes[1] = (uint8_t)(mask_bit | (unsigned)frame->length);
        } else if (frame->length <= UINT16_MAX) {
                uint16_t wire = htobe16((uint16_t)frame->length);
                bytes[1] = (uint8_t)(mask_bit | LENGTH_16);
                memcpy(bytes + at, &wire, sizeof(wire));
                at += sizeof(wire);
        } else {
                uint64_t wire = htobe64(frame->length);
                bytes[1] = (uint8_t)(mask_bit | LENGTH_64);
                memcpy(bytes + at, &wire, sizeof(wire));
                at += sizeof(wire);
        }
        if (frame->masked) {
                memcpy(bytes + at, frame->mask, sizeof(frame->mask));
                at += sizeof(frame->mask);
        }
        return at;
}

void websocket_mask(char *out, const char *in, size_t length, const uint8_t mask[static 4],
                    uint64_t offset)
{
        uint8_t turned[8];
        uint64_t word, key;
        size_t i = 0;

        for (size_t j = 0; j < sizeof(turned); j++)
                turned[j] = mask[(offset + j) % 4];
        memcpy(&key, turned, sizeof(key));
        for (; length - i >= sizeof(word); i += sizeof(word)) {
                memcpy(&word, in + i, sizeof(word));
                word ^= key;
                memcpy(out + i, &word, sizeof(word));
        }
        for (; i < length; i++)
                out[i] = (char)((uint8_t)in[i] ^ turned[i % sizeof(turned)]);
}
