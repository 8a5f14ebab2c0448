/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/entry.h"
#include "base/xattrs.h"
#include <linux/limits.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void
set_attributes(VarveStreamEntry *entry, const struct stat *st)
{
    entry->mode = st->st_mode & 07777;
    entry->uid = st->st_uid;
    entry->gid = st->st_gid;
    entry->mtime = st->st_mtim.tv_sec;
    entry->mtime_nsec = (guint32)st->st_mtim.tv_nsec;
    entry->atime = st->st_atim.tv_sec;
    entry->atime_nsec = (guint32)st->st_atim.tv_nsec;
    entry->size = S_ISREG(st->st_mode) ? (guint64)st->st_size : 0;
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        entry->major = major(st->st_rdev);
        entry->minor = minor(st->st_rdev);
    }
}

/* The messages of an entry's xattrs, which borrow what is in them. */
static Varve__Stream__Xattr *
set_xattrs(VarveStreamEntry *entry, const GArray *xattrs)
{
    Varve__Stream__Xattr *messages = g_new(Varve__Stream__Xattr, xattrs->len);
    entry->n_xattrs = xattrs->len;
    entry->xattrs = g_new(Varve__Stream__Xattr *, xattrs->len);
    for (guint i = 0; i < xattrs->len; i++) {
        const VarveXattr *xattr = &g_array_index(xattrs, VarveXattr, i);
        varve__stream__xattr__init(&messages[i]);
        messages[i].name = xattr->name;
        messages[i].value = (ProtobufCBinaryData){xattr->size, xattr->value};
        entry->xattrs[i] = &messages[i];
    }
    return messages;
}

gboolean
varve_stream_entry_tell(const VarveSink *sink, VarveStreamEntryKind kind, const char *path,
                        VarveFile file, const struct stat *st, GError **error)
{
    char target[PATH_MAX + 1];
    VarveStreamEntry entry = VARVE__STREAM__ENTRY__INIT;
    entry.kind = kind;
    entry.path = (char *)path;
    set_attributes(&entry, st);
    if (S_ISLNK(st->st_mode)) {
        ssize_t length = readlinkat(file.dirfd, file.name, target, PATH_MAX);
        if (length < 0)
            return varve_error_set_errno(error, errno, "reading a symbolic link");
        target[length] = '\0';
        entry.target = target;
    }
    g_autoptr(GArray) xattrs = varve_xattrs_read(file, error);
    if (xattrs == NULL)
        return FALSE;
    g_autofree Varve__Stream__Xattr *messages G_GNUC_UNUSED = set_xattrs(&entry, xattrs);
    gboolean ok = varve_record_write_entry(sink, &entry, error);
    g_free(entry.xattrs);
    return ok;
}

gboolean
varve_stream_entry_tell_bare(const VarveSink *sink, VarveStreamEntryKind kind, const char *path,
                             const char *target, GError **error)
{
    VarveStreamEntry entry = VARVE__STREAM__ENTRY__INIT;
    entry.kind = kind;
    entry.path = (char *)path;
    if (target != NULL)
        entry.target = (char *)target;
    return varve_record_write_entry(sink, &entry, error);
}
