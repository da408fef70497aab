// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "base/arena.h"
#include "base/limit.h"
#include "json/index.h"
#include "json/patch.h"
#include "json/patch_internal.h"
#include "json/pointer.h"

/*
 * Operations are applied to a tree in an arena that is unfolded only along their paths: an item
 * without a node is a value of the document or of the patch, as it was.
 */
struct item {
        struct str key; /* in an object */
        struct json_value value;
        struct node *node; /* unfolded; `value` is then out of date */
};

struct node {
        bool is_array;
        struct item *items;
        size_t count, capacity;
};

/* What one patch may cost: items looked at, so that big lists times many operations end. */
enum { STEPS_MAX = 20000000 };

struct patcher {
        struct arena arena;
        struct item root;
        size_t steps;
        size_t copied; /* bytes made by "copy" */
        struct error *error;
        size_t operation; /* its number, for messages */
};

static int spend(struct patcher *p, size_t steps)
{
        p->steps += steps;
        if (p->steps > STEPS_MAX)
                return error_set(p->error, -E2BIG, "the patch takes too many steps");
        return 0;
}

static int no_memory(struct patcher *p)
{
        return error_set(p->error, -ENOMEM, "out of memory");
}

static int not_found(struct patcher *p, struct str pointer)
{
        return error_set(p->error, -ENOENT, "operation %zu: there is nothing at \"%.*s\"",
                         p->operation, STR_FORMAT(pointer));
}

/* ---- the tree ---- */

static int reserve(struct patcher *p, struct node *node, size_t capacity)
{
        if (capacity <= node->capacity)
                return 0;
        capacity = MAX(capacity, node->capacity * 2);
        struct item *items = arena_new(&p->arena, struct item, capacity);
        if (!items)
                return no_memory(p);
        if (node->count > 0)
                memcpy(items, node->items, node->count * sizeof(*items));
        node->items = items;
        node->capacity = capacity;
        return 0;
}

/* Gives the item a node if it is an object or array. */
static int unfold(struct patcher *p, struct item *item)
{
        enum json_type type = json_type(item->value);

        if (item->node || (type != JSON_OBJECT && type != JSON_ARRAY))
                return 0;
        struct node *node = arena_new(&p->arena, struct node, 1);
        if (!node)
                return no_memory(p);
        node->is_array = type == JSON_ARRAY;
        int r = reserve(p, node, json_count(item->value));
        if (r == 0)
                r = spend(p, json_count(item->value));
        if (r < 0)
                return r;
        json_for_each (it, item->value)
                node->items[node->count++] = (struct item){ it.key, it.value, NULL };
        item->node = node;
        return 0;
}

static struct item *find_item(struct patcher *p, const struct node *node, struct str token)
{
        size_t index;

        if (node->is_array) {
                if (!json_pointer_index(token, &index) || index >= node->count)
                        return NULL;
                return &node->items[index];
        }
        for (size_t i = 0; i < node->count; i++)
                if (str_equal(node->items[i].key, token)) {
                        p->steps += i;
                        return &node->items[i];
                }
        p->steps += node->count;
        return NULL;
}

/*
 * Finds the container of the last token of a pointer that is not empty.
 * *ret_item is the item there, or NULL when only the container is.
 */
static int locate(struct patcher *p, struct str pointer, struct node **ret_node,
                  struct str *ret_token, struct item **ret_item)
{
        struct item *item = &p->root;
        struct str rest = pointer, token;
        int r;

        if (json_pointer_depth(pointer) > LIMIT_DEPTH)
                return error_set(p->error, -E2BIG, "operation %zu: the path is too deep",
                                 p->operation);
        while ((r = json_pointer_next(&rest, &p->arena, &token)) > 0) {
                r = item ? unfold(p, item) : 0;
                if (r < 0)
                        return r;
                if (!item || !item->node)
                        return not_found(p, pointer);
                *ret_node = item->node;
                *ret_token = token;
                item = find_item(p, item->node, token);
                r = spend(p, 1);
                if (r < 0)
                        return r;
        }
        if (r == -EINVAL)
                return error_set(p->error, -EBADMSG, "operation %zu: \"%.*s\" is no JSON pointer",
                                 p->operation, STR_FORMAT(pointer));
        if (r < 0)
                return no_memory(p);
        *ret_item = item;
        return 0;
}

/* The item at a pointer, which must be there. */
static int get_item(struct patcher *p, struct str pointer, struct item **ret_item)
{
        struct node *node;
        struct str token;
        struct item *item = &p->root;

        if (pointer.length > 0) {
                int r = locate(p, pointer, &node, &token, &item);
                if (r < 0)
                        return r;
        }
        if (!item)
                return not_found(p, pointer);
        *ret_item = item;
        return 0;
}

static int remove_at(struct patcher *p, struct node *node, struct item *item)
{
        size_t index = (size_t)(item - node->items);

        memmove(item, item + 1, (node->count - index - 1) * sizeof(*item));
        node->count--;
        return spend(p, node->count - index);
}

