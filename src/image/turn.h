/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_TURN_H
#define VARVE_IMAGE_TURN_H

/*
 * Turns: of all processes and threads that want to make the same thing, one has the turn, and the
 * others wait. It ends with its process, however that dies.
 *
 *     ROOT/turns/WHAT    a file with a lock on it; removed by who has the turn, at its end, or by
 *                        varve_turns_clear() for a process that died
 */

#include "base/error.h"

typedef struct VarveTurn VarveTurn;

/* Waits for it. what: a file name, of the caller's making. Returns NULL with the error set. */
VarveTurn *varve_turn_take(int rootfd, const char *what, const gint *cancelled, GError **error);
void varve_turn_end(VarveTurn *turn);

/* Does not wait: *turn is NULL when somebody else has it. */
gboolean varve_turn_try(int rootfd, const char *what, VarveTurn **turn, GError **error);

/* Removes the files of those turns that nobody has. */
gboolean varve_turns_clear(int rootfd, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveTurn, varve_turn_end)

#endif
