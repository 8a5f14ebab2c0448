/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <varve/varve.h>

/*
 * Calls of the library on volumes, timed in this process, for bench/volumes:
 *
 *     volume-calls ROOT make N                  volumes v0 to v(N-1), not timed
 *     volume-calls ROOT list|inspect TIMES      of all; of v0
 *     volume-calls ROOT snapshot|fork TIMES DIR of v0, or of its snapshot "base"; in turns with the
 *                                               ioctl alone on the same, into DIR, and with the
 *                                               ioctl followed by two syncs of a file there
 *
 * Each line of the output is a side and the nanoseconds of a call. Before each snapshot 4 KiB are
 * written to v0, so that there is something to commit. What was made stays.
 */

typedef struct {
    VarveVolumes *volumes;
    int source, directory; /* of the ioctl */
    int record;            /* a file in that directory which has all its blocks */
    gboolean read_only;    /* what it makes */
    char *file;            /* to write to; NULL: none */
    const char *of;
    VarveVolumeInfo *(*derive)(VarveVolumes *volumes, const char *id,
                               const VarveVolumeOptions *options, GError **error);
} Turns;

static gint64
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (gint64)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
tell(const char *side, gint64 since)
{
    printf("%s %" G_GINT64_FORMAT "\n", side, now() - since);
}

static gboolean
fail(GError **error, const char *what)
{
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INTERNAL, "%s: %m", what);
    return FALSE;
}

/* --- looking and making ----------------------------------------------------------------------- */

static gboolean
make(VarveVolumes *volumes, guint n, const char *unused, GError **error)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("v%u", i);
        const VarveVolumeOptions options = {.id = id};
        g_autoptr(VarveVolumeInfo) info = varve_volumes_create(volumes, &options, error);
        if (info == NULL)
            return FALSE;
    }
    return TRUE;
}

static gboolean
list(VarveVolumes *volumes, guint times, const char *unused, GError **error)
{
    for (guint i = 0; i < times; i++) {
        gint64 begin = now();
        g_autoptr(GPtrArray) infos = varve_volumes_list(volumes, NULL, error);
        if (infos == NULL)
            return FALSE;
        tell("varve", begin);
    }
    return TRUE;
}

static gboolean
inspect(VarveVolumes *volumes, guint times, const char *unused, GError **error)
{
    for (guint i = 0; i < times; i++) {
        gint64 begin = now();
        g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(volumes, "v0", error);
        if (info == NULL)
            return FALSE;
        tell("varve", begin);
    }
    return TRUE;
}

/* --- in turns with the ioctl ------------------------------------------------------------------ */

