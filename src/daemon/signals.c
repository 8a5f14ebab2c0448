/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/signals.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct VarveSignals {
    int signals, end; /* a signalfd and an eventfd */
    GThread *thread;
    VarveSignalFunc func;
    gpointer data;
};

static sigset_t
watched(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void
varve_signals_block(void)
{
    sigset_t set = watched();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static gpointer
watch(gpointer data)
{
    VarveSignals *self = data;
    struct pollfd fds[] = {{.fd = self->signals, .events = POLLIN},
                           {.fd = self->end, .events = POLLIN}};
    for (;;) {
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents != 0)
            return NULL;
        struct signalfd_siginfo info;
        if (fds[0].revents != 0 && read(self->signals, &info, sizeof(info)) == sizeof(info))
            self->func((int)info.ssi_signo, self->data);
    }
}

VarveSignals *
varve_signals_new(VarveSignalFunc func, gpointer data, GError **error)
{
    sigset_t set = watched();
    g_autoptr(VarveSignals) self = g_new0(VarveSignals, 1);
    self->func = func;
    self->data = data;
    self->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    self->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->signals < 0 || self->end < 0) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE, "watching for signals: %s",
                    g_strerror(errno));
        return NULL;
    }
    self->thread = g_thread_new("signals", watch, self);
    return g_steal_pointer(&self);
}

void
varve_signals_free(VarveSignals *self)
{
    if (self == NULL)
        return;
    if (self->thread != NULL) {
        eventfd_write(self->end, 1);
        g_thread_join(self->thread);
    }
    if (self->signals >= 0)
        close(self->signals);
    if (self->end >= 0)
        close(self->end);
    g_free(self);
}
