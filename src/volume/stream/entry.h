/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_ENTRY_H
#define VARVE_STREAM_ENTRY_H

/* Entries of files that are there. */

#include "base/attributes.h"
#include "volume/stream/records.h"

typedef Varve__Stream__Entry__Kind VarveStreamEntryKind;

/* Writes an entry with all that a file has but its content. */
gboolean varve_stream_entry_tell(const VarveSink *sink, VarveStreamEntryKind kind, const char *path,
                                 VarveFile file, const struct stat *st, GError **error);

/* One that has nothing but its path, and, for a LINK, its target. */
gboolean varve_stream_entry_tell_bare(const VarveSink *sink, VarveStreamEntryKind kind,
                                      const char *path, const char *target, GError **error);

#endif
