/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_CLIENT_INTERNAL_H
#define VARVE_RPC_HTTP_CLIENT_INTERNAL_H

/*
 *     http-client.c        what the client offers
 *     http-client-drive.c  one exchange over libcurl: its callbacks, its waiting, its end
 *     http-client-fail.c   what went wrong
 */

#include "rpc/http-client.h"
#include <curl/curl.h>

#define VARVE_HTTP_MAX_HEAD   (64 * 1024)
#define VARVE_HTTP_MAX_ERROR  (64 * 1024)        /* of an error's body */
#define VARVE_HTTP_MAX_ANSWER (16 * 1024 * 1024) /* of JSON: lists of volumes are some */

struct VarveHttpClient {
    VarveHttpClientPeer peer;
    const gint *cancelled;
    CURLM *multi;
    CURL *easy;

    /* The exchange. */
    gboolean active; /* easy is in multi */
    gboolean ended;  /* libcurl has done with it */
    CURLcode result; /* then */
    char errors[CURL_ERROR_SIZE];
    struct curl_slist *headers;
    char *sent_json;  /* a body that is JSON */
    long status;      /* 0: no whole head yet */
    gsize head;       /* bytes of it */
    GByteArray *in;   /* came and was not read yet; of an error: what came of its body */
    gsize in_read;    /* of it was read */
    gsize in_limit;   /* in must not become larger: the rest waits, or */
    gboolean collect; /* it is too much */
    gboolean paused_in, paused_out;
    const char *refused; /* why what came is not taken */
    const char *out;     /* to be sent */
    gsize out_left;
    gboolean out_end;   /* nothing comes after it */
    gboolean uploading; /* has such a body */
    guint64 moved;      /* bytes of bodies, both ways */
};

/* --- http-client-drive.c ------------------------------------------------------------------- */

/* Begins an exchange with what was set up of easy and of the fields above. */
void varve_http_client_start(VarveHttpClient *client);

/* Gives up what there is of an exchange. */
void varve_http_client_stop(VarveHttpClient *client);

/* Goes on with it until that is so, or it has ended; FALSE: it was cancelled, or stands still. */
gboolean varve_http_client_drive(VarveHttpClient *client,
                                 gboolean (*until)(const VarveHttpClient *client), GError **error);

/* --- http-client-fail.c -------------------------------------------------------------------- */

/* Judges an exchange that has ended; FALSE, with the error set, when it was no success. */
gboolean varve_http_client_check(VarveHttpClient *client, GError **error);

#endif
