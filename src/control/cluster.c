// SPDX-License-Identifier: Apache-2.0
#include "control/cluster.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "client/client.h"
#include "client/config.h"
#include "control/host.h"
#include "controller/controller.h"
#include "net/loop.h"

enum { CLOSING_TURNS = 8 };

struct process {
        const struct cluster_controller_config *config;
        uv_loop_t uv;
        struct net_loop *loop;
        uv_signal_t signals[2];
        struct kube_config kubeconfig;
        struct kube_client *client;
        struct controller_host *host;
        struct sandbox_controllers *controllers;
};

static int setup(void *user, struct controllers *set)
{
        struct process *process = user;
        const struct cluster_controller_config *config = process->config;
        const struct sandbox_options options = {
                .cluster_domain = str_from(config->cluster_domain),
                .pool_batch = (unsigned)config->pool_batch,
                .pool_replenish_delay_ns = config->replenish_delay_ns,
                .pool_refill_rate = (unsigned)config->refill_rate,
                .pool_readiness_grace_ns = config->readiness_grace_ns,
                .without_extensions = !config->extensions,
        };

        return sandbox_controllers_new(set, &options, &process->controllers);
}

static void on_synced(void *user)
{
        (void)user;
        log_info("every kind is listed, controllers run");
}

static void on_signal(uv_signal_t *signal, int number)
{
        log_info("signal %d, ending", number);
        uv_stop(signal->loop);
}

static int begin(struct process *process, struct error *error)
{
        static const int numbers[] = { SIGTERM, SIGINT };

        int r = kube_config_find(process->config->kubeconfig, STR_EMPTY, error,
                                 &process->kubeconfig);
        if (r < 0)
                return r;
        r = uv_loop_init(&process->uv);
        if (r == 0)
                r = net_loop_new(&process->uv, &process->loop);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++) {
                r = uv_signal_init(&process->uv, &process->signals[i]);
                if (r == 0)
                        r = uv_signal_start(&process->signals[i], on_signal, numbers[i]);
        }
        if (r < 0)
                return error_set(error, r, "cannot make an event loop: %s", strerror(-r));

        const struct kube_client_options client = {
                .loop = process->loop,
                .config = &process->kubeconfig,
                .user_agent = STR("cay-controller"),
        };
        r = kube_client_new(&client, error, &process->client);
        if (r < 0)
                return r;
        const struct controller_host_options host = {
                .loop = process->loop,
                .client = process->client,
                .name_space = str_from(process->config->name_space),
                .setup = setup,
                .kinds = sandbox_controllers_kinds,
                .on_synced = on_synced,
                .user = process,
        };
        return controller_host_new(&host, error, &process->host);
}

int cluster_controller_run(const struct cluster_controller_config *config, struct error *error)
{
        struct process process = { .config = config };

        signal(SIGPIPE, SIG_IGN);
        fd_raise_limit();
        int r = begin(&process, error);
        if (r < 0)
                return r;
        log_info("controller for %.*s", STR_FORMAT(process.kubeconfig.server));
        uv_run(&process.uv, UV_RUN_DEFAULT);

        controller_host_free(process.host);
        sandbox_controllers_free(process.controllers);
        kube_client_free(process.client);
        for (size_t i = 0; i < ARRAY_SIZE(process.signals); i++)
                uv_close((uv_handle_t *)&process.signals[i], NULL);
        net_loop_free(process.loop);
        /* Closing takes a turn or two; what would take longer is not worth an end that hangs. */
        for (int turn = 0; turn < CLOSING_TURNS && uv_loop_close(&process.uv) == UV_EBUSY; turn++)
                uv_run(&process.uv, UV_RUN_NOWAIT);
        kube_config_deinit(&process.kubeconfig);
        return 0;
}
