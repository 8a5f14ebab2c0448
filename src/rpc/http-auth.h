/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_RPC_HTTP_AUTH_H
#define VARVE_RPC_HTTP_AUTH_H

/*
 * Who is let in on TCP: who has a certificate of an authority, or a bearer token. Where both are
 * set, either will do.
 *
 * The file of tokens has one a line, of at least 16 characters, and after it, if it shall end, the
 * time at which it does (2027-01-31T00:00:00Z); "#" begins a comment. Nobody but its owner may be
 * able to read or write it. It is read again when it changes; when it cannot be read, no token is
 * good.
 */

#include <varve/error.h>

typedef struct VarveHttpAuth VarveHttpAuth;

/* Paths; NULL: none. */
typedef struct {
    const char *certificate, *key; /* PEM: the server's; NULL: no TLS */
    const char *client_ca;         /* PEM: whose certificates are let in; needs TLS */
    const char *tokens;
} VarveHttpAuthFiles;

/* Reads all. There must be an authority or tokens. */
VarveHttpAuth *varve_http_auth_new(const VarveHttpAuthFiles *files, GError **error);
void varve_http_auth_free(VarveHttpAuth *auth);

/* The texts of the files, NULL where there is none. */
const char *varve_http_auth_certificate(const VarveHttpAuth *auth);
const char *varve_http_auth_key(const VarveHttpAuth *auth);
const char *varve_http_auth_client_ca(const VarveHttpAuth *auth);

/* Whether the token is good now. The time that takes does not tell how much of it is right. */
gboolean varve_http_auth_check_token(VarveHttpAuth *auth, const char *token);

/* Checks the text of a file of tokens against a token; now in seconds since the epoch. *problem,
 * where there is one, is set to what is wrong with the text, which lets nobody in then. */
gboolean varve_http_tokens_check(const char *text, const char *token, gint64 now, char **problem);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveHttpAuth, varve_http_auth_free)

#endif
