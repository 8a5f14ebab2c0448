/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mount.h"
#include <string.h>
#include <sys/mount.h>

typedef struct {
    const char *name;
    unsigned long set, clear;               /* MS_* */
    guint64 set_attribute, clear_attribute; /* MOUNT_ATTR_* */
    gboolean super;                         /* the superblock hears of it as well */
} Flag;

#define MS_ATIMES (MS_NOATIME | MS_RELATIME | MS_STRICTATIME)

/* The options of mount(8) that stand for flags, in both dialects. */
static const Flag flags[] = {
    {"defaults", 0, 0, 0, 0, FALSE},
    {"ro", MS_RDONLY, 0, MOUNT_ATTR_RDONLY, 0, TRUE},
    {"rw", 0, MS_RDONLY, 0, MOUNT_ATTR_RDONLY, TRUE},
    {"nosuid", MS_NOSUID, 0, MOUNT_ATTR_NOSUID, 0, FALSE},
    {"suid", 0, MS_NOSUID, 0, MOUNT_ATTR_NOSUID, FALSE},
    {"nodev", MS_NODEV, 0, MOUNT_ATTR_NODEV, 0, FALSE},
    {"dev", 0, MS_NODEV, 0, MOUNT_ATTR_NODEV, FALSE},
    {"noexec", MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC, 0, FALSE},
    {"exec", 0, MS_NOEXEC, 0, MOUNT_ATTR_NOEXEC, FALSE},
    {"noatime", MS_NOATIME, MS_ATIMES, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, FALSE},
    {"atime", 0, MS_NOATIME, 0, MOUNT_ATTR_NOATIME, FALSE},
    {"relatime", MS_RELATIME, MS_ATIMES, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME, FALSE},
    {"norelatime", 0, MS_RELATIME, 0, 0, FALSE},
    {"strictatime", MS_STRICTATIME, MS_ATIMES, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME, FALSE},
    {"nodiratime", MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME, 0, FALSE},
    {"diratime", 0, MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME, FALSE},
    {"sync", MS_SYNCHRONOUS, 0, 0, 0, TRUE},
    {"async", 0, MS_SYNCHRONOUS, 0, 0, TRUE},
    {"dirsync", MS_DIRSYNC, 0, 0, 0, TRUE},
};

static const Flag *
find_flag(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (g_str_equal(flags[i].name, name))
            return &flags[i];
    }
    return NULL;
}

static void
apply_flag(VarveMountOptions *options, const Flag *flag)
{
    options->flags = (options->flags & ~flag->clear) | flag->set;
    options->attributes = (options->attributes & ~flag->clear_attribute) | flag->set_attribute;
    if (flag->super)
        g_ptr_array_add(options->super, (char *)flag->name);
}

void
varve_mount_options_parse(const VarveMount *mount, VarveMountOptions *options)
{
    *options = (VarveMountOptions){
        .bind = g_str_equal(mount->type, "bind"),
        .super = g_ptr_array_new(),
        .data = g_ptr_array_new(),
    };
    for (char **option = mount->options; option != NULL && *option != NULL; option++) {
        const Flag *flag = find_flag(*option);
        if (g_str_equal(*option, "bind") || g_str_equal(*option, "rbind")) {
            options->bind = TRUE;
            options->recursive = **option == 'r';
        } else if (flag != NULL) {
            apply_flag(options, flag);
        } else if (**option != '\0') {
            g_ptr_array_add(options->data, *option);
        }
    }
}

void
varve_mount_options_clear(VarveMountOptions *options)
{
    g_clear_pointer(&options->super, g_ptr_array_unref);
    g_clear_pointer(&options->data, g_ptr_array_unref);
}

const char *
varve_mount_option_value(const char *option, const char *key)
{
    gsize length = strlen(key);
    return strncmp(option, key, length) == 0 && option[length] == '=' ? option + length + 1 : NULL;
}

GPtrArray *
varve_mount_split_layers(const char *value)
{
    GPtrArray *layers = g_ptr_array_new_with_free_func(g_free);
    const char *start = value;
    for (const char *at = value;; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == ':' || *at == '\0') {
            g_ptr_array_add(layers, g_strndup(start, (gsize)(at - start)));
            if (*at == '\0')
                return layers;
            start = at + 1;
        }
    }
}

char *
varve_mount_unescape(const char *path)
{
    GString *plain = g_string_new(NULL);
    for (; *path != '\0'; path++) {
        if (*path == '\\' && path[1] != '\0')
            path++;
        g_string_append_c(plain, *path);
    }
    return g_string_free(plain, FALSE);
}
