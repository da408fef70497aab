// SPDX-License-Identifier: Apache-2.0
#include "node/images.h"

#include <errno.h>

enum { REFERENCE_MAX = 512, DIGEST_MAX = 128, TAG_MAX = 128, ALIASES_MAX = 4096 };

#define PROGRAMS "/opt/cay"
#define CAY_PATH PROGRAMS "/cay"
#define PATH_ENV "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const char *const image_base_env[] = { PATH_ENV, NULL };

/*
 * The names under which the guides build and load them. All servers of the sandbox run in one
 * process, which begins with the first connection: 8888 with /app as its folder, 8080 and 9090 with
 * the same.
 */
static const struct image builtins[] = {
        {
                .name = "docker.io/library/python-runtime-sandbox:latest",
                .argv = (const char *const[]){ PROGRAMS "/socket-activate", "8888,8080,9090",
                                               PROGRAMS "/sandboxd", "--root-dir", "/app", NULL },
                .env = (const char *const[]){ PATH_ENV, "LANG=C.UTF-8", "HOME=/root",
                                              "SANDBOX_BASE_DIR=/app", "PYTHONUNBUFFERED=1", NULL },
                .working_dir = "/app",
                .files = (const struct image_file[]){ { "runtime", PROGRAMS } },
                .file_count = 1,
        },
        {
                .name = "docker.io/library/sandbox-router:local",
                .argv = (const char *const[]){ CAY_PATH, "router", NULL },
                .env = (const char *const[]){ PATH_ENV, "LANG=C.UTF-8", NULL },
                .working_dir = "/",
                .user = 1000,
                .group = 1000,
                .files = (const struct image_file[]){ { NULL, CAY_PATH } },
                .file_count = 1,
        },
        {
                .name = "docker.io/library/busybox:latest",
                .argv = (const char *const[]){ "sh", NULL },
                .env = (const char *const[]){ PATH_ENV, "HOME=/root", NULL },
                .working_dir = "/",
        },
};

struct image_alias {
        struct str name; /* canonical */
        const struct image *image;
};

/* ---- references (distribution's reference grammar) ---- */

