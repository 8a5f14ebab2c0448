/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REGISTRY_INTERNAL_H
#define VARVE_IMAGE_REGISTRY_INTERNAL_H

/*
 * From the bottom up:
 *
 *     exchange.c   one HTTP request and its answer, over libcurl; knows no registry
 *     hosts.c      endpoints: where a registry and its mirrors are, and how they are spoken to
 *     helper.c, credentials.c, auth.c
 *                  credentials, challenges and tokens of an endpoint
 *     request.c    a request to an endpoint: scheme, authorization, redirects
 *     attempts.c   over all endpoints of a registry, with pauses, until it succeeds
 *     manifest.c, tags.c, fetch.c, push.c, upload.c
 *                  what the public header offers
 */

#include "base/digest.h"
#include "image/registry/parse.h"
#include "image/registry/registry.h"
#include <curl/curl.h>

#define MAX_MANIFEST   (4 * 1024 * 1024) /* what registries must take; the specification's advice */
#define MAX_ERROR_BODY (64 * 1024)
#define MAX_HEADERS    (64 * 1024) /* of one answer, all together */

/* --- failures --------------------------------------------------------------------------------- */

/* What is known of a failure beside its GError. All zero: nothing helps. */
typedef struct {
    gboolean again;      /* doing it once more may help */
    gboolean local;      /* the caller's own doing: it ended it, or could not take or give bytes */
    gboolean connection; /* nothing was reached at all */
    gboolean no_tls;     /* what was reached does not seem to speak TLS */
    guint64 wait;        /* seconds that the registry wants to be left alone */
    long status;         /* of the answer, or 0 */
} VarveRegistryFailure;

/* --- exchange.c ------------------------------------------------------------------------------- */

typedef struct {
    long status;
    GPtrArray *headers; /* char *, "Name: value" */
    GByteArray *body;   /* unless a sink took it */
    gboolean cut;       /* the body was longer than allowed and is not whole */
} VarveRegistryAnswer;

VarveRegistryAnswer *varve_registry_answer_new(void);
void varve_registry_answer_free(VarveRegistryAnswer *answer);

/* The value of the first header of that name, or NULL. */
const char *varve_registry_answer_header(const VarveRegistryAnswer *answer, const char *name);

/* All values of it with commas between, or NULL. */
char *varve_registry_answer_headers(const VarveRegistryAnswer *answer, const char *name);

/* Takes the body of an answer with a 2xx status while it comes. */
typedef struct {
    /* Sees status and headers first; FALSE, with the error set, ends it. */
    gboolean (*begin)(gpointer data, const VarveRegistryAnswer *answer, GError **error);
    gboolean (*write)(gpointer data, const void *bytes, gsize size, GError **error);
    gpointer data;
} VarveRegistrySink;

/* What is sent: size bytes from offset on. */
typedef struct {
    const VarveRegistryContent *content;
    guint64 offset, size;
    const char *type; /* Content-Type */
} VarveRegistryBody;

/* How TLS is done with a host. */
typedef struct {
    char *authorities; /* certificates in PEM, beside the system's, or NULL */
    char *certificate, *key;
    char *directory; /* where a user would put them */
} VarveRegistryTls;

typedef struct {
    const char *method;
    const VarveRegistryUrl *url;
    const VarveRegistryTls *tls;
    const char *const *headers; /* "Name: value", NULL at the end; may be NULL */
    const char *authorization;  /* the header's value, or NULL */
    const VarveRegistryBody *body;
    const VarveRegistrySink *sink;
    gsize limit; /* of a body without a sink */
    const gint *cancelled;
    void (*sent)(gpointer data, guint64 bytes); /* of the body, so far; may be NULL */
    gpointer sent_data;
} VarveRegistryExchange;

/* Idle connections, and what they share. */
typedef struct VarveRegistryLines VarveRegistryLines;

VarveRegistryLines *varve_registry_lines_new(guint connect_timeout_ms, guint stall_timeout_ms);
void varve_registry_lines_free(VarveRegistryLines *lines);

/* TRUE with any answer, whatever its status; FALSE when there was none that is whole. */
gboolean varve_registry_exchange(VarveRegistryLines *lines, const VarveRegistryExchange *exchange,
                                 VarveRegistryAnswer *answer, VarveRegistryFailure *failure,
                                 GError **error);

/* --- hosts.c ---------------------------------------------------------------------------------- */

/* A place where a registry's API is: its own, or a mirror's. */
typedef struct {
    char *registry;  /* the registry's name, as in names of images */
    char *authority; /* of this place */
    char *path;      /* before /v2, mostly "" */
    gboolean mirror, loopback;
    gboolean may_be_plain;
    const char *username, *password; /* of the settings */
    guint64 chunk_size;

    GMutex lock;
    GCond changed;
    /* Below: under the lock. */
    gboolean plain, scheme_known;
    gint64 bad_until;                  /* monotonic; skipped until then, if it is a mirror */
    VarveRegistryChallenge *challenge; /* the last one; NULL: none so far */
    GHashTable *tokens;                /* char *scopes -> token, in auth.c */
    GHashTable *wider;                 /* char *scopes -> char *scopes that it turned out to need */
    char *refresh_token;               /* that took the place of the identity token */
    gboolean fetching;                 /* a thread fetches a token */
} VarveRegistryEndpoint;

