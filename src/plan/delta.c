// SPDX-License-Identifier: Apache-2.0
#include "plan/delta.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/macro.h"

/*
 * A delta is a row of steps. Each begins with a byte: how many bytes follow as they are, whence
 * comes what follows these, and how long that is. Counts that find no room in it follow as varints
 * (seven bits a byte, the lowest first), and so does a place.
 *
 *     7 6 5   4 3    2 1 0
 *     plain | from | length
 *
 * A place in the like is told by its distance from where the last step, and what was plain, would
 * have come to there.
 */
enum from {
        FROM_NEXT, /* the like, where it goes on */
        FROM_LIKE, /* the like, elsewhere */
        FROM_TEXT, /* the text itself, as many bytes back */
        FROM_UID,  /* the 16 bytes that follow, written as a uid */
};

enum {
        PLAIN_SHIFT = 5,
        FROM_SHIFT = 3,
        COUNT_MORE = 7, /* this and what the varint says */
        LENGTH_MIN = 3,
        /* What a look-up needs; a place costs about so much more than going on. */
        PIECE = 6,
        PLACE_COST = 2,
        WORD = 8,
        STEP_MAX = 16, /* bytes that the last step may add to what it tells */
        UID_LENGTH = 36,
        UID_COST = 17,  /* what a step with it takes */
        TEXT_BITS = 10, /* of the table of places in the text */
        LIKE_BITS_MIN = 8,
        LIKE_BITS_MAX = 16,
};

struct like {
        uint32_t *places; /* of pieces, by their hash, plus one; NULL: sealed */
        unsigned bits;
        size_t length;
        char text[];
};

static uint32_t piece_hash(const char *at, unsigned bits)
{
        uint64_t word;

        memcpy(&word, at, sizeof(word));
        return (uint32_t)((word << (8 * (WORD - PIECE))) * UINT64_C(0x9E3779B185EBCA87) >>
                          (64 - bits));
}

int like_new(struct str text, struct like **ret_like)
{
        struct like *like = malloc(sizeof(*like) + text.length);
        unsigned bits = LIKE_BITS_MIN;

        assert(text.length <= LIMIT_BODY);
        if (!like)
                return -ENOMEM;
        while (bits < LIKE_BITS_MAX && (size_t)1 << bits < text.length)
                bits++;
        *like = (struct like){ .bits = bits, .length = text.length };
        like->places = calloc((size_t)1 << bits, sizeof(*like->places));
        if (!like->places) {
                free(like);
                return -ENOMEM;
        }
        if (text.length)
                memcpy(like->text, text.data, text.length);
        for (size_t i = 0; i + WORD <= text.length; i++)
                like->places[piece_hash(like->text + i, bits)] = (uint32_t)i + 1;
        *ret_like = like;
        return 0;
}

void like_seal(struct like *like)
{
        free(like->places);
        like->places = NULL;
}

void like_free(struct like *like)
{
        if (!like)
                return;
        like_seal(like);
        free(like);
}

struct str like_text(const struct like *like)
{
        return like ? (struct str){ like->text, like->length } : STR_EMPTY;
}

/* ---- uids ---- */

