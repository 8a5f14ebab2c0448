/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_LOOP_H
#define VARVE_BASE_LOOP_H

/*
 * Loop devices: files as block devices. See loop(4).
 *
 * A device made here detaches itself when nobody has it open or mounted any more (autoclear), so
 * that no crash can leave one behind. Hence no function to detach one: who attaches it holds the
 * descriptor until it is mounted; unmounting does the rest.
 */

#include "base/error.h"

/* Attaches the file behind fd, opened for reading and writing, to a free device. Returns the
 * device's descriptor, and its path in *path, or -1 with the error set. */
int varve_loop_attach(int fd, char **path, GError **error);

/* Finds a device that the whole of the file is attached to. Returns TRUE with *device -1 when there
 * is none; otherwise with its descriptor, which keeps it attached, and its path in *path. */
gboolean varve_loop_find(int fd, int *device, char **path, GError **error);

#endif
