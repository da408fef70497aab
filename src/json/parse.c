// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/random.h"
#include "json/index.h"
#include "json/writer.h"

/*
 * One pass over the input writes the normal text and the slots into scratch memory; the document
 * is then made in its exact size. Duplicate and null members are only marked by that pass. If
 * there were any, the text is written once more without them and parsed again.
 */

/* Of an object's key, while parsing. */
enum {
        KEY_DROPPED = 8,                /* flag: a later duplicate; its value may be referred to */
        KEY_REPLACED = KEY_DROPPED | 7, /* offset: slot of the duplicate key that counts */
};

struct level {
        uint32_t key;   /* slot of the current member's key */
        uint32_t index; /* of the current element */
        bool is_array;
};

struct parser {
        const char *start, *at, *end;
        unsigned depth_limit;
        bool drop_nulls;

        /* room is never less than what is left of the input */
        char *text;
        size_t text_length, text_capacity;
        struct json_slot *slots;
        uint32_t slot_count, slot_capacity;
        struct buffer decoded;

        bool must_rewrite;
        const char *problem;
        struct json_notes *notes;
        unsigned depth;
        struct level levels[LIMIT_DEPTH];
};

static int parse_value(struct parser *p);

static int fail(struct parser *p, const char *problem)
{
        p->problem = problem;
        return -EBADMSG;
}

static inline void skip_blanks(struct parser *p)
{
        while (p->at < p->end &&
               (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
                p->at++;
}

static inline void put(struct parser *p, char c)
{
        assert(p->text_length < p->text_capacity);
        p->text[p->text_length++] = c;
}

static inline void put_bytes(struct parser *p, const char *data, size_t length)
{
        assert(length <= p->text_capacity - p->text_length);
        memcpy(p->text + p->text_length, data, length);
        p->text_length += length;
}

static int add_slots(struct parser *p, uint32_t count, uint32_t *ret_at)
{
        if (p->slot_count + count > p->slot_capacity) {
                uint32_t capacity = p->slot_capacity * 2;
                struct json_slot *slots = realloc(p->slots, capacity * sizeof(*slots));
                if (!slots)
                        return -ENOMEM;
                p->slots = slots;
                p->slot_capacity = capacity;
        }
        *ret_at = p->slot_count;
        p->slot_count += count;
        return 0;
}

static int add_slot(struct parser *p, size_t offset, enum json_kind kind, size_t size)
{
        uint32_t at;
        int r = add_slots(p, 1, &at);

        if (r < 0)
                return r;
        p->slots[at] =
                (struct json_slot){ (uint32_t)offset, (uint32_t)(size << KIND_SHIFT) | kind };
        return 0;
}

/* ---- strings ---- */

/* Past the bytes that need no attention: ASCII but controls, quote and backslash. */
static inline const char *skip_plain(const char *at, const char *end)
{
        const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;

        while (end - at >= 8) {
                uint64_t word, quote, backslash;
                memcpy(&word, at, sizeof(word));
                quote = word ^ (ones * '"');
                backslash = word ^ (ones * '\\');
                if ((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs)
                        break;
                at += 8;
        }
        while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' &&
               *at != '\\')
                at++;
        return at;
}

unsigned utf8_sequence(const unsigned char *at, const unsigned char *end)
{
        size_t left = (size_t)(end - at);
        unsigned char low = 0x80, high = 0xbf;
        unsigned length;

        if (left == 0)
                return 0;
        if (at[0] < 0x80)
                return 1;
        if (at[0] >= 0xc2 && at[0] <= 0xdf) {
                length = 2;
        } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
                length = 3;
                if (at[0] == 0xe0)
                        low = 0xa0;
                else if (at[0] == 0xed)
                        high = 0x9f;
        } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
                length = 4;
                if (at[0] == 0xf0)
                        low = 0x90;
                else if (at[0] == 0xf4)
                        high = 0x8f;
        } else {
                return 0;
        }
        if (left < length || at[1] < low || at[1] > high)
                return 0;
        for (unsigned i = 2; i < length; i++)
                if (at[i] < 0x80 || at[i] > 0xbf)
                        return 0;
        return length;
}

