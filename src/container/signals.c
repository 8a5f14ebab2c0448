/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include <signal.h>
#include <unistd.h>

/*
 * A handler can be called in any thread of the process, so it only writes the signal's number to a
 * pipe. What the caller ignores, as nohup(1) has it ignore SIGHUP, stays ignored.
 */

static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGWINCH};
static struct sigaction before[G_N_ELEMENTS(taken)], before_pipe;
static int pipe_in = -1, pipe_out = -1;
static gint in_use;

static void
on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    (void)!write(pipe_in, &byte, 1);
    errno = saved;
}

int
varve_signals_take(GError **error)
{
    int ends[2];
    if (!g_atomic_int_compare_and_exchange(&in_use, 0, 1)) {
        varve_error_set(error, VARVE_ERROR_BUSY, "this process runs a container already");
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        g_atomic_int_set(&in_use, 0);
        varve_error_set_errno(error, errno, "making a pipe");
        return -1;
    }
    pipe_out = ends[0];
    pipe_in = ends[1];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (gsize i = 0; i < G_N_ELEMENTS(taken); i++) {
        sigaction(taken[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(taken[i], &action, NULL);
    }
    /* Where nobody reads any more, that is an error to be told, not this process's end. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, &before_pipe);
    return pipe_out;
}

void
varve_signals_stop(void)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    struct sigaction ours;
    sigaction(SIGTSTP, &usual, &ours);
    (void)raise(SIGTSTP); /* not where nobody could continue it: the kernel knows */
    sigaction(SIGTSTP, &ours, NULL);
}

void
varve_signals_release(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(taken); i++)
        sigaction(taken[i], &before[i], NULL);
    sigaction(SIGPIPE, &before_pipe, NULL);
    varve_fd_clear(&pipe_out);
    varve_fd_clear(&pipe_in);
    g_atomic_int_set(&in_use, 0);
}
