/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_COLUMNS  64
#define DIGEST_PREFIX "sha256:"
#define DIGEST_DIGITS 64
#define DIGEST_SHOWN  12
#define NANOSECONDS   G_GINT64_CONSTANT(1000000000)
#define MINUTE        G_GINT64_CONSTANT(60)
#define HOUR          (60 * MINUTE)
#define DAY           (24 * HOUR)

/* --- names --------------------------------------------------------------------------------- */

/* Format characters, such as those that turn the writing direction, are not printable to GLib; line
 * and paragraph separators are, so they are named. */
static gboolean
is_printable(gunichar c)
{
    return g_unichar_isprint(c) && c != 0x2028 && c != 0x2029;
}

static void
append_escaped(GString *out, gunichar c)
{
    if (c == '\n')
        g_string_append(out, "\\n");
    else if (c == '\t')
        g_string_append(out, "\\t");
    else if (is_printable(c))
        g_string_append_unichar(out, c);
    else
        g_string_append_printf(out, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
}

static char *
escape(const char *text, gboolean backslashes)
{
    GString *out = g_string_sized_new(strlen(text));
    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);
        if (c == '\\' && backslashes)
            g_string_append_c(out, '\\');
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(out, "\\x%02x", (guint8)*text++);
        } else {
            append_escaped(out, c);
            text = g_utf8_next_char(text);
        }
    }
    return g_string_free(out, FALSE);
}

char *
cli_escape(const char *text)
{
    return escape(text, TRUE);
}

char *
cli_escape_message(const char *text)
{
    return escape(text, FALSE);
}

/* "sha256:" and all of a digest's digits, wherever they stand in the name, to the first few. */
static char *
shorten_digests(const char *name)
{
    GString *out = g_string_new(NULL);
    for (const char *digest; (digest = strstr(name, DIGEST_PREFIX)) != NULL;) {
        const char *digits = digest + strlen(DIGEST_PREFIX);
        gsize n = strspn(digits, "0123456789abcdef");
        g_string_append_len(out, name, digits - name);
        g_string_append_len(out, digits, (gssize)(n == DIGEST_DIGITS ? DIGEST_SHOWN : n));
        name = digits + n;
    }
    g_string_append(out, name);
    return g_string_free(out, FALSE);
}

static gsize
char_width(gunichar c)
{
    if (g_unichar_iszerowidth(c))
        return 0;
    return g_unichar_iswide(c) ? 2 : 1;
}

/* Cuts valid UTF-8 to at most so many columns. */
static void
cut(char *text, gsize columns)
{
    const char *mark = cli_use_utf8() ? "…" : "~";
    if (cli_text_width(text) <= columns)
        return;
    gsize width = 0;
    char *end = text;
    for (; *end != '\0'; end = g_utf8_next_char(end)) {
        width += char_width(g_utf8_get_char(end));
        if (width > columns - 1)
            break;
    }
    /* There is room: what is left out takes at least as many bytes as columns, or was wider. */
    if (strlen(end) >= strlen(mark))
        g_strlcpy(end, mark, strlen(end) + 1);
    else
        *end = '\0';
}

char *
cli_display_name(const char *name, gboolean full)
{
    if (full)
        return cli_escape(name);
    g_autofree char *shorter = shorten_digests(name);
    char *escaped = cli_escape(shorter);
    cut(escaped, NAME_COLUMNS);
    return escaped;
}

gsize
cli_text_width(const char *text)
{
    gsize width = 0;
    while (*text != '\0') {
        if (g_str_has_prefix(text, "\033[")) {
            text += strcspn(text, "m");
            text += *text == 'm';
            continue;
        }
        width += char_width(g_utf8_get_char(text));
        text = g_utf8_next_char(text);
    }
    return width;
}

/* --- the terminal -------------------------------------------------------------------------- */

/* https://no-color.org */
static gboolean
use_colour(void)
{
    const char *no_color = g_getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0') &&
           g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

char *
cli_paint(const char *sgr, const char *text)
{
    static int colour = -1;
    if (colour < 0)
        colour = use_colour();
    if (!colour || sgr == NULL)
        return g_strdup(text);
    return g_strdup_printf("\033[%sm%s\033[0m", sgr, text);
}

gboolean
cli_use_utf8(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (gsize i = 0; i < G_N_ELEMENTS(variables); i++) {
        const char *value = g_getenv(variables[i]);
        if (value != NULL && *value != '\0')
            return g_get_charset(NULL);
    }
    return TRUE;
}

static int stdout_errno;

void
cli_flush_stdout(void)
{
    if (fflush(stdout) != 0 && stdout_errno == 0)
        stdout_errno = errno;
}

gboolean
cli_finish_stdout(GError **error)
{
    cli_flush_stdout();
    gboolean failed = ferror(stdout) != 0;
    if (fclose(stdout) != 0 && stdout_errno == 0)
        stdout_errno = errno;
    if (!failed && stdout_errno == 0)
        return TRUE;
    /* A write in the middle of much output left no errno. */
    int errnum = stdout_errno != 0 ? stdout_errno : EIO;
    g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errnum),
                "writing to standard output: %s", g_strerror(errnum));
    return FALSE;
}

/* --- sizes and times ----------------------------------------------------------------------- */

char *
cli_format_size(guint64 bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    gsize unit = 0;
    for (; value >= 1023.95 && unit < G_N_ELEMENTS(units) - 1; unit++)
        value /= 1024;
    return g_strdup_printf(unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

char *
cli_format_time(gint64 time)
{
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(time / NANOSECONDS);
    if (utc == NULL || time < 0)
        return g_strdup("unknown");
    g_autofree char *seconds = g_date_time_format(utc, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%09" G_GINT64_FORMAT "Z", seconds, time % NANOSECONDS);
}

char *
cli_format_age(gint64 time)
{
    static const struct {
        gint64 seconds;
        const char *name;
    } units[] = {
        {365 * DAY, "year"}, {30 * DAY, "month"}, {DAY, "day"},
        {HOUR, "hour"},      {MINUTE, "minute"},  {1, "second"},
    };
    gint64 age = g_get_real_time() / G_USEC_PER_SEC - time / NANOSECONDS;
    if (age < 0) /* a clock that was set back */
        return cli_format_time(time);
    for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
        gint64 n = age / units[i].seconds;
        if (n > 0)
            return g_strdup_printf("%" G_GINT64_FORMAT " %s%s ago", n, units[i].name,
                                   n == 1 ? "" : "s");
    }
    return g_strdup("now");
}

static int
compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **
cli_sorted_keys(GHashTable *table)
{
    guint n;
    const char **keys = (const char **)g_hash_table_get_keys_as_array(table, &n);
    qsort(keys, n, sizeof *keys, compare_strings);
    return keys;
}