static int parse_hex4(struct parser *p, uint32_t *ret_unit)
{
        uint32_t unit = 0;

        if (p->end - p->at < 4)
                return fail(p, "four hexadecimal digits were expected");
        for (int i = 0; i < 4; i++, p->at++) {
                int digit = hex_digit(*p->at);
                if (digit < 0)
                        return fail(p, "four hexadecimal digits were expected");
                unit = unit << 4 | (uint32_t)digit;
        }
        *ret_unit = unit;
        return 0;
}

static void put_utf8(struct parser *p, uint32_t code)
{
        if (code < 0x80) {
                put(p, (char)code);
        } else if (code < 0x800) {
                put(p, (char)(0xc0 | code >> 6));
                put(p, (char)(0x80 | (code & 0x3f)));
        } else if (code < 0x10000) {
                put(p, (char)(0xe0 | code >> 12));
                put(p, (char)(0x80 | (code >> 6 & 0x3f)));
                put(p, (char)(0x80 | (code & 0x3f)));
        } else {
                put(p, (char)(0xf0 | code >> 18));
                put(p, (char)(0x80 | (code >> 12 & 0x3f)));
                put(p, (char)(0x80 | (code >> 6 & 0x3f)));
                put(p, (char)(0x80 | (code & 0x3f)));
        }
}

/* The letter of a control character's short escape, or 0. */
static char short_escape(uint32_t code)
{
        switch (code) {
        case '\b':
                return 'b';
        case '\f':
                return 'f';
        case '\n':
                return 'n';
        case '\r':
                return 'r';
        case '\t':
                return 't';
        case '"':
        case '\\':
                return (char)code;
        }
        return 0;
}

/* Writes one character in its normal form; returns whether that is an escape. */
static bool put_character(struct parser *p, uint32_t code)
{
        char letter = short_escape(code);

        if (letter) {
                put(p, '\\');
                put(p, letter);
                return true;
        }
        if (code < 0x20) {
                put_bytes(p, "\\u00", 4);
                put(p, (char)('0' + (code >> 4)));
                put(p, "0123456789abcdef"[code & 15]);
                return true;
        }
        put_utf8(p, code);
        return false;
}

/* Behind "\u"; as Go does, a lone surrogate becomes U+FFFD. */
static int parse_unicode_escape(struct parser *p, bool *escaped)
{
        uint32_t code, low;
        int r = parse_hex4(p, &code);

        if (r < 0)
                return r;
        if (code >= 0xd800 && code <= 0xdbff && p->end - p->at >= 6 && p->at[0] == '\\' &&
            p->at[1] == 'u') {
                const char *before = p->at;
                p->at += 2;
                r = parse_hex4(p, &low);
                if (r < 0)
                        return r;
                if (low >= 0xdc00 && low <= 0xdfff)
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                else
                        p->at = before;
        }
        if (code >= 0xd800 && code <= 0xdfff)
                code = 0xfffd;
        *escaped |= put_character(p, code);
        return 0;
}

static int parse_escape(struct parser *p, bool *escaped)
{
        if (p->end - p->at < 2)
                return fail(p, "the text ends within a string");
        p->at++;
        switch (*p->at++) {
        case '"':
                *escaped |= put_character(p, '"');
                return 0;
        case '\\':
                *escaped |= put_character(p, '\\');
                return 0;
        case '/':
                put(p, '/');
                return 0;
        case 'b':
                *escaped |= put_character(p, '\b');
                return 0;
        case 'f':
                *escaped |= put_character(p, '\f');
                return 0;
        case 'n':
                *escaped |= put_character(p, '\n');
                return 0;
        case 'r':
                *escaped |= put_character(p, '\r');
                return 0;
        case 't':
                *escaped |= put_character(p, '\t');
                return 0;
        case 'u':
                return parse_unicode_escape(p, escaped);
        }
        p->at--;
        return fail(p, "no such escape");
}

