/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/piped.h"
#include "base/fd.h"
#include "driver/transferred.h"
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define PIECE           (256 * 1024)
#define CANCEL_INTERVAL 100 /* milliseconds */

/* Writing to a pipe that nobody reads any more also raises SIGPIPE in the thread that does; and a
 * signal that is handled in it would break the kernel's stream off. */
static void
block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static gboolean
make_pipe(int *ends, GError **error)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return varve_error_set_errno(error, errno, "making a pipe");
    varve_fd_enlarge_pipe(ends[1]);
    return TRUE;
}

/* --- from the call ---------------------------------------------------------------------------- */

struct VarvePiped {
    VarvePipedFunc func;
    gpointer data;
    const gint *cancelled;
    int reading, writing;
    GThread *thread;
    int failed;
};

static gpointer
run_func(gpointer data)
{
    VarvePiped *piped = data;
    block_signals();
    piped->failed = piped->func(piped->writing, piped->data);
    varve_fd_clear(&piped->writing);
    return NULL;
}

VarvePiped *
varve_piped_begin(const char *name, VarvePipedFunc func, gpointer data, const gint *cancelled,
                  GError **error)
{
    int ends[2];
    if (!make_pipe(ends, error))
        return NULL;
    VarvePiped *piped = g_new0(VarvePiped, 1);
    *piped = (VarvePiped){func, data, cancelled, ends[0], ends[1], NULL, 0};
    piped->thread = g_thread_try_new(name, run_func, piped, error);
    if (piped->thread != NULL)
        return piped;
    varve_fd_clear(&piped->reading);
    varve_fd_clear(&piped->writing);
    g_free(piped);
    return NULL;
}

gssize
varve_piped_read(VarvePiped *piped, void *buffer, gsize size, GError **error)
{
    struct pollfd ready = {.fd = piped->reading, .events = POLLIN};
    while (poll(&ready, 1, CANCEL_INTERVAL) <= 0) {
        if (!varve_check_cancelled(piped->cancelled, error))
            return -1;
    }
    ssize_t got;
    do
        got = read(piped->reading, buffer, size);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        varve_error_set_errno(error, errno, "reading the stream");
    return got;
}

int
varve_piped_end(VarvePiped *piped)
{
    varve_fd_clear(&piped->reading);
    g_thread_join(piped->thread);
    int failed = piped->failed == EPIPE ? 0 : piped->failed;
    g_free(piped);
    return failed;
}

/* All of a piece, or what there is before the end: the kernel writes a head of some hundred bytes
 * for each block. */
static gssize
read_piece(VarvePiped *piped, guint8 *buffer, GError **error)
{
    gssize got = 0, n = 0;
    do {
        n = varve_piped_read(piped, buffer + got, PIECE - (gsize)got, error);
        got += MAX(n, 0);
    } while (n > 0 && got < PIECE);
    return n < 0 ? -1 : got;
}

static gboolean
copy_to_sink(VarvePiped *piped, const VarveSink *sink, const VarveTreeWatch *watch, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(PIECE);
    VarveTransferred sent = varve_transferred_new("sending", watch);
    gssize n;
    while ((n = read_piece(piped, buffer, error)) > 0) {
        if (!sink->write(sink->data, buffer, (gsize)n, error) ||
            !varve_transferred_add(&sent, (guint64)n, error))
            return FALSE;
    }
    return n == 0;
}

gboolean
varve_piped_send(const char *name, VarvePipedFunc func, gpointer data, const VarveSink *sink,
                 const VarveTreeWatch *watch, int *failed, GError **error)
{
    VarvePiped *piped = varve_piped_begin(name, func, data, watch->cancelled, error);
    if (piped == NULL)
        return FALSE;
    gboolean copied = copy_to_sink(piped, sink, watch, error);
    *failed = varve_piped_end(piped);
    return copied;
}

/* --- to the call ------------------------------------------------------------------------------ */

typedef struct {
    const VarveSource *source;
    const VarveTreeWatch *watch;
    int writing;
    gboolean more; /* it went on after nobody read it any more */
    GError *error;
} Feeding;

static gpointer
feed(gpointer data)
{
    Feeding *feeding = data;
    g_autofree guint8 *buffer = g_malloc(PIECE);
    VarveTransferred received = varve_transferred_new("receiving", feeding->watch);
    gssize n;
    block_signals();
    while ((n = feeding->source->read(feeding->source->data, buffer, PIECE, &feeding->error)) > 0) {
        if (!varve_fd_write_all(feeding->writing, buffer, (gsize)n, VARVE_FD_HERE)) {
            feeding->more = TRUE;
            break;
        }
        if (!varve_transferred_add(&received, (guint64)n, &feeding->error))
            break;
    }
    varve_fd_clear(&feeding->writing);
    return NULL;
}

/* Whether the pipe is at its end, too. Waits until the feeding ends, or finds more. */
static gboolean
is_at_end(int reading)
{
    guint8 byte;
    ssize_t n;
    do
        n = read(reading, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 0;
}

gboolean
varve_piped_receive(const char *name, VarvePipedFunc func, gpointer data, const VarveSource *source,
                    const VarveTreeWatch *watch, int *failed, GError **error)
{
    int ends[2];
    if (!make_pipe(ends, error))
        return FALSE;
    varve_autofd reading = ends[0];
    Feeding feeding = {.source = source, .watch = watch, .writing = ends[1]};
    GThread *thread = g_thread_try_new(name, feed, &feeding, error);
    if (thread == NULL) {
        varve_fd_clear(&feeding.writing);
        return FALSE;
    }
    *failed = func(reading, data);
    gboolean more = *failed == 0 && !is_at_end(reading);
    varve_fd_clear(&reading);
    g_thread_join(thread);
    gboolean ok = feeding.error == NULL;
    if (!ok)
        g_propagate_error(error, feeding.error);
    else if (*failed == 0 && (more || feeding.more))
        ok = varve_error_set(error, VARVE_ERROR_CORRUPT, "the stream goes on after its end");
    /* cppcheck-suppress memleak ; joining frees it */
    return ok;
}