static bool is_lower_or_digit(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
        return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Lower-case words joined by ".", "_", "__" or dashes. */
static bool is_component(struct str part)
{
        if (part.length == 0 || !is_lower_or_digit(part.data[0]) ||
            !is_lower_or_digit(part.data[part.length - 1]))
                return false;
        for (size_t i = 0; i < part.length; i++) {
                char c = part.data[i], before = i > 0 ? part.data[i - 1] : 'a';
                if (is_lower_or_digit(c))
                        continue;
                if (c != '.' && c != '_' && c != '-')
                        return false;
                if (c == '.' && !is_lower_or_digit(before))
                        return false;
                if (c == '_' && (before == '.' || before == '-' ||
                                 (before == '_' && i >= 2 && part.data[i - 2] == '_')))
                        return false;
                if (c == '-' && (before == '.' || before == '_'))
                        return false;
        }
        return true;
}

static bool is_host(struct str host)
{
        struct str name, port;
        uint64_t number;

        if (str_cut(host, ':', &name, &port) && str_to_u64(port, UINT16_MAX, &number) < 0)
                return false;
        for (size_t i = 0; i < name.length; i++)
                if ((!is_word(name.data[i]) || name.data[i] == '_') && name.data[i] != '.' &&
                    name.data[i] != '-')
                        return false;
        return name.length > 0 && name.data[0] != '.' && name.data[0] != '-';
}

static bool is_tag(struct str tag)
{
        if (tag.length == 0 || tag.length > TAG_MAX || !is_word(tag.data[0]))
                return false;
        for (size_t i = 0; i < tag.length; i++)
                if (!is_word(tag.data[i]) && tag.data[i] != '.' && tag.data[i] != '-')
                        return false;
        return true;
}

static bool is_digest(struct str digest)
{
        struct str algorithm, hex;

        if (!str_cut(digest, ':', &algorithm, &hex) || algorithm.length == 0 || hex.length < 32 ||
            digest.length > DIGEST_MAX + 16)
                return false;
        for (size_t i = 0; i < hex.length; i++)
                if (!(hex.data[i] >= '0' && hex.data[i] <= '9') &&
                    !(hex.data[i] >= 'a' && hex.data[i] <= 'f'))
                        return false;
        return true;
}

static bool is_repository(struct str path)
{
        for (bool more = true; more;) {
                struct str part;
                more = str_cut(path, '/', &part, &path);
                if (!is_component(part))
                        return false;
        }
        return true;
}

/* Cuts "host/" from the front when the first part can only be one. */
static struct str take_host(struct str *name)
{
        struct str first, rest;

        if (!str_cut(*name, '/', &first, &rest) ||
            (!memchr(first.data, '.', first.length) && !memchr(first.data, ':', first.length) &&
             !str_equal(first, STR("localhost"))))
                return STR_EMPTY;
        *name = rest;
        return first;
}

int image_reference_normalise(struct str reference, struct arena *arena, struct str *ret_canonical)
{
        struct str name, digest, tag = STR_EMPTY;

        if (reference.length == 0 || reference.length > REFERENCE_MAX)
                return -EINVAL;
        bool has_digest = str_cut(reference, '@', &name, &digest);
        if (has_digest && !is_digest(digest))
                return -EINVAL;
        const char *colon = memrchr(name.data, ':', name.length);
        if (colon && !memchr(colon, '/', name.length - (size_t)(colon - name.data))) {
                tag = str_slice(name, (size_t)(colon - name.data) + 1, name.length);
                name = str_slice(name, 0, (size_t)(colon - name.data));
                if (!is_tag(tag))
                        return -EINVAL;
        }
        struct str host = take_host(&name);
        if ((host.length > 0 && !is_host(host)) || !is_repository(name))
                return -EINVAL;
        if (host.length == 0 || str_equal(host, STR("index.docker.io")))
                host = STR("docker.io");
        bool is_library = str_equal(host, STR("docker.io")) && !memchr(name.data, '/', name.length);
        if (tag.length == 0 && !has_digest)
                tag = STR("latest");
        struct str canonical = arena_printf(
                arena, "%.*s/%s%.*s%s%.*s%s%.*s", STR_FORMAT(host), is_library ? "library/" : "",
                STR_FORMAT(name), tag.length > 0 ? ":" : "", STR_FORMAT(tag), has_digest ? "@" : "",
                has_digest ? (int)digest.length : 0, has_digest ? digest.data : "");
        if (!canonical.data)
                return -ENOMEM;
        *ret_canonical = canonical;
        return 0;
}

/* ---- finding ---- */

void images_deinit(struct images *images)
{
        arena_deinit(&images->arena);
        *images = (struct images){};
}

static const struct image *find_builtin(struct str canonical)
{
        for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
                if (str_equal(str_from(builtins[i].name), canonical))
                        return &builtins[i];
        return NULL;
}

int images_find(const struct images *images, struct str reference, const struct image **ret_image)
{
        _cleanup_arena_ struct arena arena = {};
        struct str canonical;

        int r = image_reference_normalise(reference, &arena, &canonical);
        if (r < 0)
                return r;
        for (size_t i = 0; i < images->alias_count; i++) {
                if (str_equal(images->aliases[i].name, canonical)) {
                        *ret_image = images->aliases[i].image;
                        return 0;
                }
        }
        const struct image *image = find_builtin(canonical);
        if (!image)
                return -ENOENT;
        *ret_image = image;
        return 0;
}

/* ---- the map ---- */

static struct str take_word(struct str *line)
{
        struct str trimmed = str_trim(*line);
        size_t end = 0;

        while (end < trimmed.length && trimmed.data[end] != ' ' && trimmed.data[end] != '\t')
                end++;
        *line = str_slice(trimmed, end, trimmed.length);
        return str_slice(trimmed, 0, end);
}

/* Returns 1 with an alias, 0 for an empty line. */
static int read_line(struct str line, unsigned number, struct arena *arena, struct error *error,
                     struct image_alias *alias)
{
        struct str rest, canonical;

        if (str_ends_with(line, STR("\r")))
                line.length--;
        str_cut(line, '#', &line, &rest);
        struct str name = take_word(&line);
        if (name.length == 0)
                return 0;
        struct str target = take_word(&line);
        if (target.length == 0 || str_trim(line).length > 0)
                return error_set(error, -EINVAL,
                                 "line %u of the image map is not \"NAME BUILT-IN\"", number);
        int r = image_reference_normalise(target, arena, &canonical);
        if (r == -ENOMEM)
                return r;
        alias->image = r < 0 ? NULL : find_builtin(canonical);
        if (!alias->image)
                return error_set(error, -EINVAL,
                                 "line %u of the image map: \"%.*s\" is no built-in image", number,
                                 (int)MIN(target.length, 100), target.data);
        r = image_reference_normalise(name, arena, &alias->name);
        if (r == -EINVAL)
                return error_set(error, r,
                                 "line %u of the image map: \"%.*s\" is no image reference", number,
                                 (int)MIN(name.length, 100), name.data);
        return r < 0 ? r : 1;
}

static size_t count_lines(struct str text)
{
        size_t lines = 1;

        for (size_t i = 0; i < text.length; i++)
                lines += text.data[i] == '\n';
        return lines;
}

int images_read_map(struct images *images, struct str text, struct error *error)
{
        struct images read = {};
        size_t lines = count_lines(text);
        int r = 0;

        if (lines > ALIASES_MAX)
                return error_set(error, -EINVAL, "the image map has more than %d lines",
                                 ALIASES_MAX);
        read.aliases = arena_new(&read.arena, struct image_alias, lines);
        if (!read.aliases)
                return -ENOMEM;
        for (unsigned number = 1; number <= lines && r >= 0; number++) {
                struct str line;
                str_cut(text, '\n', &line, &text);
                r = read_line(line, number, &read.arena, error, &read.aliases[read.alias_count]);
                read.alias_count += r > 0;
        }
        if (r < 0) {
                images_deinit(&read);
                return r;
        }
        images_deinit(images);
        *images = read;
        return 0;
}
