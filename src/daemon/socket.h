/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_SOCKET_H
#define VARVE_DAEMON_SOCKET_H

/* The unix socket that varved makes for itself, where systemd did not hand it one. */

#include <varve/error.h>

typedef struct VarveSocket VarveSocket;

/* Makes a listening stream socket at path, mode 0600; with a group (a name or a number), 0660 and
 * of that group. It never has a wider mode on the way. Its directory is made if it is missing.
 *
 * What is at path already: a socket that answers belongs to a running process
 * (VARVE_ERROR_ALREADY_EXISTS); one that does not is what a dead process left, and is replaced;
 * anything else is left alone (VARVE_ERROR_FAILED_PRECONDITION). Of two processes that try at the
 * same time one gets the socket. */
VarveSocket *varve_socket_new(const char *path, const char *group, GError **error);

/* Hands the descriptor over; it can be had once. */
int varve_socket_steal_fd(VarveSocket *socket);

/* Removes the path, if it is still this socket's; what is connected stays so. The descriptor must
 * still be open, else a stranger's socket may look like this one. */
void varve_socket_unlink(VarveSocket *socket);

/* Frees the structure and closes the descriptor, if it was not handed over; the path stays. */
void varve_socket_free(VarveSocket *socket);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSocket, varve_socket_free)

#endif
