// SPDX-License-Identifier: Apache-2.0
#include "plan/queue.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/*
 * At a start there is a key for every object, and a moment later for none. They stand in chunks of
 * their own, which go back to the system: among objects that stay they would leave holes for ever.
 */
enum { CHUNK_SIZE = 64 * 1024, SLOT_SIZE = 256 };

struct free_slot {
        struct free_slot *next;
};

struct key_chunk {
        struct list link; /* alone when it is full */
        struct free_slot *free;
        size_t used;
        size_t fresh; /* where the slots begin that were never used */
};

static struct key_chunk *new_chunk(struct queue *queue)
{
        struct key_chunk *chunk =
                mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (chunk == MAP_FAILED)
                return NULL;
        chunk->fresh = SLOT_SIZE;
        list_append(&queue->chunks, &chunk->link);
        return chunk;
}

static struct key *new_key(struct queue *queue, size_t size)
{
        struct key_chunk *chunk;
        struct key *key;

        if (size > SLOT_SIZE)
                return calloc(1, size);
        chunk = list_is_empty(&queue->chunks)
                        ? new_chunk(queue)
                        : list_entry(queue->chunks.next, struct key_chunk, link);
        if (!chunk)
                return NULL;
        if (chunk->free) {
                key = (struct key *)chunk->free;
                chunk->free = chunk->free->next;
                memset(key, 0, SLOT_SIZE);
        } else {
                key = (struct key *)((char *)chunk + chunk->fresh);
                chunk->fresh += SLOT_SIZE;
        }
        if (!chunk->free && chunk->fresh == CHUNK_SIZE)
                list_remove(&chunk->link);
        chunk->used++;
        key->chunk = chunk;
        return key;
}

static void free_key(struct queue *queue, struct key *key)
{
        struct key_chunk *chunk = key->chunk;
        struct free_slot *slot = (struct free_slot *)key;

        free(key->refusal);
        if (!chunk) {
                free(key);
                return;
        }
        if (!chunk->free && chunk->fresh == CHUNK_SIZE)
                list_append(&queue->chunks, &chunk->link);
        slot->next = chunk->free;
        chunk->free = slot;
        if (--chunk->used > 0)
                return;
        list_remove(&chunk->link);
        munmap(chunk, CHUNK_SIZE);
}

void queue_init(struct queue *queue, uint64_t seed)
{
        *queue = (struct queue){ .seed = seed };
        list_init(&queue->chunks);
        for (size_t i = 0; i < CONTROLLER_PRIORITIES; i++)
                list_init(&queue->ready[i]);
}

void queue_deinit(struct queue *queue)
{
        for (size_t i = 0; i < queue->keys.slot_count; i++) {
                struct table_node *node = queue->keys.slots[i];

                while (node) {
                        struct table_node *next = node->next;

                        free_key(queue, container_of(node, struct key, node));
                        node = next;
                }
        }
        table_deinit(&queue->keys);
        free(queue->heap);
}

static uint64_t key_hash(const struct queue *queue, const struct controller *controller,
                         struct str namespace, struct str name)
{
        return table_hash(table_hash(queue->seed ^ (uint64_t)(uintptr_t)controller, namespace),
                          name);
}

struct key *queue_key(struct queue *queue, const struct controller *controller,
                      struct str namespace, struct str name)
{
        uint64_t hash = key_hash(queue, controller, namespace, name);
        struct table_node *node = table_find(&queue->keys, hash);
        struct key *key;

        for (; node; node = table_find_next(node)) {
                key = container_of(node, struct key, node);
                if (key->controller == controller && str_equal(key_namespace(key), namespace) &&
                    str_equal(key_name(key), name))
                        return key;
        }
        key = new_key(queue, sizeof(*key) + namespace.length + name.length);
        if (!key)
                return NULL;
        key->controller = controller;
        key->namespace_length = namespace.length;
        key->name_length = name.length;
        if (namespace.length)
                memcpy(key->text, namespace.data, namespace.length);
        if (name.length)
                memcpy(key->text + namespace.length, name.data, name.length);
        list_init(&key->list);
        if (table_add(&queue->keys, &key->node, hash) < 0) {
                free_key(queue, key);
                return NULL;
        }
        return key;
}

/* ---- the heap ---- */

static void heap_put(struct queue *queue, size_t slot, struct key *key)
{
        queue->heap[slot] = key;
        key->heap_slot = slot;
}

static void heap_up(struct queue *queue, size_t slot)
{
        struct key *key = queue->heap[slot];

        for (; slot > 1 && queue->heap[slot / 2]->due_ns > key->due_ns; slot /= 2)
                heap_put(queue, slot, queue->heap[slot / 2]);
        heap_put(queue, slot, key);
}