/* Decodes escapes of the normal form. */
static size_t decode(const char *text, size_t length, char *out)
{
        char *start = out;

        for (size_t i = 0; i < length; i++) {
                if (text[i] != '\\') {
                        *out++ = text[i];
                        continue;
                }
                char c = text[++i];
                switch (c) {
                case 'b':
                        c = '\b';
                        break;
                case 'f':
                        c = '\f';
                        break;
                case 'n':
                        c = '\n';
                        break;
                case 'r':
                        c = '\r';
                        break;
                case 't':
                        c = '\t';
                        break;
                case 'u':
                        c = (char)(hex_digit(text[i + 3]) << 4 | hex_digit(text[i + 4]));
                        i += 4;
                        break;
                }
                *out++ = c;
        }
        return (size_t)(out - start);
}

static int add_escaped_slots(struct parser *p, size_t offset, size_t length)
{
        uint32_t at;
        int r = add_slots(p, 2, &at);

        if (r < 0)
                return r;
        r = buffer_reserve(&p->decoded, length);
        if (r < 0)
                return r;
        size_t decoded = decode(p->text + offset, length, p->decoded.data + p->decoded.length);
        p->slots[at] = (struct json_slot){ (uint32_t)offset,
                                           (uint32_t)(length << KIND_SHIFT) | KIND_ESCAPED };
        p->slots[at + 1] = (struct json_slot){ (uint32_t)p->decoded.length, (uint32_t)decoded };
        p->decoded.length += decoded;
        return 0;
}

static int parse_string(struct parser *p)
{
        bool escaped = false;

        put(p, '"');
        p->at++;
        size_t offset = p->text_length;
        for (;;) {
                const char *run = p->at;
                p->at = skip_plain(p->at, p->end);
                put_bytes(p, run, (size_t)(p->at - run));
                if (p->at == p->end)
                        return fail(p, "the text ends within a string");
                if (*p->at == '"')
                        break;
                if (*p->at == '\\') {
                        int r = parse_escape(p, &escaped);
                        if (r < 0)
                                return r;
                        continue;
                }
                if ((unsigned char)*p->at < 0x20)
                        return fail(p, "a control character stands within a string");
                unsigned length =
                        utf8_sequence((const unsigned char *)p->at, (const unsigned char *)p->end);
                if (length == 0)
                        return fail(p, "bytes that are no UTF-8 stand within a string");
                put_bytes(p, p->at, length);
                p->at += length;
        }
        p->at++;
        size_t length = p->text_length - offset;
        put(p, '"');
        if (escaped)
                return add_escaped_slots(p, offset, length);
        return add_slot(p, offset, KIND_STRING, length);
}

/* ---- numbers ---- */

static inline bool skip_digits(struct parser *p)
{
        const char *before = p->at;

        while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
                p->at++;
        return p->at > before;
}

/* An integral number with a fraction or exponent becomes longer than it was: 1e18. */
static int put_integer(struct parser *p, int64_t value)
{
        char digits[24];
        size_t length = (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)value);
        size_t needed = p->text_length + length + (size_t)(p->end - p->at);

        if (needed > p->text_capacity) {
                if (needed > JSON_SIZE_MAX)
                        return -EFBIG;
                size_t capacity = needed + needed / 4;
                char *text = realloc(p->text, capacity);
                if (!text)
                        return -ENOMEM;
                p->text = text;
                p->text_capacity = capacity;
        }
        put_bytes(p, digits, length);
        return 0;
}

