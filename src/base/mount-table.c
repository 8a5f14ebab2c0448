/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount-table.h"
#include "base/fd.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fields of a line, up to the separator "-": see proc_pid_mountinfo(5). */
enum { FIELD_ID = 0, FIELD_DEVICE = 2, FIELD_ROOT, FIELD_POINT, FIELD_FLAGS, FIXED_FIELDS };

void
varve_mount_entry_free(VarveMountEntry *entry)
{
    if (entry == NULL)
        return;
    g_free(entry->device);
    g_free(entry->root);
    g_free(entry->point);
    g_free(entry->options);
    g_free(entry);
}

VarveMountEntry *
varve_mount_entry_copy(const VarveMountEntry *entry)
{
    VarveMountEntry *copy = g_new(VarveMountEntry, 1);
    *copy = *entry;
    copy->device = g_strdup(entry->device);
    copy->root = g_strdup(entry->root);
    copy->point = g_strdup(entry->point);
    copy->options = g_strdup(entry->options);
    return copy;
}

static gboolean
has_flag(const char *flags, const char *flag)
{
    g_auto(GStrv) list = g_strsplit(flags, ",", -1);
    return g_strv_contains((const char *const *)list, flag);
}

/* Blanks and the like in a field are written as octal numbers. NULL for a line of another form. */
static VarveMountEntry *
parse_line(const char *line)
{
    g_auto(GStrv) fields = g_strsplit(line, " ", -1);
    guint n = g_strv_length(fields), separator = FIXED_FIELDS;
    while (separator < n && !g_str_equal(fields[separator], "-"))
        separator++;
    if (separator + 3 >= n)
        return NULL;
    VarveMountEntry *entry = g_new(VarveMountEntry, 1);
    entry->id = g_ascii_strtoull(fields[FIELD_ID], NULL, 10);
    entry->device = g_strdup(fields[FIELD_DEVICE]);
    entry->root = g_strcompress(fields[FIELD_ROOT]);
    entry->point = g_strcompress(fields[FIELD_POINT]);
    entry->options = g_strdup(fields[separator + 3]);
    entry->read_only = has_flag(fields[FIELD_FLAGS], "ro");
    return entry;
}

GPtrArray *
varve_mount_table_read(const char *process, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/mountinfo", process), *text = NULL;
    g_autoptr(GError) failure = NULL;
    if (!g_file_get_contents(path, &text, NULL, &failure)) {
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "reading what is mounted: %s",
                        failure->message);
        return NULL;
    }
    GPtrArray *table = g_ptr_array_new_with_free_func((GDestroyNotify)varve_mount_entry_free);
    for (char *line = text, *end; *line != '\0'; line = end) {
        end = strchrnul(line, '\n');
        if (*end != '\0')
            *end++ = '\0';
        VarveMountEntry *entry = parse_line(line);
        if (entry != NULL)
            g_ptr_array_add(table, entry);
    }
    return table;
}

/* The one mounted last comes last. */
const VarveMountEntry *
varve_mount_table_find(GPtrArray *table, const char *point)
{
    for (guint i = table->len; i > 0; i--) {
        const VarveMountEntry *entry = table->pdata[i - 1];
        if (g_str_equal(entry->point, point))
            return entry;
    }
    return NULL;
}

