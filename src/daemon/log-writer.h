/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_LOG_WRITER_H
#define VARVE_DAEMON_LOG_WRITER_H

/*
 * Where varved's log goes: the journal, with its fields, when standard error is connected to it;
 * else standard error, one line per message in logfmt:
 *
 *     time=2026-03-01T12:00:00.123456Z level=info msg="pool is ready" pool=fast driver=btrfs
 */

#include <varve/log.h>

/* Installs itself as the library's log handler. */
void varve_log_writer_install(void);

/* Appends " key=value" (without the space to an empty line). Values that a reader could not tell
 * from the next field are quoted: within quotes, '"' and '\' have a '\' before them, control
 * characters and bytes that are no UTF-8 are \n, \t or \xHH. */
void varve_log_writer_append(GString *line, const char *key, const char *value);

#endif
