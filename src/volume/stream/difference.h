/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_DIFFERENCE_H
#define VARVE_STREAM_DIFFERENCE_H

/* Which paths may differ between a snapshot and one that it stands on, not only its parent. */

#include "driver/driver.h"

/* steps: the names of the snapshot, its parent, and so on, without the one that it is compared
 * with: char*; none: everything is told as added. Some paths that do not differ may be told, and of
 * those that are told as modified, in what is known only where there is one step. */
gboolean varve_stream_difference(VarvePool *pool, const GPtrArray *steps,
                                 const VarveDriverTrees *trees, VarveChangeFunc func, gpointer data,
                                 GError **error);

#endif
