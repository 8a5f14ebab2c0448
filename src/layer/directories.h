/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_DIRECTORIES_H
#define VARVE_LAYER_DIRECTORIES_H

/*
 * The directories of the tree that a layer is applied to: found by path, made where they are
 * missing, remembered for the entries that follow, and given their attributes and times when
 * nothing is going to be made in them any more. That is when they are forgotten, so memory and
 * descriptors are bounded; one that is needed again after that keeps the times that it has.
 */

#include "layer/apply.h"

typedef struct VarveDirectories VarveDirectories;

typedef struct VarveDirectory {
    struct VarveDirectory *parent; /* NULL: the root */
    char *name;
    GHashTable *children; /* by name; NULL as long as there are none */
    gsize path_length;
    int fd;
    GList open_link, leaf_link; /* in the lists of VarveDirectories */
    gid_t gid;
    gboolean plain_group; /* what is made in it is of our group */
    gboolean default_acl; /* what is made in it gets an ACL */
    gboolean opaque;      /* no layer below shows */
    gboolean recorded;    /* see varve_writer */
    gboolean dirty;       /* its times must be set */
    gboolean set_mode;    /* and its mode */
    mode_t mode;
    struct timespec times[2];
    GBytes *acl; /* the default ACL that it must have */
} VarveDirectory;

VarveDirectories *varve_directories_new(const VarveLayerTarget *target, GError **error);
void varve_directories_free(VarveDirectories *directories);

/* The directory of that path; "" is the root. A missing one is made, or, unless make, *found is
 * NULL. It lives until varve_directories_trim(). */
gboolean varve_directories_find(VarveDirectories *directories, const char *path, gboolean make,
                                VarveDirectory **found, GError **error);

/* A descriptor of it, for use before the next ones are asked for; -1 with the error set. */
int varve_directory_fd(VarveDirectories *directories, VarveDirectory *directory, GError **error);

/* Remembers a directory that was just made. */
VarveDirectory *varve_directory_add(VarveDirectories *directories, VarveDirectory *parent,
                                    const char *name);

/* One that is there: opens it. *opened is NULL, and *failed an errno value, when that is not
 * possible because it is none. */
gboolean varve_directory_open(VarveDirectories *directories, VarveDirectory *parent,
                              const char *name, VarveDirectory **opened, int *failed,
                              GError **error);

/* Forgets what is known of that name, since it was removed. */
void varve_directory_drop(VarveDirectories *directories, VarveDirectory *parent, const char *name);

/* Gives a directory, of which fd is one's descriptor, overlayfs's xattr; the root needs more. */
gboolean varve_directory_make_opaque(VarveDirectory *directory, int fd, GError **error);

/* Whether the tree below shows in a directory. */
gboolean varve_directory_is_merged(VarveDirectories *directories, const VarveDirectory *directory);

/* The directory of the tree below that shows in it; -1 where there is none. */
int varve_directory_open_below(VarveDirectories *directories, const VarveDirectory *directory);

/* Its path from the root; "" for the root. */
char *varve_directory_path(const VarveDirectory *directory);

/* Forgets directories that were not used for long, when there are too many; or all. */
gboolean varve_directories_trim(VarveDirectories *directories, GError **error);
gboolean varve_directories_finish(VarveDirectories *directories, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveDirectories, varve_directories_free)

#endif
