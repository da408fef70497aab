// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cluster/internal.h"

/*
 * Binds Pods to nodes, every pending Pod in one pass. Of the nodes with room the one with the
 * fewest Pods is taken.
 */

enum { NODES_MAX = 64 };

/* A pass looks at every Pod that is pending. So that many for which there is no room do not keep
 * the processor busy, it rests this long for each. */
#define REST_PER_POD_NS UINT64_C(5000)

struct room {
        const struct cache_entry *node;
        int64_t cpu_milli, memory, pods; /* left */
        size_t bound;
};

struct binding {
        const struct view *seen;
        struct plan *plan;
        const struct cluster_context *context;
        struct room rooms[NODES_MAX];
        size_t count;
};

static void measure(struct binding *binding)
{
        cache_for_each(it, binding->seen->cache, &kind_node, STR_EMPTY)
        {
                const struct node *node = it.entry->typed;
                int index = binding->context->index_node;
                int64_t taken[CACHE_SUMS];
                size_t bound;

                if (!node->ready || node->unschedulable || binding->count == NODES_MAX ||
                    object_meta_is_deleting(&it.entry->meta))
                        continue;
                bound = cache_index_count(binding->seen->cache, index, STR_EMPTY,
                                          it.entry->meta.name);
                cache_index_sums(binding->seen->cache, index, STR_EMPTY, it.entry->meta.name,
                                 taken);
                binding->rooms[binding->count++] = (struct room){
                        .node = it.entry,
                        .cpu_milli = node->cpu_milli - taken[ROOM_CPU],
                        .memory = node->memory - taken[ROOM_MEMORY],
                        .pods = node->pods - (int64_t)bound,
                        .bound = bound,
                };
        }
}

/* Pods whose binding is on its way will be somewhere: there is room only beside them. */
static void count_in_flight(struct binding *binding)
{
        cache_for_each_in(it, binding->seen->cache, binding->context->index_pending, &kind_pod,
                          STR_EMPTY, STR_EMPTY)
        {
                const struct pod *pod = it.entry->typed;

                for (size_t i = 0; it.entry->locked && i < binding->count; i++) {
                        binding->rooms[i].cpu_milli -= pod->cpu_milli;
                        binding->rooms[i].memory -= pod->memory;
                        binding->rooms[i].pods--;
                }
        }
}

static struct room *find_room(struct binding *binding, const struct pod *pod)
{
        struct room *best = NULL;

        for (size_t i = 0; i < binding->count; i++) {
                struct room *room = &binding->rooms[i];

                if (room->pods < 1 || room->cpu_milli < pod->cpu_milli ||
                    room->memory < pod->memory)
                        continue;
                if (!best || room->bound < best->bound)
                        best = room;
        }
        return best;
}

/* What kube-scheduler says, so that clients understand. */
static void tell_unschedulable(struct binding *binding, const struct cache_entry *entry)
{
        const struct pod *pod = entry->typed;
        struct condition present, wanted = {
                .type = STR("PodScheduled"),
                .status = STR("False"),
                .reason = STR("Unschedulable"),
        };
        struct json_writer *writer;

        wanted.message = binding->count == 0
                                 ? STR("0/0 nodes are available: no node is ready")
                                 : arena_printf(binding->plan->arena,
                                                "0/%zu nodes are available: insufficient cpu, "
                                                "memory or pods",
                                                binding->count);
        if (condition_find(pod->conditions, wanted.type, &present) &&
            condition_same(&present, &wanted))
                return;
        writer = plan_patch_body(binding->plan, &entry->meta, EXPECT_UID);
        json_end_object(writer);
        json_field_object(writer, "status");
        json_key(writer, STR("conditions"));
        conditions_write(writer, pod->conditions, &wanted, 1, NULL, binding->seen->now.realtime_ns);
        json_end_object(writer);
        plan_patch_status(binding->plan, &kind_pod, &entry->meta, json_root(entry->doc),
                          ACTION_NONE);
        plan_event(binding->plan, &kind_pod, &entry->meta, "Warning", "FailedScheduling",
                   binding->seen->now.realtime_ns, ACTION_NONE, "%.*s", STR_FORMAT(wanted.message));
}

void bind_plan(const struct view *seen, struct plan *plan)
{
        struct binding binding = { .seen = seen, .plan = plan, .context = seen->context };
        size_t pending = cache_index_count(seen->cache, binding.context->index_pending, STR_EMPTY,
                                           STR_EMPTY);

        if (pending == 0)
                return;
        plan->rest_ns = pending * REST_PER_POD_NS;
        measure(&binding);
        count_in_flight(&binding);
        cache_for_each_in(it, seen->cache, binding.context->index_pending, &kind_pod, STR_EMPTY,
                          STR_EMPTY)
        {
                const struct pod *pod = it.entry->typed;
                struct room *room;

                /* The rest in the next pass, which the answers of this one bring about. */
                if (plan->count + 2 > PLAN_ACTIONS_MAX)
                        return;
                if (it.entry->locked) {
                        plan_wait(plan, &kind_pod, it.entry->meta.namespace, it.entry->meta.name);
                        continue;
                }
                room = find_room(&binding, pod);
                if (!room) {
                        tell_unschedulable(&binding, it.entry);
                        continue;
                }
                room->cpu_milli -= pod->cpu_milli;
                room->memory -= pod->memory;
                room->pods--;
                room->bound++;
                plan_bind(plan, &it.entry->meta, room->node->meta.name);
        }
}

void bind_map(struct controllers *set, const struct controller *controller,
              const struct cache_entry *before, const struct cache_entry *after)
{
        const struct cluster_context *context = controller->context;
        struct cache *cache = controllers_cache(set);
        const struct cache_entry *entry = after ? after : before;
        const struct pod *pod = entry->kind == &kind_pod ? entry->typed : NULL;

        /* A new Pod, or room where one was. */
        if (pod && after && pod->node_name.length && !pod_is_finished(pod))
                return;
        if (cache_index_count(cache, context->index_pending, STR_EMPTY, STR_EMPTY))
                controllers_enqueue(set, controller, STR_EMPTY, STR("all"));
}
