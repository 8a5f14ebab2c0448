/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/send-stream.h"
#include "driver/btrfs/crc32c.h"
#include <stddef.h>
#include <string.h>

enum {
    MAGIC_SIZE = 13, /* with its NUL */
    STREAM_HEADER_SIZE = MAGIC_SIZE + 4,
    COMMAND_HEADER_SIZE = 10, /* length of what follows, 4; number, 2; checksum, 4 */
    CHECKSUM_OFFSET = 6,
    ATTRIBUTE_HEADER_SIZE = 4, /* number, 2; length, 2 */
    LATEST_VERSION = 2,
};

/* The largest command, header included. Version 1: the kernel's buffer. Version 2: compressed data
 * of at most 128 KiB, and room for the rest of it; the kernel rounds that up to a page, of at most
 * 64 KiB. Twice that is as much as anybody could mean. */
static const gsize max_command[LATEST_VERSION + 1] = {0, 64 * 1024, 512 * 1024};

static const char magic[MAGIC_SIZE] = "btrfs-stream";

/* --- tables ---------------------------------------------------------------------------------- */

typedef enum {
    TYPE_NONE,
    TYPE_U32,
    TYPE_U64,
    TYPE_STRING,
    TYPE_BYTES,
    TYPE_UUID,
    TYPE_TIME,
} Type;

