/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONTAINER_H
#define VARVE_CONTAINER_H

/*
 * Containers: images that run.
 *
 *     container   an active snapshot, prepared on the top layer of an image, and a bundle
 *     bundle      the directory that an OCI runtime is given: config.json, and the root file system
 *                 (https://github.com/opencontainers/runtime-spec)
 *     runtime     the program that makes the processes: runc, crun
 *     id          names a container: given by the caller, or made up
 *
 * A life: run unpacks the image where it is not yet, prepares the snapshot "container/ID", writes
 * the bundle under ROOT/containers/ID, has the runtime create the container and start it, and stays
 * until its first process ends: standard input, output and error are the container's, signals are
 * passed on to it, and its exit status is returned. What it wrote stays in the snapshot, until the
 * container is removed; with options.remove that is at once.
 *
 *     image ──run──> running ──ends──> exited ──remove──> gone
 *                       └──remove, by force──────────────> gone
 *
 * The snapshot is mounted in a mount namespace that only the container's processes are in, so no
 * mount is ever left behind. Whoever runs a container holds a lock on its directory. Where that is
 * free, the process that ran it has ended, however it did: what was to be removed with it is
 * removed by the next run or cleanup, and what was to stay is listed, and removed on request.
 *
 * Threads: as in engine.h, but a process runs one container at a time.
 */

#include <varve/engine.h>
#include <varve/image.h>

G_BEGIN_DECLS

typedef struct VarveContainers VarveContainers;

/* The containers of an engine's root, to be closed before it. */
VARVE_PUBLIC VarveContainers *varve_containers_open(VarveEngine *engine, GError **error);
VARVE_PUBLIC void varve_containers_close(VarveContainers *containers);

/* --- running ------------------------------------------------------------------------------- */

/* What a container is to be. Strings are UTF-8; lists end with NULL; all but the image may be NULL
 * or 0: as the image says, or no limit. */
typedef struct {
    const char *image; /* as varve_images_find() takes it */
    const VarvePlatform *platform;
    const char *id;                /* a letter or digit, then those and "_.-"; at most 64 */
    const char *runtime;           /* a path, or a program that is looked for; runc, else crun */
    const char *const *entrypoint; /* takes the place of the image's entrypoint and command */
    const char *const *command;    /* takes the place of the image's command */
    const char *const *env;        /* KEY=VALUE */
    const char *const *volumes;    /* SOURCE:DESTINATION[:ro]: an absolute path of this host that
                                      exists, and where it is bound to in the container */
    const char *const *cap_add;    /* capabilities beside the usual ones: "NET_ADMIN", or "ALL" */
    const char *const *cap_drop;   /* and those to leave out, which goes first */
    const char *seccomp;           /* a file with a filter of system calls, as linux.seccomp of the
                                      OCI runtime specification, or "unconfined"; else what
                                      containers have no use for is refused */
    GHashTable *labels;            /* of char* to char* */
    const char *working_dir;       /* made if it is missing */
    const char *user;              /* USER[:GROUP], each a name or number */
    const char *hostname;          /* the id */
    guint64 memory;                /* bytes */
    double cpus;                   /* processors' time */
    gint64 pids_limit;             /* processes and threads */
    gboolean terminal;             /* a terminal of its own, shown on standard input and output */
    gboolean remove;               /* when it ends */
    gboolean read_only;            /* its root file system */
    gboolean host_network;         /* the host's network; else none but the loopback */
    gboolean new_privileges;       /* set-user-id programs and the like work */
} VarveContainerOptions;

/* Runs a container and waits for its end. *status is set to what the program that runs it should
 * exit with: that of the container's first process, 128 and the number of the signal that ended it;
 * where FALSE is returned, 127 when there is no such program in it, 126 when that cannot be
 * executed, else 125. While it runs, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2, unless
 * they are ignored, are passed on, SIGTSTP stops container and process, and the process adopts
 * orphans (PR_SET_CHILD_SUBREAPER).
 * Errors: VARVE_ERROR_NOT_FOUND (no such image; the user, a volume's source or the program is
 * missing), VARVE_ERROR_ALREADY_EXISTS (the id), VARVE_ERROR_INVALID_ARGUMENT,
 * VARVE_ERROR_FAILED_PRECONDITION (there is no runtime; standard input is no terminal). */
VARVE_PUBLIC gboolean varve_containers_run(VarveContainers *containers, VarvePool *pool,
                                           const VarveContainerOptions *options, int *status,
                                           GError **error);

/* --- looking ------------------------------------------------------------------------------- */

typedef struct {
    char *id;
    char *image, *image_digest; /* the name it was run by, and the manifest that was */
    char *pool, *snapshot;      /* its snapshot, by key */
    char *state;                /* "starting", "created", "running", "paused", "exited" */
    gint64 created, finished;   /* nanoseconds since the epoch; finished 0: it is not */
    int exit_status;            /* -1 when it is not known */
    gint64 pid;                 /* of its first process; 0 for none */
    gboolean attended;          /* the process that ran it lives */
    gboolean remove;            /* it is removed when it ends */
    char **command;
    GHashTable *labels;
} VarveContainerInfo;

VARVE_PUBLIC void varve_container_info_free(VarveContainerInfo *info);

/* All in the order of their ids: GPtrArray of VarveContainerInfo*, which frees its elements. */
VARVE_PUBLIC GPtrArray *varve_containers_list(VarveContainers *containers, GError **error);

/* --- removing ------------------------------------------------------------------------------ */

/* Removes a container with its snapshot. force: also one that runs, which is killed; without it
 * that is VARVE_ERROR_FAILED_PRECONDITION. */
VARVE_PUBLIC gboolean varve_containers_remove(VarveContainers *containers, const char *id,
                                              gboolean force, GError **error);

typedef struct {
    guint64 removed;
    guint64 failed; /* what could not be removed; logged */
} VarveContainerPrune;

/* Removes those that do not run. */
VARVE_PUBLIC gboolean varve_containers_prune(VarveContainers *containers,
                                             VarveContainerPrune *result, GError **error);

/* Removes what was to go with its run, where the process that ran it has died: running ones are
 * killed. */
VARVE_PUBLIC gboolean varve_containers_cleanup(VarveContainers *containers,
                                               VarveContainerPrune *result, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContainers, varve_containers_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContainerInfo, varve_container_info_free)

G_END_DECLS

#endif
