/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_CHANGES_MODEL_H
#define VARVE_TESTS_CHANGES_MODEL_H

/*
 * What varve/changes.h says that changes are, done again in the simplest way: both trees are read
 * into memory, every path of one is looked for in the other. For small trees.
 *
 * A change is a line of text:
 *
 *     added /a            modified /a content,time       renamed /b from /a mode
 *     deleted /a          replaced /a                    (bytes that are not printable are escaped)
 */

#include <varve/changes.h>

/* The line; free it. */
char *changes_line(const VarveChange *change);

/* A VarveChangeFunc that adds the line to a GPtrArray of char*. */
gboolean changes_collect(const VarveChange *change, gpointer lines, GError **error);

/* Lines that the array frees. */
GPtrArray *changes_lines_new(void);
char *changes_join(const GPtrArray *lines);

/* The lines of the two trees, of which the directories are open (before: -1 for none). renames: new
 * paths to old ones (char*), as a file system told them; every one is checked to be possible. */
GPtrArray *changes_expected(int before, int after, GHashTable *renames);

#endif
