/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_INFLIGHT_H
#define VARVE_STORE_INFLIGHT_H

/*
 * What the processes that share a root must know of each other while they work: which ids are
 * taken, and which are being worked on, so that nobody takes another's half-made snapshot for
 * garbage, and everybody can tell what a dead process left behind.
 *
 * It stands in a file that all of them map. It need not survive a power cut and is never synced:
 * what it says holds for one boot only, and after the next one the disk has to be searched.
 */

#include "base/error.h"

typedef struct VarveInflight VarveInflight;

/* Opens, or makes, the file beneath dirfd. min_id: no id up to it is given out again. Takes a place
 * for this process (VARVE_ERROR_UNAVAILABLE when all are taken). */
VarveInflight *varve_inflight_open(int dirfd, const char *name, guint64 min_id, GError **error);
void varve_inflight_close(VarveInflight *inflight);

/* An id that nobody was given before. */
guint64 varve_inflight_new_id(VarveInflight *inflight);

/* Says that this process works on an id of a pool, until end: FALSE when somebody else does. Two
 * that try at the same moment may both get FALSE. *slot is for end. Waits while this process works
 * on more than it has slots for. */
gboolean varve_inflight_begin(VarveInflight *inflight, guint32 pool, guint64 id, guint *slot);
void varve_inflight_end(VarveInflight *inflight, guint slot);

/* Whether some living process works on that id. */
gboolean varve_inflight_holds(VarveInflight *inflight, guint32 pool, guint64 id);

typedef void (*VarveInflightFunc)(guint32 pool, guint64 id, gpointer data);

/* Calls func for every id that a dead process was working on. Each is reported once, to one
 * caller. */
void varve_inflight_reap(VarveInflight *inflight, VarveInflightFunc func, gpointer data);

/* Whether the machine was booted since the file was last used, or a search was asked for: then the
 * disk has to be searched for what was half-made, until somebody says that this is done. */
gboolean varve_inflight_search_due(VarveInflight *inflight);
void varve_inflight_request_search(VarveInflight *inflight);
void varve_inflight_search_done(VarveInflight *inflight);

/* The housekeeping lock: one process at a time, and one thread of it, searches and frees. FALSE
 * when another one has it and wait is not set. */
gboolean varve_inflight_lock(VarveInflight *inflight, gboolean wait);
void varve_inflight_unlock(VarveInflight *inflight);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveInflight, varve_inflight_close)

#endif
