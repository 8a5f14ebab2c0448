/* SPDX-License-Identifier: Apache-2.0 */
#include "base/xattrs.h"
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

/* --- the calls -------------------------------------------------------------------------------- */

/* Xattr calls that take a directory and a name are too young (Linux 6.13) to be relied on; the
 * directory's entry in /proc serves. */
typedef struct {
    char text[sizeof "/proc/self/fd/-2147483648/" + NAME_MAX];
} ProcPath;

static ProcPath
proc_path(VarveFile file)
{
    ProcPath path;
    g_snprintf(path.text, sizeof path.text, "/proc/self/fd/%d/%s", file.dirfd, file.name);
    return path;
}

static ssize_t
list_xattrs(VarveFile file, char *list, size_t size)
{
    return file.name == NULL ? flistxattr(file.dirfd, list, size)
                             : llistxattr(proc_path(file).text, list, size);
}

ssize_t
varve_xattrs_get(VarveFile file, const char *name, void *value, size_t size)
{
    return file.name == NULL ? fgetxattr(file.dirfd, name, value, size)
                             : lgetxattr(proc_path(file).text, name, value, size);
}

int
varve_xattrs_set(VarveFile file, const char *name, const void *value, size_t size)
{
    if (value == NULL)
        return file.name == NULL ? fremovexattr(file.dirfd, name)
                                 : lremovexattr(proc_path(file).text, name);
    return file.name == NULL ? fsetxattr(file.dirfd, name, value, size, 0)
                             : lsetxattr(proc_path(file).text, name, value, size, 0);
}

/* --- overlayfs's own -------------------------------------------------------------------------- */

/* What follows the prefix of overlayfs's xattrs, or NULL when it is another one. */
static const char *
after_overlay_prefix(const char *name)
{
    static const char *const prefixes[] = {"trusted.overlay.", "user.overlay."};
    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_str_has_prefix(name, prefixes[i]))
            return name + strlen(prefixes[i]);
    }
    return NULL;
}

/* Overlayfs stores an inner overlay's xattrs as trusted.overlay.overlay.*: those are content. */
#define ESCAPE "overlay."

static gboolean
is_overlays_own(const char *name)
{
    const char *rest = after_overlay_prefix(name);
    return rest != NULL && !g_str_has_prefix(rest, ESCAPE);
}

/* The name under which a mount shows one that is in a layer. */
static char *
shown_name(const char *name, gboolean in_layer)
{
    const char *rest = in_layer ? after_overlay_prefix(name) : NULL;
    if (rest == NULL)
        return g_strdup(name);
    g_autofree char *prefix = g_strndup(name, (gsize)(rest - name));
    return g_strconcat(prefix, rest + strlen(ESCAPE), NULL);
}

/* XFS shows an ACL a second time, in the form in which it stores it. */
static gboolean
is_wanted(const char *name, VarveXattrs which)
{
    return !g_str_has_prefix(name, "trusted.SGI_ACL_") &&
           (which == VARVE_XATTRS_ALL || !is_overlays_own(name));
}

/* --- lists ------------------------------------------------------------------------------------ */

typedef struct {
    char some[1024]; /* enough for nearly all files */
    char *all;
    const char *names; /* one of the two: names with their NULs */
    size_t length;
} List;

