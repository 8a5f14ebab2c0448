/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_CLIENT_H
#define VARVE_RPC_HTTP_CLIENT_H

/*
 * A client of Varve's HTTP API, on libcurl: over a unix socket, or over TCP with TLS.
 *
 * A client has one exchange at a time, which is driven by whoever waits for it, in that thread:
 *
 *     call                JSON there and back
 *     begin, read         a body that comes piece by piece; nothing more is taken from the peer
 * than was asked for, but for one buffer begin_upload, write, finish a body that goes piece by
 * piece, and the answer to it
 *
 * An answer that is no success is an error of the code that the peer tells. A connection that ends
 * before its body does is VARVE_ERROR_UNAVAILABLE, and so is a peer from which nothing comes any
 * more. Redirects are not followed, proxies not used.
 *
 * libcurl is in a module (base/module.h), so these are the functions of a table.
 */

#include "base/json.h"

typedef struct VarveHttpClient VarveHttpClient;

/* Strings may be NULL but for name and address. */
typedef struct {
    const char *name;    /* for messages */
    const char *address; /* https://HOST:PORT, http://127.0.0.1:PORT, or the path of a socket */
    const char *ca;      /* files in PEM: who may have signed the peer's certificate, */
    const char *certificate, *key; /* and what it is shown */
    const char *token_file;        /* read for each exchange */
    guint idle_seconds;            /* without a byte after which the peer is given up; 0: 60 */
} VarveHttpClientPeer;

typedef struct {
    /* cancelled may be NULL; it and the peer's strings must outlive the client. */
    VarveHttpClient *(*open)(const VarveHttpClientPeer *peer, const gint *cancelled,
                             GError **error);
    void (*close)(VarveHttpClient *client);

    /* path with its query, escaped. body may be NULL. An answer without a body is null. */
    json_t *(*call)(VarveHttpClient *client, const char *method, const char *path,
                    const json_t *body, GError **error);

    /* Waits for the answer's head. The body is then read until 0 comes, or given up by the next
     * exchange or by close. */
    gboolean (*begin)(VarveHttpClient *client, const char *method, const char *path,
                      const json_t *body, GError **error);
    gssize (*read)(VarveHttpClient *client, void *buffer, gsize size, GError **error);

    /* write fails with the peer's error when it does not want the rest. An upload that is not
     * finished is cut off, which the peer notices. */
    gboolean (*begin_upload)(VarveHttpClient *client, const char *method, const char *path,
                             const char *type, GError **error);
    gboolean (*write)(VarveHttpClient *client, const void *bytes, gsize size, GError **error);
    json_t *(*finish)(VarveHttpClient *client, GError **error);
} VarveHttpClientFunctions;

/* In the module; the tests link it. */
extern const VarveHttpClientFunctions varve_http_client;

#endif
