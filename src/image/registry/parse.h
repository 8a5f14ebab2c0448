/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REGISTRY_PARSE_H
#define VARVE_IMAGE_REGISTRY_PARSE_H

/* What registries answer, taken apart. Nothing here does any transfer; all of it is fuzzed. */

#include "base/error.h"

/* --- names ------------------------------------------------------------------------------------ */

/* "HOST", "HOST:PORT", "[IPV6]:PORT". */
gboolean varve_registry_authority_check(const char *authority);
gboolean varve_registry_repository_check(const char *repository);

/* --- URLs ------------------------------------------------------------------------------------- */

/* An http or https URL without credentials or fragment, and what matters of it. */
typedef struct {
    char *text;
    char *origin;    /* scheme://host:port, in lower case: what a browser calls the same origin */
    char *authority; /* host, or host:port where the port is not the scheme's own */
    gboolean tls;
    gboolean loopback;
} VarveRegistryUrl;

/* reference: absolute, or relative to base; base may be NULL. */
VarveRegistryUrl *varve_registry_url_parse(const char *base, const char *reference, GError **error);
void varve_registry_url_free(VarveRegistryUrl *url);

/* Appends "?name=value", or with "&", value escaped. */
void varve_registry_url_add(GString *url, const char *name, const char *value);

gboolean varve_registry_host_is_loopback(const char *host);

/* --- headers ---------------------------------------------------------------------------------- */

typedef enum {
    VARVE_REGISTRY_AUTH_NONE,
    VARVE_REGISTRY_AUTH_BASIC,
    VARVE_REGISTRY_AUTH_BEARER,
} VarveRegistryAuth;

typedef struct {
    VarveRegistryAuth auth;
    char *realm, *service, *scope, *error; /* NULL when not given; bearer always has a realm */
} VarveRegistryChallenge;

/* Takes a WWW-Authenticate header (RFC 9110, 11.6.1) that may hold several challenges, and returns
 * the best that is known here: bearer before basic. None known: NULL with an error that names what
 * there was. */
VarveRegistryChallenge *varve_registry_challenge_parse(const char *header, GError **error);
void varve_registry_challenge_free(VarveRegistryChallenge *challenge);

/* Which link has rel=next in a Link header (RFC 8288), or NULL. */
char *varve_registry_link_next(const char *header);

/* "bytes 5-9/10": FALSE unless it is exactly this form; *total is G_MAXUINT64 for "*". */
gboolean varve_registry_content_range(const char *header, guint64 *first, guint64 *last,
                                      guint64 *total);

/* "0-1023", of an upload: how many bytes the registry has. "0-0" is none: registries say so of an
 * upload that just began, and one byte sent again does no harm. */
gboolean varve_registry_upload_range(const char *header, guint64 *size);

/* Decimal digits and nothing else. */
gboolean varve_registry_number(const char *text, guint64 *number);

/* Seconds from now: of a number or a date. FALSE when it is neither. */
gboolean varve_registry_retry_after(const char *header, gint64 now, guint64 *seconds);

/* "100;w=21600": how many, and in how many seconds (0: not told). */
gboolean varve_registry_rate(const char *header, guint64 *number, guint64 *window);

/* --- bodies ----------------------------------------------------------------------------------- */

/* The first error of an error document, as "CODE: message", fit to be shown: no control characters,
 * valid UTF-8, not long. NULL when it is no such document. *code: "UNAUTHORIZED" or NULL. */
char *varve_registry_error_parse(const void *bytes, gsize n, char **code);

/* Makes any text fit to be shown, as above. */
char *varve_registry_text_clean(const char *text, gssize n);

typedef struct {
    char *token;
    char *refresh_token; /* or NULL */
    guint64 lifetime;    /* seconds */
} VarveRegistryToken;

VarveRegistryToken *varve_registry_token_parse(const void *bytes, gsize n, GError **error);
void varve_registry_token_free(VarveRegistryToken *token);

/* Appends the tags of a page to tags. */
gboolean varve_registry_tags_parse(const void *bytes, gsize n, GPtrArray *tags, GError **error);

/* The member mediaType of a manifest, or NULL. */
char *varve_registry_media_type_parse(const void *bytes, gsize n);

/* --- secrets ---------------------------------------------------------------------------------- */

/* Overwrites a string before it is freed. */
void varve_registry_secret_free(char *secret);

/* What was found for a host. */
typedef struct {
    char *username, *password; /* or */
    char *identity;            /* a refresh token, or */
    char *bearer;              /* a token that is sent as it is */
    char *from;                /* for messages: "alice, from /root/.docker/config.json" */
} VarveRegistryCredentials;

void varve_registry_credentials_free(VarveRegistryCredentials *credentials);

/* What a credential helper printed. NULL without an error: it has none. */
VarveRegistryCredentials *varve_registry_helper_parse(const char *output, gsize n, GError **error);

/* Where a Docker configuration (bytes) says that credentials for a host are: *helper (the name of a
 * program's ending, with the server's name for it in *server), or the credentials themselves.
 * Neither: there are none. hosts: under which names the host may stand, NULL at the end. */
gboolean varve_registry_config_parse(const char *bytes, gsize n, const char *const *hosts,
                                     const char *repository, char **helper, char **server,
                                     VarveRegistryCredentials **credentials, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryUrl, varve_registry_url_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryChallenge, varve_registry_challenge_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryToken, varve_registry_token_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryCredentials, varve_registry_credentials_free)

#endif
