// SPDX-License-Identifier: Apache-2.0
#include "plan/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limit.h"
#include "base/list.h"
#include "base/macro.h"
#include "plan/delta.h"

enum {
        DICTIONARIES_MAX = 16, /* that are tried; more may be in use by what was packed before */
        /* A text that shrinks to less than one part in so many, or to so few bytes, has found its
         * like. */
        GOOD_RATIO = 8,
        GOOD_LENGTH = 96,
        /* So many must have been packed before there is one more dictionary: texts that have no
         * like are not worth one each. */
        PATIENCE = 8,
};

struct dictionary {
        struct list link; /* of those that are tried, the last that fitted first; or alone */
        const void *kind;
        struct like *like;
        size_t users;
        bool is_tried;
};

struct packed {
        struct dictionary *dictionary; /* NULL: none */
        uint32_t length, text_length;
        char data[];
};

struct packer {
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
        *ret_packer = packer;
        return 0;
}

static void free_dictionary(struct dictionary *dictionary)
{
        like_free(dictionary->like);
        free(dictionary);
}

static void stop_trying(struct packer *packer, struct dictionary *dictionary)
{
        list_remove(&dictionary->link);
        dictionary->is_tried = false;
        packer->count--;
        if (dictionary->users == 0)
                free_dictionary(dictionary);
        else
                like_seal(dictionary->like);
}

void packer_free(struct packer *packer)
{
        if (!packer)
                return;
        while (!list_is_empty(&packer->dictionaries))
                stop_trying(packer, list_entry(packer->dictionaries.next, struct dictionary, link));
        free(packer);
}

/* A text without its like becomes a dictionary for those to come. NULL: not this one. */
static struct dictionary *add_dictionary(struct packer *packer, const void *kind, struct str text)
{
        struct dictionary *dictionary;

        if (packer->since++ < PATIENCE)
                return NULL;
        dictionary = calloc(1, sizeof(*dictionary));
        if (!dictionary)
                return NULL;
        if (like_new(text, &dictionary->like) < 0) {
                free(dictionary);
                return NULL;
        }
        dictionary->kind = kind;
        dictionary->is_tried = true;
        packer->since = 0;
        if (packer->count == DICTIONARIES_MAX)
                stop_trying(packer,
                            list_entry(packer->dictionaries.previous, struct dictionary, link));
        list_append(packer->dictionaries.next, &dictionary->link);
        packer->count++;
        return dictionary;
}

static bool is_good(const struct buffer *delta, struct str text)
{
        return delta->length < MAX(text.length / GOOD_RATIO, (size_t)GOOD_LENGTH);
}

static int keep(struct dictionary *dictionary, const struct buffer *delta, struct str text,
                struct packed **ret_packed)
{
        struct packed *packed = malloc(sizeof(*packed) + delta->length);

        if (!packed)
                return -ENOMEM;
        packed->dictionary = dictionary;
        packed->length = (uint32_t)delta->length;
        packed->text_length = (uint32_t)text.length;
        memcpy(packed->data, delta->data, delta->length);
        if (dictionary)
                dictionary->users++;
        *ret_packed = packed;
        return 0;
}

/* The dictionary by which the text is shortest, or the first by which it is short enough; NULL if
 * there is none of the kind. */
static int find_dictionary(struct packer *packer, const void *kind, struct str text,
                           struct buffer *delta, struct dictionary **ret_dictionary)
{
        _cleanup_buffer_ struct buffer other = {};
        struct dictionary *dictionary, *found = NULL;
        struct buffer shorter;

        list_for_each (dictionary, &packer->dictionaries, link) {
                int r = dictionary->kind == kind ? delta_write(dictionary->like, text, &other) : 0;

                if (r < 0)
                        return r;
                if (dictionary->kind != kind || (found && other.length >= delta->length))
                        continue;
                found = dictionary;
                shorter = other;
                other = *delta;
                *delta = shorter;
                if (is_good(delta, text))
                        break;
        }
        *ret_dictionary = found;
        return 0;
}

int packer_pack(struct packer *packer, const void *kind, struct str text,
                struct packed **ret_packed)
{
        _cleanup_buffer_ struct buffer delta = {};
        struct dictionary *dictionary = NULL, *made = NULL;
        int r = text.length > LIMIT_BODY ? -EFBIG
                                         : find_dictionary(packer, kind, text, &delta, &dictionary);

        if (r < 0)
                return r;
        if (!dictionary || !is_good(&delta, text))
                made = add_dictionary(packer, kind, text);
        if (made || !dictionary) {
                r = delta_write(made ? made->like : NULL, text, &delta);
                return r < 0 ? r : keep(made, &delta, text, ret_packed);
        }
        list_remove(&dictionary->link);
        list_append(packer->dictionaries.next, &dictionary->link);
        return keep(dictionary, &delta, text, ret_packed);
}

int packer_unpack(const struct packed *packed, struct buffer *out)
{
        const struct like *like = packed->dictionary ? packed->dictionary->like : NULL;

        return delta_read(like, (struct str){ packed->data, packed->length }, packed->text_length,
                          out);
}

void packer_drop(struct packed *packed)
{
        if (!packed)
                return;
        struct dictionary *dictionary = packed->dictionary;
        if (dictionary && --dictionary->users == 0 && !dictionary->is_tried)
                free_dictionary(dictionary);
        free(packed);
}
