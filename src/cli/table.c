/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"
#include "cli/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define GAP 2 /* blanks between columns */

typedef struct {
    gboolean right;
    gsize width;
} Column;

struct CliTable {
    gsize n_columns;
    Column *columns;
    gboolean titled;  /* the first row is the titles */
    GPtrArray *cells; /* of char*, row by row */
};

static void
add_cell(CliTable *table, char *cell)
{
    Column *column = &table->columns[table->cells->len % table->n_columns];
    column->width = MAX(column->width, cli_text_width(cell));
    g_ptr_array_add(table->cells, cell);
}

CliTable *
cli_table_new(const char *titles)
{
    g_auto(GStrv) names = g_strsplit(titles, "|", -1);
    CliTable *table = g_new0(CliTable, 1);
    table->n_columns = g_strv_length(names);
    table->columns = g_new0(Column, table->n_columns);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->titled = strspn(titles, "|>") != strlen(titles);
    for (gsize i = 0; i < table->n_columns; i++) {
        table->columns[i].right = names[i][0] == '>';
        if (table->titled)
            add_cell(table, g_strdup(names[i] + table->columns[i].right));
    }
    return table;
}

void
cli_table_free(CliTable *table)
{
    g_ptr_array_unref(table->cells);
    g_free(table->columns);
    g_free(table);
}

void
cli_table_add(CliTable *table, ...)
{
    va_list args;
    va_start(args, table);
    for (gsize i = 0; i < table->n_columns; i++)
        add_cell(table, va_arg(args, char *));
    va_end(args);
}

void
cli_table_print(const CliTable *table)
{
    for (gsize i = 0; i < table->cells->len; i++) {
        const char *cell = g_ptr_array_index(table->cells, i);
        const Column *column = &table->columns[i % table->n_columns];
        gboolean last = (i + 1) % table->n_columns == 0;
        int blanks = (int)(column->width - cli_text_width(cell));
        if (column->right)
            printf("%*s%s%s", blanks, "", cell, last ? "\n" : "  ");
        else if (last)
            printf("%s\n", cell);
        else
            printf("%s%*s", cell, blanks + GAP, "");
    }
}
