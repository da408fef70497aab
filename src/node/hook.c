// SPDX-License-Identifier: Apache-2.0
#include "node/internal.h"

static const struct pod_handler *wanted_hook(const struct node_container *container)
{
        const struct pod_container *spec =
                &pod_spec_of(container->pod)->containers[container->index];

        return container->hook_role == POD_HOOK_POST_START ? &spec->post_start : &spec->pre_stop;
}

static void answered(struct node_handler *handler, bool success, const char *why)
{
        struct node_container *container = handler->container;
        const struct pod_event event = { .type = POD_EVENT_HOOK_ENDED,
                                         .container = container->index,
                                         .attempt = container->attempt,
                                         .hook = container->hook_role,
                                         .healthy = success,
                                         .message = why };

        pod_tell(container->pod, &event);
}

/* How long a hook may take is the worker's to say. */
void hook_start(struct node_container *container, enum pod_hook role)
{
        hook_stop(container);
        container->hook_role = role;
        container->hook = (struct node_handler){ .container = container,
                                                 .wanted = wanted_hook(container),
                                                 .takes_any_status = true,
                                                 .answered = answered };
        handler_ask(&container->hook);
}

void hook_stop(struct node_container *container)
{
        if (container->hook.is_asking)
                handler_stop(&container->hook);
}

void hook_respec(struct node_container *container)
{
        if (container->hook.is_asking)
                container->hook.wanted = wanted_hook(container);
}