gboolean
varve_mount_is_point(const char *path, gboolean *is, GError **error)
{
    struct statx st;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    *is = FALSE;
    if (statx(AT_FDCWD, path, flags, 0, &st) == 0) {
        *is = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
        if ((st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
            return TRUE;
    } else if (errno == ENOENT || errno == ENOTDIR) {
        return TRUE;
    }
    /* Linux before 5.8 does not tell, nor does a file system that fails. */
    g_autoptr(GPtrArray) table = varve_mount_table_read("self", error);
    *is = table != NULL && varve_mount_table_find(table, path) != NULL;
    return table != NULL;
}

char *
varve_mount_entry_option(const VarveMountEntry *entry, const char *key)
{
    g_auto(GStrv) options = g_strsplit(entry->options, ",", -1);
    gsize length = strlen(key);
    for (char **option = options; *option != NULL; option++)
        if (strncmp(*option, key, length) == 0 && (*option)[length] == '=')
            return g_strcompress(*option + length + 1);
    return NULL;
}

/* --- the same elsewhere ----------------------------------------------------------------------- */

/* Two mounts of overlayfs that write to one directory. */
static gboolean
has_same_upper(const VarveMountEntry *entry, const VarveMountEntry *other)
{
    if (strstr(entry->options, "upperdir=") == NULL || strstr(other->options, "upperdir=") == NULL)
        return FALSE;
    g_autofree char *mine = varve_mount_entry_option(entry, "upperdir");
    g_autofree char *its = varve_mount_entry_option(other, "upperdir");
    return g_strcmp0(mine, its) == 0;
}

static gboolean
is_same(const VarveMountEntry *entry, const VarveMountEntry *other)
{
    if (has_same_upper(entry, other))
        return TRUE;
    gsize length = strlen(entry->root);
    if (!g_str_equal(entry->device, other->device) || !g_str_has_prefix(other->root, entry->root))
        return FALSE;
    return other->root[length] == '\0' || other->root[length] == '/' ||
           g_str_equal(entry->root, "/");
}

/* One at except, or of those in left_out (may be NULL), does not count. */
static const VarveMountEntry *
find_same(GPtrArray *table, const VarveMountEntry *entry, const char *except, GHashTable *left_out)
{
    for (guint i = 0; table != NULL && i < table->len; i++) {
        const VarveMountEntry *other = table->pdata[i];
        if (is_same(entry, other) && g_strcmp0(other->point, except) != 0 &&
            (left_out == NULL || !g_hash_table_contains(left_out, &other->id)))
            return other;
    }
    return NULL;
}

static GHashTable *
ids_of(GPtrArray *table)
{
    GHashTable *ids = g_hash_table_new(g_int64_hash, g_int64_equal);
    for (guint i = 0; table != NULL && i < table->len; i++)
        g_hash_table_add(ids, &((VarveMountEntry *)table->pdata[i])->id);
    return ids;
}

/* The first mount that a process has, which tells its namespace from others: the link
 * /proc/PID/ns/mnt would take the right to trace it. NULL for one that has ended. */
static char *
first_mount_of(const char *process)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/mountinfo", process);
    char line[256];
    varve_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line);
    return n > 0 ? g_strndup(line, (gsize)n) : NULL;
}

static char *
describe_process(const char *process, const VarveMountEntry *entry)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/comm", process), *name = NULL;
    if (!g_file_get_contents(path, &name, NULL, NULL))
        name = g_strdup("?");
    return g_strdup_printf("on %s in the mount namespace of process %s (%s)", entry->point, process,
                           g_strchomp(name));
}

char *
varve_mount_table_find_other(const VarveMountEntry *entry, const char *except)
{
    g_autoptr(GPtrArray) own = varve_mount_table_read("self", NULL);
    const VarveMountEntry *same = find_same(own, entry, except, NULL);
    if (same != NULL)
        return g_strconcat("on ", same->point, NULL);

    g_autoptr(GHashTable) own_ids = ids_of(own);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GDir) processes = g_dir_open("/proc", 0, NULL);
    for (const char *name; processes != NULL && (name = g_dir_read_name(processes)) != NULL;) {
        char *first = g_ascii_isdigit(*name) ? first_mount_of(name) : NULL;
        if (first == NULL || !g_hash_table_add(seen, first))
            continue;
        g_autoptr(GPtrArray) table = varve_mount_table_read(name, NULL);
        same = find_same(table, entry, entry->point, own_ids);
        if (same != NULL)
            return describe_process(name, same);
    }
    return NULL;
}
