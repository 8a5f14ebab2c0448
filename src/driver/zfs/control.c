/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/control.h"
#include "base/fd.h"
#include "driver/zfs/zfs.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* zfs_cmd_t, as far as it is used. The kernel reads and writes as much as its own structure has:
 * 13744 bytes in the releases up to 2.4. */
typedef struct {
    char name[4096];
    guint64 properties, properties_size;
    char unused_1[32];
    char value[8192];
    char unused_2[280];
    guint64 cookie;
    char unused_3[32];
    guint64 object;
    char unused_4[1000];
    gint32 cleanup_fd;
    char unused_5[28];
    struct {
        guint64 generation, mode, links, ctime[2];
    } stat;
    char unused_6[32768 - 13736];
} Request;

G_STATIC_ASSERT(offsetof(Request, properties) == 4096);
G_STATIC_ASSERT(offsetof(Request, value) == 4144);
G_STATIC_ASSERT(offsetof(Request, cookie) == 12616);
G_STATIC_ASSERT(offsetof(Request, object) == 12656);
G_STATIC_ASSERT(offsetof(Request, cleanup_fd) == 13664);
G_STATIC_ASSERT(offsetof(Request, stat) == 13696);
G_STATIC_ASSERT(ZFS_IOC_SET_PROP == 0x5a16);
G_STATIC_ASSERT(ZFS_IOC_NEXT_OBJ == 0x5a35);
G_STATIC_ASSERT(ZFS_IOC_DIFF == 0x5a36);
G_STATIC_ASSERT(ZFS_IOC_TMP_SNAPSHOT == 0x5a37);
G_STATIC_ASSERT(ZFS_IOC_OBJ_TO_STATS == 0x5a38);

/* What ZFS_IOC_DIFF writes (dmu_diff_record_t, in the same file). */
typedef struct {
    guint64 type, first, last;
} Record;

#define RECORD_IN_USE 2
#define RECORD_FREE   4

/* The greatest number that an object can have (DN_MAX_OBJECT). */
#define MAX_OBJECT ((G_GUINT64_CONSTANT(1) << 48) - 1)

static gboolean
check_release(GError **error)
{
    g_autofree char *version = NULL;
    int major = 0, minor = 0;
    if (!g_file_get_contents("/sys/module/zfs/version", &version, NULL, NULL) ||
        sscanf(version, "%d.%d", &major, &minor) != 2)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "it cannot be told which release the kernel's ZFS module is of: "
                               "/sys/module/zfs/version cannot be read");
    return major == 2 || (major == 0 && minor == 8) ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the kernel's ZFS module is of release %s, whose requests this version "
                           "of Varve does not know; it knows those of 0.8 and 2.x",
                           g_strstrip(version));
}

int
varve_zfs_control_open(GError **error)
{
    if (!check_release(error))
        return -1;
    int fd = open("/dev/zfs", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening /dev/zfs");
    return fd;
}

static Request *
request_new(const char *name)
{
    Request *request = g_new0(Request, 1);
    g_strlcpy(request->name, name, sizeof request->name);
    return request;
}

/* Returns an errno value. */
static int
ask(int control, unsigned long number, Request *request)
{
    while (ioctl(control, number, request) < 0) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* --- properties ------------------------------------------------------------------------------- */

int
varve_zfs_control_set(int control, const char *dataset, nvlist_t *properties)
{
    size_t size;
    g_autofree Request *request = request_new(dataset);
    char *packed = fnvlist_pack(properties, &size);
    request->properties = (guint64)(guintptr)packed;
    request->properties_size = size;
    int errnum = ask(control, ZFS_IOC_SET_PROP, request);
    fnvlist_pack_free(packed, size);
    return errnum;
}

/* --- temporary snapshots ---------------------------------------------------------------------- */

/* Sends a descriptor to a socket that nobody reads. *fd becomes that socket. */
static gboolean
bury(int *fd, GError **error)
{
    int ends[2];
    char byte = 0;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof *fd)];
    } control = {.header = {.cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(sizeof *fd)}};
    struct iovec text = {&byte, 1};
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), fd, sizeof *fd);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0)
        return varve_error_set_errno(error, errno, "making a socket");
    varve_autofd near = ends[0], far = ends[1];
    if (sendmsg(near, &message, MSG_NOSIGNAL) < 0)
        return varve_error_set_errno(error, errno, "passing a descriptor to a socket");
    varve_fd_clear(fd);
    *fd = far;
    far = -1;
    return TRUE;
}

/*
 * The snapshot is held by a control and destroyed when that is closed, which may fail once, and is
 * not tried again, if the snapshot is mounted at that moment. When a process is killed, its files
 * are closed one after the other, and what was mounted through them is unmounted after the last of
 * them. So the control has to be closed later still. It is in the queue of a socket, and this one
 * is in the queue of another one: the kernel closes what is in a queue when it has closed the
 * socket, after all that was closed, or left to be unmounted, together with the socket.
 */
