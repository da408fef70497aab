// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

struct event {
        uint64_t at_ns, sequence;
        void (*run)(struct world *, void *);
        void *argument;
};

uint64_t world_random(struct world *world, uint64_t below)
{
        uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        x ^= x >> 31;
        return below ? x % below : x;
}

bool world_chance(struct world *world, unsigned thousandths)
{
        return world_random(world, 1000) < thousandths;
}

struct instant world_now(const struct world *world)
{
        return (struct instant){
                .monotonic_ns = world->now_ns + NS_PER_SECOND,
                .realtime_ns = world->now_ns + WORLD_EPOCH_SECONDS * NS_PER_SECOND,
        };
}

void world_fail(struct world *world, const char *format, ...)
{
        va_list arguments;

        if (world->failure[0])
                return;
        va_start(arguments, format);
        vsnprintf(world->failure, sizeof(world->failure), format, arguments);
        va_end(arguments);
        world_log(world, "BROKEN: %s", world->failure);
}

void world_log(const struct world *world, const char *format, ...)
{
        va_list arguments;

        if (!world->options.verbose)
                return;
        printf("%10.6f ", (double)world->now_ns / 1e9);
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
        putchar('\n');
}

static bool is_before(const struct event *a, const struct event *b)
{
        return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

void world_after(struct world *world, uint64_t delay_ns, void (*run)(struct world *, void *),
                 void *argument)
{
        struct event event = {
                .at_ns = world->now_ns + delay_ns,
                .sequence = world->sequence++,
                .run = run,
                .argument = argument,
        };
        size_t slot;

        if (world->heap_count == world->heap_capacity) {
                world->heap_capacity = world->heap_capacity ? 2 * world->heap_capacity : 256;
                world->heap = reallocarray(world->heap, world->heap_capacity, sizeof(event));
                if (!world->heap)
                        abort();
        }
        for (slot = world->heap_count++; slot > 0; slot = (slot - 1) / 2) {
                if (!is_before(&event, &world->heap[(slot - 1) / 2]))
                        break;
                world->heap[slot] = world->heap[(slot - 1) / 2];
        }
        world->heap[slot] = event;
}

static void pop(struct world *world, struct event *ret)
{
        struct event last;
        size_t slot = 0;

        *ret = world->heap[0];
        last = world->heap[--world->heap_count];
        for (;;) {
                size_t child = 2 * slot + 1;

                if (child >= world->heap_count)
                        break;
                if (child + 1 < world->heap_count &&
                    is_before(&world->heap[child + 1], &world->heap[child]))
                        child++;
                if (!is_before(&world->heap[child], &last))
                        break;
                world->heap[slot] = world->heap[child];
                slot = child;
        }
        if (world->heap_count)
                world->heap[slot] = last;
}

/* Runs events until `done` or until nothing happens any more, at most so long. */
static void run_until(struct world *world, uint64_t limit_ns, bool (*done)(struct world *))
{
        uint64_t end_ns = world->now_ns + limit_ns;
        struct event event;

        while (!world->failure[0] && !(done && done(world)) && world->heap_count &&
               world->heap[0].at_ns <= end_ns) {
                pop(world, &event);
                world->now_ns = event.at_ns;
                event.run(world, event.argument);
        }
}

static bool has_happened_enough(struct world *world)
{
        return world->happened >= world->options.events;
}

/* ---- two servers ---- */

uint64_t world_server_version(struct world *world, unsigned server, uint64_t lag_ns)
{
        lag_ns = MAX(lag_ns, world->servers[server].lag_ns);
        if (world->settling || !world->options.two_servers)
                lag_ns = 0;
        return api_version_at_time(world->api, world->now_ns - MIN(lag_ns, world->now_ns));
}

/* Mostly hardly behind, now and then for seconds. */
static void change_lag(struct world *world, void *argument)
{
        struct server *server = argument;
        static const uint64_t most[] = { 20, 20, 20, 100, 500, 4000 };

        server->lag_ns =
                world_random(world, most[world_random(world, ARRAY_SIZE(most))] * NS_PER_MS);
        if (!world->settling)
                world_after(world, world_random(world, 4 * NS_PER_SECOND), change_lag, server);
}

/* ---- from the beginning to the end ---- */

static void settle(struct world *world)
{
        uint64_t before;

        world->settling = true;
        if (world->options.settles)
                *world->options.settles = 0;
        world_log(world, "---- settling ----");
        run_until(world, 300 * NS_PER_SECOND, NULL);
        if (world->failure[0])
                return;
        /* Then nothing may happen any more. */
        before = world->writes;
        run_until(world, 120 * NS_PER_SECOND, NULL);
        if (world->writes != before)
                world_fail(world, "%llu writes in a settled world",
                           (unsigned long long)(world->writes - before));
        else
                checker_end(world->checker);
}

void world_open(struct world *world, const struct world_options *options)
{
        *world = (struct world){ .options = *options, .random = options->seed };
        world_random(world, 0);
        world->api = api_new(world);
        world->checker = checker_new(world);
        for (size_t i = 0; options->two_servers && i < ARRAY_SIZE(world->servers); i++)
                change_lag(world, &world->servers[i]);
        log_configure("sim", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
        world->process = process_new(world);
        if (options->elects)
                process_new(world);
}

void world_close(struct world *world)
{
        while (world->alive_count)
                process_kill(world->alive[0]);
        checker_free(world->checker);
        api_free(world->api);
        free(world->heap);
        arena_deinit(&world->arena);
}

void world_pass(struct world *world, uint64_t ns)
{
        uint64_t end_ns = world->now_ns + ns;

        run_until(world, ns, NULL);
        world->now_ns = MAX(world->now_ns, end_ns);
}

int world_run(const struct world_options *options, char failure[static 512])
{
        struct world world;

        world_open(&world, options);
        users_begin(&world);
        run_until(&world, UINT64_C(3600) * NS_PER_SECOND, has_happened_enough);
        if (!world.failure[0])
                settle(&world);
        snprintf(failure, 512, "%s", world.failure);
        world_close(&world);
        return failure[0] ? -EINVAL : 0;
}
