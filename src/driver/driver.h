/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_H
#define VARVE_DRIVER_H

/*
 * Drivers: the mechanics of one file system.
 *
 * A driver keeps snapshots on disk. It knows them by a number, the id, and nothing else: names,
 * labels, who may be whose parent, and what happens in which order are the engine's business
 * (snapshot/). What a driver must provide is small:
 *
 *     create   make the snapshot <id> as a copy of its parent's state, or empty
 *     commit   make it immutable, where the file system can say so      (reopen: undo that)
 *     sync     make its content durable
 *     mounts   tell how it is presented to the kernel
 *     usage    tell what it takes beyond its parents
 *     changes  tell which paths differ from its parent
 *     remove   free it
 *     list     tell every id that has anything on disk
 *
 * and what not every driver can:
 *
 *     capture  make a committed snapshot of an active one that goes on
 *     send     tell a committed snapshot as a stream of the file system's own
 *     receive  make a committed snapshot of such a stream
 *
 * The life of an id: the engine picks a number that was never used, calls create(), and only then
 * publishes the record. On the way to a commit it calls commit(), sync(), and publishes; should
 * publishing fail, it calls reopen() and the snapshot is writable again. For a removal the record
 * goes first, then remove() is called, perhaps much later and perhaps by another process.
 *
 * What the engine promises: no two calls for the same id run at the same time, except mounts, usage
 * and changes; parents of an id are committed and stay until the id is removed (but see create).
 * Calls for different ids come from many threads at once, and from several processes: a driver
 * holds no locks across calls and no state on ids in memory.
 *
 * What a driver promises: create() leaves nothing behind when it fails. remove() of an id that has
 * nothing on disk, or only half of something, succeeds: recovery calls it for whatever list()
 * yields. No call follows a symbolic link inside a snapshot.
 *
 * To write one: copy native/, the plainest, and add it to the table in registry.c. One that needs a
 * library which not every host has (zfs) is a module that is loaded when it is there: module.h.
 */

#include "base/error.h"
#include <varve/changes.h>
#include <varve/engine.h>
#include <varve/mount.h>
#include <varve/snapshot.h>
#include <varve/stream.h>

/* One snapshot, as the engine tells a driver of it. parents[0] is the parent, parents[1] that one's
 * parent, and so on to the root; all of them committed. */
typedef struct {
    guint64 id;
    VarveKind kind;
    const guint64 *parents;
    gsize n_parents;
    gboolean relaxed; /* of mounts: whoever writes there syncs it, so the file system need not */
} VarveDriverSnapshot;

/* What a pool gives the driver that serves it. Lives as long as the instance. */
typedef struct {
    const char *name;           /* the pool's, for messages */
    const char *path;           /* absolute path of the pool's directory, which exists */
    int dirfd;                  /* the same directory, opened */
    GHashTable *settings;       /* char* to char*: the driver's own, checked against its table */
    const gint *cancelled;      /* set: end what you do, undo it, fail with VARVE_ERROR_CANCELLED */
    VarveProgressFunc progress; /* may be NULL */
    gpointer progress_data;
} VarveDriverHost;

typedef enum {
    VARVE_SETTING_TEXT,   /* anything but nothing; the driver's probe and open look at it */
    VARVE_SETTING_PATH,   /* an absolute path */
    VARVE_SETTING_SIZE,   /* bytes, with an optional suffix K, M, G or T (powers of 1024) */
    VARVE_SETTING_BOOL,   /* true or false */
    VARVE_SETTING_CHOICE, /* one of choices, which are separated by | */
} VarveSettingType;

typedef struct {
    const char *name;
    VarveSettingType type;
    const char *choices;
    const char *fallback; /* what holds when it is not given; NULL: nothing, as summary explains */
    const char *summary;
} VarveDriverSetting;

typedef enum {
    /* A snapshot created without parents can be given some at commit, and then shows its own
     * content on top of theirs. */
    VARVE_DRIVER_REBASE = 1 << 0,
    /* capture() keeps the state of one moment, also of what is written to meanwhile. */
    VARVE_DRIVER_CAPTURE_ATOMIC = 1 << 1,
    /* A snapshot keeps all of its content when its parent is taken away, and has that one's parent
     * then: remove() of an id takes it out from under others that stand on it. */
    VARVE_DRIVER_WHOLE = 1 << 2,
    /* commit() has all that the file system knows of its files written; when the files' content
     * comes after that, much is written twice. */
    VARVE_DRIVER_COMMIT_WRITES = 1 << 3,
    /* What create() makes upon a parent, and what capture() makes, is on disk when they return: no
     * sync() is needed until it is written to. */
    VARVE_DRIVER_COPIES_DURABLY = 1 << 4,
} VarveDriverFlags;