static int parse_number(struct parser *p)
{
        const char *start = p->at;
        bool plain = true;

        if (*p->at == '-')
                p->at++;
        const char *integer = p->at;
        if (!skip_digits(p))
                return fail(p, "a digit was expected");
        if (*integer == '0' && p->at - integer > 1) {
                p->at = integer + 1;
                return fail(p, "a number must not begin with 0");
        }
        if (p->at < p->end && *p->at == '.') {
                plain = false;
                p->at++;
                if (!skip_digits(p))
                        return fail(p, "a digit was expected");
        }
        if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
                plain = false;
                p->at++;
                if (p->at < p->end && (*p->at == '+' || *p->at == '-'))
                        p->at++;
                if (!skip_digits(p))
                        return fail(p, "a digit was expected");
        }

        struct str number = { start, (size_t)(p->at - start) };
        size_t offset = p->text_length;
        int64_t value;
        bool minus_zero = number.length == 2 && number.data[0] == '-' && number.data[1] == '0';
        if ((!plain || minus_zero) && json_number_to_int64(number, &value) == 0) {
                int r = put_integer(p, value);
                if (r < 0)
                        return r;
        } else {
                put_bytes(p, number.data, number.length);
        }
        return add_slot(p, offset, KIND_NUMBER, p->text_length - offset);
}

/* ---- objects and arrays ---- */

static struct str key_string(const struct json_view *view, uint32_t at)
{
        struct json_slot slot = view->slots[at];

        if ((slot.tag & KIND_MASK) == KEY_REPLACED)
                return key_string(view, slot.offset);
        if (slot_kind(slot) == (KIND_ESCAPED | KEY_DROPPED))
                return (struct str){ view->decoded + view->slots[at + 1].offset,
                                     view->slots[at + 1].tag };
        return view_string(view, at);
}

static void note_duplicate(struct parser *p, struct str key)
{
        if (!p->notes || p->notes->has_duplicate)
                return;
        p->notes->has_duplicate = true;

        struct json_view view = { p->slots, p->text, p->decoded.data };
        char *out = p->notes->duplicate;
        size_t size = sizeof(p->notes->duplicate), used = 0;
        for (unsigned i = 0; i + 1 < p->depth && used < size; i++) {
                const struct level *level = &p->levels[i];
                int length;
                if (level->is_array) {
                        length = snprintf(out + used, size - used, "[%u]", level->index);
                } else {
                        struct str name = key_string(&view, level->key);
                        length = snprintf(out + used, size - used, "%s%.*s", used ? "." : "",
                                          STR_FORMAT(name));
                }
                used += (size_t)MAX(length, 0);
        }
        if (used < size)
                snprintf(out + used, size - used, "%s%.*s", used ? "." : "", STR_FORMAT(key));
}

static void mark_duplicate(struct parser *p, uint32_t first, uint32_t later)
{
        struct json_view view = { p->slots, p->text, p->decoded.data };

        note_duplicate(p, view_string(&view, later));
        p->must_rewrite = true;
        p->slots[later].tag |= KEY_DROPPED;
        p->slots[first] = (struct json_slot){ later, KEY_REPLACED };
}

static uint32_t key_span(const struct json_slot *slot, const struct json_slot *slots)
{
        if ((slot->tag & KIND_MASK) == KEY_REPLACED)
                slot = &slots[slot->offset];
        return (slot->tag & (KIND_MASK ^ KEY_DROPPED)) == KIND_ESCAPED ? 2 : 1;
}

/* Few keys: each with all before it. */
static void find_duplicates_by_scan(struct parser *p, uint32_t at, uint32_t end)
{
        struct json_view view = { p->slots, p->text, p->decoded.data };
        struct str keys[16];
        uint32_t slots[16];
        unsigned count = 0;

        while (at < end) {
                struct str key = view_string(&view, at);
                uint32_t value = at + slot_span(&view.slots[at]);
                unsigned i = 0;
                while (i < count && !str_equal(keys[i], key))
                        i++;
                if (i < count) {
                        mark_duplicate(p, slots[i], at);
                } else {
                        assert(count < ARRAY_SIZE(keys));
                        keys[count] = key;
                        slots[count++] = at;
                }
                at = value + slot_span(&view.slots[value]);
        }
}

