/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_PIPED_H
#define VARVE_DRIVER_PIPED_H

/* Calls into the kernel that write a stream to a descriptor, or read one from it, in one go. They
 * get a pipe, at whose other end the stream passes piece by piece. */

#include "base/stream.h"
#include "base/tree.h"

/* Such a call: fd is its end of the pipe. Returns 0 or an errno value. */
typedef int (*VarvePipedFunc)(int fd, gpointer data);

typedef struct VarvePiped VarvePiped;

/* Has func write, in a thread named so. data must live until the end. cancelled may be NULL. */
VARVE_SHARED VarvePiped *varve_piped_begin(const char *name, VarvePipedFunc func, gpointer data,
                                           const gint *cancelled, GError **error);

/* Reads some of it: how much; 0 at its end; -1 with the error set. */
VARVE_SHARED gssize varve_piped_read(VarvePiped *piped, void *buffer, gsize size, GError **error);

/* Ends it, wherever it is, and frees it. Returns what func did; that it was not let finish is no
 * failure. */
VARVE_SHARED int varve_piped_end(VarvePiped *piped);

/* Has func write all of it to sink. Sets *failed to what func returned. A stream that func breaks
 * off ends as a whole one does: TRUE, and *failed tells. */
VARVE_SHARED gboolean varve_piped_send(const char *name, VarvePipedFunc func, gpointer data,
                                       const VarveSink *sink, const VarveTreeWatch *watch,
                                       int *failed, GError **error);

/* Has func read source, which is read in another thread. Sets *failed to what func returned. FALSE
 * when source failed; or, if func did not, has more than func read (VARVE_ERROR_CORRUPT). */
VARVE_SHARED gboolean varve_piped_receive(const char *name, VarvePipedFunc func, gpointer data,
                                          const VarveSource *source, const VarveTreeWatch *watch,
                                          int *failed, GError **error);

#endif
