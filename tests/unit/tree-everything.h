/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_TREE_EVERYTHING_H
#define VARVE_TESTS_TREE_EVERYTHING_H

/* A directory tree with every kind of file and attribute that there is. */

#include <glib.h>

/* The size of its sparse files, at least: sparse-middle, sparse-ends and sparse-hole. */
#define TREE_SPARSE_SIZE (64 * 1024 * 1024)

/* "file" is linked as "hard-1" and "dir/hard-2", "fifo" as "dir/hard-fifo", "link-long" as
 * "dir/hard-link". */
void tree_make_everything(int dirfd, const char *name);

/* Makes a file of that content and exactly that mode. */
void tree_write_file(int dirfd, const char *name, const void *content, gsize size, mode_t mode);

/* Makes a directory and returns a descriptor of it. */
int tree_make_dir(int dirfd, const char *name, mode_t mode);

/* Sets an xattr of a file, not following it; of dirfd itself with "". */
void tree_set_xattr(int dirfd, const char *file, const char *name, const void *value, gsize size);

/* An ACL with a named user, as xattr. */
extern const guint8 tree_acl[44];

#endif