static gboolean
write_something(const Turns *turns, guint turn, GError **error)
{
    char block[4096];
    if (turns->file == NULL)
        return TRUE;
    memset(block, (int)turn, sizeof block);
    int fd = open(turns->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    gboolean ok = fd >= 0 && pwrite(fd, block, sizeof block, 0) == (ssize_t)sizeof block;
    if (fd >= 0)
        close(fd);
    return ok || fail(error, turns->file);
}

static gboolean
by_varve(const Turns *turns, const char *name, GError **error)
{
    const VarveVolumeOptions options = {.id = name};
    gint64 begin = now();
    g_autoptr(VarveVolumeInfo) made = turns->derive(turns->volumes, turns->of, &options, error);
    if (made == NULL)
        return FALSE;
    tell("varve", begin);
    return TRUE;
}

static gboolean
snapshot_by_ioctl(const Turns *turns, const char *name, GError **error)
{
    struct btrfs_ioctl_vol_args_v2 args = {.fd = turns->source,
                                           .flags = turns->read_only ? BTRFS_SUBVOL_RDONLY : 0};
    g_strlcpy(args.name, name, sizeof args.name);
    return ioctl(turns->directory, BTRFS_IOC_SNAP_CREATE_V2, &args) == 0 ||
           fail(error, "making a snapshot");
}

/* The kernel commits its transaction before the ioctl returns: it is on disk then. */
static gboolean
by_ioctl(const Turns *turns, const char *name, GError **error)
{
    gint64 begin = now();
    if (!snapshot_by_ioctl(turns, name, error))
        return FALSE;
    tell("ioctl", begin);
    return TRUE;
}

static gboolean
sync_record(const Turns *turns, gsize size, off_t at, GError **error)
{
    char bytes[2 * 4096];
    memset(bytes, (int)at, size);
    return (pwrite(turns->record, bytes, size, at) == (ssize_t)size &&
            fdatasync(turns->record) == 0) ||
           fail(error, "writing a record");
}

/* And a record of it, as any store keeps one that survives a power cut: pages, and when they are
 * there the one that makes them valid. */
static gboolean
by_ioctl_and_record(const Turns *turns, const char *name, GError **error)
{
    gint64 begin = now();
    if (!snapshot_by_ioctl(turns, name, error) || !sync_record(turns, 8192, 8192, error) ||
        !sync_record(turns, 128, 0, error))
        return FALSE;
    tell("record", begin);
    return TRUE;
}

/* Whoever comes first writes out what the others left, so they change places. */
static gboolean
take_turns(const Turns *turns, guint times, GError **error)
{
    static const struct {
        const char *name;
        gboolean (*make)(const Turns *turns, const char *name, GError **error);
    } sides[] = {{"ioctl", by_ioctl}, {"varve", by_varve}, {"record", by_ioctl_and_record}};
    const guint n = G_N_ELEMENTS(sides);
    for (guint i = 0; i < times * n; i++) {
        guint side = (i + i / n) % n;
        g_autofree char *name = g_strdup_printf("%s-%s-%u", turns->read_only ? "snapshot" : "fork",
                                                sides[side].name, i);
        syncfs(turns->directory);
        if (!write_something(turns, i, error) || !sides[side].make(turns, name, error))
            return FALSE;
    }
    return TRUE;
}

/* As Varve's store has it: written in place, and with no blocks to be found for it. */
static int
open_record(int directory)
{
    int fd = openat(directory, "record", O_RDWR | O_CREAT | O_CLOEXEC, 0600), flags = FS_NOCOW_FL;
    g_autofree char *zeros = g_malloc0(65536);
    if (fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0 && write(fd, zeros, 65536) == 65536 &&
        fsync(fd) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static gboolean
derive(VarveVolumes *volumes, guint times, const char *directory, gboolean fork, GError **error)
{
    Turns turns = {.volumes = volumes,
                   .directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                   .read_only = !fork,
                   .of = fork ? "base" : "v0",
                   .derive = fork ? varve_volumes_fork : varve_volumes_snapshot};
    g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(volumes, turns.of, error);
    g_autofree char *file = info != NULL ? g_build_filename(info->path, "file", NULL) : NULL;
    if (info == NULL)
        return FALSE;
    turns.file = fork ? NULL : file;
    turns.source = open(info->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    turns.record = open_record(turns.directory);
    gboolean ok = turns.source >= 0 && turns.record >= 0 ? take_turns(&turns, times, error)
                                                         : fail(error, directory);
    close(turns.record);
    close(turns.source);
    close(turns.directory);
    return ok;
}

static gboolean
snapshot(VarveVolumes *volumes, guint times, const char *directory, GError **error)
{
    return derive(volumes, times, directory, FALSE, error);
}

static gboolean
fork_volume(VarveVolumes *volumes, guint times, const char *directory, GError **error)
{
    return derive(volumes, times, directory, TRUE, error);
}

/* --- the line --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    gboolean (*run)(VarveVolumes *volumes, guint times, const char *directory, GError **error);
} verbs[] = {
    {"make", make},         {"list", list},        {"inspect", inspect},
    {"snapshot", snapshot}, {"fork", fork_volume},
};

static gboolean
run(char **args, GError **error)
{
    guint64 times = 0;
    if (!g_ascii_string_to_unsigned(args[3], 10, 1, 100000, &times, error))
        return FALSE;
    g_autoptr(VarveEngine) engine = varve_engine_open(args[1], VARVE_ENGINE_DEFAULT, error);
    g_autoptr(VarveVolumes) volumes = engine != NULL ? varve_volumes_open(engine, error) : NULL;
    for (gsize i = 0; volumes != NULL && i < G_N_ELEMENTS(verbs); i++)
        if (g_str_equal(args[2], verbs[i].name))
            return verbs[i].run(volumes, (guint)times, args[4] != NULL ? args[4] : "/", error);
    if (volumes != NULL)
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT, "no verb is '%s'", args[2]);
    return FALSE;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc < 4) {
        fprintf(stderr, "usage: volume-calls ROOT VERB TIMES [DIRECTORY]\n");
        return 2;
    }
    if (run(argv, &error))
        return 0;
    fprintf(stderr, "volume-calls: %s\n", error->message);
    return 1;
}
