// SPDX-License-Identifier: Apache-2.0
#include "client/list_decoder.h"

#include <errno.h>

#include "base/limit.h"
#include "client/watch_decoder.h"

enum { LIST_DEPTH = 1, ITEMS_DEPTH = 2 };

void list_decoder_init(struct list_decoder *decoder, size_t limit)
{
        *decoder = (struct list_decoder){ .limit = limit ? limit : WATCH_LINE_LIMIT };
}

void list_decoder_deinit(struct list_decoder *decoder)
{
        buffer_deinit(&decoder->rest);
        buffer_deinit(&decoder->item);
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Whether the array that begins here is that of the items. `rest` has no blanks, so a key stands
 * between a comma or bracket and a colon, which no text within a string can look like. */
static bool begins_items(const struct list_decoder *decoder)
{
        struct str rest = buffer_str(&decoder->rest);

        return decoder->depth == LIST_DEPTH &&
               (str_ends_with(rest, STR(",\"items\":")) || str_ends_with(rest, STR("{\"items\":")));
}

static int keep(struct buffer *buffer, size_t limit, const char *begin, const char *end)
{
        size_t length = (size_t)(end - begin);

        if (length > limit - buffer->length)
                return -EFBIG;
        return length > 0 ? buffer_append(buffer, begin, length) : 0;
}

/* Past the rest of a string, or to `end`. */
static const char *skip_string(struct list_decoder *decoder, const char *at, const char *end)
{
        for (; at < end; at++) {
                if (decoder->escaped) {
                        decoder->escaped = false;
                } else if (*at == '\\') {
                        decoder->escaped = true;
                } else if (*at == '"') {
                        decoder->in_string = false;
                        return at + 1;
                }
        }
        return end;
}

/* Past the rest of an item, or to `end`. */
static const char *skip_item(struct list_decoder *decoder, const char *at, const char *end)
{
        while (at < end && decoder->in_item) {
                if (decoder->in_string) {
                        at = skip_string(decoder, at, end);
                        continue;
                }
                switch (*at++) {
                case '"':
                        decoder->in_string = true;
                        break;
                case '{':
                case '[':
                        decoder->depth++;
                        break;
                case '}':
                case ']':
                        decoder->in_item = --decoder->depth > ITEMS_DEPTH;
                        break;
                default:
                        break;
                }
        }
        return at;
}

static int take_item(struct list_decoder *decoder, const char **at, const char *end,
                     list_item_fn handler, void *user)
{
        const char *begin = *at;
        int r;

        *at = skip_item(decoder, begin, end);
        struct str text = { begin, (size_t)(*at - begin) };
        if (decoder->in_item || decoder->item.length > 0) {
                r = keep(&decoder->item, decoder->limit, begin, *at);
                if (r < 0 || decoder->in_item)
                        return r;
                text = buffer_str(&decoder->item);
        } else if (text.length > decoder->limit) {
                return -EFBIG;
        }
        r = handler(user, text);
        buffer_clear(&decoder->item);
        return r;
}

/* One byte between the items. */
static int take_between(struct list_decoder *decoder, char c)
{
        if (c == '{') {
                decoder->in_item = true;
                return 0;
        }
        if (c == ']') {
                decoder->in_items = false;
                decoder->depth--;
                return buffer_append_char(&decoder->rest, c);
        }
        return c == ',' || is_blank(c) ? 0 : -EBADMSG;
}

/* One byte, outside of strings, of what stands around the items. */
static int take_around(struct list_decoder *decoder, char c)
{
        switch (c) {
        case '"':
                decoder->in_string = true;
                break;
        case '[':
                decoder->in_items = begins_items(decoder);
                decoder->depth++;
                break;
        case '{':
                decoder->depth++;
                break;
        case '}':
        case ']':
                if (decoder->depth == 0)
                        return -EBADMSG;
                decoder->depth--;
                break;
        default:
                if (is_blank(c))
                        return 0;
                break;
        }
        return keep(&decoder->rest, decoder->limit, &c, &c + 1);
}

int list_decoder_feed(struct list_decoder *decoder, struct str data, struct error *error,
                      list_item_fn handler, void *user)
{
        const char *at = data.data, *end = at + data.length;
        int r = 0;

        while (at < end && r == 0) {
                const char *begin = at;

                if (decoder->in_item) {
                        r = take_item(decoder, &at, end, handler, user);
                } else if (decoder->in_string) {
                        at = skip_string(decoder, at, end);
                        r = keep(&decoder->rest, decoder->limit, begin, at);
                } else if (decoder->in_items) {
                        r = take_between(decoder, *at);
                        at += !decoder->in_item;
                } else {
                        r = take_around(decoder, *at++);
                }
        }
        if (r == -EBADMSG)
                return error_set(error, r, "the answer is no list");
        if (r == -EFBIG)
                return error_set(error, r, "a list's item is larger than %zu bytes",
                                 decoder->limit);
        return r == -ENOMEM ? error_set(error, r, "out of memory") : r;
}
