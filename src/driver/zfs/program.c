/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>

/* The kernel's own limits. The memory is first asked for as most programs need it, since the
 * library takes as much for the answer. */
#define INSTRUCTIONS (100 * 1000 * 1000)
#define SOME_MEMORY  (8 * 1024 * 1024)
#define ALL_MEMORY   (100 * 1024 * 1024)

/* A program that ended with an error of its own says why in words. */
static gboolean
set_program_error(GError **error, int errnum, nvlist_t *answer, const char *doing, const char *base)
{
    const char *text = varve_zfs_string(answer, "error");
    if (text == NULL)
        return varve_zfs_set_error(error, errnum, doing, base);
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s %s: %s", doing, base, text);
}

static int
call(const char *pool, VarveZfsProgramKind kind, const char *program, guint64 memory,
     nvlist_t *args, nvlist_t **answer)
{
    g_clear_pointer(answer, nvlist_free);
    return kind == VARVE_ZFS_CHANGE
               ? lzc_channel_program(pool, program, INSTRUCTIONS, memory, args, answer)
               : lzc_channel_program_nosync(pool, program, INSTRUCTIONS, memory, args, answer);
}

/* One that changes nothing may be run again with more. */
static gboolean
wants_memory(VarveZfsProgramKind kind, int errnum)
{
    return kind == VARVE_ZFS_LOOK && (errnum == ENOMEM || errnum == ENOSPC || errnum == EOVERFLOW);
}

nvlist_t *
varve_zfs_run(const char *base, VarveZfsProgramKind kind, const char *program, nvlist_t *args,
              const char *doing, GError **error)
{
    if (!varve_zfs_check_pool(base, error))
        return NULL;
    g_autoptr(nvlist_t) own = NULL, answer = NULL;
    if (args == NULL)
        args = own = fnvlist_alloc();
    fnvlist_add_string(args, "base", base);
    g_autofree char *pool = varve_zfs_pool_of(base);
    int errnum = call(pool, kind, program, SOME_MEMORY, args, &answer);
    if (wants_memory(kind, errnum))
        errnum = call(pool, kind, program, ALL_MEMORY, args, &answer);
    if (errnum != 0) {
        set_program_error(error, errnum, answer, doing, base);
        return NULL;
    }
    nvlist_t *result = varve_zfs_table(answer, "return");
    return result != NULL ? fnvlist_dup(result) : fnvlist_alloc();
}

nvlist_t *
varve_zfs_datasets(const VarveZfsName *names, gsize n)
{
    g_autofree char **pointers = g_new(char *, n);
    for (gsize i = 0; i < n; i++)
        pointers[i] = (char *)names[i].text;
    nvlist_t *args = fnvlist_alloc();
    fnvlist_add_string_array(args, "datasets", pointers, (guint)n);
    return args;
}

/* --- tables ----------------------------------------------------------------------------------- */

const char *
varve_zfs_string(nvlist_t *table, const char *name)
{
    char *value = NULL;
    return table != NULL && nvlist_lookup_string(table, name, &value) == 0 ? value : NULL;
}

gint64
varve_zfs_number(nvlist_t *table, const char *name, gint64 fallback)
{
    int64_t value;
    return table != NULL && nvlist_lookup_int64(table, name, &value) == 0 ? value : fallback;
}

nvlist_t *
varve_zfs_table(nvlist_t *table, const char *name)
{
    nvlist_t *value = NULL;
    return table != NULL && nvlist_lookup_nvlist(table, name, &value) == 0 ? value : NULL;
}

#define SHOWN 3

char *
varve_zfs_join(nvlist_t *table)
{
    guint n = 0;
    g_autoptr(GString) text = g_string_new(NULL);
    for (nvpair_t *pair = NULL;
         table != NULL && (pair = nvlist_next_nvpair(table, pair)) != NULL;) {
        char *value;
        if (nvpair_value_string(pair, &value) == 0 && n++ < SHOWN)
            g_string_append_printf(text, "%s%s", n > 1 ? ", " : "", value);
    }
    if (n > SHOWN)
        g_string_append_printf(text, " and %u more", n - SHOWN);
    return n > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}
