// SPDX-License-Identifier: Apache-2.0
#include "plan/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/limit.h"
#include "base/list.h"
#include "base/macro.h"

enum {
        WINDOW_BITS = 14,
        MEMORY_LEVEL = 6,
        LEVEL = 3,             /* higher ones gain nothing here */
        DICTIONARIES_MAX = 16, /* that are tried; more may be in use by what was packed before */
        /* A text that shrinks to less than one part in so many has found its like. */
        GOOD_RATIO = 5,
        /* So many must have been packed before there is one more dictionary: texts that have no
         * like are not worth one each. */
        PATIENCE = 8,
};

struct dictionary {
        struct list link; /* of those that are tried, the last that fitted first; or alone */
        const void *kind;
        size_t users;
        bool is_tried;
        size_t length;
        char text[];
};

struct packed {
        struct dictionary *dictionary; /* NULL: none */
        uint32_t length, text_length;
        unsigned char data[];
};

struct packer {
        z_stream deflate, inflate;
        struct list dictionaries;
        size_t count;
        unsigned since; /* texts without a like since the last dictionary was made */
};

int packer_new(struct packer **ret_packer)
{
        struct packer *packer = calloc(1, sizeof(*packer));

        if (!packer)
                return -ENOMEM;
        list_init(&packer->dictionaries);
        packer->since = PATIENCE;
        if (deflateInit2(&packer->deflate, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
                free(packer);
                return -ENOMEM;
        }
        if (inflateInit2(&packer->inflate, -WINDOW_BITS) != Z_OK) {
                deflateEnd(&packer->deflate);
                free(packer);
                return -ENOMEM;
        }
        *ret_packer = packer;
        return 0;
}

static void stop_trying(struct packer *packer, struct dictionary *dictionary)
{
        list_remove(&dictionary->link);
        dictionary->is_tried = false;
        packer->count--;
        if (dictionary->users == 0)
                free(dictionary);
}

void packer_free(struct packer *packer)
{
        if (!packer)
                return;
        while (!list_is_empty(&packer->dictionaries))
                stop_trying(packer, list_entry(packer->dictionaries.next, struct dictionary, link));
        deflateEnd(&packer->deflate);
        inflateEnd(&packer->inflate);
        free(packer);
}

/* Appends nothing but fills `out` anew. */
static int deflate_with(struct packer *packer, const struct dictionary *dictionary, struct str text,
                        struct buffer *out)
{
        z_stream *stream = &packer->deflate;
        size_t bound;

        deflateReset(stream);
        if (dictionary)
                deflateSetDictionary(stream, (const Bytef *)dictionary->text,
                                     (uInt)dictionary->length);
        bound = deflateBound(stream, text.length);
        buffer_clear(out);
        int r = buffer_reserve(out, bound);
        if (r < 0)
                return r;
        stream->next_in = (Bytef *)(uintptr_t)text.data;
        stream->avail_in = (uInt)text.length;
        stream->next_out = (Bytef *)out->data;
        stream->avail_out = (uInt)bound;
        r = deflate(stream, Z_FINISH);
        assert(r == Z_STREAM_END);
        out->length = bound - stream->avail_out;
        return 0;
}

/* A text without its like becomes a dictionary for those to come. */
static struct dictionary *add_dictionary(struct packer *packer, const void *kind, struct str text)
{
        struct dictionary *dictionary;

        if (packer->since++ < PATIENCE)
                return NULL;
        dictionary = malloc(sizeof(*dictionary) + text.length);
        if (!dictionary)
                return NULL;
        packer->since = 0;
        *dictionary = (struct dictionary){ .kind = kind, .is_tried = true, .length = text.length };
        memcpy(dictionary->text, text.data, text.length);
        if (packer->count == DICTIONARIES_MAX)
                stop_trying(packer,
                            list_entry(packer->dictionaries.previous, struct dictionary, link));
        list_append(packer->dictionaries.next, &dictionary->link);
        packer->count++;
        return dictionary;
}

static bool is_good(const struct buffer *packed, struct str text)
{
        return packed->length * GOOD_RATIO < text.length;
}

static int keep(struct dictionary *dictionary, const struct buffer *data, struct str text,
                struct packed **ret_packed)
{
        struct packed *packed = malloc(sizeof(*packed) + data->length);

        if (!packed)
                return -ENOMEM;
        packed->dictionary = dictionary;
        packed->length = (uint32_t)data->length;
        packed->text_length = (uint32_t)text.length;
        memcpy(packed->data, data->data, data->length);
        if (dictionary)
                dictionary->users++;
        *ret_packed = packed;
        return 0;
}

int packer_pack(struct packer *packer, const void *kind, struct str text,
                struct packed **ret_packed)
{
        _cleanup_buffer_ struct buffer data = {};
        struct dictionary *dictionary, *made;
        int r;

        if (text.length > LIMIT_BODY)
                return -EFBIG;
        list_for_each (dictionary, &packer->dictionaries, link) {
                if (dictionary->kind != kind)
                        continue;
                r = deflate_with(packer, dictionary, text, &data);
                if (r < 0)
                        return r;
                if (!is_good(&data, text))
                        continue;
                list_remove(&dictionary->link);
                list_append(packer->dictionaries.next, &dictionary->link);
                return keep(dictionary, &data, text, ret_packed);
        }
        made = add_dictionary(packer, kind, text);
        r = deflate_with(packer, made, text, &data);
        return r < 0 ? r : keep(made, &data, text, ret_packed);
}

int packer_unpack(struct packer *packer, const struct packed *packed, struct buffer *out)
{
        z_stream *stream = &packer->inflate;
        int r = buffer_reserve(out, packed->text_length);

        if (r < 0)
                return r;
        inflateReset(stream);
        if (packed->dictionary)
                inflateSetDictionary(stream, (const Bytef *)packed->dictionary->text,
                                     (uInt)packed->dictionary->length);
        stream->next_in = (Bytef *)(uintptr_t)packed->data;
        stream->avail_in = packed->length;
        stream->next_out = (Bytef *)out->data + out->length;
        stream->avail_out = packed->text_length;
        r = inflate(stream, Z_FINISH);
        if (r == Z_MEM_ERROR)
                return -ENOMEM;
        assert(r == Z_STREAM_END && stream->avail_out == 0);
        out->length += packed->text_length;
        return 0;
}

void packer_drop(struct packer *packer _unused_, struct packed *packed)
{
        if (!packed)
                return;
        struct dictionary *dictionary = packed->dictionary;
        if (dictionary && --dictionary->users == 0 && !dictionary->is_tried)
                free(dictionary);
        free(packed);
}
