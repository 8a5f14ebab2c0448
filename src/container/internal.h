/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONTAINER_INTERNAL_H
#define VARVE_CONTAINER_INTERNAL_H

/*
 * Containers from inside. Who does what:
 *
 *     containers.c              the API's ends: open, list
 *     run.c, stage.c            a container's life, and the part of it in its own mounts
 *     remove.c                  its end, asked for or after a crash
 *     bundle.c, record.c        its directory, and what is noted there
 *     runtime.c, cgroup.c       the OCI runtime, called, and what it may leave when it is killed
 *     spec.c, process.c         what the runtime is told: config.json (spec.h)
 *     users.c, root.c           names of users, looked up in the container's own files (users.h)
 *     options.c                 what the caller wishes, checked
 *     signals.c, terminal.c     between the caller's terminal and the container's
 *
 * What is on disk:
 *
 *     ROOT/containers/ID/       0700; whoever runs or removes it holds a lock on the directory
 *       container.json          the record
 *       config.json, rootfs/    the bundle
 *       runtime/                what the runtime keeps
 *
 * The directory and its record come first and go last, the snapshot is made and removed in between:
 * so a snapshot of a dead run is always found by the record that names it.
 */

#include "base/fd.h"
#include "base/listing.h"
#include "snapshot/internal.h"
#include <varve/container.h>

/* Labels of a container's snapshot: its id, and what it was made from. */
#define VARVE_LABEL_CONTAINER    "varve.container"
#define VARVE_LABEL_IMAGE        "varve.image"
#define VARVE_LABEL_IMAGE_DIGEST "varve.image.digest"

struct VarveContainers {
    VarveEngine *engine;
    int fd; /* ROOT/containers; -1 while it is not there */
};

/* --- containers.c -------------------------------------------------------------------------- */

gboolean varve_containers_make_folder(VarveContainers *containers, GError **error);

/* The ids of all. */
VarveListing *varve_containers_read(VarveContainers *containers, GError **error);

/* --- bundle.c ------------------------------------------------------------------------------ */

typedef struct {
    int parent; /* the containers' */
    int fd;     /* the lock goes with it */
    char *id, *path;
} VarveBundle;

/* Makes a container's directory and locks it. id NULL: one is made up.
 * VARVE_ERROR_ALREADY_EXISTS. */
VarveBundle *varve_bundle_make(VarveContainers *containers, const char *id, GError **error);

/* Opens one that is there. VARVE_ERROR_NOT_FOUND. */
VarveBundle *varve_bundle_open(VarveContainers *containers, const char *id, GError **error);

/* Locks it, unless somebody has: FALSE, without an error. */
gboolean varve_bundle_try_lock(VarveBundle *bundle);

/* Whether the directory is still there under its id. */
gboolean varve_bundle_is_there(const VarveBundle *bundle);

/* Writes a file of the bundle, whole or not at all. */
gboolean varve_bundle_write(const VarveBundle *bundle, const char *name, const char *text,
                            mode_t mode, GError **error);

/* Reads one. NULL with the error set. */
char *varve_bundle_read(const VarveBundle *bundle, const char *name, gsize max, gsize *size,
                        GError **error);

gboolean varve_bundle_remove(const VarveBundle *bundle, GError **error);
void varve_bundle_close(VarveBundle *bundle);

/* --- record.c ------------------------------------------------------------------------------ */

typedef struct {
    VarveContainerInfo info; /* all but id, state, pid and attended */
    char *runtime;           /* its path */
    char *cgroup;            /* beneath each controller; of no other container, of any root */
} VarveContainerRecord;

gboolean varve_container_record_write(const VarveBundle *bundle, const VarveContainerRecord *record,
                                      GError **error);

/* VARVE_ERROR_NOT_FOUND: the run died before it wrote one. */
VarveContainerRecord *varve_container_record_read(const VarveBundle *bundle, GError **error);
void varve_container_record_free(VarveContainerRecord *record);
void varve_container_info_clear(VarveContainerInfo *info);

/* --- runtime.c ----------------------------------------------------------------------------- */

/* The path of the runtime that is wished for; NULL: of any. VARVE_ERROR_FAILED_PRECONDITION. */
char *varve_runtime_find(const char *name, GError **error);

