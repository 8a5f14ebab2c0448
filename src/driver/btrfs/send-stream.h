/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_SEND_STREAM_H
#define VARVE_DRIVER_BTRFS_SEND_STREAM_H

/*
 * Reads btrfs's send streams, of versions 1 and 2: a header, and then commands which, carried out
 * one after the other, make one subvolume of nothing or of another one. A command is a length, a
 * number, a checksum, and attributes, each a number, a length and a value, in any order.
 *
 * The source may be hostile: every length and checksum is checked, a command without what it needs
 * is refused, and memory is bounded by the largest command that there may be. What a path or a
 * number means is for the caller to check.
 *
 * Format: https://btrfs.readthedocs.io/en/latest/dev/dev-send-stream.html, fs/btrfs/send.h in
 * Linux.
 */

#include "base/error.h"
#include <time.h>

/* Numbered as in the stream. */
typedef enum {
    VARVE_SEND_SUBVOL = 1,
    VARVE_SEND_SNAPSHOT,
    VARVE_SEND_MKFILE,
    VARVE_SEND_MKDIR,
    VARVE_SEND_MKNOD,
    VARVE_SEND_MKFIFO,
    VARVE_SEND_MKSOCK,
    VARVE_SEND_SYMLINK, /* path is made, path_link is its target */
    VARVE_SEND_RENAME,  /* path to path_to */
    VARVE_SEND_LINK,    /* path is made, another name of path_link */
    VARVE_SEND_UNLINK,
    VARVE_SEND_RMDIR,
    VARVE_SEND_SET_XATTR,
    VARVE_SEND_REMOVE_XATTR,
    VARVE_SEND_WRITE,
    VARVE_SEND_CLONE,
    VARVE_SEND_TRUNCATE,
    VARVE_SEND_CHMOD,
    VARVE_SEND_CHOWN,
    VARVE_SEND_UTIMES,
    VARVE_SEND_END,           /* the last one of a stream */
    VARVE_SEND_UPDATE_EXTENT, /* instead of write, in a stream without data */
    VARVE_SEND_FALLOCATE,     /* from here on: version 2 */
    VARVE_SEND_FILEATTR,
    VARVE_SEND_ENCODED_WRITE,
} VarveSendKind;

/* Attributes, numbered as in the stream. */
typedef enum {
    VARVE_SEND_A_UUID = 1,
    VARVE_SEND_A_CTRANSID,
    VARVE_SEND_A_INO,
    VARVE_SEND_A_SIZE,
    VARVE_SEND_A_MODE,
    VARVE_SEND_A_UID,
    VARVE_SEND_A_GID,
    VARVE_SEND_A_RDEV,
    VARVE_SEND_A_CTIME,
    VARVE_SEND_A_MTIME,
    VARVE_SEND_A_ATIME,
    VARVE_SEND_A_OTIME,
    VARVE_SEND_A_XATTR_NAME,
    VARVE_SEND_A_XATTR_DATA,
    VARVE_SEND_A_PATH,
    VARVE_SEND_A_PATH_TO,
    VARVE_SEND_A_PATH_LINK,
    VARVE_SEND_A_FILE_OFFSET,
    VARVE_SEND_A_DATA,
    VARVE_SEND_A_CLONE_UUID,
    VARVE_SEND_A_CLONE_CTRANSID,
    VARVE_SEND_A_CLONE_PATH,
    VARVE_SEND_A_CLONE_OFFSET,
    VARVE_SEND_A_CLONE_LEN,
    VARVE_SEND_A_FALLOCATE_MODE, /* from here on: version 2 */
    VARVE_SEND_A_FILEATTR,
    VARVE_SEND_A_UNENCODED_FILE_LEN,
    VARVE_SEND_A_UNENCODED_LEN,
    VARVE_SEND_A_UNENCODED_OFFSET,
    VARVE_SEND_A_COMPRESSION,
    VARVE_SEND_A_ENCRYPTION,
} VarveSendAttribute;

#define VARVE_SEND_HAS(attribute) (1U << (attribute))

typedef struct {
    const guint8 *bytes;
    gsize length;
} VarveSendBytes;

/* One command. What it does not have is 0 or NULL; present tells, as VARVE_SEND_HAS(...), what it
 * has. Pointers live until the next command is read. Strings hold no NUL but the one at their end;
 * paths begin at the subvolume, without "/", and "" is its root directory. */
typedef struct {
    VarveSendKind kind;
    guint32 present;
    const char *path, *path_to, *path_link, *clone_path, *xattr_name;
    VarveSendBytes xattr_data, data;
    const guint8 *uuid, *clone_uuid; /* 16 bytes */
    guint64 ctransid, clone_ctransid;
    guint64 ino, mode, uid, gid, rdev;
    guint64 file_offset, size, clone_offset, clone_len;
    struct timespec atime, mtime, ctime, otime;
    guint32 fallocate_mode, compression, encryption;
    guint64 fileattr;
    guint64 unencoded_file_len, unencoded_len, unencoded_offset;
} VarveSendCommand;

/* Reads up to n bytes. Returns how many, 0 at the end, or -1 with the error set. */
typedef gssize (*VarveSendReadFunc)(gpointer data, guint8 *buffer, gsize n, GError **error);

typedef struct VarveSendStream VarveSendStream;

VarveSendStream *varve_send_stream_new(VarveSendReadFunc read, gpointer data);
void varve_send_stream_free(VarveSendStream *stream);

/* Reads the next command; none may be read after VARVE_SEND_END. VARVE_ERROR_CORRUPT when the
 * stream is damaged or ends too early, VARVE_ERROR_NOT_IMPLEMENTED when it is of a version that is
 * not known here, and what read() fails with. Attributes that are not known are passed over, as the
 * format asks. */
gboolean varve_send_stream_next(VarveSendStream *stream, VarveSendCommand *command, GError **error);

/* After VARVE_SEND_END: that the source ends there too. */
gboolean varve_send_stream_finish(VarveSendStream *stream, GError **error);

/* "rename", ... */
const char *varve_send_kind_name(VarveSendKind kind);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSendStream, varve_send_stream_free)

#endif
