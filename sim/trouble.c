// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "process.h"

/* What ends, pauses and deposes processes, and takes the API away. */

/* ---- without an election: the next one leads at once ---- */

static void crash(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || (!process->leader && process != world->process))
                return;
        world->happened++;
        process_crash(process);
}

static void end_deposed(struct world *world, void *argument)
{
        struct process *process = argument;

        if (world->deposed != process || process->dead)
                return;
        process_crash(process);
        world->deposed = NULL;
}

static void stop_deposed(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead)
                return;
        world_log(world, "process %u learns that it is deposed", process->number);
        process_stop(process);
        world_after(world, 3 * NS_PER_SECOND, end_deposed, process);
}

/* The lease went to another, and this one goes on for a while: worse than any Lease allows. */
static void depose(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || process != world->process || world->deposed || world->settling)
                return;
        world_log(world, "process %u is deposed", process->number);
        world->happened++;
        /* It hears nothing, or it watches: two that both believe to lead. */
        process->deaf = world_chance(world, 250);
        world->deposed = process;
        world->process = process_new(world);
        world_after(world, world_random(world, 6 * NS_PER_SECOND), stop_deposed, process);
}

/* ---- with one ---- */

static void pause_it(struct world *world, void *argument)
{
        struct process *process = argument;
        /* Mostly about as long as a Lease: then it matters who notices what first. */
        uint64_t ns = world_chance(world, 600)
                              ? 2 * NS_PER_SECOND + world_random(world, 2 * NS_PER_SECOND)
                              : world_random(world, 6 * NS_PER_SECOND);

        if (process->dead)
                return;
        world_log(world, "process %u sleeps for %.3f s", process->number, (double)ns / 1e9);
        world->happened++;
        process_pause(process, ns);
}

static void terminate(struct world *world, void *argument)
{
        struct process *process = argument;

        if (process->dead || process->ending)
                return;
        world_log(world, "process %u gets a SIGTERM", process->number);
        world->happened++;
        process_stop(process);
}

static void take_api_away(struct world *world, void *argument)
{
        (void)argument;
        if (world->settling)
                return;
        world->outage_until_ns = world->now_ns + world_random(world, 5 * NS_PER_SECOND);
        world_log(world, "no API until %.3f", (double)world->outage_until_ns / 1e9);
        world->happened++;
        for (size_t i = 0; i < world->alive_count; i++)
                feeds_cut(world->alive[i]);
}

static struct process *other_than(const struct process *process)
{
        struct world *world = process->world;

        for (size_t i = 0; i < world->alive_count; i++) {
                if (world->alive[i] != process)
                        return world->alive[i];
        }
        return NULL;
}

void trouble_strike(struct process *process)
{
        struct world *world = process->world;
        uint64_t delay = world_random(world, 12 * NS_PER_MS);
        unsigned what = (unsigned)world_random(world, 100);
        struct process *other = process->leader ? other_than(process) : NULL;

        if (!process->leader)
                world_after(world, delay, what < 40 ? crash : depose, process);
        else if (what < 25)
                world_after(world, delay, crash, process);
        else if (what < 65)
                world_after(world, delay, pause_it, process);
        else if (what < 75)
                world_after(world, delay, terminate, process);
        else if (what < 85)
                world_after(world, delay, take_api_away, NULL);
        else if (other)
                world_after(world, delay, what < 93 ? crash : pause_it, other);
}

void trouble_pause(struct process *process)
{
        world_after(process->world, world_random(process->world, 12 * NS_PER_MS), pause_it,
                    process);
}

void trouble_end(struct process *process, bool *ret_before_answer)
{
        struct world *world = process->world;

        switch (world_random(world, 3)) {
        case 0: /* before it is sent: nothing else happens at this moment */
                world_after(world, 0, crash, process);
                break;
        case 1: /* somewhere on the way */
                world_after(world, world_random(world, 12 * NS_PER_MS), crash, process);
                break;
        default:
                *ret_before_answer = true;
                break;
        }
}
