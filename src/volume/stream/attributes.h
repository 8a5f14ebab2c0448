/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_ATTRIBUTES_H
#define VARVE_STREAM_ATTRIBUTES_H

/* Gives files what an entry says that they have. */

#include "base/attributes.h"
#include "volume/stream/records.h"

/* VARVE_ERROR_CORRUPT: something that no file can have. */
gboolean varve_stream_attributes_check(const VarveStreamEntry *entry, GError **error);

/* The access and the modification time. */
void varve_stream_attributes_times(const VarveStreamEntry *entry, struct timespec times[2]);

/* Owner, mode and extended attributes, exactly; and the times. */
gboolean varve_stream_attributes_set(const VarveStreamEntry *entry, VarveFile file, GError **error);

#endif
