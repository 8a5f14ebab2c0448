/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_FD_H
#define VARVE_BASE_FD_H

/* Descriptors instead of paths. */

#include "base/error.h"
#include <fcntl.h>

/* Closes *fd, if it is not negative, and sets it to -1; errno is kept. */
VARVE_SHARED void varve_fd_clear(int *fd);

#define varve_autofd __attribute__((cleanup(varve_fd_clear))) int

/* Opens a directory for use with *at calls; never follows a symbolic link in its last component.
 * Returns -1 with the error set. */
VARVE_SHARED int varve_fd_open_dir(int dirfd, const char *path, GError **error);

/* Opens what a path leads to beneath a directory, over no symbolic link, no ".." and no mount
 * point; "" is the directory. Returns -1 with errno set. */
int varve_fd_open_beneath(int dirfd, const char *path, int flags);

/* Whether that errno value says that nothing is there, or not what was asked for. */
gboolean varve_fd_is_absent(int errnum);

/* Makes a directory if it is not there (mode is set exactly, whatever the umask) and opens it. */
int varve_fd_make_dir(int dirfd, const char *path, mode_t mode, GError **error);

/* Makes a pipe hold up to 1 MiB, the most that the system allows by itself, so that both ends take
 * fewer turns. Nothing happens to what is no pipe, nor where that is not allowed. */
void varve_fd_enlarge_pipe(int fd);

/* Reads that much at an offset, interrupted or not, or what there is before the end. -1 with errno
 * set. */
gssize varve_fd_read_all(int fd, void *bytes, gsize size, gint64 offset);

/* Writes all of it, interrupted or not, at an offset, or where the file is. FALSE with errno set.
 */
#define VARVE_FD_HERE ((gint64)-1)
gboolean varve_fd_write_all(int fd, const void *bytes, gsize size, gint64 offset);

/* Whether the name beneath dirfd leads to what fd is. Who has waited for a lock on a file asks
 * that: whoever had it before may have removed the file, or put another in its place. */
gboolean varve_fd_is_linked(int fd, int dirfd, const char *name);

/* Files that are made in this directory, or this file, if it is still empty, are written in place,
 * where the file system would not do that by itself (btrfs). Does nothing where it cannot. */
void varve_fd_set_nocow(int fd);

#endif
