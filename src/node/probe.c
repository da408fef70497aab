// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/clock.h"
#include "node/internal.h"

/* While it is asked again and again anyway: a first packet that is lost costs a second. */
enum { QUICK_CONNECT_MS = 30 };

static void ask(struct node_probe *probe);

static void wait_expired(struct net_timer *timer)
{
        ask(container_of(timer, struct node_probe, timer));
}

static void wait_until_due(struct node_probe *probe)
{
        uint64_t now = clock_monotonic_ns(), due = probe->schedule.due;
        uint64_t delay = due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 0;

        net_timer_start(probe->handler.container->pod->node->loop, &probe->timer, delay,
                        wait_expired);
}

/* One answer is there. The worker may stop the probe on hearing of it. */
static void answered(struct node_handler *handler, bool success, const char *why)
{
        struct node_probe *probe = container_of(handler, struct node_probe, handler);
        struct node_container *container = handler->container;
        enum pod_probe_role role = probe->role;

        bool is_news = probe_schedule_answer(&probe->schedule, success, clock_monotonic_ns());
        wait_until_due(probe);
        if (!is_news)
                return;
        const struct pod_event event = { .type = POD_EVENT_PROBE,
                                         .container = container->index,
                                         .attempt = container->attempt,
                                         .role = role,
                                         .healthy = success,
                                         .message = why };
        pod_tell(container->pod, &event);
}

static void ask(struct node_probe *probe)
{
        const struct pod_probe *wanted = probe->schedule.probe;

        probe->handler.timeout_ms =
                (uint32_t)MIN(MAX(wanted->timeout_s, 1), UINT32_MAX / 1000) * 1000;
        probe->handler.connect_timeout_ms =
                probe->schedule.retry_ns > 0 ? MIN(QUICK_CONNECT_MS, probe->handler.timeout_ms) : 0;
        handler_ask(&probe->handler);
}

static const struct pod_probe *wanted_probe(const struct node_container *container,
                                            enum pod_probe_role role)
{
        const struct pod_container *spec =
                &pod_spec_of(container->pod)->containers[container->index];

        return role == POD_PROBE_STARTUP    ? &spec->startup
               : role == POD_PROBE_LIVENESS ? &spec->liveness
                                            : &spec->readiness;
}

static void set_wanted(struct node_probe *probe)
{
        probe->schedule.probe = wanted_probe(probe->handler.container, probe->role);
        probe->handler.wanted = &probe->schedule.probe->handler;
}

void probe_respec(struct node_container *container)
{
        for (unsigned role = 0; role < POD_PROBE_ROLES; role++)
                if (container->probes[role])
                        set_wanted(container->probes[role]);
}

void probe_start(struct node_container *container, enum pod_probe_role role)
{
        probe_stop(container, role);
        struct node_probe *probe = calloc(1, sizeof(*probe));
        if (!probe)
                return;
        container->probes[role] = probe;
        probe->handler.container = container;
        probe->handler.answered = answered;
        probe->role = role;
        probe_schedule_init(&probe->schedule, wanted_probe(container, role), role,
                            clock_monotonic_ns());
        set_wanted(probe);
        wait_until_due(probe);
}

void probe_stop(struct node_container *container, enum pod_probe_role role)
{
        struct node_probe *probe = container->probes[role];

        if (!probe)
                return;
        container->probes[role] = NULL;
        net_timer_stop(&probe->timer);
        handler_stop(&probe->handler);
        free(probe);
}