char *
varve_zfs_control_snapshot(const char *dataset, const char *prefix, int *keeper, GError **error)
{
    varve_autofd control = varve_zfs_control_open(error);
    g_autofree Request *request = request_new(dataset);
    if (control < 0)
        return NULL;
    g_strlcpy(request->value, prefix, sizeof request->value);
    request->cleanup_fd = control;
    int errnum = ask(control, ZFS_IOC_TMP_SNAPSHOT, request);
    if (errnum != 0) {
        varve_zfs_set_error(error, errnum, "taking a snapshot, for the time being, of", dataset);
        return NULL;
    }
    if (!bury(&control, error) || !bury(&control, error))
        return NULL;
    *keeper = control;
    control = -1;
    return g_strdup_printf("%s@%.255s", dataset, request->value);
}

/* --- changed objects -------------------------------------------------------------------------- */

static gboolean
damaged(const char *after, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_INTERNAL,
                           "asking what changed in %s: the kernel's answer makes no sense; does "
                           "the ZFS module fit the kernel?",
                           after);
}

static gboolean
read_records(int fd, const char *after, GArray *ranges, GError **error)
{
    Record records[512];
    guint64 least = 0;
    for (off_t offset = 0;;) {
        ssize_t n = pread(fd, records, sizeof records, offset);
        if (n < 0)
            return varve_error_set_errno(error, errno, "reading what changed in %s", after);
        if (n == 0)
            return TRUE;
        if (n % (ssize_t)sizeof(Record) != 0)
            return damaged(after, error);
        offset += n;
        for (gsize i = 0; i < (gsize)n / sizeof(Record); i++) {
            const Record *record = &records[i];
            if (record->type == RECORD_FREE)
                continue;
            if (record->type != RECORD_IN_USE || record->first < least ||
                record->last < record->first || record->last > MAX_OBJECT)
                return damaged(after, error);
            least = record->last + 1;
            g_array_append_val(ranges, ((VarveZfsRange){record->first, record->last}));
        }
    }
}

/* Returns an errno value. A signal ends the request. */
static int
write_records(int control, Request *request, int fd)
{
    for (;;) {
        if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
            return errno;
        if (ioctl(control, ZFS_IOC_DIFF, request) == 0)
            return 0;
        if (errno != EINTR)
            return errno;
    }
}

/* The records go to a file in memory, 24 bytes for each range. A pipe, as zfs-diff has it, would
 * need a thread that reads it. */
GArray *
varve_zfs_control_diff(int control, const char *before, const char *after, gboolean *unrelated,
                       GError **error)
{
    g_autofree Request *request = request_new(after);
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VarveZfsRange));
    varve_autofd fd = memfd_create("varve-zfs-diff", MFD_CLOEXEC);
    *unrelated = FALSE;
    if (fd < 0) {
        varve_error_set_errno(error, errno, "making a file in memory");
        return NULL;
    }
    g_strlcpy(request->value, before, sizeof request->value);
    request->cookie = (guint64)fd;
    int errnum = write_records(control, request, fd);
    *unrelated = errnum == EXDEV;
    if (errnum != 0) {
        varve_zfs_set_error(error, errnum, "asking what changed in", after);
        return NULL;
    }
    return read_records(fd, after, ranges, error) ? g_steal_pointer(&ranges) : NULL;
}

/* --- objects ---------------------------------------------------------------------------------- */

gboolean
varve_zfs_control_next(int control, const char *snapshot, guint64 object, guint64 *next,
                       GError **error)
{
    g_autofree Request *request = request_new(snapshot);
    *next = G_MAXUINT64;
    request->object = object - 1; /* the kernel looks behind it */
    int errnum = ask(control, ZFS_IOC_NEXT_OBJ, request);
    if (errnum != 0)
        return errnum == ESRCH ||
               varve_zfs_set_error(error, errnum, "looking for objects in", snapshot);
    *next = request->object;
    return TRUE;
}

/* The kernel fills in what it knows of an object before it looks for its name. */
VarveZfsObjectKind
varve_zfs_control_path(int control, const char *snapshot, guint64 object, char **path)
{
    g_autofree Request *request = request_new(snapshot);
    request->object = object;
    int errnum = ask(control, ZFS_IOC_OBJ_TO_STATS, request);
    if (errnum == 0 && request->value[0] == '/') {
        *path = g_strndup(request->value, sizeof request->value);
        return VARVE_ZFS_OBJECT_FOUND;
    }
    return errnum != ESTALE && request->stat.links > 0 ? VARVE_ZFS_OBJECT_HIDDEN
                                                       : VARVE_ZFS_OBJECT_NONE;
}
