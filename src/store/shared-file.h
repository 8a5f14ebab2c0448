/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_SHARED_FILE_H
#define VARVE_STORE_SHARED_FILE_H

/*
 * Files that all processes of a root map and write to: LMDB's locks, and what is in flight. They
 * need not survive the boot. Every byte of them is allocated beforehand, since a write to a mapped
 * hole on a full disk kills the process.
 *
 * On btrfs that is not enough: until Linux 6.15 it wants room for the first write to a mapped page
 * after each writeback, though the page is overwritten in place (btrfs_page_mkwrite). There the
 * file stands in memory, on a tmpfs, with a symbolic link in its place.
 */

#include "base/error.h"

typedef struct {
    int lock;   /* on the file beside the link, when there is one */
    int memory; /* and on the file in memory */
} VarveSharedFile;

#define VARVE_SHARED_FILE_INIT                                                                     \
    {                                                                                              \
        .lock = -1, .memory = -1                                                                   \
    }

/* Sees to it that the file NAME of size bytes is there beneath dirfd, for its owner only, and that
 * nobody replaces it until close. Returns FALSE with VARVE_ERROR_UNAVAILABLE when it is used by
 * processes that see another tmpfs, in another mount namespace. */
gboolean varve_shared_file_open(VarveSharedFile *file, int dirfd, const char *name, gsize size,
                                GError **error);

/* To be called after the user's own descriptors are closed: closing one takes all fcntl locks of
 * this process on the file away. */
void varve_shared_file_close(VarveSharedFile *file);

#endif
