/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_BOOT_ID_H
#define VARVE_BASE_BOOT_ID_H

#include <glib.h>

#define VARVE_BOOT_ID_SIZE 40 /* a UUID, ended by NUL, and room */

/* Fills the buffer with what tells this boot from others (proc_sys_kernel(5)), and zeros behind it;
 * "" where /proc is not mounted. */
void varve_boot_id_read(char *buffer, gsize size);

#endif
