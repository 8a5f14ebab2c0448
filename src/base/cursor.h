/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_CURSOR_H
#define VARVE_BASE_CURSOR_H

/*
 * A cursor in a directory tree: led from path to path, it keeps open what the next path has in
 * common with the last one. So paths in order cost one directory each, whatever their depth, and
 * may be longer than the kernel takes paths. No symbolic link is followed, no mount is entered.
 */

#include "base/attributes.h"

typedef struct VarveCursor VarveCursor;

/* dirfd: the tree's root; stays the caller's. */
VarveCursor *varve_cursor_new(int dirfd, GError **error);
void varve_cursor_free(VarveCursor *cursor);

/* Goes to the directory that a path ("/", "/dir/file") is in. *there: the tree has that directory;
 * then *file is what the path names in it, which need not be there, and lives until the next call
 * (the name as long as path). */
gboolean varve_cursor_seek(VarveCursor *cursor, const char *path, VarveFile *file, gboolean *there,
                           GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveCursor, varve_cursor_free)

#endif