static int add_at(struct patcher *p, struct str pointer, struct item new)
{
        struct node *node;
        struct str token;
        struct item *item;
        size_t index;

        if (pointer.length == 0) {
                p->root = new;
                return 0;
        }
        int r = locate(p, pointer, &node, &token, &item);
        if (r < 0)
                return r;
        new.key = token;
        if (!node->is_array && item) {
                new.key = item->key;
                *item = new;
                return 0;
        }
        if (!node->is_array || str_equal(token, STR("-")))
                index = node->count;
        else if (!json_pointer_index(token, &index) || index > node->count)
                return not_found(p, pointer);
        r = reserve(p, node, node->count + 1);
        if (r == 0)
                r = spend(p, node->count - index);
        if (r < 0)
                return r;
        item = &node->items[index];
        memmove(item + 1, item, (node->count - index) * sizeof(*item));
        *item = new;
        node->count++;
        return 0;
}

/* ---- measuring, copying, writing ---- */

static unsigned value_depth(struct json_value value)
{
        unsigned depth = 0;

        if (json_type(value) != JSON_ARRAY && json_type(value) != JSON_OBJECT)
                return 0;
        json_for_each (it, value)
                depth = MAX(depth, value_depth(it.value));
        return depth + 1;
}

/* The nesting and (near enough) the bytes of an item. */
static int measure(struct patcher *p, const struct item *item, unsigned *ret_depth,
                   size_t *ret_size)
{
        if (!item->node) {
                *ret_depth = value_depth(item->value);
                *ret_size = json_text(item->value).length;
                return spend(p, *ret_size / 8 + 1);
        }
        unsigned depth = 0;
        size_t size = 2;
        for (size_t i = 0; i < item->node->count; i++) {
                unsigned item_depth;
                size_t item_size;
                int r = measure(p, &item->node->items[i], &item_depth, &item_size);
                if (r < 0)
                        return r;
                depth = MAX(depth, item_depth);
                size += item_size + item->node->items[i].key.length + 4;
        }
        *ret_depth = depth + 1;
        *ret_size = size;
        return spend(p, 1);
}

static int check_depth(struct patcher *p, struct str pointer, unsigned depth)
{
        if (json_pointer_depth(pointer) + depth > LIMIT_DEPTH)
                return error_set(p->error, -E2BIG, "operation %zu: the result is too deep",
                                 p->operation);
        return 0;
}

static int copy_item(struct patcher *p, const struct item *item, struct item *ret_copy)
{
        *ret_copy = *item;
        if (!item->node)
                return 0;
        struct node *node = arena_new(&p->arena, struct node, 1);
        if (!node)
                return no_memory(p);
        node->is_array = item->node->is_array;
        int r = reserve(p, node, item->node->count);
        for (size_t i = 0; i < item->node->count && r == 0; i++, node->count++)
                r = copy_item(p, &item->node->items[i], &node->items[i]);
        ret_copy->node = node;
        return r;
}

static int write_item(const struct item *item, struct buffer *out)
{
        bool first = true;

        if (!item->node)
                return buffer_append_str(out, json_text(item->value));
        const struct node *node = item->node;
        int r = buffer_append_char(out, node->is_array ? '[' : '{');
        for (size_t i = 0; i < node->count && r == 0; i++) {
                if (!node->is_array)
                        r = patch_begin_member(out, &first, node->items[i].key);
                else if (i > 0)
                        r = buffer_append_char(out, ',');
                if (r == 0)
                        r = write_item(&node->items[i], out);
        }
        return r < 0 ? r : buffer_append_char(out, node->is_array ? ']' : '}');
}

/* ---- the operations ---- */

static int do_remove(struct patcher *p, struct str path)
{
        struct node *node;
        struct str token;
        struct item *item = NULL;

        if (path.length == 0)
                return error_set(p->error, -EBADMSG, "operation %zu: the whole cannot be removed",
                                 p->operation);
        int r = locate(p, path, &node, &token, &item);
        if (r < 0)
                return r;
        return item ? remove_at(p, node, item) : not_found(p, path);
}

static int do_replace(struct patcher *p, struct str path, struct json_value value)
{
        struct item *item;
        int r = get_item(p, path, &item);

        if (r < 0)
                return r;
        item->value = value;
        item->node = NULL;
        return 0;
}

static int do_move(struct patcher *p, struct str from, struct str path)
{
        struct item *item, moved;
        unsigned depth;
        size_t size;
        int r = get_item(p, from, &item);

        if (r < 0)
                return r;
        if (str_equal(from, path))
                return 0;
        if (str_starts_with(path, from) && path.data[from.length] == '/')
                return error_set(p->error, -EBADMSG,
                                 "operation %zu: a value cannot be moved into itself",
                                 p->operation);
        r = measure(p, item, &depth, &size);
        if (r == 0)
                r = check_depth(p, path, depth);
        if (r < 0)
                return r;
        moved = *item;
        r = do_remove(p, from);
        return r < 0 ? r : add_at(p, path, moved);
}