static const struct {
    const char *name;
    Type type;
    gsize offset; /* in VarveSendCommand */
} attributes[] = {
#define ATTRIBUTE(number, type, field)                                                             \
    [VARVE_SEND_A_##number] = {#field, type, offsetof(VarveSendCommand, field)}
    ATTRIBUTE(UUID, TYPE_UUID, uuid),
    ATTRIBUTE(CTRANSID, TYPE_U64, ctransid),
    ATTRIBUTE(INO, TYPE_U64, ino),
    ATTRIBUTE(SIZE, TYPE_U64, size),
    ATTRIBUTE(MODE, TYPE_U64, mode),
    ATTRIBUTE(UID, TYPE_U64, uid),
    ATTRIBUTE(GID, TYPE_U64, gid),
    ATTRIBUTE(RDEV, TYPE_U64, rdev),
    ATTRIBUTE(CTIME, TYPE_TIME, ctime),
    ATTRIBUTE(MTIME, TYPE_TIME, mtime),
    ATTRIBUTE(ATIME, TYPE_TIME, atime),
    ATTRIBUTE(OTIME, TYPE_TIME, otime),
    ATTRIBUTE(XATTR_NAME, TYPE_STRING, xattr_name),
    ATTRIBUTE(XATTR_DATA, TYPE_BYTES, xattr_data),
    ATTRIBUTE(PATH, TYPE_STRING, path),
    ATTRIBUTE(PATH_TO, TYPE_STRING, path_to),
    ATTRIBUTE(PATH_LINK, TYPE_STRING, path_link),
    ATTRIBUTE(FILE_OFFSET, TYPE_U64, file_offset),
    ATTRIBUTE(DATA, TYPE_BYTES, data),
    ATTRIBUTE(CLONE_UUID, TYPE_UUID, clone_uuid),
    ATTRIBUTE(CLONE_CTRANSID, TYPE_U64, clone_ctransid),
    ATTRIBUTE(CLONE_PATH, TYPE_STRING, clone_path),
    ATTRIBUTE(CLONE_OFFSET, TYPE_U64, clone_offset),
    ATTRIBUTE(CLONE_LEN, TYPE_U64, clone_len),
    ATTRIBUTE(FALLOCATE_MODE, TYPE_U32, fallocate_mode),
    ATTRIBUTE(FILEATTR, TYPE_U64, fileattr),
    ATTRIBUTE(UNENCODED_FILE_LEN, TYPE_U64, unencoded_file_len),
    ATTRIBUTE(UNENCODED_LEN, TYPE_U64, unencoded_len),
    ATTRIBUTE(UNENCODED_OFFSET, TYPE_U64, unencoded_offset),
    ATTRIBUTE(COMPRESSION, TYPE_U32, compression),
    ATTRIBUTE(ENCRYPTION, TYPE_U32, encryption),
#undef ATTRIBUTE
};

#define HAS(attribute) VARVE_SEND_HAS(VARVE_SEND_A_##attribute)

static const struct {
    const char *name;
    guint version;    /* the first one that has it */
    guint32 required; /* attributes without which it means nothing */
} commands[] = {
    [VARVE_SEND_SUBVOL] = {"subvol", 1, HAS(PATH) | HAS(UUID) | HAS(CTRANSID)},
    [VARVE_SEND_SNAPSHOT] = {"snapshot", 1,
                             HAS(PATH) | HAS(UUID) | HAS(CTRANSID) | HAS(CLONE_UUID) |
                                 HAS(CLONE_CTRANSID)},
    [VARVE_SEND_MKFILE] = {"mkfile", 1, HAS(PATH)},
    [VARVE_SEND_MKDIR] = {"mkdir", 1, HAS(PATH)},
    [VARVE_SEND_MKNOD] = {"mknod", 1, HAS(PATH) | HAS(MODE) | HAS(RDEV)},
    [VARVE_SEND_MKFIFO] = {"mkfifo", 1, HAS(PATH)},
    [VARVE_SEND_MKSOCK] = {"mksock", 1, HAS(PATH)},
    [VARVE_SEND_SYMLINK] = {"symlink", 1, HAS(PATH) | HAS(PATH_LINK)},
    [VARVE_SEND_RENAME] = {"rename", 1, HAS(PATH) | HAS(PATH_TO)},
    [VARVE_SEND_LINK] = {"link", 1, HAS(PATH) | HAS(PATH_LINK)},
    [VARVE_SEND_UNLINK] = {"unlink", 1, HAS(PATH)},
    [VARVE_SEND_RMDIR] = {"rmdir", 1, HAS(PATH)},
    [VARVE_SEND_SET_XATTR] = {"set_xattr", 1, HAS(PATH) | HAS(XATTR_NAME) | HAS(XATTR_DATA)},
    [VARVE_SEND_REMOVE_XATTR] = {"remove_xattr", 1, HAS(PATH) | HAS(XATTR_NAME)},
    [VARVE_SEND_WRITE] = {"write", 1, HAS(PATH) | HAS(FILE_OFFSET) | HAS(DATA)},
    [VARVE_SEND_CLONE] = {"clone", 1,
                          HAS(PATH) | HAS(FILE_OFFSET) | HAS(CLONE_LEN) | HAS(CLONE_UUID) |
                              HAS(CLONE_CTRANSID) | HAS(CLONE_PATH) | HAS(CLONE_OFFSET)},
    [VARVE_SEND_TRUNCATE] = {"truncate", 1, HAS(PATH) | HAS(SIZE)},
    [VARVE_SEND_CHMOD] = {"chmod", 1, HAS(PATH) | HAS(MODE)},
    [VARVE_SEND_CHOWN] = {"chown", 1, HAS(PATH) | HAS(UID) | HAS(GID)},
    [VARVE_SEND_UTIMES] = {"utimes", 1, HAS(PATH) | HAS(ATIME) | HAS(MTIME) | HAS(CTIME)},
    [VARVE_SEND_END] = {"end", 1, 0},
    [VARVE_SEND_UPDATE_EXTENT] = {"update_extent", 1, HAS(PATH) | HAS(FILE_OFFSET) | HAS(SIZE)},
    [VARVE_SEND_FALLOCATE] = {"fallocate", 2,
                              HAS(PATH) | HAS(FALLOCATE_MODE) | HAS(FILE_OFFSET) | HAS(SIZE)},
    [VARVE_SEND_FILEATTR] = {"fileattr", 2, HAS(PATH) | HAS(FILEATTR)},
    [VARVE_SEND_ENCODED_WRITE] = {"encoded_write", 2,
                                  HAS(PATH) | HAS(FILE_OFFSET) | HAS(UNENCODED_FILE_LEN) |
                                      HAS(UNENCODED_LEN) | HAS(UNENCODED_OFFSET) | HAS(DATA)},
};

const char *
varve_send_kind_name(VarveSendKind kind)
{
    return commands[kind].name;
}

/* --- bytes ----------------------------------------------------------------------------------- */

struct VarveSendStream {
    VarveSendReadFunc read;
    gpointer data;
    guint8 *buffer; /* with one byte more than capacity, for the NUL of a string at its end */
    gsize capacity;
    gsize begin, end;   /* what of it was read from the source, and not used yet */
    guint64 offset;     /* of begin in the stream */
    gsize command;      /* length of the command handed out, which begins at begin; 0: none */
    guint8 overwritten; /* the byte after it, which may be a NUL now */
    guint version;      /* 0: the header was not read yet */
};

static guint16
get_u16(const guint8 *at)
{
    return (guint16)(at[0] | at[1] << 8);
}

static guint32
get_u32(const guint8 *at)
{
    return get_u16(at) | (guint32)get_u16(at + 2) << 16;
}

static guint64
get_u64(const guint8 *at)
{
    return get_u32(at) | (guint64)get_u32(at + 4) << 32;
}

static gboolean corrupt(const VarveSendStream *stream, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static gboolean
corrupt(const VarveSendStream *stream, GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    varve_error_set(error, VARVE_ERROR_CORRUPT,
                    "the send stream is damaged at byte %" G_GUINT64_FORMAT ": %s", stream->offset,
                    what);
    return FALSE;
}

/* Moves what is unused to the front, in a buffer of at least n bytes. */
static void
make_room(VarveSendStream *stream, gsize n)
{
    memmove(stream->buffer, stream->buffer + stream->begin, stream->end - stream->begin);
    stream->end -= stream->begin;
    stream->begin = 0;
    if (n > stream->capacity) {
        stream->capacity = n;
        stream->buffer = g_realloc(stream->buffer, n + 1);
    }
}

/* Has n bytes in the buffer, from begin on. */
static gboolean
need(VarveSendStream *stream, gsize n, GError **error)
{
    if (stream->begin + n > stream->capacity)
        make_room(stream, n);
    while (stream->end - stream->begin < n) {
        gssize got = stream->read(stream->data, stream->buffer + stream->end,
                                  stream->capacity - stream->end, error);
        if (got < 0)
            return FALSE;
        if (got == 0)
            return corrupt(stream, error, "it ends here, too early");
        stream->end += (gsize)got;
    }
    return TRUE;
}

static void
use(VarveSendStream *stream, gsize n)
{
    stream->begin += n;
    stream->offset += n;
}

/* Lets go of the command that was handed out. */
static void
release_command(VarveSendStream *stream)
{
    if (stream->command == 0)
        return;
    stream->buffer[stream->begin + stream->command] = stream->overwritten;
    use(stream, stream->command);
    stream->command = 0;
}

VarveSendStream *
varve_send_stream_new(VarveSendReadFunc read, gpointer data)
{
    VarveSendStream *stream = g_new0(VarveSendStream, 1);
    stream->read = read;
    stream->data = data;
    stream->capacity = max_command[1];
    stream->buffer = g_malloc(stream->capacity + 1);
    return stream;
}

void
varve_send_stream_free(VarveSendStream *stream)
{
    if (stream == NULL)
        return;
    g_free(stream->buffer);
    g_free(stream);
}

/* --- attributes ------------------------------------------------------------------------------ */

static const gsize sizes[] = {
    [TYPE_U32] = 4, [TYPE_U64] = 8, [TYPE_UUID] = 16, [TYPE_TIME] = 12, /* 64 and 32 bits */
};

static gboolean
check_value(const VarveSendStream *stream, guint number, const guint8 *value, gsize length,
            GError **error)
{
    Type type = attributes[number].type;
    if (type == TYPE_STRING && memchr(value, 0, length) != NULL)
        return corrupt(stream, error, "the attribute %s has a NUL in it", attributes[number].name);
    if (type < G_N_ELEMENTS(sizes) && sizes[type] != 0 && sizes[type] != length)
        return corrupt(stream, error,
                       "the attribute %s has %" G_GSIZE_FORMAT " bytes instead of %" G_GSIZE_FORMAT,
                       attributes[number].name, length, sizes[type]);
    return TRUE;
}

/* Strings get their NULs when all is read: those take the place of what follows them. */
typedef struct {
    VarveSendCommand *command;
    guint8 *ends[G_N_ELEMENTS(attributes)];
    guint n_ends;
} Parse;

static void
set_value(Parse *parse, guint number, guint8 *value, gsize length)
{
    gpointer field = (guint8 *)parse->command + attributes[number].offset;
    switch (attributes[number].type) {
    case TYPE_NONE:
        return;
    case TYPE_U32:
        *(guint32 *)field = get_u32(value);
        break;
    case TYPE_U64:
        *(guint64 *)field = get_u64(value);
        break;
    case TYPE_STRING:
        *(const char **)field = (const char *)value;
        parse->ends[parse->n_ends++] = value + length;
        break;
    case TYPE_BYTES:
        *(VarveSendBytes *)field = (VarveSendBytes){value, length};
        break;
    case TYPE_UUID:
        *(const guint8 **)field = value;
        break;
    case TYPE_TIME:
        *(struct timespec *)field = (struct timespec){(time_t)get_u64(value), get_u32(value + 8)};
        break;
    }
    parse->command->present |= VARVE_SEND_HAS(number);
}

typedef struct {
    guint number;
    guint8 *value;
    gsize length;
} Item;

/* Reads the attribute at *at, which is set to what follows it. In version 2 data has no length: it
 * takes all that there is. */
static gboolean
next_item(const VarveSendStream *stream, guint8 **at, const guint8 *end, Item *item, GError **error)
{
    gsize left = (gsize)(end - *at);
    item->number = left < 2 ? 0 : get_u16(*at);
    if (stream->version >= 2 && item->number == VARVE_SEND_A_DATA) {
        item->value = *at + 2;
        item->length = left - 2;
    } else if (left < ATTRIBUTE_HEADER_SIZE) {
        return corrupt(stream, error, "an attribute's header does not fit the command");
    } else {
        item->value = *at + ATTRIBUTE_HEADER_SIZE;
        item->length = get_u16(*at + 2);
        if (item->length > left - ATTRIBUTE_HEADER_SIZE)
            return corrupt(stream, error, "attribute %u does not fit the command", item->number);
    }
    *at = item->value + item->length;
    return TRUE;
}

static gboolean
is_known(guint number)
{
    return number < G_N_ELEMENTS(attributes) && attributes[number].type != TYPE_NONE;
}

static gboolean
parse_attributes(VarveSendStream *stream, VarveSendCommand *command, guint8 *at, guint8 *end,
                 GError **error)
{
    Parse parse = {.command = command};
    Item item = {.value = at};
    while (at < end) {
        if (!next_item(stream, &at, end, &item, error))
            return FALSE;
        if (!is_known(item.number))
            continue;
        if (command->present & VARVE_SEND_HAS(item.number))
            return corrupt(stream, error, "the command %s has the attribute %s twice",
                           commands[command->kind].name, attributes[item.number].name);
        if (!check_value(stream, item.number, item.value, item.length, error))
            return FALSE;
        set_value(&parse, item.number, item.value, item.length);
    }
    stream->overwritten = *end;
    for (guint i = 0; i < parse.n_ends; i++)
        *parse.ends[i] = '\0';
    return TRUE;
}

/* --- commands -------------------------------------------------------------------------------- */

static gboolean
read_header(VarveSendStream *stream, GError **error)
{
    if (!need(stream, STREAM_HEADER_SIZE, error))
        return FALSE;
    const guint8 *header = stream->buffer + stream->begin;
    if (memcmp(header, magic, MAGIC_SIZE) != 0)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "this is no btrfs send stream");
    guint32 version = get_u32(header + MAGIC_SIZE);
    if (version < 1 || version > LATEST_VERSION)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the send stream is of version %u; versions 1 to %d are known here, "
                               "which btrfs send --proto makes",
                               version, LATEST_VERSION);
    stream->version = version;
    use(stream, STREAM_HEADER_SIZE);
    return TRUE;
}

