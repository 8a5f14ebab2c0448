/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_HTTP_VOLUMES_H
#define VARVE_DAEMON_HTTP_VOLUMES_H

#include "daemon/http.h"

/* Replies with what was made, and publishes it; or with why not. Takes both. */
void varve_http_reply_made(VarveHttpRequest *request, const VarveHttpContext *context,
                           VarveVolumeInfo *info, GError *error);

/* Publishes a volume that was made. */
void varve_http_publish_made(const VarveHttpContext *context, const char *id);

/* Tells those who listen that it was made ("create") or is gone ("destroy"). */
void varve_http_publish_volume(const VarveHttpContext *context, const char *type,
                               const VarveVolumeInfo *info);

/* Handlers, of http-volume-streams.c. */
void varve_http_import_volume(VarveHttpRequest *request, gpointer data);
void varve_http_send_volume(VarveHttpRequest *request, gpointer data);
void varve_http_offer_receiving(VarveHttpRequest *request, gpointer data);
void varve_http_receive_volume(VarveHttpRequest *request, gpointer data);
void varve_http_pull_snapshot(VarveHttpRequest *request, gpointer data);

#endif
