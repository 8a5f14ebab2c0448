/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/fd.h"
#include "driver/zfs/zfs.h"
#include <libzfs_core.h>
#include <string.h>
#include <unistd.h>

#define KSTATS "/proc/spl/kstat/zfs"

/* --- the module ------------------------------------------------------------------------------- */

static char *
module_version(void)
{
    char *version = NULL;
    if (!g_file_get_contents("/sys/module/zfs/version", &version, NULL, NULL))
        return g_strdup("unknown");
    return g_strstrip(version);
}

static gboolean
set_mismatch(GError **error, const char *doing, const char *dataset)
{
    g_autofree char *version = module_version();
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "%s %s: the kernel's ZFS module (version %s) does not know the request: "
                           "it does not fit the installed libzfs_core; install both of one "
                           "version, and load that module (reboot)",
                           doing, dataset, version);
}

gboolean
varve_zfs_initialize(GError **error)
{
    int errnum = libzfs_core_init();
    switch (errnum) {
    case 0:
        return TRUE;
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the kernel has no ZFS: /dev/zfs cannot be opened (%s); load the "
                               "module with 'modprobe zfs'",
                               g_strerror(errnum));
    case EPERM:
    case EACCES:
        return varve_error_set(error, VARVE_ERROR_PERMISSION_DENIED,
                               "no permission to use ZFS: opening /dev/zfs: %s; this needs root, "
                               "and in a container the device",
                               g_strerror(errnum));
    default:
        return varve_error_set_errno(error, errnum, "opening /dev/zfs");
    }
}

void
varve_zfs_finalize(void)
{
    libzfs_core_fini();
}

/* --- the zpool -------------------------------------------------------------------------------- */

static gboolean
read_state(const char *pool, char *state, gsize size)
{
    g_autofree char *path = g_strdup_printf(KSTATS "/%s/state", pool);
    varve_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, state, size - 1) : -1;
    if (n < 0)
        return FALSE;
    state[n] = '\0';
    g_strstrip(state);
    return TRUE;
}

gboolean
varve_zfs_check_pool(const char *dataset, GError **error)
{
    char state[64];
    g_autofree char *pool = varve_zfs_pool_of(dataset);
    if (!read_state(pool, state, sizeof state))
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                               "the zpool '%s' is not imported: 'zpool import' lists those that "
                               "can be, 'zpool import %s' brings it back",
                               pool, pool);
    if (!g_str_equal(state, "SUSPENDED"))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                           "the zpool '%s' is suspended, since its disks do not answer: 'zpool "
                           "status %s' tells which; bring them back, then 'zpool clear %s'",
                           pool, pool, pool);
}

/* --- errno ------------------------------------------------------------------------------------ */

typedef struct {
    int errnum;
    VarveErrorCode code;
    const char *text;
} Meaning;

/* Where what ZFS means is not what the number says elsewhere. */
static const Meaning meanings[] = {
    {ENOSPC, VARVE_ERROR_NO_SPACE, "the zpool has no space left, or a quota is reached"},
    {EDQUOT, VARVE_ERROR_NO_SPACE, "a quota is reached"},
    {EBUSY, VARVE_ERROR_BUSY, "it is in use"},
    {ENOENT, VARVE_ERROR_NOT_FOUND, "there is no such dataset"},
    {EAGAIN, VARVE_ERROR_UNAVAILABLE, "the zpool is suspended: see 'zpool status'"},
    {EIO, VARVE_ERROR_CORRUPT, "the zpool cannot be read: see 'zpool status'"},
    {EROFS, VARVE_ERROR_FAILED_PRECONDITION, "the zpool is imported read-only"},
    {ECKSUM, VARVE_ERROR_CORRUPT, "the zpool is damaged: see 'zpool status'"},
    {EFRAGS, VARVE_ERROR_CORRUPT, "the zpool is damaged: see 'zpool status'"},
};

gboolean
varve_zfs_set_error(GError **error, int errnum, const char *doing, const char *dataset)
{
    switch (errnum) {
    case ZFS_ERR_IOC_CMD_UNAVAIL:
    case ZFS_ERR_IOC_ARG_UNAVAIL:
    case ZFS_ERR_IOC_ARG_REQUIRED:
    case ZFS_ERR_IOC_ARG_BADTYPE:
        return set_mismatch(error, doing, dataset);
    default:
        break;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++) {
        if (meanings[i].errnum == errnum)
            return varve_error_set(error, meanings[i].code, "%s %s: %s", doing, dataset,
                                   meanings[i].text);
    }
    return varve_error_set_errno(error, errnum, "%s %s", doing, dataset);
}