/* Has a whole command in the buffer, of length *length. */
static gboolean
read_command(VarveSendStream *stream, gsize *length, GError **error)
{
    if (!need(stream, COMMAND_HEADER_SIZE, error))
        return FALSE;
    guint32 payload = get_u32(stream->buffer + stream->begin);
    if (payload > max_command[stream->version] - COMMAND_HEADER_SIZE)
        return corrupt(stream, error, "a command of %u bytes, which is more than any may have",
                       payload);
    *length = COMMAND_HEADER_SIZE + payload;
    return need(stream, *length, error);
}

/* The checksum is of the command with zeros in its place. */
static gboolean
check_command(const VarveSendStream *stream, gsize length, GError **error)
{
    static const guint8 zeros[4];
    const guint8 *at = stream->buffer + stream->begin;
    guint32 crc = varve_crc32c(0, at, CHECKSUM_OFFSET);
    crc = varve_crc32c(crc, zeros, sizeof zeros);
    crc = varve_crc32c(crc, at + COMMAND_HEADER_SIZE, length - COMMAND_HEADER_SIZE);
    if (crc != get_u32(at + CHECKSUM_OFFSET))
        return corrupt(stream, error, "a command has a wrong checksum");
    guint kind = get_u16(at + 4);
    if (kind >= G_N_ELEMENTS(commands) || commands[kind].name == NULL ||
        commands[kind].version > stream->version)
        return corrupt(stream, error, "version %u has no command %u", stream->version, kind);
    return TRUE;
}

