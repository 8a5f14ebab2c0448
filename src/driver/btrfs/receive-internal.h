/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_RECEIVE_INTERNAL_H
#define VARVE_DRIVER_BTRFS_RECEIVE_INTERNAL_H

/* A stream being carried out: its state, and the commands, one file for each sort of them. */

#include "driver/btrfs/places.h"
#include "driver/btrfs/receive.h"
#include "driver/btrfs/send-stream.h"
#include "driver/transferred.h"

#define VARVE_RECEIVE_UUID 16

/* A regular file that is open, since a stream does all that it has to do with one in a row. */
typedef struct {
    char *path; /* NULL: none */
    int fd;
} VarveReceiveFile;

typedef struct {
    const VarveReceiveTarget *target;
    const VarveSource *source;
    VarveTransferred received;

    gboolean begun;
    guint8 uuid[VARVE_RECEIVE_UUID]; /* what the stream calls the subvolume, and the base */
    guint8 base_uuid[VARVE_RECEIVE_UUID];

    VarvePlaces *places, *base; /* base: NULL when there is none */
    VarveReceiveFile file;      /* written to */
    VarveReceiveFile shared;    /* the last one that blocks were shared with */
    gboolean shared_of_base;
    guint64 first_made;  /* the first inode that was made; all later ones have higher numbers; 0:
                            none  yet, or not looked at */
    GBytes *default_acl; /* what the root directory gets at the end: see receive.c; NULL: none */
    struct timespec root_times[2]; /* the same: atime, mtime */
} VarveReceive;

#define VARVE_DEFAULT_ACL "system.posix_acl_default"

/* --- the files that are open (receive-content.c) -----------------------------------------------
 */

/* The file of that path, opened for writing unless it is already. Belongs to receive. */
int varve_receive_open(VarveReceive *receive, const char *path, GError **error);

/* Makes fd, whose owner it becomes, the file that is open. */
void varve_receive_set_file(VarveReceive *receive, const char *path, int fd);

void varve_receive_file_clear(VarveReceiveFile *file);

/* --- commands --------------------------------------------------------------------------------- */

typedef gboolean (*VarveReceiveFunc)(VarveReceive *receive, const VarveSendCommand *command,
                                     GError **error);

/* receive-names.c */
gboolean varve_receive_make_file(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_make_other(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_rename(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_link(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_remove(VarveReceive *, const VarveSendCommand *, GError **);

/* receive-attributes.c */
gboolean varve_receive_xattr(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_chmod(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_chown(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_utimes(VarveReceive *, const VarveSendCommand *, GError **);

/* receive-content.c */
gboolean varve_receive_write(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_clone(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_truncate(VarveReceive *, const VarveSendCommand *, GError **);
gboolean varve_receive_fallocate(VarveReceive *, const VarveSendCommand *, GError **);

/* receive-encoded.c */
gboolean varve_receive_encoded(VarveReceive *, const VarveSendCommand *, GError **);

#endif
