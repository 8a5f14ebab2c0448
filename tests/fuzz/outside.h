/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_FUZZ_OUTSIDE_H
#define VARVE_FUZZ_OUTSIDE_H

/* A directory on a tmpfs of its own, for fuzzers that write to a directory in it, and in which the
 * directory "outside" with the file "victim" must stay as it is. */

#include <glib.h>
#include <sys/stat.h>

typedef struct {
    ino_t inode;
    mode_t mode;
    nlink_t links;
    uid_t uid;
    off_t size;
    struct timespec changed;
} OutsideLook;

typedef struct {
    OutsideLook directory, victim;
} Outside;

/* The directory; made when it is first asked for. */
int outside_top(void);

Outside outside_look(void);
void outside_assert_same(const Outside *before);

#endif