static int find_duplicates_by_hash(struct parser *p, uint32_t at, uint32_t end, uint32_t count)
{
        struct json_view view = { p->slots, p->text, p->decoded.data };
        size_t capacity = 64;
        uint64_t seed;

        while (capacity < (size_t)count * 2)
                capacity *= 2;
        uint32_t *cells = calloc(capacity, sizeof(*cells));
        if (!cells)
                return -ENOMEM;
        random_bytes(&seed, sizeof(seed));
        while (at < end) {
                struct str key = view_string(&view, at);
                uint32_t value = at + slot_span(&view.slots[at]);
                uint64_t cell = json_key_hash(seed, key);
                uint32_t *found;
                while (*(found = &cells[cell & (capacity - 1)]) &&
                       !str_equal(key_string(&view, *found), key))
                        cell++;
                if (*found)
                        mark_duplicate(p, *found, at);
                else
                        *found = at;
                at = value + slot_span(&view.slots[value]);
        }
        free(cells);
        return 0;
}

static int begin_container(struct parser *p, bool is_array, uint32_t *ret_at)
{
        if (p->depth >= p->depth_limit)
                return -E2BIG;
        p->levels[p->depth++] = (struct level){ .is_array = is_array };

        int r = add_slots(p, 2, ret_at);
        if (r < 0)
                return r;
        p->slots[*ret_at].offset = (uint32_t)p->text_length;
        put(p, *p->at++);
        skip_blanks(p);
        return 0;
}

static void end_container(struct parser *p, uint32_t at, enum json_kind kind, uint32_t count)
{
        put(p, *p->at++);
        p->slots[at].tag = (p->slot_count - at) << KIND_SHIFT | kind;
        p->slots[at + 1] = (struct json_slot){ (uint32_t)p->text_length, count };
        p->depth--;
}

/* Behind a value: returns 1 after a comma, 0 at `closing`. */
static int next_item(struct parser *p, char closing)
{
        skip_blanks(p);
        if (p->at == p->end)
                return fail(p, "the text ends too early");
        if (*p->at == closing)
                return 0;
        if (*p->at != ',')
                return fail(p, "a comma or the end of the object or array was expected");
        put(p, ',');
        p->at++;
        skip_blanks(p);
        return 1;
}

static int parse_member(struct parser *p)
{
        if (p->at == p->end || *p->at != '"')
                return fail(p, "a key in quotes was expected");
        p->levels[p->depth - 1].key = p->slot_count;
        int r = parse_string(p);
        if (r < 0)
                return r;
        skip_blanks(p);
        if (p->at == p->end || *p->at != ':')
                return fail(p, "a colon was expected");
        put(p, ':');
        p->at++;
        skip_blanks(p);

        uint32_t value = p->slot_count;
        r = parse_value(p);
        if (r < 0)
                return r;
        if (p->drop_nulls && slot_kind(p->slots[value]) == KIND_NULL)
                p->must_rewrite = true;
        return 0;
}

static int parse_object(struct parser *p)
{
        uint32_t at, count = 0;
        int r = begin_container(p, false, &at);

        if (r < 0)
                return r;
        if (p->at == p->end || *p->at != '}') {
                do {
                        r = parse_member(p);
                        if (r < 0)
                                return r;
                        count++;
                        r = next_item(p, '}');
                        if (r < 0)
                                return r;
                } while (r > 0);
        }
        if (count > 16) {
                r = find_duplicates_by_hash(p, at + 2, p->slot_count, count);
                if (r < 0)
                        return r;
        } else if (count > 1) {
                find_duplicates_by_scan(p, at + 2, p->slot_count);
        }
        end_container(p, at, KIND_OBJECT, count);
        return 0;
}

static int parse_array(struct parser *p)
{
        uint32_t at, count = 0;
        int r = begin_container(p, true, &at);

        if (r < 0)
                return r;
        if (p->at == p->end || *p->at != ']') {
                do {
                        p->levels[p->depth - 1].index = count++;
                        r = parse_value(p);
                        if (r < 0)
                                return r;
                        r = next_item(p, ']');
                        if (r < 0)
                                return r;
                } while (r > 0);
        }
        end_container(p, at, KIND_ARRAY, count);
        return 0;
}