/* Creates the container. Its standard descriptors are this process's, or come from the terminal
 * that is sent to the socket of that name in the bundle, which may be NULL. *status is 125 to 127
 * on failure. *pid is set to the first process's. */
gboolean varve_runtime_create(const VarveBundle *bundle, const char *runtime,
                              const char *console_socket, pid_t *pid, int *status, GError **error);

/* Runs "RUNTIME VERB ID [ARGUMENT]"; argument may be NULL. */
gboolean varve_runtime_do(const VarveBundle *bundle, const char *runtime, const char *verb,
                          const char *argument, GError **error);

/* Whether it keeps anything of the container. */
gboolean varve_runtime_knows(const VarveBundle *bundle);

/* What the runtime says of its container; NULL where it knows none. *pid may be 0. */
char *varve_runtime_state(const VarveBundle *bundle, const char *runtime, gint64 *pid);

/* Makes the runtime's container be gone, whether it runs or not. */
gboolean varve_runtime_delete(const VarveBundle *bundle, const char *runtime, GError **error);

/* --- cgroup.c ------------------------------------------------------------------------------ */

/* Removes a container's cgroup under every controller, and kills what is in it. */
gboolean varve_cgroup_remove(const char *cgroup, GError **error);

/* --- options.c ----------------------------------------------------------------------------- */

/* Whether an id is one. */
gboolean varve_container_id_check(const char *id, GError **error);

gboolean varve_container_options_check(const VarveContainerOptions *options, GError **error);

typedef struct {
    char *source, *destination;
    gboolean read_only;
} VarveVolumeBinding;

gboolean varve_volume_binding_parse(const char *text, VarveVolumeBinding *binding, GError **error);
void varve_volume_binding_clear(VarveVolumeBinding *binding);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveVolumeBinding, varve_volume_binding_clear)

/* --- remove.c ------------------------------------------------------------------------------ */

/* Removes what a locked bundle names, then the bundle. record may be NULL: nothing was made yet. */
gboolean varve_container_discard(VarveContainers *containers, const VarveBundle *bundle,
                                 const VarveContainerRecord *record, GError **error);

/* --- stage.c ------------------------------------------------------------------------------- */

typedef struct {
    const VarveBundle *bundle;
    const char *runtime, *cgroup;
    const VarveContainerOptions *options;
    const VarveImageConfig *image;
    const VarveMount *mount; /* of the container's snapshot */
} VarveStage;

/* Runs what the bundle is for, from the mounting of its root to its end. *status as of
 * varve_containers_run(). Whether it succeeds or not, nothing is mounted and nothing runs then. */
gboolean varve_stage_run(const VarveStage *stage, int *status, GError **error);

/* --- signals.c ----------------------------------------------------------------------------- */

/* Takes the signals that are passed on, until varve_signals_release(). Returns the descriptor that
 * each is read from, as one byte; -1 with the error set. */
int varve_signals_take(GError **error);
void varve_signals_release(void);

/* Does to the process what SIGTSTP does; returns when it is continued. */
void varve_signals_stop(void);

/* --- terminal.c ---------------------------------------------------------------------------- */

typedef struct VarveTerminal VarveTerminal;

#define VARVE_CONSOLE_SOCKET "console"

/* Listens for the container's terminal, in the bundle. VARVE_ERROR_FAILED_PRECONDITION: standard
 * input is none. */
VarveTerminal *varve_terminal_new(const VarveBundle *bundle, GError **error);

/* Takes it from the runtime, which has sent it, and sets the caller's to hand on every key. */
gboolean varve_terminal_begin(VarveTerminal *terminal, GError **error);

/* Hands on the size of the caller's window. */
void varve_terminal_resize(VarveTerminal *terminal);

/* The caller's terminal as it was, and again as begin has set it. */
void varve_terminal_pause(VarveTerminal *terminal);
void varve_terminal_resume(VarveTerminal *terminal);

/* What is to be waited for (two entries), and what to do about what came. */
struct pollfd;
void varve_terminal_poll(const VarveTerminal *terminal, struct pollfd *polls);
void varve_terminal_copy(VarveTerminal *terminal, const struct pollfd *polls);

/* Shows what the container has written last. */
void varve_terminal_drain(VarveTerminal *terminal);
void varve_terminal_free(VarveTerminal *terminal);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveBundle, varve_bundle_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveContainerRecord, varve_container_record_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveTerminal, varve_terminal_free)

#endif
