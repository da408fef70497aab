// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/list.h"
#include "plan/controllers.h"
#include "plan/table.h"

/* What is to be planned: keys, each once, now or at a time. Internal to plan/. */

enum key_state {
        KEY_IDLE,
        KEY_READY,   /* in a ready list */
        KEY_DELAYED, /* in the heap only */
        KEY_WAITING, /* for its controller's kinds to be synced */
};

struct key_chunk;

struct key {
        struct key_chunk *chunk; /* that it is from; NULL: malloc */
        struct table_node node;
        struct list list; /* ready, or unsynced */
        const struct controller *controller;
        enum key_state state;
        uint64_t due_ns;        /* monotonic, while in the heap */
        size_t heap_slot;       /* 1-based; 0: not in the heap */
        uint64_t rest_until_ns; /* monotonic: not planned again before */
        unsigned in_flight;
        unsigned waits; /* locks that will tell it */
        unsigned failures;
        uint64_t memory[PLAN_MEMORY];
        char *refusal; /* what the API said to the last plan; or NULL */
        bool dirty;    /* asked for while its plan was in flight */
        size_t namespace_length, name_length;
        char text[];
};

static inline struct str key_namespace(const struct key *key)
{
        return (struct str){ key->text, key->namespace_length };
}

static inline struct str key_name(const struct key *key)
{
        return (struct str){ key->text + key->namespace_length, key->name_length };
}

struct queue {
        uint64_t seed;
        struct list chunks; /* of struct key_chunk, those with room */
        struct table keys;
        struct list ready[CONTROLLER_PRIORITIES];
        size_t ready_count;
        uint64_t added;    /* to the ready lists, since the start */
        struct key **heap; /* by due_ns; heap[0] is unused */
        size_t heap_count, heap_capacity;
};

void queue_init(struct queue *queue, uint64_t seed);
void queue_deinit(struct queue *queue);

/* The key, made when it is not there; NULL without memory. */
struct key *queue_key(struct queue *queue, const struct controller *controller,
                      struct str namespace, struct str name);

/* Forgets the key if nothing is known of it and nothing waits. */
void queue_release(struct queue *queue, struct key *key);

/* Makes the key ready, unless it is already. A plan in flight makes it dirty instead. */
void queue_push(struct queue *queue, struct key *key);

/* Makes the key ready at the latest then. Without memory it becomes ready now. */
void queue_push_at(struct queue *queue, struct key *key, uint64_t due_ns);

/* Puts the key aside; `waiters` is the list of what will push it again. */
void queue_wait(struct queue *queue, struct key *key, struct list *waiters);

/* Makes ready what is due. */
void queue_tick(struct queue *queue, uint64_t now_ns);

/* The next ready key, now idle and without delay (its plan will say when to come back); or NULL. */
struct key *queue_pop(struct queue *queue);

bool queue_has_ready(const struct queue *queue);
/* When the next delayed key is due; UINT64_MAX: none. */
uint64_t queue_next_due(const struct queue *queue);
