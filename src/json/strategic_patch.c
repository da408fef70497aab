// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/random.h"
#include "json/index.h"
#include "json/patch.h"
#include "json/patch_internal.h"

/*
 * k8s.io/apimachinery pkg/util/strategicpatch: the order of merged lists is theirs too. Elements
 * that the patch (or $setElementOrder) names come in its order, the server's own keep theirs, and
 * where both meet they are merged by the server's old order; what is new comes first.
 */

#define DIRECTIVE_PATCH  STR("$patch")
#define DIRECTIVE_RETAIN STR("$retainKeys")
#define DIRECTIVE_ORDER  STR("$setElementOrder/")
#define DIRECTIVE_DELETE STR("$deleteFromPrimitiveList/")

/* They are compared with each member. */
enum { RETAIN_KEYS_MAX = 256 };

struct patcher {
        json_strategy_fn strategy;
        struct arena arena;
        struct buffer key; /* scratch */
        struct error *error;
};

static const struct json_value absent;

static int merge_object(struct patcher *p, struct json_value base, struct json_value patch,
                        const void *schema, struct buffer *out);

static bool is_directive(struct str key)
{
        return key.length > 0 && key.data[0] == '$' &&
               (str_equal(key, DIRECTIVE_PATCH) || str_equal(key, DIRECTIVE_RETAIN) ||
                str_starts_with(key, DIRECTIVE_ORDER) || str_starts_with(key, DIRECTIVE_DELETE));
}

