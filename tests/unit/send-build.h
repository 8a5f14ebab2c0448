/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_SEND_BUILD_H
#define VARVE_TESTS_SEND_BUILD_H

/* btrfs send streams, made byte by byte. */

#include <glib.h>

/* A stream with its header. */
GByteArray *send_stream_new(guint32 version);

/* Bytes of a number, the lowest first. */
void send_put(GByteArray *to, guint64 value, guint bytes);

/* Attributes, put into what will be a command's payload. */
void send_put_attribute(GByteArray *payload, guint number, gconstpointer value, gsize length);
void send_put_text(GByteArray *payload, guint number, const char *text);
void send_put_number(GByteArray *payload, guint number, guint64 value, guint bytes);
void send_put_time(GByteArray *payload, guint number, guint64 seconds, guint32 nanoseconds);

/* A command with its checksum. Frees the payload. */
void send_put_command(GByteArray *stream, guint kind, GByteArray *payload);

/* A command with up to two strings, PATH and another one. */
void send_put_paths(GByteArray *stream, guint kind, const char *path, guint number,
                    const char *other);

void send_put_end(GByteArray *stream);

#endif
