// SPDX-License-Identifier: Apache-2.0
#include "cli/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fd.h"
#include "client/config.h"
#include "crypto/certificate.h"
#include "crypto/token.h"
#include "json/writer.h"

enum { CERTIFICATE_NAMES_MAX = 32 };

/* Who may talk to the API from the start, and where each finds its kubeconfig. */
struct identity {
        const char *name; /* of its token in pki/ */
        const char *user; /* Kubernetes user name; a "%s" is the node's name */
        const char *group;
        const char *kubeconfig; /* under the data folder */
        uid_t owner;
};

static const struct identity identities[] = {
        { "admin", "kubernetes-admin", "system:masters", "kubeconfig", 0 },
        { "control", "system:kube-controller-manager", "system:masters", "control/kubeconfig",
          UID_CONTROL },
        { "node", "system:node:%s", "system:nodes", "node/kubeconfig", UID_NODE },
        { "router", "system:serviceaccount:agent-sandbox-system:sandbox-router",
          "system:serviceaccounts", "router/kubeconfig", UID_ROUTER },
};

static int open_folder(const struct instance *instance, const char *name)
{
        char path[PATH_MAX];

        if ((size_t)snprintf(path, sizeof(path), "%s/%s", instance->data, name) >= sizeof(path))
                return -ENAMETOOLONG;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

/* Writes a file that its owner alone may read. */
static int write_private(int directory, const char *path, struct str contents, uid_t owner)
{
        int r = file_write_atomic(directory, path, contents, 0600);

        if (r == 0 && fchownat(directory, path, owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r;
}

static int write_server_certificate(const struct ca *ca, int pki, int control,
                                    const struct str *names, size_t name_count, struct error *error)
{
        _cleanup_certificate_pair_ struct certificate_pair pair = {};
        struct str all[CERTIFICATE_NAMES_MAX] = {
                STR("127.0.0.1"),
                STR("::1"),
                STR("localhost"),
                STR("kubernetes"),
                STR("kubernetes.default"),
                STR("kubernetes.default.svc"),
                STR("kubernetes.default.svc.cluster.local"),
        };
        size_t count = 7;

        for (size_t i = 0; i < name_count && count < ARRAY_SIZE(all); i++)
                all[count++] = names[i];
        const struct certificate_request request = {
                .purpose = CERTIFICATE_SERVER,
                .common_name = STR("kube-apiserver"),
                .names = all,
                .name_count = count,
                .now = clock_realtime_ns(),
        };
        int r = ca_ensure(ca, pki, "apiserver", &request, error, &pair);
        if (r < 0)
                return r;
        r = write_private(control, "tls.crt", buffer_str(&pair.certificate), UID_CONTROL);
        if (r == 0)
                r = write_private(control, "tls.key", buffer_str(&pair.key), UID_CONTROL);
        if (r == 0)
                r = write_private(control, "ca.crt", ca_certificate(ca), UID_CONTROL);
        return r;
}

static int write_kubeconfig(const struct instance *instance, const struct identity *identity,
                            struct str server, struct str ca, struct str token)
{
        char path[PATH_MAX];

        if ((size_t)snprintf(path, sizeof(path), "%s/%s", instance->data, identity->kubeconfig) >=
            sizeof(path))
                return -ENAMETOOLONG;
        const struct kube_config_entry entry = {
                .name = "cay", .server = server, .ca = ca, .token = token
        };
        int r = kube_config_write(path, &entry);
        if (r == 0 && lchown(path, identity->owner, identity->owner) < 0)
                r = -errno;
        return r;
}

static int add_token(struct json_writer *table, const struct identity *identity, struct str token,
                     const char *node_name)
{
        char user[512];

        if ((size_t)snprintf(user, sizeof(user), identity->user, node_name) >= sizeof(user))
                return -ENAMETOOLONG;
        json_begin_object(table);
        json_field_string(table, "token", token);
        json_field_string(table, "user", str_from(user));
        json_field_array(table, "groups");
        json_write_string(table, str_from(identity->group));
        json_end_array(table);
        json_end_object(table);
        return 0;
}

static int write_identities(const struct instance *instance, struct str server, struct str ca,
                            int pki, int control, const char *node_name, struct error *error)
{
        _cleanup_buffer_ struct buffer table = {};
        struct json_writer writer;
        int r;

        json_writer_init(&writer, &table);
        json_begin_array(&writer);
        for (size_t i = 0; i < ARRAY_SIZE(identities); i++) {
                _cleanup_buffer_ struct buffer token = {};
                char path[64];
                snprintf(path, sizeof(path), "%s.token", identities[i].name);
                r = token_load_or_create(pki, path, error, &token);
                if (r < 0)
                        return r;
                r = add_token(&writer, &identities[i], buffer_str(&token), node_name);
                if (r == 0)
                        r = write_kubeconfig(instance, &identities[i], server, ca,
                                             buffer_str(&token));
                if (r < 0)
                        return r;
        }
        json_end_array(&writer);
        r = json_writer_finish(&writer);
        return r < 0 ? r : write_private(control, "tokens.json", buffer_str(&table), UID_CONTROL);
}

int bootstrap(const struct instance *instance, struct str api, const struct str *names,
              size_t name_count, const char *node_name, struct error *error)
{
        _cleanup_arena_ struct arena arena = {};
        _cleanup_ca_ struct ca *ca = NULL;
        _cleanup_close_ int pki = open_folder(instance, "pki");
        _cleanup_close_ int control = open_folder(instance, "control");

        if (pki < 0 || control < 0)
                return error_set(error, MIN(pki, control), "cannot open the folders of %s: %s",
                                 instance->data, strerror(-MIN(pki, control)));
        int r = ca_load_or_create(pki, STR("cay"), clock_realtime_ns(), error, &ca);
        if (r == 0)
                r = write_server_certificate(ca, pki, control, names, name_count, error);
        if (r == 0) {
                struct str server = arena_printf(&arena, "https://%.*s", STR_FORMAT(api));
                r = server.data ? write_identities(instance, server, ca_certificate(ca), pki,
                                                   control, node_name, error)
                                : -ENOMEM;
        }
        return r < 0 ? error_prefix(error, r, "preparing %s", instance->data) : 0;
}
