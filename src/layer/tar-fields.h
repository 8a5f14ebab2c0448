/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_TAR_FIELDS_H
#define VARVE_LAYER_TAR_FIELDS_H

/* Where the fields of a header are, and how long: tar.h of POSIX.1-2017, and of GNU tar and star
 * where they differ. */
enum {
    TAR_NAME = 0,
    TAR_MODE = 100,
    TAR_UID = 108,
    TAR_GID = 116,
    TAR_SIZE = 124,
    TAR_MTIME = 136,
    TAR_CHECKSUM = 148,
    TAR_TYPE = 156,
    TAR_TARGET = 157,
    TAR_MAGIC = 257,
    TAR_MAJOR = 329,
    TAR_MINOR = 337,
    TAR_PREFIX = 345,
    TAR_GNU_ATIME = 345,
    TAR_GNU_CTIME = 357,
    TAR_STAR_ATIME = 476,
    TAR_STAR_MAGIC = 508,
};

/* Of numbers: modes, owners, devices and the checksum are short, sizes and times long. */
enum {
    TAR_NAME_SIZE = 100, /* of targets too */
    TAR_SHORT_SIZE = 8,
    TAR_LONG_SIZE = 12,
    TAR_PREFIX_SIZE = 155,
    TAR_STAR_PREFIX_SIZE = 131,
};

#endif