static int parse_word(struct parser *p, struct str word, enum json_kind kind)
{
        struct str left = { p->at, (size_t)(p->end - p->at) };

        if (!str_starts_with(left, word))
                return fail(p, "a value was expected");
        size_t offset = p->text_length;
        put_bytes(p, word.data, word.length);
        p->at += word.length;
        return add_slot(p, offset, kind, word.length);
}

static int parse_value(struct parser *p)
{
        if (p->at == p->end)
                return fail(p, "the text ends where a value was expected");
        switch (*p->at) {
        case '"':
                return parse_string(p);
        case '{':
                return parse_object(p);
        case '[':
                return parse_array(p);
        case 't':
                return parse_word(p, STR("true"), KIND_TRUE);
        case 'f':
                return parse_word(p, STR("false"), KIND_FALSE);
        case 'n':
                return parse_word(p, STR("null"), KIND_NULL);
        case '-':
        case '0' ... '9':
                return parse_number(p);
        }
        return fail(p, "a value was expected");
}

/* ---- the text once more, without what was marked ---- */

static void rewrite_value(const struct parser *p, uint32_t at, struct buffer *out);

/* Never writes more than was read; `out` has that room. */
static void rewrite_bytes(struct buffer *out, const char *data, size_t length)
{
        assert(length <= out->capacity - out->length);
        memcpy(out->data + out->length, data, length);
        out->length += length;
}

static void rewrite_object(const struct parser *p, uint32_t at, struct buffer *out)
{
        const struct json_slot *slots = p->slots;
        uint32_t end = at + slot_size(slots[at]);
        bool first = true;

        rewrite_bytes(out, "{", 1);
        for (at += 2; at < end;) {
                uint32_t value = at + key_span(&slots[at], slots);
                uint32_t next = value + slot_span(&slots[value]);
                uint32_t kind = slots[at].tag & KIND_MASK, key = at;

                if (kind == KEY_REPLACED) {
                        key = slots[at].offset;
                        value = key + key_span(&slots[key], slots);
                }
                bool skip = (kind & KEY_DROPPED) && kind != KEY_REPLACED;
                if (!skip && !(p->drop_nulls && slot_kind(slots[value]) == KIND_NULL)) {
                        if (!first)
                                rewrite_bytes(out, ",", 1);
                        first = false;
                        rewrite_bytes(out, p->text + slots[key].offset - 1,
                                      slot_size(slots[key]) + 2);
                        rewrite_bytes(out, ":", 1);
                        rewrite_value(p, value, out);
                }
                at = next;
        }
        rewrite_bytes(out, "}", 1);
}

static void rewrite_value(const struct parser *p, uint32_t at, struct buffer *out)
{
        struct json_view view = { p->slots, p->text, p->decoded.data };
        enum json_kind kind = slot_kind(p->slots[at]);

        if (kind == KIND_OBJECT) {
                rewrite_object(p, at, out);
        } else if (kind == KIND_ARRAY) {
                uint32_t end = at + slot_size(p->slots[at]);
                rewrite_bytes(out, "[", 1);
                for (uint32_t item = at + 2; item < end; item += slot_span(&p->slots[item])) {
                        if (item > at + 2)
                                rewrite_bytes(out, ",", 1);
                        rewrite_value(p, item, out);
                }
                rewrite_bytes(out, "]", 1);
        } else {
                struct str text = view_text(&view, at);
                rewrite_bytes(out, text.data, text.length);
        }
}

/* ---- the whole ---- */

static int parser_init(struct parser *p, struct str text)
{
        p->start = p->at = text.data;
        p->end = text.length > 0 ? text.data + text.length : text.data;
        p->text_capacity = text.length + 1;
        p->text = malloc(p->text_capacity);
        p->slot_capacity = (uint32_t)(text.length / 6 + 16);
        p->slots = malloc(p->slot_capacity * sizeof(*p->slots));
        return p->text && p->slots ? 0 : -ENOMEM;
}

