// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "crypto/encode.h"
#include "node/internal.h"
#include "node/pod_read.h"

/*
 * Below the folder of volumes:
 *
 *     images/FILE              executables, or folders of them, that images bring along
 *     claims/VOLUME            persistent volumes
 *     messages/SHARD/UID.I.N   termination message of container I's attempt N: every Pod has some,
 *                              and folders of their own would cost ten times as much
 *     pods/UID/vol-NAME/       volumes; of objects as the kubelet writes them: ..data is a link to
 *                              the present version, each file a link through it, so that all
 *                              files of a volume change at once
 */
enum { PROGRAM_MAX = 64 * 1024 * 1024, LINK_SIZE = 32, SHARDS = 256, SHARD_SIZE = 16 };

#define VERSION_PREFIX "..v"

void files_volume_path(const struct node_pod *pod, const struct pod_volume *volume,
                       char path[static POD_PATH_SIZE])
{
        if (volume->kind == POD_VOLUME_CLAIM) {
                struct str name = material_claim_volume(pod, volume->claim);
                snprintf(path, POD_PATH_SIZE, "claims/%.*s", (int)MIN(name.length, (size_t)100),
                         name.data ? name.data : "");
                return;
        }
        snprintf(path, POD_PATH_SIZE, "pods/%s/vol-%.*s", pod->uid, STR_FORMAT(volume->name));
}

/* mkdir -p below `directory`, following no links. Returns 0 with the last folder open. */
static int make_folders(int directory, struct str path, mode_t mode, int *ret_fd)
{
        int at = fcntl(directory, F_DUPFD_CLOEXEC, 0);

        for (bool more = path.length > 0; more && at >= 0;) {
                struct str part;
                char name[NAME_MAX + 1];
                more = str_cut(path, '/', &part, &path);
                if (part.length > NAME_MAX || part.length == 0) {
                        fd_close(at);
                        return -EINVAL;
                }
                snprintf(name, sizeof(name), "%.*s", STR_FORMAT(part));
                int r = mkdirat(at, name, mode) < 0 && errno != EEXIST ? -errno : 0;
                int next =
                        r < 0 ? -1
                              : openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (r == 0 && next < 0)
                        r = -errno;
                fd_close(at);
                if (r < 0)
                        return r;
                at = next;
        }
        if (at < 0)
                return -errno;
        *ret_fd = at;
        return 0;
}

static int make_folder(int directory, const char *path, mode_t mode, int *ret_fd)
{
        return make_folders(directory, str_from(path), mode, ret_fd);
}

static int write_file(int folder, const char *name, struct str contents, mode_t mode)
{
        _cleanup_close_ int fd =
                openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        int r = fd_write_full(fd, contents.data, contents.length);
        if (r >= 0 && fchmod(fd, mode) < 0)
                r = -errno;
        return r;
}

/* ---- what images bring along ---- */

static int copy_program(int images, const char *source, const char *name, struct error *error)
{
        _cleanup_buffer_ struct buffer bytes = {};
        char temporary[NAME_MAX];

        int r = file_read(AT_FDCWD, source, PROGRAM_MAX, &bytes);
        if (r < 0)
                return error_set(error, r, "cannot read %s: %s", source, strerror(-r));
        snprintf(temporary, sizeof(temporary), ".%s.new", name);
        r = write_file(images, temporary, buffer_str(&bytes), 0755);
        if (r >= 0 && renameat(images, temporary, images, name) < 0)
                r = -errno;
        if (r < 0)
                return error_set(error, r, "cannot write the image file %s: %s", name,
                                 strerror(-r));
        return 0;
}

