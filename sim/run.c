// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

/*
 * sim/run [--seed N] [--seeds COUNT] [--events N] [--faults PER_MILLE] [--crashes PER_10000]
 *         [--verbose]
 * Exit status 1 and the seed, when an invariant breaks.
 */

static int usage(void)
{
        fputs("usage: run [--seed N] [--seeds COUNT] [--events N] [--faults N] [--crashes N] "
              "[--verbose]\n",
              stderr);
        return 2;
}

/* Each seed has its own weather: some worlds are calm, some lose every tenth request. */
static void choose_weather(struct world_options *options, bool faults_given, bool crashes_given)
{
        static const unsigned faults[] = { 0, 10, 50, 100 };
        static const unsigned crashes[] = { 0, 0, 20, 100 };

        if (!faults_given)
                options->faults = faults[options->seed % 4];
        if (!crashes_given)
                options->crashes = crashes[options->seed / 4 % 4];
        options->elects = options->seed / 16 % 2;
        if (options->elects && !crashes_given)
                options->crashes *= 3;
        options->two_servers = options->seed / 32 % 2;
        options->life = options->seed / 64 % 4 == 3 ? 4 : 0;
        options->awake = options->seed / 8 % 2; /* packed, as on a cluster */
}

int main(int argc, char **argv)
{
        static const struct option flags[] = {
                { "seed", required_argument, NULL, 's' },
                { "seeds", required_argument, NULL, 'n' },
                { "events", required_argument, NULL, 'e' },
                { "faults", required_argument, NULL, 'f' },
                { "crashes", required_argument, NULL, 'c' },
                { "verbose", no_argument, NULL, 'v' },
                { 0 },
        };
        struct world_options options = { .seed = 1, .events = 500 };
        bool faults_given = false, crashes_given = false;
        unsigned long seeds = 1;
        char failure[512];
        int flag;

        while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
                unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;

                switch (flag) {
                case 's':
                        options.seed = value;
                        break;
                case 'n':
                        seeds = value;
                        break;
                case 'e':
                        options.events = (unsigned)value;
                        break;
                case 'f':
                        options.faults = (unsigned)value;
                        faults_given = true;
                        break;
                case 'c':
                        options.crashes = (unsigned)value;
                        crashes_given = true;
                        break;
                case 'v':
                        options.verbose = true;
                        break;
                default:
                        return usage();
                }
        }
        for (unsigned long i = 0; i < seeds; i++, options.seed++) {
                choose_weather(&options, faults_given, crashes_given);
                if (world_run(&options, failure) < 0) {
                        printf("seed %llu: %s\n", (unsigned long long)options.seed, failure);
                        return 1;
                }
        }
        printf("%lu seeds of %u events: all invariants hold\n", seeds, options.events);
        return 0;
}