/* What a value of the patch means where nothing is: no directives, no null members. */
static int write_new(struct json_value value, struct buffer *out)
{
        enum json_type type = json_type(value);
        bool first = true;

        if (type != JSON_OBJECT && type != JSON_ARRAY)
                return buffer_append_str(out, json_text(value));
        int r = buffer_append_char(out, type == JSON_OBJECT ? '{' : '[');
        json_for_each (it, value) {
                if (type == JSON_OBJECT) {
                        if (is_directive(it.key) || json_type(it.value) == JSON_NULL)
                                continue;
                        if (r == 0)
                                r = patch_begin_member(out, &first, it.key);
                } else {
                        if (json_exists(json_member(it.value, DIRECTIVE_PATCH)))
                                continue;
                        if (r == 0 && !first)
                                r = buffer_append_char(out, ',');
                        first = false;
                }
                if (r == 0)
                        r = write_new(it.value, out);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : buffer_append_char(out, type == JSON_OBJECT ? '}' : ']');
}

/* ---- lists ---- */

enum { NOWHERE = UINT32_MAX };

struct element {
        struct str key;           /* JSON text: of the merge key's value, or of the scalar */
        struct json_value server; /* absent: new */
        struct json_value patch;  /* absent: untouched */
        uint32_t rank;            /* place in the order that the patch wants, or NOWHERE */
        uint32_t next_same;       /* another of the server's with this key; 0: none */
        bool removed;
};

/* Elements by key; the first with a key counts. */
struct element_index {
        const struct element *elements;
        uint32_t *cells; /* 1 + index */
        uint32_t mask;
        uint64_t seed;
};

static int index_init(struct patcher *p, struct element_index *index,
                      const struct element *elements, size_t capacity)
{
        size_t cells = 16;

        while (cells < capacity * 2)
                cells *= 2;
        index->elements = elements;
        index->cells = arena_new(&p->arena, uint32_t, cells);
        index->mask = (uint32_t)(cells - 1);
        if (!index->cells)
                return -ENOMEM;
        if (capacity > 16)
                random_bytes(&index->seed, sizeof(index->seed));
        return 0;
}

/* The cell of `key`: 0 where it is to be put. */
static uint32_t *index_cell(const struct element_index *index, struct str key)
{
        uint64_t at = json_key_hash(index->seed, key);
        uint32_t *cell;

        while (*(cell = &index->cells[at & index->mask]) &&
               !str_equal(index->elements[*cell - 1].key, key))
                at++;
        return cell;
}

struct list_merge {
        struct json_strategy strategy;
        struct element *elements; /* the server's, then new ones */
        size_t count;
        struct element_index index;
};

/* The text by which an element is known; no data when it has none. */
static struct str element_key(const struct list_merge *merge, struct json_value value)
{
        if (!merge->strategy.merge_key)
                return json_text(value);
        struct json_value key = json_member(value, str_from(merge->strategy.merge_key));
        if (!json_exists(key))
                return STR_EMPTY;
        return json_text(key);
}

static int malformed_element(struct patcher *p, const struct list_merge *merge,
                             struct json_value value)
{
        struct str text = json_text(value);

        text.length = MIN(text.length, (size_t)200);
        return error_set(p->error, -EBADMSG, "%.*s does not contain declared merge key: %s",
                         STR_FORMAT(text), merge->strategy.merge_key);
}

static int take_server_elements(struct patcher *p, struct list_merge *merge, struct json_value base)
{
        json_for_each (it, base) {
                struct str key = element_key(merge, it.value);
                if (!key.data)
                        return malformed_element(p, merge, it.value);
                uint32_t at = (uint32_t)merge->count, *cell = index_cell(&merge->index, key);
                struct element element = { .key = key, .server = it.value, .rank = NOWHERE };
                if (*cell) {
                        /* sets of scalars lose what is double */
                        if (!merge->strategy.merge_key)
                                continue;
                        struct element *first = &merge->elements[*cell - 1];
                        element.next_same = first->next_same;
                        first->next_same = at;
                } else {
                        *cell = at + 1;
                }
                merge->elements[merge->count++] = element;
        }
        return 0;
}

static void remove_elements(struct list_merge *merge, uint32_t cell)
{
        if (cell == 0)
                return;
        for (uint32_t at = cell - 1;; at = merge->elements[at].next_same) {
                merge->elements[at].removed = true;
                if (merge->elements[at].next_same == 0)
                        break;
        }
}

static int take_patch_element(struct patcher *p, struct list_merge *merge, struct json_value value,
                              uint32_t rank)
{
        struct json_value directive = json_member(value, DIRECTIVE_PATCH);
        struct str key = element_key(merge, value);

        if (!key.data)
                return malformed_element(p, merge, value);
        uint32_t *cell = index_cell(&merge->index, key);
        if (json_string_is(directive, STR("delete"))) {
                remove_elements(merge, *cell);
                return 0;
        }
        if (json_exists(directive) && !json_string_is(directive, STR("merge")))
                return error_set(p->error, -EBADMSG, "unknown $patch directive in a list");
        if (*cell && !merge->elements[*cell - 1].removed) {
                merge->elements[*cell - 1].patch = value;
                merge->elements[*cell - 1].rank = rank;
                return 0;
        }
        merge->elements[merge->count] =
                (struct element){ .key = key, .patch = value, .rank = rank };
        *cell = (uint32_t)++merge->count;
        return 0;
}

static int set_order(struct patcher *p, struct list_merge *merge, struct json_value order)
{
        uint32_t rank = 0;

        for (size_t i = 0; i < merge->count; i++)
                merge->elements[i].rank = NOWHERE;
        json_for_each (it, order) {
                struct str key = element_key(merge, it.value);
                if (!key.data)
                        return malformed_element(p, merge, it.value);
                uint32_t cell = *index_cell(&merge->index, key);
                if (cell && merge->elements[cell - 1].rank == NOWHERE)
                        merge->elements[cell - 1].rank = rank;
                rank++;
        }
        return 0;
}

static int compare_rank(const void *a, const void *b)
{
        const struct element *x = *(struct element *const *)a, *y = *(struct element *const *)b;

        return (x->rank > y->rank) - (x->rank < y->rank);
}

static int write_element(struct patcher *p, const struct list_merge *merge,
                         const struct element *element, struct buffer *out)
{
        if (!json_exists(element->patch))
                return buffer_append_str(out, json_text(element->server));
        if (!json_exists(element->server))
                return write_new(element->patch, out);
        if (json_type(element->server) != JSON_OBJECT)
                return buffer_append_str(out, json_text(element->server));
        struct json_strategy inner = {};
        if (p->strategy && merge->strategy.schema)
                inner = p->strategy(merge->strategy.schema, STR_EMPTY);
        return merge_object(p, element->server, element->patch, inner.schema, out);
}

/* Merges the wanted ones (by rank) and the others (as they stand) by the server's old order. */
static int write_list(struct patcher *p, const struct list_merge *merge, struct buffer *out)
{
        struct element **wanted = arena_new(&p->arena, struct element *, merge->count + 1);
        struct element **others = arena_new(&p->arena, struct element *, merge->count + 1);
        size_t wanted_count = 0, other_count = 0, i = 0, j = 0;
        int r = buffer_append_char(out, '[');

        if (!wanted || !others)
                return -ENOMEM;
        for (size_t at = 0; at < merge->count; at++) {
                struct element *element = &merge->elements[at];
                if (element->removed)
                        continue;
                if (element->rank == NOWHERE)
                        others[other_count++] = element;
                else
                        wanted[wanted_count++] = element;
        }
        qsort(wanted, wanted_count, sizeof(struct element *), compare_rank);
        for (bool first = true; r == 0 && (i < other_count || j < wanted_count); first = false) {
                bool take_other = j == wanted_count;
                if (i < other_count && j < wanted_count)
                        take_other = json_exists(others[i]->server) &&
                                     json_exists(wanted[j]->server) && others[i] < wanted[j];
                if (!first)
                        r = buffer_append_char(out, ',');
                if (r == 0)
                        r = write_element(p, merge, take_other ? others[i++] : wanted[j++], out);
        }
        return r < 0 ? r : buffer_append_char(out, ']');
}

/* An element {"$patch": "replace"} makes the rest of the patch the whole list. */
static bool replaces_list(struct json_value patch)
{
        json_for_each (it, patch)
                if (json_string_is(json_member(it.value, DIRECTIVE_PATCH), STR("replace")))
                        return true;
        return false;
}

static int merge_list(struct patcher *p, struct json_value base, struct json_value patch,
                      struct json_value order, struct json_value deleted,
                      struct json_strategy strategy, struct buffer *out)
{
        struct list_merge merge = { .strategy = strategy };
        uint32_t rank = 0;

        if (json_exists(patch) &&
            (replaces_list(patch) || (!strategy.merge_key && !strategy.merge_set)))
                return write_new(patch, out);
        if (!strategy.merge_key && !strategy.merge_set)
                return buffer_append_str(out, json_text(base));

        size_t capacity = json_count(base) + json_count(patch);
        merge.elements = arena_new(&p->arena, struct element, capacity + 1);
        if (!merge.elements)
                return -ENOMEM;
        int r = index_init(p, &merge.index, merge.elements, capacity);
        if (r == 0)
                r = take_server_elements(p, &merge, base);
        if (r < 0)
                return r;
        json_for_each (it, deleted)
                remove_elements(&merge, *index_cell(&merge.index, json_text(it.value)));
        json_for_each (it, patch) {
                r = take_patch_element(p, &merge, it.value, rank++);
                if (r < 0)
                        return r;
        }
        if (json_exists(order)) {
                r = set_order(p, &merge, order);
                if (r < 0)
                        return r;
        }
        return write_list(p, &merge, out);
}

/* ---- objects ---- */

/* The patch's member `prefix` + `key`. */
static int directive_for(struct patcher *p, const struct json_members *patch, struct str prefix,
                         struct str key, struct json_value *ret_value)
{
        buffer_clear(&p->key);
        int r = buffer_append_str(&p->key, prefix);
        if (r == 0)
                r = buffer_append_str(&p->key, key);
        if (r < 0)
                return r;
        *ret_value = json_members_find(patch, buffer_str(&p->key));
        return 0;
}

static bool array_has_string(struct json_value array, struct str text)
{
        json_for_each (it, array)
                if (json_string_is(it.value, text))
                        return true;
        return false;
}

static int merge_member(struct patcher *p, const struct json_members *patch,
                        const struct json_iterator *member, bool has_directives, const void *schema,
                        struct buffer *out)
{
        struct json_value change = json_members_find(patch, member->key), order = {}, deleted = {};
        enum json_type type = json_type(member->value);

        if (has_directives && type == JSON_ARRAY) {
                int r = directive_for(p, patch, DIRECTIVE_ORDER, member->key, &order);
                if (r == 0)
                        r = directive_for(p, patch, DIRECTIVE_DELETE, member->key, &deleted);
                if (r < 0)
                        return r;
        }
        if (!json_exists(change) && !json_exists(order) && !json_exists(deleted))
                return buffer_append_str(out, json_text(member->value));
        if (json_exists(change) && json_type(change) != type)
                return write_new(change, out);

        struct json_strategy strategy = {};
        if (p->strategy && schema)
                strategy = p->strategy(schema, member->key);
        if (type == JSON_OBJECT)
                return merge_object(p, member->value, change, strategy.schema, out);
        if (type == JSON_ARRAY)
                return merge_list(p, member->value, change, order, deleted, strategy, out);
        return buffer_append_str(out, json_text(change));
}

static int merge_members(struct patcher *p, struct json_value base, struct json_value patch,
                         const void *schema, struct buffer *out)
{
        _cleanup_members_ struct json_members changes = {}, present = {};
        struct json_value retain = json_member(patch, DIRECTIVE_RETAIN);
        bool first = true, has_directives = false;
        int r = buffer_append_char(out, '{');

        if (json_count(retain) > RETAIN_KEYS_MAX)
                return error_set(p->error, -EBADMSG, "more than %d $retainKeys", RETAIN_KEYS_MAX);
        json_members_init(&changes, patch);
        json_members_init(&present, base);
        json_for_each (it, patch) {
                has_directives |= is_directive(it.key);
                if (json_exists(retain) && !is_directive(it.key) &&
                    !array_has_string(retain, it.key))
                        return error_set(p->error, -EBADMSG,
                                         "\"%.*s\" is not among the patch's $retainKeys",
                                         STR_FORMAT(it.key));
        }
        json_for_each (it, base) {
                if (json_type(json_members_find(&changes, it.key)) == JSON_NULL ||
                    (json_exists(retain) && !array_has_string(retain, it.key)))
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r == 0)
                        r = merge_member(p, &changes, &it, has_directives, schema, out);
                if (r < 0)
                        return r;
        }
        json_for_each (it, patch) {
                if (is_directive(it.key) || json_type(it.value) == JSON_NULL ||
                    json_exists(json_members_find(&present, it.key)))
                        continue;
                if (r == 0)
                        r = patch_begin_member(out, &first, it.key);
                if (r == 0)
                        r = write_new(it.value, out);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : buffer_append_char(out, '}');
}

static int merge_object(struct patcher *p, struct json_value base, struct json_value patch,
                        const void *schema, struct buffer *out)
{
        struct json_value directive = json_member(patch, DIRECTIVE_PATCH);

        if (json_string_is(directive, STR("replace")))
                return write_new(patch, out);
        if (json_string_is(directive, STR("delete")))
                return buffer_append_str(out, STR("{}"));
        if (json_exists(directive) && !json_string_is(directive, STR("merge")))
                return error_set(p->error, -EBADMSG, "unknown $patch directive %.*s",
                                 STR_FORMAT(json_text(directive)));
        return merge_members(p, base, patch, schema, out);
}

int json_strategic_patch(const struct json_doc *doc, struct json_value patch,
                         json_strategy_fn strategy, const void *root_schema, struct error *error,
                         struct json_doc **ret_doc)
{
        struct patcher patcher = { .strategy = strategy, .error = error };
        _cleanup_buffer_ struct buffer text = {};
        struct json_value root = json_root(doc);

        if (json_type(patch) != JSON_OBJECT)
                return error_set(error, -EBADMSG, "a strategic merge patch is an object");
        int r = merge_object(&patcher, json_type(root) == JSON_OBJECT ? root : absent, patch,
                             root_schema, &text);
        if (r == -ENOMEM || r == -EOVERFLOW)
                r = error_set(error, -ENOMEM, "out of memory");
        else if (r == 0)
                r = patch_finish(doc, &text, error, ret_doc);
        arena_deinit(&patcher.arena);
        buffer_deinit(&patcher.key);
        return r;
}