static int digit_of(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_dash(unsigned at)
{
        return at == 8 || at == 13 || at == 18 || at == 23;
}

/* Whether a uid stands there. */
static bool is_uid(const char *at, const char *end)
{
        if (end - at < UID_LENGTH || at[8] != '-')
                return false;
        for (unsigned i = 0; i < UID_LENGTH; i++) {
                if (is_dash(i) ? at[i] != '-' : digit_of(at[i]) < 0)
                        return false;
        }
        return true;
}

static unsigned char *write_uid(unsigned char *out, const char *uid)
{
        for (unsigned i = 0; i < UID_LENGTH; i += 2) {
                i += is_dash(i);
                *out++ = (unsigned char)(digit_of(uid[i]) << 4 | digit_of(uid[i + 1]));
        }
        return out;
}

static void read_uid(const unsigned char *in, char *uid)
{
        static const char digits[] = "0123456789abcdef";

        for (unsigned i = 0; i < UID_LENGTH; i += 2) {
                if (is_dash(i))
                        uid[i++] = '-';
                uid[i] = digits[*in >> 4];
                uid[i + 1] = digits[*in++ & 15];
        }
}

/* ---- writing ---- */

struct writer {
        const struct like *like;
        const char *text, *end;
        const char *plain; /* from here to where it is nothing was told yet */
        size_t next;       /* where the like goes on */
        unsigned char *out;
        uint32_t places[1 << TEXT_BITS]; /* as those of the like: pieces that are plain */
};

struct found {
        enum from from;
        size_t place, length;
};

static size_t alike(const char *a, const char *b, size_t most)
{
        size_t n = 0;

        while (most - n >= WORD && memcmp(a + n, b + n, WORD) == 0)
                n += WORD;
        while (n < most && a[n] == b[n])
                n++;
        return n;
}

static unsigned char *write_count(unsigned char *out, size_t count)
{
        for (; count >= 0x80; count >>= 7)
                *out++ = (unsigned char)(count | 0x80);
        *out++ = (unsigned char)count;
        return out;
}

/* Signed: the lowest bit is the sign. */
static size_t distance(size_t from, size_t to)
{
        return to >= from ? (to - from) << 1 : ((from - to) << 1) - 1;
}

/* Tells what is plain up to `at`, and what was found there (length 0: nothing, it is the end). */
static const char *write_step(struct writer *w, const char *at, const struct found *found)
{
        size_t plain = (size_t)(at - w->plain);
        size_t length = found->length >= LENGTH_MIN ? found->length - LENGTH_MIN : 0;

        if (found->from == FROM_UID)
                length = 0;
        *w->out++ = (unsigned char)(MIN(plain, COUNT_MORE) << PLAIN_SHIFT |
                                    (unsigned)found->from << FROM_SHIFT | MIN(length, COUNT_MORE));
        if (plain >= COUNT_MORE)
                w->out = write_count(w->out, plain - COUNT_MORE);
        if (plain)
                memcpy(w->out, w->plain, plain);
        w->out += plain;
        if (length >= COUNT_MORE)
                w->out = write_count(w->out, length - COUNT_MORE);
        if (found->from == FROM_LIKE)
                w->out = write_count(w->out, distance(w->next, found->place));
        else if (found->from == FROM_TEXT)
                w->out = write_count(w->out, (size_t)(at - w->text) - found->place);
        else if (found->from == FROM_UID)
                w->out = write_uid(w->out, at);
        w->next = (found->from == FROM_LIKE ? found->place : w->next) + found->length;
        w->plain = at + found->length;
        return w->plain;
}

/* What stands at `at` under the hash in one of the tables; it must be worth its place. */
static void look(struct writer *w, const char *at, enum from from, uint32_t place,
                 struct found *best)
{
        struct str in = from == FROM_TEXT ? (struct str){ w->text, (size_t)(w->end - w->text) }
                                          : like_text(w->like);
        size_t length;

        if (place-- == 0)
                return;
        length = alike(at, in.data + place, MIN((size_t)(w->end - at), in.length - place));
        if (length >= PIECE && length > best->length + PLACE_COST)
                *best = (struct found){ from, place, length };
}

/* Part of a uid would be in the way of telling it whole. */
static void spare_uid(const struct writer *w, const char *at, struct found *found)
{
        const char *to = at + found->length;
        const char *quote = memrchr(at, '"', found->length);

        if (quote && quote + 1 + UID_LENGTH > to + UID_COST && is_uid(quote + 1, w->end))
                found->length = (size_t)(quote + 1 - at);
}

static struct found find(struct writer *w, const char *at)
{
        struct found best = { 0 };
        struct str like = like_text(w->like);
        bool uid = at > w->text && at[-1] == '"' && is_uid(at, w->end);

        if (w->next < like.length)
                best.length = alike(at, like.data + w->next,
                                    MIN((size_t)(w->end - at), like.length - w->next));
        if (w->end - at >= WORD) {
                uint32_t *place = &w->places[piece_hash(at, TEXT_BITS)];

                look(w, at, FROM_TEXT, *place, &best);
                *place = (uint32_t)(at - w->text) + 1;
                if (w->like)
                        look(w, at, FROM_LIKE, w->like->places[piece_hash(at, w->like->bits)],
                             &best);
        }
        if (uid && best.length + UID_COST < UID_LENGTH)
                return (struct found){ FROM_UID, 0, UID_LENGTH };
        if (best.length > 0)
                spare_uid(w, at, &best);
        return best;
}

int delta_write(const struct like *like, struct str text, struct buffer *out)
{
        struct writer w = { .like = like };
        int r;

        if (text.length > LIMIT_BODY)
                return -EFBIG;
        buffer_clear(out);
        /* Shorter than what it tells is every step, but for the count of much that is plain. */
        r = buffer_reserve(out, text.length + text.length / 16 + STEP_MAX);
        if (r < 0)
                return r;
        w.text = w.plain = text.data;
        w.end = text.data + text.length;
        w.out = (unsigned char *)out->data;
        for (const char *at = text.data; at < w.end;) {
                struct found found = find(&w, at);

                if (found.length >= LENGTH_MIN) {
                        at = write_step(&w, at, &found);
                } else {
                        at++;
                        w.next++;
                }
        }
        if (w.plain < w.end)
                write_step(&w, w.end, &(struct found){ 0 });
        out->length = (size_t)((char *)w.out - out->data);
        assert(out->length <= out->capacity);
        return 0;
}

/* ---- reading ---- */

static const unsigned char *read_count(const unsigned char *in, const unsigned char *end,
                                       size_t *count)
{
        unsigned shift = 0;

        for (;; shift += 7) {
                assert(in < end && shift < 32);
                *count += (size_t)(*in & 0x7f) << shift;
                if (!(*in++ & 0x80))
                        return in;
        }
}

int delta_read(const struct like *like, struct str delta, size_t length, struct buffer *out)
{
        const unsigned char *in = (const unsigned char *)delta.data, *in_end = in + delta.length;
        struct str from = like_text(like);
        size_t next = 0;
        char *at, *end, *start;
        int r = buffer_reserve(out, length);

        if (r < 0)
                return r;
        start = at = out->data + out->length;
        end = at + length;
        while (at < end) {
                assert(in < in_end);
                size_t plain = *in >> PLAIN_SHIFT, count = *in & COUNT_MORE, place = 0;
                enum from whence = (*in++ >> FROM_SHIFT) & 3;

                if (plain == COUNT_MORE)
                        in = read_count(in, in_end, &plain);
                assert(plain <= (size_t)(end - at) && plain <= (size_t)(in_end - in));
                if (plain)
                        memcpy(at, in, plain);
                at += plain;
                in += plain;
                next += plain;
                if (at == end)
                        break;
                if (count == COUNT_MORE)
                        in = read_count(in, in_end, &count);
                count = whence == FROM_UID ? UID_LENGTH : count + LENGTH_MIN;
                assert(count <= (size_t)(end - at));
                if (whence == FROM_UID) {
                        assert(in_end - in >= 16);
                        read_uid(in, at);
                        in += 16;
                } else if (whence == FROM_TEXT) {
                        in = read_count(in, in_end, &place);
                        assert(place > 0 && place <= (size_t)(at - start));
                        for (size_t i = 0; i < count; i++)
                                at[i] = at[i - place];
                } else {
                        if (whence == FROM_LIKE) {
                                in = read_count(in, in_end, &place);
                                next = place & 1 ? next - (place + 1) / 2 : next + place / 2;
                        }
                        assert(next <= from.length && count <= from.length - next);
                        memcpy(at, from.data + next, count);
                }
                at += count;
                next += count;
        }
        assert(in == in_end);
        out->length += length;
        return 0;
}
