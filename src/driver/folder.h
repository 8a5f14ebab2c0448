/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_FOLDER_H
#define VARVE_DRIVER_FOLDER_H

/*
 * What drivers that keep snapshots in directories share: a folder in the pool's directory, and in
 * it
 *
 *     <shard>/<id>      one entry per id, its decimal number; the shard is <id> modulo 64
 *
 * Shards are there because the kernel locks a directory while an entry is made in it. With 16
 * threads on two processors, mkdir on ext4 takes half the time in 64 directories of what it takes
 * in one; on btrfs, snapshots that are made in different directories join the same transaction,
 * while those in one directory wait for a commit each.
 */

#include "driver/driver.h"

/* Opens the folder. With fresh it is made, and must not be there yet; it hands no default ACL of
 * its surroundings down to snapshots. Returns -1 with the error set, and nothing made. */
int varve_folder_open(int dirfd, const char *name, gboolean fresh, mode_t mode, GError **error);

/* Removes a folder that has no entries any more; it is no error when there is none. */
gboolean varve_folder_remove(int dirfd, const char *name, GError **error);

typedef struct {
    char text[32];
} VarveFolderName;

/* An entry's path from the folder, and its name in its shard. */
VarveFolderName varve_folder_path(guint64 id);
VarveFolderName varve_folder_name(guint64 id);

/* Opens the shard that the id's entry is in. */
int varve_folder_open_shard(int folder, guint64 id, GError **error);

/* Makes an id's directory, empty, with exactly that mode. VARVE_ERROR_ALREADY_EXISTS when there is
 * one. */
gboolean varve_folder_make(int folder, guint64 id, mode_t mode, GError **error);

/* Calls func for each entry that is named by an id, or by "<id>.<something>" for what a driver
 * keeps beside one, as a driver's list does. */
gboolean varve_folder_list(int folder, VarveDriverListFunc func, gpointer data, GError **error);

/* What a driver's space tells of a folder on a file system that statvfs(3) has the numbers of. */
gboolean varve_folder_space(int folder, guint64 *size, guint64 *free, GError **error);

#endif
