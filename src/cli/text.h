/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_TEXT_H
#define VARVE_CLI_TEXT_H

/* Text for people: names that cannot harm a terminal, sizes, times. */

#include <glib.h>

/* The text with everything that is not printable as \n, \t, \xHH (a byte that is no UTF-8) or
 * \uHHHH, and a backslash as two: no name can move the cursor, break a row or look like another. */
char *cli_escape(const char *text);

/* The same with backslashes as they are: for messages, in which names are escaped already. */
char *cli_escape_message(const char *text);

/* A name for a table, escaped. Unless full, "sha256:" digests are cut to twelve digits and the
 * whole to 64 columns. */
char *cli_display_name(const char *name, gboolean full);

/* Columns that a text takes on a terminal; colour sequences (ESC [ ... m) take none. */
gsize cli_text_width(const char *text);

/* The text between colour sequences, where stdout takes colours; else a copy. sgr: the parameters
 * of "Select Graphic Rendition", ECMA-48 8.3.117, e.g. "1;32"; NULL for none. */
char *cli_paint(const char *sgr, const char *text);

/* "1.2 GiB" */
char *cli_format_size(guint64 bytes);

/* Times in nanoseconds since the epoch: "3 days ago", and as RFC 3339 has them, in UTC. */
char *cli_format_age(gint64 time);
char *cli_format_time(gint64 time);

/* The keys of a table of char* in the order of their bytes, ended by NULL; they stay the table's.
 */
const char **cli_sorted_keys(GHashTable *table);

/* Whether the terminal takes UTF-8; it is assumed to unless the locale says something else. */
gboolean cli_use_utf8(void);

/* Writes what is buffered for stdout; a failure is told by cli_finish_stdout(). */
void cli_flush_stdout(void);

/* Flushes stdout and closes it; FALSE with the error set when anything could not be written. */
gboolean cli_finish_stdout(GError **error);

#endif