static void
list_clear(List *list)
{
    g_free(list->all);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(List, list_clear)

/* Returns 0 or an errno value. */
static int
read_list(VarveFile file, List *list)
{
    list->all = NULL;
    list->names = list->some;
    list->length = 0;
    ssize_t length = list_xattrs(file, list->some, sizeof list->some);
    if (length < 0 && errno == ERANGE) {
        list->names = list->all = g_malloc(XATTR_LIST_MAX);
        length = list_xattrs(file, list->all, XATTR_LIST_MAX);
    }
    if (length < 0)
        return errno == EOPNOTSUPP ? 0 : errno;
    list->length = (size_t)length;
    return 0;
}

/* --- copying ---------------------------------------------------------------------------------- */

static gboolean
copy_xattr(VarveFile from, VarveFile to, const char *name, char *value, GError **error)
{
    ssize_t size = varve_xattrs_get(from, name, value, XATTR_SIZE_MAX);
    if (size < 0)
        return errno == ENODATA || varve_error_set_errno(error, errno, "reading xattr %s", name);
    return varve_xattrs_set(to, name, value, (size_t)size) == 0 ||
           varve_error_set_errno(error, errno, "setting xattr %s", name);
}

static gboolean
copy_listed(VarveFile from, VarveFile to, VarveXattrs which, const List *list, GError **error)
{
    g_autofree char *value = g_malloc(XATTR_SIZE_MAX);
    for (const char *name = list->names; name < list->names + list->length;
         name += strlen(name) + 1) {
        if (is_wanted(name, which) && !copy_xattr(from, to, name, value, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_xattrs_copy(VarveFile from, VarveFile to, VarveXattrs which, GError **error)
{
    if (which == VARVE_XATTRS_NONE)
        return TRUE;
    g_auto(List) list;
    int failed = read_list(from, &list);
    if (failed != 0)
        return varve_error_set_errno(error, failed, "listing xattrs");
    return list.length == 0 || copy_listed(from, to, which, &list, error);
}

/* --- comparing -------------------------------------------------------------------------------- */

typedef struct {
    char *shown;        /* the name that counts */
    const char *stored; /* the one to ask for */
} Name;

static void
name_clear(gpointer data)
{
    g_free(((Name *)data)->shown);
}

static int
order_of_names(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Name *)a)->shown, ((const Name *)b)->shown);
}

static GArray *
sorted_names(const List *list, gboolean in_layer)
{
    GArray *names = g_array_new(FALSE, FALSE, sizeof(Name));
    g_array_set_clear_func(names, name_clear);
    VarveXattrs which = in_layer ? VARVE_XATTRS_WITHOUT_OVERLAY : VARVE_XATTRS_ALL;
    for (const char *name = list->names; name < list->names + list->length;
         name += strlen(name) + 1) {
        if (is_wanted(name, which))
            g_array_append_val(names, ((Name){shown_name(name, in_layer), name}));
    }
    g_array_sort(names, order_of_names);
    return names;
}

/* Whether an xattr that could not be read has only gone, perhaps with its file. */
static gboolean
has_gone(int errnum)
{
    return errnum == ENODATA || errnum == ENOENT || errnum == ESTALE;
}

/* buffers: room for two values. */
static gboolean
same_value(VarveFile a, VarveFile b, const Name *x, const Name *y, char *buffers, gboolean *same,
           GError **error)
{
    char *other = buffers + XATTR_SIZE_MAX;
    *same = FALSE;
    ssize_t n = varve_xattrs_get(a, x->stored, buffers, XATTR_SIZE_MAX);
    ssize_t m = n < 0 ? -1 : varve_xattrs_get(b, y->stored, other, XATTR_SIZE_MAX);
    if (n < 0 || m < 0)
        return has_gone(errno) || varve_error_set_errno(error, errno, "reading xattr %s", x->shown);
    *same = n == m && memcmp(buffers, other, (size_t)n) == 0;
    return TRUE;
}

static gboolean
same_values(VarveFile a, const GArray *xs, VarveFile b, const GArray *ys, gboolean *same,
            GError **error)
{
    *same = xs->len == ys->len;
    for (guint i = 0; *same && i < xs->len; i++)
        *same = order_of_names(&g_array_index(xs, Name, i), &g_array_index(ys, Name, i)) == 0;
    if (!*same || xs->len == 0)
        return TRUE;
    g_autofree char *buffers = g_malloc(2 * (gsize)XATTR_SIZE_MAX);
    for (guint i = 0; *same && i < xs->len; i++) {
        if (!same_value(a, b, &g_array_index(xs, Name, i), &g_array_index(ys, Name, i), buffers,
                        same, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_xattrs_equal(VarveFile a, gboolean a_in_layer, VarveFile b, gboolean b_in_layer,
                   gboolean *equal, GError **error)
{
    g_auto(List) first = {.all = NULL}, second = {.all = NULL};
    int failed = read_list(a, &first);
    if (failed == 0)
        failed = read_list(b, &second);
    *equal = failed == 0 && first.length == 0 && second.length == 0;
    if (failed != 0)
        return has_gone(failed) || varve_error_set_errno(error, failed, "listing xattrs");
    if (*equal)
        return TRUE;
    g_autoptr(GArray) xs = sorted_names(&first, a_in_layer), ys = sorted_names(&second, b_in_layer);
    return same_values(a, xs, b, ys, equal, error);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void
xattr_clear(gpointer data)
{
    VarveXattr *xattr = data;
    g_free(xattr->name);
    g_free(xattr->value);
}

static gboolean
read_values(VarveFile file, const GArray *names, GArray *xattrs, GError **error)
{
    g_autofree char *value = g_malloc(XATTR_SIZE_MAX);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_array_index(names, Name, i).stored;
        ssize_t size = varve_xattrs_get(file, name, value, XATTR_SIZE_MAX);
        if (size < 0 && !has_gone(errno))
            return varve_error_set_errno(error, errno, "reading xattr %s", name);
        if (size < 0)
            continue;
        const VarveXattr xattr = {g_strdup(name), g_memdup2(value, (gsize)size), (gsize)size};
        g_array_append_val(xattrs, xattr);
    }
    return TRUE;
}

GArray *
varve_xattrs_read(VarveFile file, GError **error)
{
    g_auto(List) list = {.all = NULL};
    g_autoptr(GArray) xattrs = g_array_new(FALSE, FALSE, sizeof(VarveXattr));
    g_array_set_clear_func(xattrs, xattr_clear);
    int failed = read_list(file, &list);
    if (failed != 0 && !has_gone(failed)) {
        varve_error_set_errno(error, failed, "listing xattrs");
        return NULL;
    }
    if (failed == 0 && list.length > 0) {
        g_autoptr(GArray) names = sorted_names(&list, FALSE);
        if (!read_values(file, names, xattrs, error))
            return NULL;
    }
    return g_steal_pointer(&xattrs);
}

/* --- replacing -------------------------------------------------------------------------------- */

static gboolean
is_among(const char *name, const VarveXattr *wanted, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        if (g_str_equal(wanted[i].name, name))
            return TRUE;
    }
    return g_str_equal(name, "security.selinux") || !is_wanted(name, VARVE_XATTRS_ALL);
}

gboolean
varve_xattrs_replace(VarveFile file, const VarveXattr *wanted, gsize n, GError **error)
{
    g_auto(List) list;
    int failed = read_list(file, &list);
    if (failed != 0)
        return varve_error_set_errno(error, failed, "listing xattrs");
    for (const char *name = list.names; name < list.names + list.length; name += strlen(name) + 1) {
        if (!is_among(name, wanted, n) && varve_xattrs_set(file, name, NULL, 0) < 0 &&
            errno != ENODATA)
            return varve_error_set_errno(error, errno, "removing xattr %s", name);
    }
    for (gsize i = 0; i < n; i++) {
        const void *value = wanted[i].size > 0 ? (const void *)wanted[i].value : "";
        if (varve_xattrs_set(file, wanted[i].name, value, wanted[i].size) < 0)
            return varve_error_set_errno(error, errno, "setting xattr %s", wanted[i].name);
    }
    return TRUE;
}
