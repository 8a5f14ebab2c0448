/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log-writer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <syslog.h>
#include <systemd/sd-journal.h>
#endif

static gboolean
is_plain(const char *value)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (!g_ascii_isgraph(*p) || *p == '"' || *p == '=' || *p == '\\')
            return FALSE;
    }
    return *value != '\0';
}

/* Appends the character at p and returns where the next one begins. */
static const char *
append_quoted(GString *line, const char *p)
{
    gunichar c = g_utf8_get_char_validated(p, -1);
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        g_string_append_printf(line, "\\x%02x", (guchar)*p);
        return p + 1;
    }
    if (c == '\n')
        g_string_append(line, "\\n");
    else if (c == '\t')
        g_string_append(line, "\\t");
    else if (g_unichar_iscntrl(c) && c < 0x80)
        g_string_append_printf(line, "\\x%02x", c);
    else if (g_unichar_iscntrl(c))
        g_string_append_printf(line, "\\u%04x", c);
    else if (c == '"' || c == '\\')
        g_string_append_printf(line, "\\%c", (char)c);
    else
        g_string_append_unichar(line, c);
    return g_utf8_next_char(p);
}

void
varve_log_writer_append(GString *line, const char *key, const char *value)
{
    g_string_append_printf(line, "%s%s=", line->len > 0 ? " " : "", key);
    if (is_plain(value)) {
        g_string_append(line, value);
        return;
    }
    g_string_append_c(line, '"');
    while (*value != '\0')
        value = append_quoted(line, value);
    g_string_append_c(line, '"');
}

/* The whole line with one system call, so that lines of several threads do not mix. */
static void
write_to_stderr(VarveLogLevel level, const char *message, const VarveLogField *fields,
                gsize n_fields, gpointer data)
{
    struct timespec now;
    struct tm utc;
    char date[32], stamp[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp, sizeof(stamp), "%s.%06ldZ", date, now.tv_nsec / 1000);

    g_autoptr(GString) line = g_string_sized_new(256);
    varve_log_writer_append(line, "time", stamp);
    varve_log_writer_append(line, "level", varve_log_level_name(level));
    varve_log_writer_append(line, "msg", message);
    for (gsize i = 0; i < n_fields; i++)
        varve_log_writer_append(line, fields[i].key, fields[i].value);
    g_string_append_c(line, '\n');
    for (gsize done = 0; done < line->len;) {
        gssize n = write(STDERR_FILENO, line->str + done, line->len - done);
        if (n < 0 && errno != EINTR)
            return; /* there is nowhere left to tell */
        done += n > 0 ? (gsize)n : 0;
    }
}

#ifdef HAVE_SYSTEMD

/* JOURNAL_STREAM names the device and inode that a service's standard error was connected to;
 * see systemd.exec(5). */
static gboolean
stderr_is_journal(void)
{
    const char *stream = g_getenv("JOURNAL_STREAM");
    struct stat st;
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return FALSE;
    g_autofree char *own = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return g_str_equal(stream, own);
}

/* "pool" is VARVE_POOL in the journal: field names are upper case, letters, digits and '_'. */
static char *
journal_field(const VarveLogField *field)
{
    g_autofree char *name = g_ascii_strup(field->key, -1);
    g_strcanon(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", '_');
    return g_strdup_printf("VARVE_%s=%s", name, field->value);
}

/* The message holds the fields too, since that is what journalctl shows. */
static void
write_to_journal(VarveLogLevel level, const char *message, const VarveLogField *fields,
                 gsize n_fields, gpointer data)
{
    static const int priorities[] = {
        [VARVE_LOG_ERROR] = LOG_ERR,
        [VARVE_LOG_WARNING] = LOG_WARNING,
        [VARVE_LOG_INFO] = LOG_INFO,
        [VARVE_LOG_DEBUG] = LOG_DEBUG,
    };
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) text = g_string_new("MESSAGE=");
    g_string_append(text, message);
    for (gsize i = 0; i < n_fields; i++) {
        varve_log_writer_append(text, fields[i].key, fields[i].value);
        g_ptr_array_add(lines, journal_field(&fields[i]));
    }
    g_ptr_array_add(lines, g_strdup_printf("PRIORITY=%d", priorities[level]));
    g_ptr_array_add(lines, g_strdup("SYSLOG_IDENTIFIER=varved"));
    g_ptr_array_add(lines, g_strdup(text->str));

    g_autofree struct iovec *parts = g_new(struct iovec, lines->len);
    for (guint i = 0; i < lines->len; i++)
        parts[i] = (struct iovec){lines->pdata[i], strlen(lines->pdata[i])};
    if (sd_journal_sendv(parts, (int)lines->len) < 0)
        write_to_stderr(level, message, fields, n_fields, data);
}

#endif

void
varve_log_writer_install(void)
{
#ifdef HAVE_SYSTEMD
    if (stderr_is_journal()) {
        varve_log_set_handler(write_to_journal, NULL);
        return;
    }
#endif
    varve_log_set_handler(write_to_stderr, NULL);
}
