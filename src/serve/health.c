// SPDX-License-Identifier: Apache-2.0
#include "serve/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct health_check {
        const char *name;
        unsigned kinds;
        bool (*check)(void *user, char why[static HEALTH_WHY_SIZE]);
        void *user;
        struct health_check *next;
};

void health_deinit(struct health *health)
{
        for (struct health_check *check = health->checks, *next; check; check = next) {
                next = check->next;
                free(check);
        }
        health->checks = NULL;
}

int health_add(struct health *health, const char *name, unsigned kinds,
               bool (*check)(void *user, char why[static HEALTH_WHY_SIZE]), void *user)
{
        struct health_check *made = calloc(1, sizeof(*made)), **end = &health->checks;

        if (!made)
                return -ENOMEM;
        *made = (struct health_check){ name, kinds, check, user, NULL };
        while (*end)
                end = &(*end)->next;
        *end = made;
        return 0;
}

/* Whether a query has exclude=`name` (names need no decoding) or the key `name` alone. */
static bool query_has(struct str query, struct str key, struct str value)
{
        while (query.length > 0) {
                struct str one, head, tail;
                str_cut(query, '&', &one, &query);
                str_cut(one, '=', &head, &tail);
                if (str_equal(head, key) && (value.length == 0 || str_equal(tail, value)))
                        return true;
        }
        return false;
}

static int answer_one(const struct health *health, unsigned kind, struct str name,
                      struct buffer *out)
{
        for (struct health_check *check = health->checks; check; check = check->next) {
                char why[HEALTH_WHY_SIZE] = "";
                if (!(check->kinds & kind) || !str_equal(name, str_from(check->name)))
                        continue;
                if (check->check(check->user, why)) {
                        int r = buffer_append_str(out, STR("ok"));
                        return r < 0 ? r : 200;
                }
                int r = buffer_printf(out, "internal server error: %s\n", why);
                return r < 0 ? r : 500;
        }
        int r = buffer_append_str(out, STR("404 page not found\n"));
        return r < 0 ? r : 404;
}

static int answer_all(const struct health *health, unsigned kind, struct str path, struct str query,
                      struct buffer *out)
{
        _cleanup_buffer_ struct buffer list = {};
        bool good = true;
        int r = 0;

        for (struct health_check *check = health->checks; check && r == 0; check = check->next) {
                char why[HEALTH_WHY_SIZE] = "";
                if (!(check->kinds & kind))
                        continue;
                if (query_has(query, STR("exclude"), str_from(check->name))) {
                        r = buffer_printf(&list, "[+]%s excluded: ok\n", check->name);
                } else if (check->check(check->user, why)) {
                        r = buffer_printf(&list, "[+]%s ok\n", check->name);
                } else {
                        good = false;
                        r = buffer_printf(&list, "[-]%s failed: %s\n", check->name,
                                          why[0] ? why : "reason withheld");
                }
        }
        if (r == 0 && good && !query_has(query, STR("verbose"), STR_EMPTY)) {
                r = buffer_append_str(out, STR("ok"));
                return r < 0 ? r : 200;
        }
        if (r == 0)
                r = buffer_append_str(out, buffer_str(&list));
        if (r == 0)
                r = buffer_printf(out, "%.*s check %s\n", STR_FORMAT(path),
                                  good ? "passed" : "failed");
        return r < 0 ? r : good ? 200 : 500;
}

int health_answer(const struct health *health, struct str path, struct str query,
                  struct buffer *out)
{
        static const struct {
                struct str path;
                unsigned kind;
        } endpoints[] = {
                { STR("healthz"), HEALTH_LIVE },
                { STR("livez"), HEALTH_LIVE },
                { STR("readyz"), HEALTH_READY },
        };
        struct str rest, head, name;

        if (!str_starts_with(path, STR("/")))
                return answer_one(health, 0, STR_EMPTY, out);
        rest = str_slice(path, 1, path.length);
        str_cut(rest, '/', &head, &name);
        for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
                if (!str_equal(head, endpoints[i].path))
                        continue;
                if (name.length > 0)
                        return answer_one(health, endpoints[i].kind, name, out);
                return answer_all(health, endpoints[i].kind, head, query, out);
        }
        return answer_one(health, 0, STR_EMPTY, out);
}
