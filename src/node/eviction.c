// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "node/internal.h"

/* The first look is soon, for those that fill a disk in a hurry; then as often as a kubelet's. */
enum { FIRST_MS = 1000, PERIOD_MS = 10000, DOUBLINGS = 4 };

static bool is_limited(const struct pod_volume *volume)
{
        return volume->kind == POD_VOLUME_EMPTY_DIR && !volume->in_memory && volume->size_limit > 0;
}

static void measure_next(struct node_pod *pod);

static void round_is_due(struct net_timer *timer)
{
        struct node_pod *pod = container_of(timer, struct node_pod, measure_timer);

        pod->measured = 0;
        measure_next(pod);
}

static void wait_for_round(struct node_pod *pod)
{
        uint64_t delay = MIN((uint64_t)FIRST_MS << MIN(pod->measure_rounds, (unsigned)DOUBLINGS),
                             (uint64_t)PERIOD_MS);

        pod->measure_rounds++;
        net_timer_start(pod->node->loop, &pod->measure_timer, delay, round_is_due);
}

static void measured(struct node *node, const struct node_call *call, int result,
                     const char *reason)
{
        struct node_pod *pod = call->pod;
        char message[POD_MESSAGE_SIZE];

        (void)node, (void)reason;
        if (!pod || call->index >= pod_spec_of(pod)->volume_count)
                return;
        const struct pod_volume *volume = &pod_spec_of(pod)->volumes[call->index];
        if (result < 0 || call->bytes <= volume->size_limit) {
                pod->measured++;
                measure_next(pod);
                return;
        }
        snprintf(message, sizeof(message),
                 "Usage of EmptyDir volume \"%.*s\" exceeds the limit \"%llu\" (it is %llu bytes)",
                 STR_FORMAT(volume->name), (unsigned long long)volume->size_limit,
                 (unsigned long long)call->bytes);
        const struct pod_event event = { .type = POD_EVENT_EVICTED, .message = message };
        pod_tell(pod, &event);
}

static void measure_next(struct node_pod *pod)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        char path[POD_PATH_SIZE];
        uint64_t call;

        while (pod->measured < spec->volume_count && !is_limited(&spec->volumes[pod->measured]))
                pod->measured++;
        if (pod->measured >= spec->volume_count) {
                wait_for_round(pod);
                return;
        }
        files_volume_path(pod, &spec->volumes[pod->measured], path);
        int r = runtime_measure(pod->node->runtime, path, &call);
        if (r >= 0)
                r = node_expect(pod->node, call,
                                &(struct node_call){
                                        .answered = measured, .pod = pod, .index = pod->measured });
        if (r < 0)
                wait_for_round(pod);
}

void eviction_begin(struct node_pod *pod)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        bool any = false;

        for (size_t i = 0; i < spec->volume_count; i++)
                any |= is_limited(&spec->volumes[i]);
        pod->measure_rounds = 0;
        if (any)
                wait_for_round(pod);
}

void eviction_end(struct node_pod *pod)
{
        net_timer_stop(&pod->measure_timer);
}
