/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/receive.h"
#include "base/xattrs.h"
#include "driver/btrfs/receive-internal.h"
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>

/* --- reading ---------------------------------------------------------------------------------- */

static gssize
read_source(gpointer data, guint8 *buffer, gsize n, GError **error)
{
    VarveReceive *receive = data;
    gssize got = receive->source->read(receive->source->data, buffer, n, error);
    if (got > 0 && !varve_transferred_add(&receive->received, (guint64)got, error))
        return -1;
    return got;
}

/* --- the root directory ----------------------------------------------------------------------- */

/*
 * The kernel's streams make each file in the root directory, where it gets a name of its own, and
 * move it from there. So its times change, which they tell only if it is another one than in the
 * base, too. And what is made in a directory with a default ACL inherits it, but they tell only of
 * ACLs that there are. Both are set when all is made.
 */
static gboolean
put_root_aside(VarveReceive *receive, GError **error)
{
    VarveFile root = {receive->target->root, NULL};
    g_autofree guint8 *value = g_malloc(XATTR_SIZE_MAX);
    struct stat st;
    if (fstat(root.dirfd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at the root directory");
    receive->root_times[0] = st.st_atim;
    receive->root_times[1] = st.st_mtim;
    ssize_t size = varve_xattrs_get(root, VARVE_DEFAULT_ACL, value, XATTR_SIZE_MAX);
    if (size < 0)
        return errno == ENODATA || errno == EOPNOTSUPP ||
               varve_error_set_errno(error, errno, "reading the root directory's default ACL");
    receive->default_acl = g_bytes_new(value, (gsize)size);
    return varve_xattrs_set(root, VARVE_DEFAULT_ACL, NULL, 0) == 0 ||
           varve_error_set_errno(error, errno, "putting the root directory's default ACL aside");
}

static gboolean
finish_root(VarveReceive *receive, GError **error)
{
    VarveFile root = {receive->target->root, NULL};
    gsize size = 0;
    gconstpointer value =
        receive->default_acl != NULL ? g_bytes_get_data(receive->default_acl, &size) : NULL;
    if (value != NULL && varve_xattrs_set(root, VARVE_DEFAULT_ACL, value, size) < 0)
        return varve_places_set_errno(error, errno, "setting the root directory's default ACL");
    return futimens(root.dirfd, receive->root_times) == 0 ||
           varve_error_set_errno(error, errno, "setting the root directory's times");
}

/* --- its beginning ---------------------------------------------------------------------------- */

/* Which subvolume it becomes, and on which one it is, says the caller. */
static gboolean
begin(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    gboolean on_base = command->kind == VARVE_SEND_SNAPSHOT;
    if (receive->begun)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the send stream is damaged: it begins a second subvolume");
    if (on_base != (receive->base != NULL))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               on_base ? "the send stream tells the difference to another "
                                         "snapshot, which is not given"
                                       : "the send stream is of a whole snapshot and no difference "
                                         "to the one that is given");
    memcpy(receive->uuid, command->uuid, VARVE_RECEIVE_UUID);
    if (on_base)
        memcpy(receive->base_uuid, command->clone_uuid, VARVE_RECEIVE_UUID);
    receive->begun = TRUE;
    return put_root_aside(receive, error);
}

static gboolean
refuse_no_data(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the send stream was made without the data of files");
}

static gboolean
pass_over(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    return TRUE;
}

static const VarveReceiveFunc funcs[] = {
    [VARVE_SEND_SUBVOL] = begin,
    [VARVE_SEND_SNAPSHOT] = begin,
    [VARVE_SEND_MKFILE] = varve_receive_make_file,
    [VARVE_SEND_MKDIR] = varve_receive_make_other,
    [VARVE_SEND_MKNOD] = varve_receive_make_other,
    [VARVE_SEND_MKFIFO] = varve_receive_make_other,
    [VARVE_SEND_MKSOCK] = varve_receive_make_other,
    [VARVE_SEND_SYMLINK] = varve_receive_make_other,
    [VARVE_SEND_RENAME] = varve_receive_rename,
    [VARVE_SEND_LINK] = varve_receive_link,
    [VARVE_SEND_UNLINK] = varve_receive_remove,
    [VARVE_SEND_RMDIR] = varve_receive_remove,
    [VARVE_SEND_SET_XATTR] = varve_receive_xattr,
    [VARVE_SEND_REMOVE_XATTR] = varve_receive_xattr,
    [VARVE_SEND_WRITE] = varve_receive_write,
    [VARVE_SEND_CLONE] = varve_receive_clone,
    [VARVE_SEND_TRUNCATE] = varve_receive_truncate,
    [VARVE_SEND_CHMOD] = varve_receive_chmod,
    [VARVE_SEND_CHOWN] = varve_receive_chown,
    [VARVE_SEND_UTIMES] = varve_receive_utimes,
    [VARVE_SEND_END] = pass_over,
    [VARVE_SEND_UPDATE_EXTENT] = refuse_no_data,
    [VARVE_SEND_FALLOCATE] = varve_receive_fallocate,
    [VARVE_SEND_FILEATTR] = pass_over,
    [VARVE_SEND_ENCODED_WRITE] = varve_receive_encoded,
};

/* --- all of it -------------------------------------------------------------------------------- */

static gboolean
carry_out(VarveReceive *receive, const VarveSendCommand *command, GError **error)
{
    gboolean begins = command->kind == VARVE_SEND_SUBVOL || command->kind == VARVE_SEND_SNAPSHOT;
    if (!receive->begun && !begins)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the send stream is damaged: it does not begin with a subvolume");
    if (funcs[command->kind](receive, command, error))
        return TRUE;
    g_autofree char *shown = g_strescape(command->path != NULL ? command->path : "", NULL);
    g_prefix_error(error, "%s '%.200s': ", varve_send_kind_name(command->kind), shown);
    return FALSE;
}

static gboolean
carry_out_all(VarveReceive *receive, GError **error)
{
    g_autoptr(VarveSendStream) stream = varve_send_stream_new(read_source, receive);
    VarveSendCommand command;
    do {
        if (!varve_send_stream_next(stream, &command, error) ||
            !carry_out(receive, &command, error))
            return FALSE;
    } while (command.kind != VARVE_SEND_END);
    return finish_root(receive, error) && varve_send_stream_finish(stream, error);
}

gboolean
varve_btrfs_receive(const VarveReceiveTarget *target, const VarveSource *source, GError **error)
{
    VarveReceive receive = {.target = target,
                            .source = source,
                            .received = varve_transferred_new("receiving", &target->watch),
                            .file = {.fd = -1},
                            .shared = {.fd = -1}};
    receive.places = varve_places_new(target->root);
    if (target->base >= 0)
        receive.base = varve_places_new(target->base);
    gboolean ok = carry_out_all(&receive, error);
    varve_receive_file_clear(&receive.file);
    varve_receive_file_clear(&receive.shared);
    varve_places_free(receive.places);
    varve_places_free(receive.base);
    g_clear_pointer(&receive.default_acl, g_bytes_unref);
    return ok;
}
