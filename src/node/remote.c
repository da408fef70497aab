// SPDX-License-Identifier: Apache-2.0
#include "node/remote.h"

#include <errno.h>

#include "net/websocket.h"

int remote_accept(struct http_exchange *exchange, unsigned channels,
                  const struct remote_events *events, void *user, struct remote **ret_remote)
{
        channels |= 1U << REMOTE_ERROR;
        if (websocket_is_requested(&exchange->request))
                return remote_accept_websocket(exchange, channels, events, user, ret_remote);
        if (http_headers_has_token(&exchange->request.headers, STR("Upgrade"), STR("SPDY/3.1")))
                return remote_accept_spdy(exchange, channels, events, user, ret_remote);
        return -EOPNOTSUPP;
}

void remote_send(struct remote *remote, enum remote_channel channel, struct str data)
{
        remote->ops->send(remote, channel, data);
}

bool remote_is_congested(struct remote *remote)
{
        return remote->ops->is_congested(remote);
}

void remote_pause(struct remote *remote)
{
        remote->ops->pause(remote, true);
}

void remote_resume(struct remote *remote)
{
        remote->ops->pause(remote, false);
}

void remote_finish(struct remote *remote, struct str status)
{
        remote->ops->pause(remote, false);
        remote->ops->finish(remote, status);
}

void remote_free(struct remote *remote)
{
        if (remote)
                remote->ops->free(remote);
}