static gboolean
check_required(const VarveSendStream *stream, const VarveSendCommand *command, GError **error)
{
    guint32 missing = commands[command->kind].required & ~command->present;
    if (missing == 0)
        return TRUE;
    int number = g_bit_nth_lsf(missing, -1);
    return corrupt(stream, error, "the command %s lacks the attribute %s",
                   commands[command->kind].name, attributes[number].name);
}

gboolean
varve_send_stream_next(VarveSendStream *stream, VarveSendCommand *command, GError **error)
{
    gsize length = 0;
    release_command(stream);
    if ((stream->version == 0 && !read_header(stream, error)) ||
        !read_command(stream, &length, error) || !check_command(stream, length, error))
        return FALSE;
    guint8 *at = stream->buffer + stream->begin;
    *command = (VarveSendCommand){.kind = get_u16(at + 4)};
    if (!parse_attributes(stream, command, at + COMMAND_HEADER_SIZE, at + length, error))
        return FALSE;
    stream->command = length;
    return check_required(stream, command, error);
}

gboolean
varve_send_stream_finish(VarveSendStream *stream, GError **error)
{
    release_command(stream);
    guint8 more;
    gssize got = stream->begin < stream->end ? 1 : stream->read(stream->data, &more, 1, error);
    return got == 0 || (got > 0 && corrupt(stream, error, "it goes on after its end"));
}