static int do_copy(struct patcher *p, struct str from, struct str path)
{
        struct item *item, copy;
        unsigned depth;
        size_t size;
        int r = get_item(p, from, &item);

        if (r == 0)
                r = measure(p, item, &depth, &size);
        if (r == 0)
                r = check_depth(p, path, depth);
        if (r < 0)
                return r;
        p->copied += size;
        if (p->copied > LIMIT_BODY)
                return error_set(p->error, -EFBIG, "the patch copies more than %d bytes",
                                 LIMIT_BODY);
        r = copy_item(p, item, &copy);
        return r < 0 ? r : add_at(p, path, copy);
}

static int test_item(struct patcher *p, const struct item *item, struct json_value expected,
                     bool *ret_equal)
{
        _cleanup_buffer_ struct buffer text = {};
        _cleanup_doc_ struct json_doc *doc = NULL;

        if (!item->node) {
                *ret_equal = json_equal(item->value, expected);
                return spend(p, json_text(item->value).length / 8);
        }
        int r = write_item(item, &text);
        if (r < 0)
                return no_memory(p);
        r = spend(p, text.length / 2);
        if (r == 0)
                r = json_doc_parse(buffer_str(&text), NULL, NULL, p->error, &doc);
        if (r < 0)
                return r;
        *ret_equal = json_equal(json_root(doc), expected);
        return 0;
}

/* As kube-apiserver has it, null also means that the member is absent. */
static int do_test(struct patcher *p, struct str path, struct json_value expected)
{
        struct node *node;
        struct str token;
        struct item *item = &p->root;
        bool equal = false;

        if (path.length > 0) {
                int r = locate(p, path, &node, &token, &item);
                if (r < 0)
                        return r;
        }
        if (item) {
                int r = test_item(p, item, expected, &equal);
                if (r < 0)
                        return r;
        } else {
                equal = json_type(expected) == JSON_NULL;
        }
        if (equal)
                return 0;
        return error_set(p->error, -EILSEQ, "testing path \"%.*s\": the value differs",
                         STR_FORMAT(path));
}

static int run_operation(struct patcher *p, struct json_value operation)
{
        struct json_value op = json_get(operation, "op"), path = json_get(operation, "path"),
                          from = json_get(operation, "from"), value = json_get(operation, "value");

        if (json_type(op) != JSON_STRING || json_type(path) != JSON_STRING)
                return error_set(p->error, -EBADMSG,
                                 "operation %zu: \"op\" and \"path\" must be strings",
                                 p->operation);
        bool is_move = json_string_is(op, STR("move")), is_copy = json_string_is(op, STR("copy"));
        if ((is_move || is_copy) && json_type(from) != JSON_STRING)
                return error_set(p->error, -EBADMSG, "operation %zu: \"from\" must be a string",
                                 p->operation);
        if (is_move)
                return do_move(p, json_string(from), json_string(path));
        if (is_copy)
                return do_copy(p, json_string(from), json_string(path));
        if (json_string_is(op, STR("remove")))
                return do_remove(p, json_string(path));

        bool is_add = json_string_is(op, STR("add"));
        bool is_replace = json_string_is(op, STR("replace"));
        if (!is_add && !is_replace && !json_string_is(op, STR("test")))
                return error_set(p->error, -EBADMSG,
                                 "operation %zu: there is no operation \"%.*s\"", p->operation,
                                 STR_FORMAT(json_string(op)));
        if (!json_exists(value))
                return error_set(p->error, -EBADMSG, "operation %zu: \"value\" is missing",
                                 p->operation);
        if (is_add)
                return add_at(p, json_string(path), (struct item){ .value = value });
        if (is_replace)
                return do_replace(p, json_string(path), value);
        return do_test(p, json_string(path), value);
}

static int run_operations(struct patcher *p, struct json_value patch)
{
        json_for_each (it, patch) {
                int r = run_operation(p, it.value);
                if (r < 0)
                        return r;
                p->operation++;
        }
        return 0;
}

int json_patch(const struct json_doc *doc, struct json_value patch, struct error *error,
               struct json_doc **ret_doc)
{
        struct patcher patcher = { .root.value = json_root(doc), .error = error };
        _cleanup_buffer_ struct buffer text = {};

        if (json_type(patch) != JSON_ARRAY)
                return error_set(error, -EBADMSG, "a JSON patch is an array of operations");
        if (json_count(patch) > LIMIT_PATCH_OPERATIONS)
                return error_set(error, -EFBIG,
                                 "the allowed maximum of operations in a JSON patch is %d, got %zu",
                                 LIMIT_PATCH_OPERATIONS, json_count(patch));
        int r = run_operations(&patcher, patch);
        if (r == 0 && write_item(&patcher.root, &text) < 0)
                r = no_memory(&patcher);
        if (r == 0)
                r = patch_finish(doc, &text, error, ret_doc);
        arena_deinit(&patcher.arena);
        return r;
}