int files_open(struct node *node, struct error *error)
{
        const struct node_config *config = node->config;
        static const char *const programs[] = { "sandboxd", "socket-activate" };
        _cleanup_close_ int data = -1, images = -1, runtime = -1, other = -1;
        char path[PATH_MAX];

        if (mkdir(config->data_folder, 0700) < 0 && errno != EEXIST)
                return error_set(error, -errno, "cannot make %s: %s", config->data_folder,
                                 strerror(errno));
        data = open(config->data_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (data < 0)
                return error_set(error, -errno, "cannot open %s: %s", config->data_folder,
                                 strerror(errno));
        int r = make_folder(data, "state", 0700, &other);
        other = fd_close(other);
        if (r >= 0)
                r = make_folder(data, "volumes", 0711, &node->volumes_fd);
        if (r >= 0)
                r = make_folder(node->volumes_fd, "images", 0755, &images);
        if (r >= 0)
                r = make_folder(node->volumes_fd, "claims", 0711, &other);
        other = fd_close(other);
        if (r >= 0)
                r = make_folder(node->volumes_fd, "pods", 0711, &other);
        if (r >= 0)
                folder_spread(other);
        other = fd_close(other);
        if (r >= 0)
                r = make_folder(node->volumes_fd, "messages", 0711, &other);
        if (r >= 0)
                folder_spread(other);
        if (r < 0)
                return error_set(error, r, "cannot make folders in %s: %s", config->data_folder,
                                 strerror(-r));
        if (!config->libexec_folder)
                return 0;
        r = make_folder(images, "runtime", 0755, &runtime);
        if (r < 0)
                return error_set(error, r, "cannot make folders in %s: %s", config->data_folder,
                                 strerror(-r));
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
                snprintf(path, sizeof(path), "%s/%s", config->libexec_folder, programs[i]);
                r = copy_program(runtime, path, programs[i], error);
                if (r < 0)
                        return r;
        }
        return copy_program(images, "/proc/self/exe", "cay", error);
}

/* ---- volumes made of objects ---- */

struct file_writer {
        struct node_pod *pod;
        const struct pod_volume *volume;
        int version; /* folder of the new version */
        struct error *error;
};

static int write_item(struct file_writer *writer, struct str path, struct str contents,
                      int32_t mode)
{
        struct str folder = STR_EMPTY, name = path;
        char file[NAME_MAX + 1];
        int at = -1;

        const char *slash = memrchr(path.data, '/', path.length);
        if (slash) {
                folder = str_slice(path, 0, (size_t)(slash - path.data));
                name = str_slice(path, folder.length + 1, path.length);
        }
        if (name.length > NAME_MAX)
                return -ENAMETOOLONG;
        snprintf(file, sizeof(file), "%.*s", STR_FORMAT(name));
        int r = make_folders(writer->version, folder, 0755, &at);
        if (r >= 0)
                r = write_file(at, file, contents,
                               (mode_t)(mode >= 0 ? mode : writer->volume->default_mode));
        fd_close(at);
        return r;
}

static int decode_and_write(struct file_writer *writer, struct str path, struct str text,
                            bool is_base64, int32_t mode)
{
        _cleanup_buffer_ struct buffer decoded = {};

        if (is_base64) {
                int r = base64_decode(&decoded, BASE64_STANDARD, text);
                if (r < 0)
                        return r;
                text = buffer_str(&decoded);
        }
        return write_item(writer, path, text, mode);
}

/* The value of a key: a ConfigMap has text and binary data, a Secret binary data only. */
static struct json_value key_of(struct json_value object, bool is_secret, struct str key,
                                bool *ret_base64)
{
        struct json_value value = json_member(json_get(object, "data"), key);

        *ret_base64 = is_secret;
        if (!json_exists(value) && !is_secret) {
                value = json_member(json_get(object, "binaryData"), key);
                *ret_base64 = true;
        }
        return value;
}

