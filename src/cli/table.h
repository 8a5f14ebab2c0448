/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_TABLE_H
#define VARVE_CLI_TABLE_H

/* Aligned columns on stdout. */

#include <glib.h>

typedef struct CliTable CliTable;

/* titles: those of the columns, separated by |. A column whose title begins with > is set to the
 * right. Where all are empty, no line of titles is printed. */
CliTable *cli_table_new(const char *titles);
void cli_table_free(CliTable *table);

/* Adds a row: one string per column, which the table takes. They are printed as they are, so escape
 * what is not yours; colour sequences take no width. */
void cli_table_add(CliTable *table, ...);

void cli_table_print(const CliTable *table);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliTable, cli_table_free)

#endif
