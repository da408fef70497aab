// SPDX-License-Identifier: Apache-2.0
#include "cli/standard_io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

enum { INPUT_PIECE = 32 * 1024 };

/* Signals are the loop's to take: a thread would only be interrupted by them. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *user)
{
        sigset_t all, before;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(thread, NULL, run, user);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static void nothing(struct net_timer *timer)
{
        (void)timer;
}

/* One turn of a loop that may have nothing else to live for than what a thread has posted. */
static void run_turn(struct net_loop *loop)
{
        struct net_timer alive = {};

        net_timer_start(loop, &alive, 1000, nothing);
        uv_run(net_loop_uv(loop), UV_RUN_ONCE);
        net_timer_stop(&alive);
}

/* ---- input ---- */

struct standard_input {
        struct net_loop *loop;
        const struct standard_input_events *on;
        void *user;
        bool paused, ended; /* the loop's alone */
        int fd, wake[2];    /* closing its end for writing ends the thread */
        pthread_t thread;

        pthread_mutex_t mutex; /* over what follows */
        pthread_cond_t changed;
        bool wanted; /* the thread may read the next piece */
        bool stopping;
        bool posted; /* `task` is on its way */
        struct net_task task;
        ssize_t length; /* of `piece`; 0: the end; a negative errno */
        char piece[INPUT_PIECE];
};

static ssize_t read_piece(struct standard_input *input)
{
        for (;;) {
                struct pollfd wait[] = { { .fd = input->fd, .events = POLLIN },
                                         { .fd = input->wake[0] } };
                if (poll(wait, ARRAY_SIZE(wait), -1) < 0 && errno != EINTR)
                        return -errno;
                if (wait[1].revents)
                        return 0;
                if (!wait[0].revents)
                        continue;
                ssize_t length = read(input->fd, input->piece, sizeof(input->piece));
                if (length >= 0 || (errno != EINTR && errno != EAGAIN))
                        return length < 0 ? -errno : length;
        }
}

static void *run_input(void *user)
{
        struct standard_input *input = user;

        pthread_mutex_lock(&input->mutex);
        while (!input->stopping) {
                if (!input->wanted) {
                        pthread_cond_wait(&input->changed, &input->mutex);
                        continue;
                }
                pthread_mutex_unlock(&input->mutex);
                ssize_t length = read_piece(input);
                pthread_mutex_lock(&input->mutex);
                input->length = length;
                input->wanted = false;
                if (!input->stopping) {
                        input->posted = true;
                        net_loop_post(input->loop, &input->task);
                }
        }
        pthread_mutex_unlock(&input->mutex);
        return NULL;
}

static void want_more(struct standard_input *input)
{
        pthread_mutex_lock(&input->mutex);
        input->wanted = true;
        pthread_cond_signal(&input->changed);
        pthread_mutex_unlock(&input->mutex);
}

static void take_piece(struct net_task *task)
{
        struct standard_input *input = container_of(task, struct standard_input, task);

        pthread_mutex_lock(&input->mutex);
        input->posted = false;
        bool stopping = input->stopping;
        ssize_t length = input->length;
        pthread_mutex_unlock(&input->mutex);
        if (stopping)
                return;
        if (length <= 0) {
                input->ended = true;
                input->on->on_end(input->user, (int)length);
                return;
        }
        input->on->on_data(input->user, (struct str){ input->piece, (size_t)length });
        if (!input->paused)
                want_more(input);
}

int standard_input_new(struct net_loop *loop, int fd, const struct standard_input_events *events,
                       void *user, struct standard_input **ret_input)
{
        struct standard_input *input = calloc(1, sizeof(*input));

        if (!input)
                return -ENOMEM;
        input->loop = loop;
        input->fd = fd;
        input->on = events;
        input->user = user;
        input->wanted = true;
        input->task.run = take_piece;
        pthread_mutex_init(&input->mutex, NULL);
        pthread_cond_init(&input->changed, NULL);
        int r = pipe2(input->wake, O_CLOEXEC) < 0 ? -errno : 0;
        if (r == 0) {
                r = start_thread(&input->thread, run_input, input);
                if (r < 0) {
                        fd_close(input->wake[0]);
                        fd_close(input->wake[1]);
                }
        }
        if (r < 0) {
                free(input);
                return r;
        }
        *ret_input = input;
        return 0;
}

void standard_input_pause(struct standard_input *input)
{
        input->paused = true;
}

void standard_input_resume(struct standard_input *input)
{
        if (!input->paused)
                return;
        input->paused = false;
        pthread_mutex_lock(&input->mutex);
        bool idle = !input->posted && !input->wanted;
        pthread_mutex_unlock(&input->mutex);
        if (idle && !input->ended)
                want_more(input);
}

void standard_input_free(struct standard_input *input)
{
        if (!input)
                return;
        pthread_mutex_lock(&input->mutex);
        input->stopping = true;
        pthread_cond_signal(&input->changed);
        pthread_mutex_unlock(&input->mutex);
        fd_close(input->wake[1]);
        pthread_join(input->thread, NULL);
        while (input->posted)
                run_turn(input->loop);
        fd_close(input->wake[0]);
        pthread_mutex_destroy(&input->mutex);
        pthread_cond_destroy(&input->changed);
        free(input);
}

