/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_UUID_H
#define VARVE_BASE_UUID_H

/* A random UUID (RFC 9562, version 4), in lower case; to be freed. The kernel makes it: GLib's own
 * generator goes on in a process that was forked, so that both would make the same ones. */
char *varve_uuid_new(void);

#endif