static int write_every_key(struct file_writer *writer, struct json_value map, bool is_base64)
{
        json_for_each (it, map) {
                if (!pod_path_is_relative(it.key) || str_starts_with(it.key, STR("..")) ||
                    memchr(it.key.data, '/', it.key.length))
                        continue;
                int r = decode_and_write(writer, it.key, json_string(it.value), is_base64, -1);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int write_object(struct file_writer *writer, const struct pod_projection *projection)
{
        bool is_secret = projection->kind == POD_PROJECT_SECRET, is_base64;
        const struct pod_sources sources = material_sources(writer->pod);
        struct json_value object = sources.find(
                sources.userdata, is_secret ? POD_SOURCE_SECRET : POD_SOURCE_CONFIG_MAP,
                projection->name);
        const char *kind = is_secret ? "secret" : "configmap";

        if (!json_exists(object))
                return projection->optional
                               ? 0
                               : error_set(writer->error, -ENOENT,
                                           "MountVolume.SetUp failed for volume \"%.*s\" : %s "
                                           "\"%.*s\" not found",
                                           STR_FORMAT(writer->volume->name), kind,
                                           STR_FORMAT(projection->name));
        if (projection->item_count == 0) {
                int r = write_every_key(writer, json_get(object, "data"), is_secret);
                if (r >= 0 && !is_secret)
                        r = write_every_key(writer, json_get(object, "binaryData"), true);
                return r;
        }
        for (size_t i = 0; i < projection->item_count; i++) {
                const struct pod_item *item = &projection->items[i];
                struct json_value value = key_of(object, is_secret, item->key, &is_base64);
                if (!json_exists(value) && projection->optional)
                        continue;
                if (!json_exists(value))
                        return error_set(writer->error, -ENOENT,
                                         "MountVolume.SetUp failed for volume \"%.*s\" : "
                                         "references non-existent %s key: %.*s",
                                         STR_FORMAT(writer->volume->name), kind,
                                         STR_FORMAT(item->key));
                int r = decode_and_write(writer, item->path, json_string(value), is_base64,
                                         item->mode);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int write_fields(struct file_writer *writer, const struct pod_projection *projection)
{
        _cleanup_arena_ struct arena arena = {};
        const struct pod_spec *spec = pod_spec_of(writer->pod);
        char address[ADDRESS_TEXT_SIZE];
        const struct pod_facts facts = pod_facts_of(writer->pod, address);

        for (size_t i = 0; i < projection->item_count; i++) {
                const struct pod_item *item = &projection->items[i];
                struct str value = STR_EMPTY;
                int index = pod_spec_find_container(spec, item->container);
                int r = item->is_resource && index < 0 ? -EINVAL
                        : item->is_resource
                                ? pod_resource_value(&spec->containers[index], &facts, item->key,
                                                     item->divisor_milli, &arena, &value)
                                : pod_field_value(spec, &facts, item->key, &arena, &value);
                if (r == -EINVAL)
                        return error_set(writer->error, r,
                                         "MountVolume.SetUp failed for volume \"%.*s\" : "
                                         "unsupported field %.*s",
                                         STR_FORMAT(writer->volume->name), STR_FORMAT(item->key));
                if (r >= 0)
                        r = write_item(writer, item->path, value, item->mode);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int write_projection(struct file_writer *writer, size_t volume, size_t index)
{
        const struct pod_projection *projection = &writer->volume->projections[index];
        struct str token;

        switch (projection->kind) {
        case POD_PROJECT_CONFIG_MAP:
        case POD_PROJECT_SECRET:
                return write_object(writer, projection);
        case POD_PROJECT_DOWNWARD_API:
                return write_fields(writer, projection);
        case POD_PROJECT_TOKEN:
                token = material_token(writer->pod, volume, index);
                if (token.length == 0)
                        return error_set(writer->error, -ENOENT,
                                         "MountVolume.SetUp failed for volume \"%.*s\" : no token "
                                         "for the service account",
                                         STR_FORMAT(writer->volume->name));
                return write_item(writer, projection->token_path, token, -1);
        }
        return -EINVAL;
}

static unsigned present_version(int folder, char link[static LINK_SIZE])
{
        ssize_t length = readlinkat(folder, "..data", link, LINK_SIZE - 1);

        link[length > 0 ? length : 0] = '\0';
        return length > 0 ? (unsigned)strtoul(link + strlen(VERSION_PREFIX), NULL, 10) : 0;
}

/* A link at the top for each first part of a path in the new version. */
static int link_names(int folder, int version)
{
        DIR *entries = fdopendir(fcntl(version, F_DUPFD_CLOEXEC, 0));
        struct dirent *entry;
        int r = 0;

        if (!entries)
                return -errno;
        rewinddir(entries);
        while (r == 0 && (entry = readdir(entries))) {
                char target[NAME_MAX + 16];
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                snprintf(target, sizeof(target), "..data/%s", entry->d_name);
                if (symlinkat(target, folder, entry->d_name) < 0 && errno != EEXIST)
                        r = -errno;
        }
        closedir(entries);
        return r;
}

/* What a container has made may be deeper than this: that is the runtime's to purge. */
static int remove_tree_at(int directory, const char *name, unsigned depth)
{
        if (depth > LIMIT_DEPTH)
                return -ELOOP;
        int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return unlinkat(directory, name, 0) < 0 ? -errno : 0;
        DIR *entries = fdopendir(fd);
        struct dirent *entry;

        if (!entries) {
                fd_close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(entries)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        remove_tree_at(dirfd(entries), entry->d_name, depth + 1);
        closedir(entries);
        return unlinkat(directory, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int remove_tree(int directory, const char *name)
{
        return remove_tree_at(directory, name, 0);
}

static int write_objects(struct node_pod *pod, size_t index, int folder, struct error *error)
{
        const struct pod_volume *volume = &pod_spec_of(pod)->volumes[index];
        struct file_writer writer = { pod, volume, -1, error };
        char old[LINK_SIZE], new[LINK_SIZE];

        snprintf(new, sizeof(new), VERSION_PREFIX "%u", present_version(folder, old) + 1);
        remove_tree(folder, new);
        int r = make_folder(folder, new, 0755, &writer.version);
        for (size_t i = 0; i < volume->projection_count && r >= 0; i++)
                r = write_projection(&writer, index, i);
        if (r >= 0)
                r = link_names(folder, writer.version);
        fd_close(writer.version);
        unlinkat(folder, "..data_new", 0);
        if (r >= 0 && symlinkat(new, folder, "..data_new") < 0)
                r = -errno;
        if (r >= 0 && renameat(folder, "..data_new", folder, "..data") < 0)
                r = -errno;
        remove_tree(folder, r < 0 ? new : old);
        return r;
}

/* ---- all volumes ---- */

int files_own(struct node_pod *pod, const struct pod_volume *volume)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        char path[POD_PATH_SIZE];
        uint64_t call;

        if (spec->fs_group < 0)
                return 0;
        files_volume_path(pod, volume, path);
        return runtime_own(pod->node->runtime, path, 0, (uint32_t)spec->fs_group, 02777, &call);
}

/* As the kubelet: what the Pod may use, and less if the volume says so. */
uint64_t files_memory_size(const struct pod_spec *spec, const struct pod_volume *volume)
{
        uint64_t limit = 0;
        bool all_have = true;

        for (size_t i = 0; i < spec->container_count; i++) {
                limit += spec->containers[i].limits.memory;
                all_have &= spec->containers[i].limits.memory > 0;
        }
        if (!all_have || limit == 0)
                return volume->size_limit;
        return volume->size_limit ? MIN(limit, volume->size_limit) : limit;
}

static int write_volume(struct node_pod *pod, size_t index, struct error *error)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        const struct pod_volume *volume = &spec->volumes[index];
        bool is_data = volume->kind == POD_VOLUME_EMPTY_DIR || volume->kind == POD_VOLUME_CLAIM;
        _cleanup_close_ int folder = -1;
        char path[POD_PATH_SIZE];
        struct stat status;

        if (volume->kind == POD_VOLUME_CLAIM) {
                struct str name = material_claim_volume(pod, volume->claim);
                if (!pod_path_is_relative(name) || memchr(name.data, '/', name.length))
                        return error_set(error, -ENOENT,
                                         "persistentvolumeclaim \"%.*s\" is not bound",
                                         STR_FORMAT(volume->claim));
        }
        files_volume_path(pod, volume, path);
        int r = make_folder(pod->node->volumes_fd, path, 0755, &folder);
        if (r < 0)
                return r;
        if (!is_data)
                return write_objects(pod, index, folder, error);
        if (fstat(folder, &status) < 0)
                return -errno;
        if (spec->fs_group >= 0)
                return volume->in_memory ? 0 : files_own(pod, volume);
        if ((status.st_mode & 0777) != 0777 && fchmod(folder, 0777) < 0)
                return -errno;
        return 0;
}

int files_write(struct node_pod *pod, struct error *error)
{
        const struct pod_spec *spec = pod_spec_of(pod);

        for (size_t i = 0; i < spec->volume_count; i++) {
                int r = write_volume(pod, i, error);
                if (r < 0)
                        return error->code
                                       ? r
                                       : error_set(error, r,
                                                   "MountVolume.SetUp failed for volume "
                                                   "\"%.*s\" : %s",
                                                   STR_FORMAT(spec->volumes[i].name), strerror(-r));
        }
        return 0;
}

/* ---- /etc ---- */

static int write_hosts(const struct node_pod *pod, struct buffer *out)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        struct str name = spec->hostname.length > 0 ? spec->hostname : spec->name;
        char address[ADDRESS_TEXT_SIZE];

        address_format(pod->address, address);
        int r = buffer_printf(out, "# Kubernetes-managed hosts file.\n"
                                   "127.0.0.1\tlocalhost\n"
                                   "::1\tlocalhost ip6-localhost ip6-loopback\n"
                                   "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n"
                                   "fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        if (r >= 0 && spec->subdomain.length > 0)
                r = buffer_printf(out, "%s\t%.*s.%.*s.%.*s.svc.cluster.local\t%.*s\n", address,
                                  STR_FORMAT(name), STR_FORMAT(spec->subdomain),
                                  STR_FORMAT(spec->namespace), STR_FORMAT(name));
        else if (r >= 0)
                r = buffer_printf(out, "%s\t%.*s\n", address, STR_FORMAT(name));
        for (size_t i = 0; i < spec->host_alias_count && r >= 0; i++) {
                const struct pod_host_alias *alias = &spec->host_aliases[i];
                r = buffer_printf(out, "%.*s", STR_FORMAT(alias->ip));
                for (size_t j = 0; j < alias->names.count && r >= 0; j++)
                        r = buffer_printf(out, "\t%.*s", STR_FORMAT(alias->names.items[j]));
                if (r >= 0)
                        r = buffer_append_char(out, '\n');
        }
        return r;
}

static int append_words(struct buffer *out, const char *key, const struct pod_strings *words,
                        const char *first)
{
        if (words->count == 0 && !first[0])
                return 0;
        int r = buffer_printf(out, "%s%s%s", key, first[0] ? " " : "", first);
        for (size_t i = 0; i < words->count && r >= 0; i++)
                r = buffer_printf(out, " %.*s", STR_FORMAT(words->items[i]));
        return r < 0 ? r : buffer_append_char(out, '\n');
}

static int write_resolv(const struct node_pod *pod, struct buffer *out)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        const char *server = pod->node->config->dns_address;
        bool in_cluster = spec->dns_policy == POD_DNS_CLUSTER_FIRST && server;
        char searches[256] = "";
        int r = 0;

        if (spec->dns_policy != POD_DNS_NONE && !in_cluster)
                r = file_read(AT_FDCWD, "/etc/resolv.conf", LIMIT_HEAD, out);
        if (r == -ENOENT)
                r = 0;
        if (in_cluster) {
                r = buffer_printf(out, "nameserver %s\n", server);
                snprintf(searches, sizeof(searches),
                         "%.*s.svc.cluster.local svc.cluster.local cluster.local",
                         STR_FORMAT(spec->namespace));
        }
        for (size_t i = 0; i < spec->dns_servers.count && r >= 0; i++)
                r = buffer_printf(out, "nameserver %.*s\n", STR_FORMAT(spec->dns_servers.items[i]));
        if (r >= 0)
                r = append_words(out, "search", &spec->dns_searches, searches);
        if (r >= 0)
                r = append_words(out, "options", &spec->dns_options, in_cluster ? "ndots:5" : "");
        return r;
}

/* ---- termination messages ---- */

static void shard_path(const char *uid, char path[static SHARD_SIZE])
{
        snprintf(path, SHARD_SIZE, "messages/%02x", str_fnv1a(str_from(uid)) % SHARDS);
}

void files_message_path(const struct node_pod *pod, size_t index, uint32_t attempt,
                        char path[static POD_PATH_SIZE])
{
        char shard[SHARD_SIZE];

        shard_path(pod->uid, shard);
        snprintf(path, POD_PATH_SIZE, "%s/%s.%zu.%u", shard, pod->uid, index, attempt);
}

/* An empty one, that the container's users may write. */
static int make_message(const struct node_pod *pod, size_t index, uint32_t attempt,
                        char ret_path[static POD_PATH_SIZE])
{
        int volumes = pod->node->volumes_fd;
        char shard[SHARD_SIZE];

        files_message_path(pod, index, attempt, ret_path);
        int r = write_file(volumes, ret_path, STR_EMPTY, 0666);
        if (r != -ENOENT)
                return r;
        shard_path(pod->uid, shard);
        if (mkdirat(volumes, shard, 0711) < 0 && errno != EEXIST)
                return -errno;
        return write_file(volumes, ret_path, STR_EMPTY, 0666);
}

void files_remove_message(const struct node_pod *pod, size_t index, uint32_t attempt)
{
        char path[POD_PATH_SIZE];

        files_message_path(pod, index, attempt, path);
        unlinkat(pod->node->volumes_fd, path, 0);
}

/* ---- mounts of a container ---- */

static int add_mount(struct container_spec *spec, const char *source, struct str target,
                     bool read_only, bool plain)
{
        if (target.length > 1 && str_ends_with(target, STR("/")))
                target.length--;
        if (spec->mount_count == LIMIT_MOUNTS)
                return -E2BIG;
        if (target.length >= RUNTIME_PATH || strlen(source) >= RUNTIME_PATH)
                return -ENAMETOOLONG;
        for (size_t i = 0; i < spec->mount_count; i++)
                if (str_equal(str_from(spec->mounts[i].target), target))
                        return 0;
        struct container_mount *mount = &spec->mounts[spec->mount_count++];
        snprintf(mount->source, sizeof(mount->source), "%s", source);
        snprintf(mount->target, sizeof(mount->target), "%.*s", STR_FORMAT(target));
        mount->read_only = read_only;
        mount->plain = plain;
        return 0;
}

/* Where the subPath of a volume is; it is made where the volume is the Pod's to write. */
static int sub_source(struct node_pod *pod, const struct pod_volume *volume, const char *folder,
                      struct str sub_path, char source[static RUNTIME_PATH])
{
        bool is_data = volume->kind == POD_VOLUME_EMPTY_DIR || volume->kind == POD_VOLUME_CLAIM;
        _cleanup_close_ int fd = -1, sub = -1;
        char link[LINK_SIZE] = "";

        int r = make_folder(pod->node->volumes_fd, folder, 0755, &fd);
        if (r < 0)
                return r;
        if (is_data) {
                r = make_folders(fd, sub_path, 0777, &sub);
                if (r == -ENOTDIR)
                        r = 0;
        } else {
                present_version(fd, link);
        }
        if (r < 0)
                return r;
        int length = snprintf(source, RUNTIME_PATH, "%s/%s%s%.*s", folder, link, link[0] ? "/" : "",
                              STR_FORMAT(sub_path));
        return length < RUNTIME_PATH ? 0 : -ENAMETOOLONG;
}

static int add_volume(struct node_pod *pod, const struct pod_mount *mount,
                      struct container_spec *spec)
{
        const struct pod_volume *volume = &pod_spec_of(pod)->volumes[mount->volume];
        bool is_data = volume->kind == POD_VOLUME_EMPTY_DIR || volume->kind == POD_VOLUME_CLAIM;
        char folder[POD_PATH_SIZE], source[RUNTIME_PATH];

        files_volume_path(pod, volume, folder);
        int r = 0;
        if (mount->sub_path.length > 0)
                r = sub_source(pod, volume, folder, mount->sub_path, source);
        else
                snprintf(source, sizeof(source), "%s", folder);
        if (r < 0)
                return r;
        return add_mount(spec, source, mount->path,
                         mount->read_only || volume->read_only || !is_data, false);
}

/* A mount stands behind those of the folders above it. */
static void sort_mounts(struct container_spec *spec)
{
        for (size_t i = 1; i < spec->mount_count; i++)
                for (size_t j = i;
                     j > 0 && strcmp(spec->mounts[j - 1].target, spec->mounts[j].target) > 0; j--) {
                        struct container_mount swap = spec->mounts[j];
                        spec->mounts[j] = spec->mounts[j - 1];
                        spec->mounts[j - 1] = swap;
                }
}

/* One file after the other, each with a NUL, as container_spec wants them. */
static int add_etc(const struct node_pod *pod, struct container_spec *launch, struct error *error)
{
        const struct pod_spec *spec = pod_spec_of(pod);
        struct str name = spec->hostname.length > 0 ? spec->hostname : spec->name;
        _cleanup_buffer_ struct buffer texts = {};
        int r = write_hosts(pod, &texts);

        if (r >= 0)
                r = buffer_append_char(&texts, '\0');
        if (r >= 0)
                r = buffer_printf(&texts, "%.*s\n", STR_FORMAT(name));
        if (r >= 0)
                r = buffer_append_char(&texts, '\0');
        if (r >= 0)
                r = write_resolv(pod, &texts);
        if (r >= 0)
                r = buffer_append_char(&texts, '\0');
        if (r < 0)
                return r;
        if (texts.length > sizeof(launch->etc))
                return error_set(error, -EFBIG,
                                 "/etc/hosts, with hostAliases, and /etc/resolv.conf take %zu "
                                 "bytes: %zu are possible",
                                 texts.length, sizeof(launch->etc));
        memcpy(launch->etc, texts.data, texts.length);
        launch->etc_size = (uint32_t)texts.length;
        return 0;
}

static int add_message(struct node_pod *pod, const struct pod_container *container, size_t index,
                       uint32_t attempt, struct container_spec *spec)
{
        char path[POD_PATH_SIZE];

        if (container->message_path.length < 2 || container->message_path.data[0] != '/' ||
            !pod_path_is_relative(
                    str_slice(container->message_path, 1, container->message_path.length)))
                return 0;
        int r = make_message(pod, index, attempt, path);
        return r < 0 ? r : add_mount(spec, path, container->message_path, false, true);
}

int files_mounts(struct node_pod *pod, const struct pod_container *container, size_t index,
                 uint32_t attempt, const struct image *image, struct container_spec *spec,
                 struct error *error)
{
        int r = 0;

        for (size_t i = 0; i < container->mount_count && r >= 0; i++)
                r = add_volume(pod, &container->mounts[i], spec);
        if (r >= 0)
                r = add_etc(pod, spec, error);
        if (r >= 0)
                r = add_message(pod, container, index, attempt, spec);
        for (size_t i = 0; i < image->file_count && r >= 0; i++) {
                char path[POD_PATH_SIZE];
                snprintf(path, sizeof(path), "images/%s",
                         image->files[i].source ? image->files[i].source : "cay");
                r = add_mount(spec, path, str_from(image->files[i].target), true, true);
        }
        if (r == -E2BIG)
                return error_set(error, r, "more than %d mounts in one container", LIMIT_MOUNTS);
        if (r < 0 && !error->code)
                error_set(error, r, "cannot prepare the mounts of container %.*s: %s",
                          STR_FORMAT(container->name), strerror(-r));
        if (r < 0)
                return r;
        sort_mounts(spec);
        return 0;
}

/* ---- the end ---- */

static void remove_folder(struct node *node, const char *uid)
{
        char path[POD_PATH_SIZE];

        snprintf(path, sizeof(path), "pods/%s", uid);
        int r = remove_tree(node->volumes_fd, path);
        if (r < 0 && r != -ENOENT)
                log_warning("cannot remove the volumes of Pod %s: %s", uid, strerror(-r));
}

static void purged(struct node *node, const struct node_call *call, int result, const char *reason)
{
        (void)result, (void)reason;
        remove_folder(node, call->uid);
}

static DIR *open_folder(struct node *node, const char *path)
{
        int fd = openat(node->volumes_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *entries = fd < 0 ? NULL : fdopendir(fd);

        if (!entries)
                fd_close(fd);
        return entries;
}

static void remove_messages(struct node *node, const char *uid)
{
        char shard[SHARD_SIZE];
        size_t length = strlen(uid);
        struct dirent *entry;

        shard_path(uid, shard);
        DIR *entries = open_folder(node, shard);
        if (!entries)
                return;
        while ((entry = readdir(entries)))
                if (strncmp(entry->d_name, uid, length) == 0 && entry->d_name[length] == '.')
                        unlinkat(dirfd(entries), entry->d_name, 0);
        closedir(entries);
}

void files_purge(struct node *node, const char *uid)
{
        struct node_call expected = { .answered = purged };
        char path[POD_PATH_SIZE];
        uint64_t call;

        remove_messages(node, uid);
        /* What others wrote takes a process to purge. */
        snprintf(path, sizeof(path), "pods/%s", uid);
        if (unlinkat(node->volumes_fd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return;
        snprintf(expected.uid, sizeof(expected.uid), "%s", uid);
        int r = runtime_purge(node->runtime, path, &call);
        if (r >= 0)
                r = node_expect(node, call, &expected);
        if (r < 0)
                remove_folder(node, uid);
}

/* Of the Pods whose uid entries of the folder begin with, up to a dot. */
static void purge_unclaimed_in(struct node *node, const char *folder)
{
        DIR *entries = open_folder(node, folder);
        struct dirent *entry;

        while (entries && (entry = readdir(entries))) {
                size_t length = strcspn(entry->d_name, ".");
                struct node_pod *pod;
                struct node_found *found;
                char uid[RUNTIME_ID];

                if (length == 0 || length >= sizeof(uid))
                        continue;
                snprintf(uid, sizeof(uid), "%.*s", (int)length, entry->d_name);
                HASH_FIND_STR(node->pods, uid, pod);
                HASH_FIND_STR(node->found, uid, found);
                if (!pod && !found)
                        files_purge(node, uid);
        }
        if (entries)
                closedir(entries);
}

void files_purge_unclaimed(struct node *node)
{
        char shard[SHARD_SIZE];

        purge_unclaimed_in(node, "pods");
        for (unsigned i = 0; i < SHARDS; i++) {
                snprintf(shard, sizeof(shard), "messages/%02x", i);
                purge_unclaimed_in(node, shard);
        }
}
