/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include <string.h>
#include <varve/sections.h>

typedef struct {
    const VarveSectionsReader *reader;
    gpointer data;
    guint line;
    char *section;    /* NULL: none yet */
    GHashTable *seen; /* "SECTION\n" and "SECTION\nSETTING" to the line where it stood */
} Parser;

/* Nothing may be told twice: the second would silently win. */
static gboolean
check_first(Parser *parser, const char *what, const char *setting, GError **error)
{
    char *key = g_strdup_printf("%s\n%s", parser->section, setting);
    guint before = GPOINTER_TO_UINT(g_hash_table_lookup(parser->seen, key));
    g_hash_table_replace(parser->seen, key, GUINT_TO_POINTER(parser->line));
    return before == 0 || varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                          "%s was already given in line %u", what, before);
}

/* "pool   fast" is "pool fast". */
static char *
one_blank_between(const char *words)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) list = g_strsplit_set(words, " \t", -1);
    for (char **word = list; *word != NULL; word++)
        if (**word != '\0')
            g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "", *word);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean
begin_section(Parser *parser, const char *header, GError **error)
{
    g_free(parser->section);
    parser->section = one_blank_between(header);
    g_autofree char *what = g_strdup_printf("section [%s]", parser->section);
    return check_first(parser, what, "", error) &&
           parser->reader->section(parser->data, parser->section, parser->line, error);
}

static gboolean
take_setting(Parser *parser, char *line, GError **error)
{
    char *equals = strchr(line, '=');
    if (equals == NULL || equals == line)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "neither a [section] nor a 'setting = value': '%s'", line);
    *equals = '\0';
    const char *name = g_strchomp(line), *value = g_strchug(equals + 1);
    if (parser->section == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "setting '%s' stands before any section", name);
    g_autofree char *what = g_strdup_printf("setting '%s'", name);
    return check_first(parser, what, name, error) &&
           parser->reader->setting(parser->data, name, value, parser->line, error);
}

static gboolean
take_line(Parser *parser, char *line, GError **error)
{
    g_strstrip(line);
    gsize length = strlen(line);
    if (length == 0 || *line == '#' || *line == ';')
        return TRUE;
    if (*line != '[')
        return take_setting(parser, line, error);
    if (line[length - 1] != ']')
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "section without a ']' at its end: '%s'", line);
    line[length - 1] = '\0';
    return begin_section(parser, line + 1, error);
}

gboolean
varve_sections_parse(const char *file, const char *text, const VarveSectionsReader *reader,
                     gpointer data, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    Parser parser = {.reader = reader, .data = data, .seen = seen};
    gboolean ok = TRUE;
    for (char **line = lines; ok && *line != NULL; line++) {
        parser.line++;
        ok = take_line(&parser, *line, error);
    }
    if (!ok)
        g_prefix_error(error, "%s:%u: ", file, parser.line);
    g_free(parser.section);
    return ok;
}

gboolean
varve_sections_load(const char *file, const VarveSectionsReader *reader, gpointer data,
                    GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) cause = NULL;
    gsize length = 0;
    if (!g_file_get_contents(file, &text, &length, &cause)) {
        gboolean missing = g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        return varve_error_set(error,
                               missing ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_INVALID_ARGUMENT,
                               "reading the configuration: %s", cause->message);
    }
    if (strlen(text) != length || !g_utf8_validate(text, (gssize)length, NULL))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: not a text in UTF-8",
                               file);
    return varve_sections_parse(file, text, reader, data, error);
}