typedef gboolean (*VarveDriverListFunc)(guint64 id, gpointer data, GError **error);

typedef struct {
    const char *name;
    const char *summary; /* one line, for people */
    VarveDriverFlags flags;
    const VarveDriverSetting *settings; /* ended by a NULL name; NULL: none */

    /* Whether pools with these settings can live in the directory, and if not, why. Changes
     * nothing. settings may be NULL (the defaults). */
    gboolean (*probe)(const char *path, GHashTable *settings, GError **error);

    /* Opens the pool in host's directory and returns the instance that all other calls get as self.
     * fresh: the pool is being made, nothing of it exists yet; otherwise what it needs must be
     * there (VARVE_ERROR_NOT_FOUND, _CORRUPT), though perhaps not mounted since the last boot. On
     * failure of a fresh one nothing is left behind. */
    gpointer (*open)(const VarveDriverHost *host, gboolean fresh, GError **error);
    void (*close)(gpointer self);

    /* Takes the pool's own files away; all its snapshots are gone. The instance is closed next. */
    gboolean (*destroy)(gpointer self, GError **error);

    /* The bytes that the file system which holds the snapshots has, and has free. For a pool in a
     * file that is not the one of host->dirfd. */
    gboolean (*space)(gpointer self, guint64 *size, guint64 *free, GError **error);

    /* Makes the snapshot: active ones writable with the parent's content, or empty with a root
     * directory 0755 of root. A view may need nothing on disk, if mounts() can present the parent
     * itself. Fails with VARVE_ERROR_ALREADY_EXISTS when the id is taken on disk. A parent may be
     * removed meanwhile; any error will do then, the engine finds out. */
    gboolean (*create)(gpointer self, const VarveDriverSnapshot *snapshot, GError **error);

    /* Makes an active snapshot immutable. NULL: nothing to do. Must be cheap: it copies nothing. */
    gboolean (*commit)(gpointer self, guint64 id, GError **error);

    /* Undoes commit; succeeds on a snapshot that is writable already. NULL exactly if commit is. */
    gboolean (*reopen)(gpointer self, guint64 id, GError **error);

    /* Returns when everything written to the snapshot (id 0: by open, for a fresh pool) before the
     * call is on disk. Calls that wait at the same time share the work (varve_batch). */
    gboolean (*sync)(gpointer self, guint64 id, GError **error);

    /* How it is presented: exactly one mount, which is returned. Cheap, and the same each time. */
    VarveMount *(*mounts)(gpointer self, const VarveDriverSnapshot *snapshot, GError **error);

    /* Disk space in bytes (allocated, not apparent) and inodes of an active or committed snapshot,
     * less what it has unchanged from its parent. */
    gboolean (*usage)(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage,
                      GError **error);

    /* Calls func for everything that varve/changes.h tells of a snapshot that is no view, in that
     * order. What an active one is written meanwhile may or may not be seen. scratch is an id that
     * is free, for what has to be on disk meanwhile: none of it is left, or remove(scratch) is
     * called after a crash. */
    gboolean (*changes)(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
                        VarveChangeFunc func, gpointer data, GError **error);

    /* Makes the snapshot id, committed, of the state that the active snapshot of has now; of goes
     * on, and has id for its parent from then on, as if it had been created on it and written to
     * since. sync(id) is called next. When it fails nothing is left behind; should publishing fail,
     * or the process die, remove(id) is called and of is again what it was. NULL: cannot. */
    gboolean (*capture)(gpointer self, guint64 of, guint64 id, GError **error);

    /* The snapshot, active or committed, is about to have its parent's parent for its own: what is
     * noted of how it came from its parent does not hold any more. It may stay as it is then. NULL:
     * nothing is noted. */
    gboolean (*forget_parent)(gpointer self, guint64 id, GError **error);

    /* Lets an active snapshot hold that many bytes at most, whether it shares them with its parents
     * or not; 0: as many as there are. It may have a limit already. NULL: cannot. */
    gboolean (*limit)(gpointer self, guint64 id, guint64 bytes, GError **error);

    /* The native stream, by a name that says what can read it, such as "btrfs-send-2": what one
     * pool sends another one receives if they have the same. NULL: none, and then send and receive
     * are NULL too. */
    const char *stream_format;

    /* Writes a committed snapshot to sink: whole, or, with base (the id of another committed one;
     * 0: none), what has to be done to that to make this one of it. base is one of its parents, not
     * necessarily the nearest. scratch is as with changes. Ends early with sink's error. What was
     * written when it fails is no whole stream, and receive refuses it. */
    gboolean (*send)(gpointer self, const VarveDriverSnapshot *snapshot, guint64 base,
                     guint64 scratch, const VarveSink *sink, GError **error);

    /* Makes a snapshot, committed, of what send wrote: on parents[0] when that was with a base, of
     * which parents[0] then is the like. The stream may come from anybody: whatever is in it,
     * nothing but this snapshot is touched. source ends where the stream does, and is read to that
     * end, so that who checks what passes through it has seen all before this succeeds. sync() is
     * called next. Fails with VARVE_ERROR_CORRUPT when it is no such stream, is damaged, or does
     * not fit the parent; nothing is left then. After a crash remove(id) is called. */
    gboolean (*receive)(gpointer self, const VarveDriverSnapshot *snapshot,
                        const VarveSource *source, GError **error);

    /* Opens what a snapshot has beyond its parents, where that is a directory of its own in the
     * form that a layer of overlayfs has. Returns -1 with the error set. NULL: a snapshot is whole,
     * and what mounts() tells of is all there is. */
    int (*open_layer)(gpointer self, guint64 id, GError **error);

    gboolean (*remove)(gpointer self, guint64 id, GError **error);

    /* Removes several at once, where that is cheaper than one after the other, and sets errors[i]
     * for those that it could not. They may stand on each other. NULL: remove does it. */
    void (*remove_many)(gpointer self, const guint64 *ids, gsize n, GError **errors);

    /* Calls func for every id that has something on disk, in any order, each at least once. Ends
     * early when func returns FALSE (its error is passed on). Strange names are left alone. */
    gboolean (*list)(gpointer self, VarveDriverListFunc func, gpointer data, GError **error);
} VarveDriver;