static void heap_down(struct queue *queue, size_t slot)
{
        struct key *key = queue->heap[slot];

        for (;;) {
                size_t child = 2 * slot;

                if (child > queue->heap_count)
                        break;
                if (child < queue->heap_count &&
                    queue->heap[child + 1]->due_ns < queue->heap[child]->due_ns)
                        child++;
                if (queue->heap[child]->due_ns >= key->due_ns)
                        break;
                heap_put(queue, slot, queue->heap[child]);
                slot = child;
        }
        heap_put(queue, slot, key);
}

static void heap_remove(struct queue *queue, struct key *key)
{
        size_t slot = key->heap_slot;
        struct key *last;

        if (slot == 0)
                return;
        key->heap_slot = 0;
        last = queue->heap[queue->heap_count--];
        if (last == key)
                return;
        heap_put(queue, slot, last);
        heap_up(queue, slot);
        heap_down(queue, last->heap_slot);
}

static bool heap_add(struct queue *queue, struct key *key)
{
        if (queue->heap_count + 1 >= queue->heap_capacity) {
                size_t capacity = queue->heap_capacity ? 2 * queue->heap_capacity : 64;
                void *heap = reallocarray(queue->heap, capacity, sizeof(*queue->heap));

                if (!heap)
                        return false;
                queue->heap = heap;
                queue->heap_capacity = capacity;
        }
        heap_put(queue, ++queue->heap_count, key);
        heap_up(queue, queue->heap_count);
        return true;
}

/* ---- moving keys ---- */

static bool remembers(const struct key *key)
{
        for (size_t i = 0; i < PLAN_MEMORY; i++) {
                if (key->memory[i])
                        return true;
        }
        return false;
}

void queue_release(struct queue *queue, struct key *key)
{
        if (key->state != KEY_IDLE || key->heap_slot || key->in_flight || key->waits ||
            key->dirty || key->failures || key->rest_until_ns || remembers(key))
                return;
        table_remove(&queue->keys, &key->node);
        free_key(queue, key);
}

static void make_ready(struct queue *queue, struct key *key)
{
        list_remove(&key->list);
        list_append(&queue->ready[key->controller->priority], &key->list);
        key->state = KEY_READY;
        queue->ready_count++;
        queue->added++;
}

void queue_push(struct queue *queue, struct key *key)
{
        if (key->state == KEY_READY || key->state == KEY_WAITING)
                return;
        if (key->in_flight) {
                key->dirty = true;
                if (!key->controller->overlapping)
                        return;
        }
        make_ready(queue, key);
}

void queue_push_at(struct queue *queue, struct key *key, uint64_t due_ns)
{
        if (key->state == KEY_READY)
                return;
        if (key->heap_slot) {
                if (due_ns >= key->due_ns)
                        return;
                heap_remove(queue, key);
        }
        key->due_ns = due_ns;
        if (!heap_add(queue, key)) {
                queue_push(queue, key);
                return;
        }
        if (key->state == KEY_IDLE)
                key->state = KEY_DELAYED;
}

void queue_wait(struct queue *queue, struct key *key, struct list *waiters)
{
        (void)queue;
        list_remove(&key->list);
        list_append(waiters, &key->list);
        key->state = KEY_WAITING;
}

void queue_tick(struct queue *queue, uint64_t now_ns)
{
        while (queue->heap_count && queue->heap[1]->due_ns <= now_ns) {
                struct key *key = queue->heap[1];

                heap_remove(queue, key);
                if (key->state == KEY_DELAYED)
                        key->state = KEY_IDLE;
                queue_push(queue, key);
        }
}

struct key *queue_pop(struct queue *queue)
{
        for (size_t i = 0; i < CONTROLLER_PRIORITIES; i++) {
                if (!list_is_empty(&queue->ready[i])) {
                        struct key *key = list_entry(queue->ready[i].next, struct key, list);

                        list_remove(&key->list);
                        queue->ready_count--;
                        heap_remove(queue, key);
                        key->state = KEY_IDLE;
                        return key;
                }
        }
        return NULL;
}

bool queue_has_ready(const struct queue *queue)
{
        for (size_t i = 0; i < CONTROLLER_PRIORITIES; i++) {
                if (!list_is_empty(&queue->ready[i]))
                        return true;
        }
        return false;
}

uint64_t queue_next_due(const struct queue *queue)
{
        return queue->heap_count ? queue->heap[1]->due_ns : UINT64_MAX;
}
