/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_FOLDER_H
#define VARVE_DRIVER_FOLDER_H

/*
 * What drivers that keep snapshots in directories share: a folder in the pool's directory, with one
 * directory per id in it, named by the id's decimal number.
 */

#include "driver/driver.h"

/* Opens the folder. With fresh it is made, and must not be there yet; it hands no default ACL of
 * its surroundings down to snapshots. Returns -1 with the error set, and nothing made. */
int varve_folder_open(int dirfd, const char *name, gboolean fresh, mode_t mode, GError **error);

typedef struct {
    char text[24];
} VarveFolderName;

/* The name of an id's entry. */
VarveFolderName varve_folder_name(guint64 id);

/* Makes an id's directory, empty, with exactly that mode. VARVE_ERROR_ALREADY_EXISTS when there is
 * one. */
gboolean varve_folder_make(int folder, guint64 id, mode_t mode, GError **error);

/* Calls func for each entry that is named by an id, as a driver's list does. */
gboolean varve_folder_list(int folder, VarveDriverListFunc func, gpointer data, GError **error);

#endif