/* --- registry (registry.c) ------------------------------------------------------------------ */

/* All drivers, ended by NULL, in the order in which "auto" tries them. One whose module is missing
 * is there, with a probe that tells why; varve_driver_find() fails with that. */
const VarveDriver *const *varve_driver_all(void);

/* VARVE_ERROR_NOT_FOUND naming those that there are, VARVE_ERROR_INVALID_ARGUMENT for "",
 * VARVE_ERROR_FAILED_PRECONDITION for one whose module is missing. */
const VarveDriver *varve_driver_find(const char *name, GError **error);

/* The first driver, in order, whose probe of path succeeds. Never fails: native works anywhere. */
const VarveDriver *varve_driver_auto(const char *path);

/* Settings that every pool has, of whichever driver: path and durability. Ended by a NULL name. */
const VarveDriverSetting *varve_driver_common_settings(void);

/* Checks settings (may be NULL) against the driver's table and the common one: an unknown name or
 * an ill-typed value is VARVE_ERROR_INVALID_ARGUMENT, naming it and what is allowed. */
gboolean varve_driver_check_settings(const VarveDriver *driver, GHashTable *settings,
                                     GError **error);

/* The value of a setting, or its fallback; settings may be NULL. */
VARVE_SHARED const char *varve_driver_setting(const VarveDriver *driver, GHashTable *settings,
                                              const char *name);

/* "1.5G" style sizes to bytes. */
gboolean varve_driver_parse_size(const char *text, guint64 *bytes, GError **error);

/* --- changes path by path (changes-plain.c) -------------------------------------------------- */

/* Two trees. Each is what a mount shows, whole. */
typedef struct {
    int before; /* a directory descriptor; -1: there was nothing */
    int after;
    const gint *cancelled; /* may be NULL */
} VarveDriverTrees;

/* Calls func for the changes between them, found by comparing both: files of the same size and
 * modification time count as the same. Renames and further names of files are told as
 * varve_plain_changes_tell() does. */
gboolean varve_driver_compare_trees(const VarveDriverTrees *trees, VarveChangeFunc func,
                                    gpointer data, GError **error);

/* Changes that a driver tells, with every rename told as what it is path by path: what is at
 * either path is compared with what was at the same one. So which driver it was cannot be seen from
 * the answer. */
typedef struct VarvePlainChanges VarvePlainChanges;

VarvePlainChanges *varve_plain_changes_new(void);
void varve_plain_changes_free(VarvePlainChanges *plain);

/* Takes a change. A VarveChangeFunc. */
gboolean varve_plain_changes_add(const VarveChange *change, gpointer plain, GError **error);

/* Once, when all were taken. A path whose file is that of an added or changed path as well, and
 * which did not change itself, is told too, as modified in nothing: for those who have to keep the
 * two together. */
gboolean varve_plain_changes_tell(VarvePlainChanges *plain, const VarveDriverTrees *trees,
                                  VarveChangeFunc func, gpointer data, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePlainChanges, varve_plain_changes_free)

extern const VarveDriver varve_driver_btrfs;
extern const VarveDriver varve_driver_overlay;
extern const VarveDriver varve_driver_native;
extern const VarveDriver varve_driver_mock; /* for tests of clients */

#endif