struct VarveRegistry {
    VarveRegistryHost *hosts; /* copies */
    gsize n_hosts;
    char *certificates_dir;
    char *auth_file;
    guint retries, retry_delay_ms, retry_wait_max_ms;
    VarveRegistryLines *lines;

    GMutex lock;
    GHashTable *endpoints; /* char *registry -> GPtrArray of endpoints, the registry's own last */
    GHashTable *tls;       /* char *authority -> VarveRegistryTls */
};

/* The settings' entry for a registry, or NULL. */
const VarveRegistryHost *varve_registry_host(const VarveRegistry *registry, const char *name);

/* Where the registry is; they live as long as it. */
GPtrArray *varve_registry_endpoints(VarveRegistry *registry, const char *name, GError **error);

/* How TLS is done with a host. */
const VarveRegistryTls *varve_registry_tls(VarveRegistry *registry, const char *authority,
                                           GError **error);

/* --- credentials.c, helper.c ------------------------------------------------------------------ */

/* Credentials for a host and repository; NULL without an error: there are none. *tried says in
 * words what was found, or where was looked. */
VarveRegistryCredentials *varve_registry_credentials(VarveRegistry *registry,
                                                     const VarveRegistryEndpoint *endpoint,
                                                     const char *repository, const gint *cancelled,
                                                     char **tried, GError **error);

/* Asks docker-credential-HELPER for the credentials of server. */
VarveRegistryCredentials *varve_registry_helper_ask(const char *helper, const char *server,
                                                    const gint *cancelled, GError **error);

/* --- auth.c ----------------------------------------------------------------------------------- */

typedef struct VarveRegistryRequest VarveRegistryRequest;

/* The value of the Authorization header that a request should have: NULL when none is needed, or
 * none known. */
gboolean varve_registry_authorize(VarveRegistry *registry, VarveRegistryRequest *request,
                                  char **authorization, VarveRegistryFailure *failure,
                                  GError **error);

/* Learns from an answer with status 401 to a request that was sent with that authorization. */
gboolean varve_registry_challenged(VarveRegistry *registry, VarveRegistryRequest *request,
                                   const VarveRegistryAnswer *answer, const char *sent,
                                   GError **error);

void varve_registry_auth_init(VarveRegistryEndpoint *endpoint);
void varve_registry_auth_clear(VarveRegistryEndpoint *endpoint);

/* --- request.c -------------------------------------------------------------------------------- */

/* A request to an endpoint. */
struct VarveRegistryRequest {
    VarveRegistryEndpoint *endpoint;
    const char *repository;
    const char *method;
    const char *path;   /* below /v2/, with its query; or */
    const char *url;    /* absolute */
    const char *scopes; /* what it needs, separated by blanks: "repository:NAME:pull" */
    const char *const *headers;
    const VarveRegistryBody *body;
    const VarveRegistrySink *sink;
    gsize limit;         /* of a body without a sink; 0: MAX_ERROR_BODY */
    const int *statuses; /* taken beside 2xx, 0 at the end; may be NULL */
    gboolean no_redirects;
    const VarveRegistryWatch *watch;
    void (*sent)(gpointer data, guint64 bytes);
    gpointer sent_data;

    /* Filled in. */
    char *tried;     /* which credentials were used, for messages */
    char *effective; /* the URL that answered */
};

/* TRUE: the answer has a status of 2xx, or one of request->statuses. */
gboolean varve_registry_request(VarveRegistry *registry, VarveRegistryRequest *request,
                                VarveRegistryAnswer *answer, VarveRegistryFailure *failure,
                                GError **error);

void varve_registry_request_clear(VarveRegistryRequest *request);

/* Sets the error for an answer that is of no use, and judges it. who: the host that gave it. tried:
 * which credentials were, or NULL. */
void varve_registry_refuse(const char *who, const char *tried, const VarveRegistryAnswer *answer,
                           VarveRegistryFailure *failure, GError **error);

/* Whether secrets may be sent there: not in the clear, except to this machine. */
gboolean varve_registry_url_is_safe(const VarveRegistryUrl *url);

/* Where an answer leads to, by its Location or by the text of a link: relative to the URL that
 * answered, and not out of TLS. */
VarveRegistryUrl *varve_registry_location(const VarveRegistryRequest *request,
                                          const VarveRegistryAnswer *answer, GError **error);
VarveRegistryUrl *varve_registry_link(const VarveRegistryRequest *request, const char *text,
                                      GError **error);

/* --- attempts.c ------------------------------------------------------------------------------- */

/* One attempt at an endpoint. It sets *progress when it came further than those before it. */
typedef gboolean (*VarveRegistryAttempt)(gpointer operation, VarveRegistryEndpoint *endpoint,
                                         gboolean *progress, VarveRegistryFailure *failure,
                                         GError **error);

/* Attempts it at the mirrors, if mirrors is set, then at the registry, until it succeeds or nothing
 * helps. */
gboolean varve_registry_attempts(VarveRegistry *registry, const char *name, gboolean mirrors,
                                 const VarveRegistryWatch *watch, VarveRegistryAttempt attempt,
                                 gpointer operation, GError **error);

static inline const gint *
varve_registry_cancelled(const VarveRegistryWatch *watch)
{
    return watch == NULL ? NULL : watch->cancelled;
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveRegistryAnswer, varve_registry_answer_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveRegistryRequest, varve_registry_request_clear)

#endif
