// SPDX-License-Identifier: Apache-2.0
#include "sandboxd/children.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void exited(struct child *child, int exit_code)
{
        child->exited = true;
        child->exit_code = exit_code;
        child->on_exit(child);
}

static void reap_all(struct children *children)
{
        struct child *child;
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                list_for_each (child, &children->running, link) {
                        if (child->pid == pid && !child->exited) {
                                exited(child, WIFSIGNALED(status) ? -WTERMSIG(status)
                                                                  : WEXITSTATUS(status));
                                break;
                        }
                }
        }
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct children *children = signal->data;
        struct child *child;

        (void)number;
        if (getpid() == 1) {
                reap_all(children);
                return;
        }
        list_for_each (child, &children->running, link) {
                siginfo_t info = {};

                if (child->exited ||
                    waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
                    info.si_pid != child->pid)
                        continue;
                exited(child, info.si_code == CLD_EXITED ? info.si_status : -info.si_status);
        }
}

int children_init(struct children *children, uv_loop_t *loop)
{
        int r;

        *children = (struct children){ .loop = loop };
        list_init(&children->running);
        r = uv_signal_init(loop, &children->signal);
        if (r < 0)
                return r;
        children->signal.data = children;
        uv_unref((uv_handle_t *)&children->signal);
        r = uv_signal_start(&children->signal, on_signal, SIGCHLD);
        if (r < 0)
                uv_close((uv_handle_t *)&children->signal, NULL);
        return r;
}

void children_close(struct children *children)
{
        uv_close((uv_handle_t *)&children->signal, NULL);
}

void children_add(struct children *children, struct child *child)
{
        list_append(&children->running, &child->link);
        uv_ref((uv_handle_t *)&children->signal);
}

void children_remove(struct children *children, struct child *child)
{
        list_remove(&child->link);
        if (list_is_empty(&children->running))
                uv_unref((uv_handle_t *)&children->signal);
        if (getpid() != 1)
                waitpid(child->pid, NULL, WNOHANG);
}

void children_signal(struct children *children, int signal)
{
        struct child *child;

        list_for_each (child, &children->running, link)
                kill(-child->pid, signal);
}