/* ---- output ---- */

struct piece {
        struct piece *next;
        int fd;
        size_t length;
        char data[];
};

struct standard_output {
        struct net_loop *loop;
        void (*on_drain)(void *user);
        void *user;
        pthread_t thread;

        pthread_mutex_t mutex; /* over what follows */
        pthread_cond_t changed;
        struct piece *first, **last;
        size_t queued; /* bytes, of the piece that is being written too */
        bool starved;  /* the queue was full */
        bool stopping;
        bool abandoned; /* the thread's to free */
        bool writing;
        bool posted; /* `task` is on its way */
        int error;
        struct net_task task;
};

static void output_destroy(struct standard_output *output)
{
        while (output->first) {
                struct piece *piece = output->first;
                output->first = piece->next;
                free(piece);
        }
        pthread_mutex_destroy(&output->mutex);
        pthread_cond_destroy(&output->changed);
        free(output);
}

/* Under the mutex: tells the loop when it is time to. */
static void note_written(struct standard_output *output)
{
        bool is_short = output->queued <= STANDARD_OUTPUT_LOW && output->starved;

        if (!is_short && output->queued > 0 && output->error == 0)
                return;
        output->starved = false;
        if (output->posted || output->stopping)
                return;
        output->posted = true;
        net_loop_post(output->loop, &output->task);
}

/* Under the mutex, which is given up while it writes. */
static void write_first(struct standard_output *output)
{
        struct piece *piece = output->first;

        output->first = piece->next;
        if (!output->first)
                output->last = &output->first;
        if (output->error == 0) {
                output->writing = true;
                pthread_mutex_unlock(&output->mutex);
                int r = fd_write_full(piece->fd, piece->data, piece->length);
                pthread_mutex_lock(&output->mutex);
                output->writing = false;
                output->error = r;
        }
        output->queued -= piece->length;
        free(piece);
        note_written(output);
}

static void *run_output(void *user)
{
        struct standard_output *output = user;

        pthread_mutex_lock(&output->mutex);
        while (!output->stopping) {
                if (output->first)
                        write_first(output);
                else
                        pthread_cond_wait(&output->changed, &output->mutex);
        }
        bool abandoned = output->abandoned;
        pthread_mutex_unlock(&output->mutex);
        if (abandoned)
                output_destroy(output);
        return NULL;
}

static void take_drain(struct net_task *task)
{
        struct standard_output *output = container_of(task, struct standard_output, task);

        pthread_mutex_lock(&output->mutex);
        output->posted = false;
        bool stopping = output->stopping;
        pthread_mutex_unlock(&output->mutex);
        if (!stopping)
                output->on_drain(output->user);
}

int standard_output_new(struct net_loop *loop, void (*on_drain)(void *user), void *user,
                        struct standard_output **ret_output)
{
        struct standard_output *output = calloc(1, sizeof(*output));

        if (!output)
                return -ENOMEM;
        output->loop = loop;
        output->on_drain = on_drain;
        output->user = user;
        output->last = &output->first;
        output->task.run = take_drain;
        pthread_mutex_init(&output->mutex, NULL);
        pthread_cond_init(&output->changed, NULL);
        int r = start_thread(&output->thread, run_output, output);
        if (r < 0) {
                output_destroy(output);
                return r;
        }
        *ret_output = output;
        return 0;
}

int standard_output_write(struct standard_output *output, int fd, struct str data)
{
        struct piece *piece = malloc(sizeof(*piece) + data.length);

        if (!piece)
                return -ENOMEM;
        piece->next = NULL;
        piece->fd = fd;
        piece->length = data.length;
        memcpy(piece->data, data.data, data.length);
        pthread_mutex_lock(&output->mutex);
        int r = output->error;
        if (r == 0) {
                *output->last = piece;
                output->last = &piece->next;
                output->queued += data.length;
                output->starved |= output->queued > STANDARD_OUTPUT_HIGH;
                r = output->starved;
                piece = NULL;
                pthread_cond_signal(&output->changed);
        }
        pthread_mutex_unlock(&output->mutex);
        free(piece);
        return r;
}

int standard_output_is_written(struct standard_output *output)
{
        pthread_mutex_lock(&output->mutex);
        int r = output->error < 0 ? output->error : output->queued == 0;
        pthread_mutex_unlock(&output->mutex);
        return r;
}

void standard_output_free(struct standard_output *output)
{
        if (!output)
                return;
        pthread_t thread = output->thread;

        pthread_mutex_lock(&output->mutex);
        output->stopping = true;
        /* A task that is on its way must run, and the thread adds none from now on. */
        while (output->posted) {
                pthread_mutex_unlock(&output->mutex);
                run_turn(output->loop);
                pthread_mutex_lock(&output->mutex);
        }
        /* Its reader may never read: a thread that waits for it is left behind. */
        bool abandoned = output->abandoned = output->writing;
        pthread_cond_signal(&output->changed);
        pthread_mutex_unlock(&output->mutex);
        if (abandoned) {
                pthread_detach(thread);
                return;
        }
        pthread_join(thread, NULL);
        output_destroy(output);
}
