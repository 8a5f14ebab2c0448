/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/driver.h"
#ifdef HAVE_ZFS
#include "driver/zfs/zfs.h"
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The driver's part of sending and receiving alone, for bench/transfer:
 *
 *     streamer DRIVER DIRECTORY init
 *     streamer DRIVER DIRECTORY create|commit|remove ID [PARENT]
 *     streamer DRIVER DIRECTORY send|receive ID [BASE]     to standard output, from standard input
 *
 * DRIVER may be followed by its settings: zfs,dataset=tank/varve
 */

typedef struct {
    const VarveDriver *driver;
    GHashTable *settings;
    gpointer self;
    VarveDriverSnapshot snapshot;
    guint64 parent; /* 0: none */
} Job;

static gboolean
write_output(gpointer data, const void *bytes, gsize size, GError **error)
{
    for (const guint8 *at = bytes; size > 0;) {
        ssize_t n = write(STDOUT_FILENO, at, size);
        if (n < 0)
            return varve_error_set_errno(error, errno, "writing the stream");
        at += n;
        size -= (gsize)n;
    }
    return TRUE;
}

static gssize
read_input(gpointer data, void *buffer, gsize size, GError **error)
{
    ssize_t n = read(STDIN_FILENO, buffer, size);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading the stream");
    return n;
}

static gboolean
do_init(Job *job, GError **error)
{
    return TRUE;
}

static gboolean
do_create(Job *job, GError **error)
{
    return job->driver->create(job->self, &job->snapshot, error);
}

static gboolean
do_commit(Job *job, GError **error)
{
    return job->driver->commit(job->self, job->snapshot.id, error) &&
           job->driver->sync(job->self, job->snapshot.id, error);
}

static gboolean
do_remove(Job *job, GError **error)
{
    return job->driver->remove(job->self, job->snapshot.id, error);
}

static gboolean
do_send(Job *job, GError **error)
{
    const VarveSink sink = {write_output, NULL};
    return job->driver->send(job->self, &job->snapshot, job->parent, G_MAXINT64, &sink, error);
}

static gboolean
do_receive(Job *job, GError **error)
{
    const VarveSource source = {read_input, NULL};
    return job->driver->receive(job->self, &job->snapshot, &source, error) &&
           job->driver->sync(job->self, job->snapshot.id, error);
}

static const struct {
    const char *name;
    gboolean (*func)(Job *job, GError **error);
} verbs[] = {
    {"init", do_init},     {"create", do_create}, {"commit", do_commit},
    {"remove", do_remove}, {"send", do_send},     {"receive", do_receive},
};

static gboolean
run(Job *job, const char *verb, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (g_str_equal(verbs[i].name, verb))
            return verbs[i].func(job, error);
    }
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "no verb is '%s'", verb);
}

static gboolean
run_in_pool(Job *job, const char *path, const char *verb, GError **error)
{
    VarveDriverHost host = {
        .name = "bench",
        .path = path,
        .dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .settings = job->settings,
    };
    if (host.dirfd < 0)
        return varve_error_set_errno(error, errno, "opening %s", path);
    job->self = job->driver->open(&host, g_str_equal(verb, "init"), error);
    gboolean ok = job->self != NULL && run(job, verb, error);
    if (job->self != NULL)
        job->driver->close(job->self);
    close(host.dirfd);
    return ok;
}

static GHashTable *
parse_settings(char **words)
{
    GHashTable *settings = g_hash_table_new(g_str_hash, g_str_equal);
    for (char **word = words; *word != NULL; word++) {
        char *value = *word + strcspn(*word, "=");
        if (*value != '\0')
            *value++ = '\0';
        g_hash_table_insert(settings, *word, value);
    }
    return settings;
}

/* The module of zfs is for programs that have the library; this one has the driver itself. */
static const VarveDriver *
find_driver(const char *name, GError **error)
{
#ifdef HAVE_ZFS
    if (g_str_equal(name, "zfs"))
        return &varve_driver_zfs;
#endif
    return varve_driver_find(name, error);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc < 4) {
        fprintf(stderr, "usage: streamer DRIVER DIRECTORY VERB [ID [PARENT]]\n");
        return 2;
    }
    g_auto(GStrv) words = g_strsplit(argv[1], ",", -1);
    g_autoptr(GHashTable) settings = parse_settings(words + 1);
    Job job = {.driver = find_driver(words[0], &error), .settings = settings};
    job.parent = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
    job.snapshot = (VarveDriverSnapshot){.id = argc > 4 ? strtoull(argv[4], NULL, 10) : 0,
                                         .kind = VARVE_KIND_ACTIVE,
                                         .parents = &job.parent,
                                         .n_parents = job.parent != 0};
    /* As varve does with its own ends (varve_transfer_sink). */
    varve_fd_enlarge_pipe(STDIN_FILENO);
    varve_fd_enlarge_pipe(STDOUT_FILENO);
    if (job.driver != NULL && run_in_pool(&job, argv[2], argv[3], &error))
        return 0;
    fprintf(stderr, "streamer: %s\n", error->message);
    return 1;
}
