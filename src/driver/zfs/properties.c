/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/zfs.h"

/*
 * What the datasets of a pool need, so that they keep all that a plain directory would (rows S8 and
 * S11): names of any bytes, told apart by each of them; xattrs, POSIX ACLs and device nodes. See
 * zfsprops(7).
 */

/* Numbers as the kernel has them, since names are a matter of the command line tools. */
enum { OFF = 0, ON = 1, HIDDEN = 0, POSIX = 1, SENSITIVE = 0, NONE = 0 };

typedef struct {
    const char *name;
    const char *value;
    guint64 number;
    gboolean text;
    const char *also; /* another value that will do */
} Property;

/* Looked at each time that a pool is opened. */
static const Property kept[] = {
    {"mountpoint", "legacy", 0, TRUE, NULL}, /* mounted by those who use them, and nowhere else */
    {"acltype", "posix", POSIX, FALSE, NULL},
    {"xattr", "sa", ZFS_XATTR_SA, FALSE,
     "on"}, /* in the inode; "on": in directories, which is slow */
    {"readonly", "off", OFF, FALSE, NULL},
    {"snapdir", "hidden", HIDDEN, FALSE, NULL}, /* .zfs would be part of each snapshot's content */
    {"devices", "on", ON, FALSE, NULL},
    {"exec", "on", ON, FALSE, NULL},
    {"setuid", "on", ON, FALSE, NULL},
    {NULL},
};

/* Only for the beginning. Those that cannot be changed later on need no look: every dataset is a
 * clone of one that was made with them. */
static const Property initial[] = {
    {"atime", "off", OFF, FALSE, NULL}, /* reading a snapshot would write to it */
    {"casesensitivity", "sensitive", SENSITIVE, FALSE, NULL},
    {"normalization", "none", NONE, FALSE, NULL},
    {"utf8only", "off", OFF, FALSE, NULL},
    {NULL},
};

static const Property *const tables[] = {kept, initial};

nvlist_t *
varve_zfs_properties_new(void)
{
    nvlist_t *result = fnvlist_alloc();
    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const Property *property = tables[i]; property->name != NULL; property++) {
            if (property->text)
                fnvlist_add_string(result, property->name, property->value);
            else
                fnvlist_add_uint64(result, property->name, property->number);
        }
    }
    return result;
}

void
varve_zfs_properties_add_options(GPtrArray *argv)
{
    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const Property *property = tables[i]; property->name != NULL; property++) {
            g_ptr_array_add(argv, g_strdup("-O"));
            g_ptr_array_add(argv, g_strconcat(property->name, "=", property->value, NULL));
        }
    }
}

void
varve_zfs_properties_add_names(nvlist_t *args, const char *name)
{
    char *names[G_N_ELEMENTS(kept)];
    guint n = 0;
    for (const Property *property = kept; property->name != NULL; property++)
        names[n++] = (char *)property->name;
    fnvlist_add_string_array(args, name, names, n);
}

static void
add_conflict(const Property *property, const char *dataset, const char *value, const char *source,
             GString *conflicts)
{
    gboolean set = source != NULL && !g_str_equal(source, "default");
    g_string_append_printf(conflicts, "%s%s of %s is '%s'", conflicts->len > 0 ? "; " : "",
                           property->name, dataset, value);
    if (set && !g_str_equal(source, dataset))
        g_string_append_printf(conflicts, " (by %s)", source);
    g_string_append_printf(conflicts, " and must be '%s': 'zfs set %s=%s %s'", property->value,
                           property->name, property->value, set ? source : dataset);
}

void
varve_zfs_properties_check(const char *dataset, nvlist_t *found, GString *conflicts)
{
    for (const Property *property = kept; property->name != NULL; property++) {
        nvlist_t *pair = varve_zfs_table(found, property->name);
        const char *value = varve_zfs_string(pair, "value");
        if (value == NULL || g_str_equal(value, property->value) ||
            g_strcmp0(value, property->also) == 0)
            continue;
        add_conflict(property, dataset, value, varve_zfs_string(pair, "source"), conflicts);
    }
}
