// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "plan/controllers.h"

/*
 * A simulated world with a virtual clock: an API server, controller processes that see it through
 * faulty watches and a faulty network, a kubelet, users. Everything follows from the seed.
 */

struct api;
struct process;
struct checker;

struct world_options {
        uint64_t seed;
        unsigned events;  /* accepted writes and faults before the world is left to settle */
        unsigned faults;  /* chance of a fault in each request, in thousandths */
        unsigned crashes; /* chance of the end of the process with each request, in ten-thousandths
                           */
        bool verbose;
        bool loses_events; /* the cache may lack memory for an event: what it lacks is listed */
        unsigned *settles; /* set to 0 when the world is left to settle; may be NULL */
        bool elects;       /* two processes and a Lease; else the next one leads at once */
        bool two_servers;  /* that lag by different times; a watch has one of them */
        unsigned life;     /* a process ends with one of its first so many requests; 0: by chance */
        unsigned awake;    /* objects that the caches keep unpacked; 0: all */
        uint64_t *history; /* gets a hash of all that was ever stored; may be NULL */
        unsigned ends_at;  /* with which request of the world its process ends; 0: none */
};

enum { ALIVE_MAX = 4 };

/* One of the two API servers as watches see it. What is written is there at once for all. */
struct server {
        uint64_t lag_ns;
};

struct world {
        struct world_options options;
        struct arena arena; /* of what events refer to */
        uint64_t random;
        uint64_t now_ns; /* since the world began */
        struct event *heap;
        size_t heap_count, heap_capacity;
        uint64_t sequence;
        struct api *api;
        struct process *process; /* the leader; with an election the last one, maybe dead */
        struct process *deposed; /* one that does not know yet; NULL: none */
        struct process *alive[ALIVE_MAX];
        size_t alive_count;
        unsigned processes;       /* begun so far */
        unsigned leaders;         /* of these, have led */
        uint64_t writes;          /* that processes have begun */
        uint64_t outage_until_ns; /* nobody reaches the API before */
        struct server servers[2];
        struct checker *checker;
        unsigned happened;      /* accepted writes and faults so far */
        struct process *writer; /* whose request is being carried out; NULL: a user's */
        unsigned late;          /* requests that arrived after they were given up */
        bool settling;          /* no more faults, no more users */
        char failure[512];      /* the first broken invariant; empty: none */
};

/* Time zero of the world, realtime. */
enum { WORLD_EPOCH_SECONDS = 1800000000 };

/* A world of its own, with users, faults and a check at the end. Returns 0, or -EINVAL with the
 * first broken invariant. */
int world_run(const struct world_options *options, char failure[static 512]);

/* A world without users, for scenarios. */
void world_open(struct world *world, const struct world_options *options);
void world_close(struct world *world);
/* Lets time pass. */
void world_pass(struct world *world, uint64_t ns);

uint64_t world_random(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned thousandths);
struct instant world_now(const struct world *world);

/* Calls `run(world, argument)` after a delay. */
void world_after(struct world *world, uint64_t delay_ns, void (*run)(struct world *, void *),
                 void *argument);

/* The resourceVersion up to which a watch of this server is told, if it lags at least so long. */
uint64_t world_server_version(struct world *world, unsigned server, uint64_t lag_ns);

/* Notes the first broken invariant. */
void world_fail(struct world *world, const char *format, ...) _printf_(2, 3);
void world_log(const struct world *world, const char *format, ...) _printf_(2, 3);

/* ---- the API server (api.c) ---- */

/* One committed change. */
struct change {
        enum cache_event event;
        struct json_doc *doc;
        uint64_t version;
        size_t next; /* where the object changes again, in the kind's history; SIZE_MAX: nowhere */
};

struct outcome {
        int status;
        const char *reason;
        struct json_doc *object; /* owned by the caller; NULL: none */
        bool unchanged;
};

struct api *api_new(struct world *world);
void api_free(struct api *api);

struct outcome api_create(struct api *api, const struct kind *kind, struct str body);
struct outcome api_patch(struct api *api, const struct kind *kind, struct str namespace,
                         struct str name, struct str body, bool status);
/* PUT: the whole object, if it still has the resourceVersion that is given. */
struct outcome api_update(struct api *api, const struct kind *kind, struct str namespace,
                          struct str name, struct str body);
struct outcome api_delete(struct api *api, const struct kind *kind, struct str namespace,
                          struct str name, struct str options);
struct outcome api_bind(struct api *api, struct str namespace, struct str name, struct str body);
struct outcome api_act(struct api *api, const struct action *action);

/* The object as it is; borrowed; NULL: none. */
struct json_doc *api_get(struct api *api, const struct kind *kind, struct str namespace,
                         struct str name);
/* Calls for every object of a kind. The callback may change the API. */
void api_each(struct api *api, const struct kind *kind, void (*each)(void *, struct json_doc *),
              void *context);

/* The history of a kind, for watches. */
size_t api_history(const struct api *api, const struct kind *kind);
const struct change *api_change(const struct api *api, const struct kind *kind, size_t position);
/* The newest version at a time. */
uint64_t api_version_at_time(const struct api *api, uint64_t at_ns);
uint64_t api_version_at(const struct api *api, const struct kind *kind, size_t position);

/* ---- a controller process (process.c) ---- */

struct process *process_new(struct world *world);
/* Ends it as kill -9 does: what it has sent may still arrive. */
void process_kill(struct process *process);
struct controllers *process_set(struct process *process);
unsigned process_number(const struct process *process);
uint64_t process_began(const struct process *process);
/* Whether it knows what became of all its requests. */
bool process_is_certain(const struct process *process);
void process_stop(struct process *process);
/* Its watches were changed behind its back: something has been committed. */
void process_notice(struct process *process, const struct kind *kind);

/* ---- trouble (trouble.c) ---- */

/* Something happens to this process, the other one or the API within the next milliseconds. */
void trouble_strike(struct process *process);
/* It sleeps for about as long as a Lease, from one of the next milliseconds on. */
void trouble_pause(struct process *process);
/* The process ends with its present request: before it is sent, on its way, or with the answer. */
void trouble_end(struct process *process, bool *ret_before_answer);

/* ---- others ---- */

void users_begin(struct world *world);
/* The namespace "n" and a node. */
void users_prepare(struct world *world);
void kubelet_notice(struct world *world, struct json_doc *pod);

struct checker *checker_new(struct world *world);
void checker_free(struct checker *checker);
/* Called with every commit, in order. `before` or `after` may be NULL. */
void checker_commit(struct checker *checker, const struct kind *kind, struct json_doc *before,
                    struct json_doc *after);
/* Called before a controller's request is carried out. */
void checker_request(struct checker *checker, const struct action *action);
/* When the world has settled. */
void checker_end(struct checker *checker);
