/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SECTIONS_H
#define VARVE_SECTIONS_H

/*
 * Files of sections and settings, as Varve's configuration is one:
 *
 *     # a comment
 *     [section]
 *     setting = value
 *
 * Blanks around each part do not matter, and so do not those between the words of a section. A
 * section, and a setting of one, may be told once only.
 */

#include <varve/error.h>

G_BEGIN_DECLS

typedef struct {
    /* What stands between the brackets. */
    gboolean (*section)(gpointer data, const char *header, guint line, GError **error);
    /* A setting of the section that began last. */
    gboolean (*setting)(gpointer data, const char *name, const char *value, guint line,
                        GError **error);
} VarveSectionsReader;

/* Reads a text; file is its name in messages, which begin with "FILE:LINE: ". The reader's errors
 * end it. VARVE_ERROR_INVALID_ARGUMENT: it is no such text. */
VARVE_PUBLIC gboolean varve_sections_parse(const char *file, const char *text,
                                           const VarveSectionsReader *reader, gpointer data,
                                           GError **error);

/* The same of a file. VARVE_ERROR_NOT_FOUND: it is not there. */
VARVE_PUBLIC gboolean varve_sections_load(const char *file, const VarveSectionsReader *reader,
                                          gpointer data, GError **error);

G_END_DECLS

#endif