static void parser_deinit(struct parser *p)
{
        free(p->text);
        free(p->slots);
        buffer_deinit(&p->decoded);
}

static int make_doc(const struct parser *p, struct json_doc **ret_doc)
{
        size_t slots_size = p->slot_count * sizeof(*p->slots);
        struct json_doc *doc =
                malloc(sizeof(*doc) + slots_size + p->decoded.length + p->text_length + 1);

        if (!doc)
                return -ENOMEM;
        atomic_init(&doc->references, 1);
        doc->slot_count = p->slot_count;
        doc->text_length = (uint32_t)p->text_length;
        doc->decoded_length = (uint32_t)p->decoded.length;
        memcpy(doc->slots, p->slots, slots_size);
        char *bytes = (char *)(doc->slots + doc->slot_count);
        if (p->decoded.length > 0)
                memcpy(bytes, p->decoded.data, p->decoded.length);
        bytes += p->decoded.length;
        memcpy(bytes, p->text, p->text_length);
        bytes[p->text_length] = '\0';
        *ret_doc = doc;
        return 0;
}

static int parse_text(struct parser *p)
{
        skip_blanks(p);
        int r = parse_value(p);
        if (r < 0)
                return r;
        skip_blanks(p);
        if (p->at < p->end)
                return fail(p, "nothing was expected behind the value");
        return 0;
}

static int report(const struct parser *p, int code, struct error *error)
{
        size_t offset = (size_t)(p->at - p->start);

        if (p->notes)
                p->notes->error_offset = offset;
        if (code == -EBADMSG)
                return error_set(error, code, "invalid JSON at byte %zu: %s", offset, p->problem);
        if (code == -E2BIG)
                return error_set(error, code, "the JSON is nested deeper than %u levels",
                                 p->depth_limit);
        if (code == -EFBIG)
                return error_set(error, code, "the JSON is too large");
        return error_set(error, code, "out of memory");
}

/* Puts the rewritten text in the place of the input and parses that. */
static int parse_again(struct parser *p, struct buffer *rewritten)
{
        int r = buffer_reserve(rewritten, p->text_length);

        if (r < 0)
                return r;
        rewrite_value(p, 0, rewritten);
        p->start = p->at = rewritten->data;
        p->end = rewritten->data + rewritten->length;
        p->text_length = 0;
        p->slot_count = 0;
        p->decoded.length = 0;
        p->drop_nulls = false;
        p->must_rewrite = false;
        r = parse_text(p);
        assert(r == -ENOMEM || (r == 0 && !p->must_rewrite));
        return r;
}

int json_doc_parse(struct str text, const struct json_options *options, struct json_notes *notes,
                   struct error *error, struct json_doc **ret_doc)
{
        size_t size_limit = options && options->size_limit ? options->size_limit : LIMIT_BODY;
        unsigned depth_limit = options && options->depth_limit ? options->depth_limit : LIMIT_DEPTH;
        struct parser parser = {
                .depth_limit = MIN(depth_limit, (unsigned)LIMIT_DEPTH),
                .drop_nulls = options && options->drop_nulls,
                .notes = notes,
        };
        _cleanup_buffer_ struct buffer rewritten = {};

        if (notes)
                *notes = (struct json_notes){};
        if (text.length > MIN(size_limit, (size_t)JSON_SIZE_MAX))
                return error_set(error, -EFBIG, "the JSON is larger than %zu bytes", size_limit);
        int r = parser_init(&parser, text);
        if (r == 0)
                r = parse_text(&parser);
        if (r == 0 && parser.must_rewrite)
                r = parse_again(&parser, &rewritten);
        if (r == 0)
                r = make_doc(&parser, ret_doc);
        if (r < 0)
                report(&parser, r, error);
        parser_deinit(&parser);
        return r;
}

int json_doc_from_buffer(struct buffer *text, struct json_doc **ret_doc)
{
        struct json_options options = { .size_limit = JSON_SIZE_MAX };

        return json_doc_parse(buffer_str(text), &options, NULL, NULL, ret_doc);
}
