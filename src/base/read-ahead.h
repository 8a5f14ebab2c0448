/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_READ_AHEAD_H
#define VARVE_BASE_READ_AHEAD_H

/*
 * Has the kernel begin to read what will be wanted soon (posix_fadvise(2), POSIX_FADV_WILLNEED).
 * Whoever reads many small files, or a few blocks of each, one after the other, waits for the disk
 * each time; told of some in advance, the disk serves them at once.
 */

#include "base/attributes.h"
#include <sys/types.h>

/* How many files to be ahead by: enough to keep a disk busy, and little memory. */
#define VARVE_READ_AHEAD_FILES 16

/* Of two regular files that will be compared, or of one alone (before has dirfd -1): what is not
 * known to be the same in both, of the first size bytes. No more than limit bytes of each. It fails
 * silently: whoever reads them finds out. */
void varve_read_ahead(VarveFile before, VarveFile after, off_t size, off_t limit);

#endif
