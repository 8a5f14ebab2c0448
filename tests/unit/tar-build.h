/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_TAR_BUILD_H
#define VARVE_TESTS_TAR_BUILD_H

/* Tar archives made byte by byte, also such as no tar would write. */

#include <glib.h>

typedef struct {
    char type; /* 0: a file */
    const char *name;
    const char *content; /* a file's */
    const char *target;
    guint mode; /* 0: 0644, or 0755 for directories */
    guint uid, gid;
    gint64 mtime;
    guint major, minor;
    GString *pax;        /* records for an extended header in front; taken */
    const char *size;    /* what the header says instead of the content's size, in octal */
    const char *raw_uid; /* the field's 8 bytes */
    gboolean gnu;        /* a GNU header instead of ustar's */
} TarFile;

void tar_add(GByteArray *tar, TarFile file);
void tar_end(GByteArray *tar);

/* Adds a record: "key=value". */
void tar_record(GString *pax, const char *key, const void *value, gssize size);

/* One record. */
GString *tar_pax(const char *key, const char *value);

#endif
