/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-auth.h"
#include "base/fd.h"
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <varve/log.h>

#define MAX_FILE    (1 << 20)
#define MIN_TOKEN   16
#define DIGEST_SIZE 32

struct VarveHttpAuth {
    char *certificate, *key, *client_ca; /* texts */
    char *tokens_file;
    pthread_mutex_t lock; /* of those below */
    char *tokens;         /* text; NULL: it could not be read */
    struct stat read;     /* of the file when it was read last */
};

/* --- tokens --------------------------------------------------------------------------------- */

static void
digest_of(const char *text, guint8 digest[DIGEST_SIZE])
{
    gsize size = DIGEST_SIZE;
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sum, (const guchar *)text, (gssize)strlen(text));
    g_checksum_get_digest(sum, digest, &size);
}

/* 1 or 0, and every byte is looked at. */
static guint
same_digest(const guint8 *a, const guint8 *b)
{
    guint8 different = 0;
    for (gsize i = 0; i < DIGEST_SIZE; i++)
        different |= a[i] ^ b[i];
    return different == 0;
}

/* Looks at one line. *matches grows when the token is good. FALSE: the line is not understood. */
static gboolean
check_line(char *line, const guint8 *digest, gint64 now, guint *matches)
{
    line[strcspn(line, "#")] = '\0';
    char *token = g_strstrip(line), *end = token + strcspn(token, " \t");
    if (*token == '\0')
        return TRUE;
    const char *expires = *end != '\0' ? g_strstrip(end + 1) : end;
    *end = '\0';
    g_autoptr(GDateTime) time =
        *expires != '\0' ? g_date_time_new_from_iso8601(expires, NULL) : NULL;
    if (strlen(token) < MIN_TOKEN || (*expires != '\0' && time == NULL))
        return FALSE;
    guint8 own[DIGEST_SIZE];
    digest_of(token, own);
    *matches += same_digest(own, digest) & (time == NULL || now < g_date_time_to_unix(time));
    return TRUE;
}

gboolean
varve_http_tokens_check(const char *text, const char *token, gint64 now, char **problem)
{
    guint matches = 0;
    guint8 digest[DIGEST_SIZE];
    digest_of(token, digest);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        if (check_line(lines[i], digest, now, &matches))
            continue;
        *problem = g_strdup_printf("line %u is no token of at least %d characters, with or without "
                                   "a time such as 2027-01-31T00:00:00Z",
                                   i + 1, MIN_TOKEN);
        return FALSE;
    }
    return matches > 0;
}

/* --- files ---------------------------------------------------------------------------------- */

static gboolean
check_private(const char *file, const struct stat *st, GError **error)
{
    if (!S_ISREG(st->st_mode))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: is no regular file", file);
    if ((st->st_mode & 077) == 0 && (st->st_uid == geteuid() || st->st_uid == 0))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_PERMISSION_DENIED,
                           "%s: others can read it, or it is not ours: chmod 600, chown root",
                           file);
}

/* The text of a file, and what it was; secret: nobody else may be able to read it. */
static char *
read_text(const char *file, gboolean secret, struct stat *st, GError **error)
{
    varve_autofd fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, st) != 0) {
        varve_error_set_errno(error, errno, "reading %s", file);
        return NULL;
    }
    if (secret && !check_private(file, st, error))
        return NULL;
    g_autofree char *text = g_malloc0(MAX_FILE + 1);
    gsize length = 0;
    for (gssize n = 1; n > 0 && length < MAX_FILE; length += (gsize)MAX(n, 0)) {
        n = read(fd, text + length, MAX_FILE - length);
        if (n < 0) {
            varve_error_set_errno(error, errno, "reading %s", file);
            return NULL;
        }
    }
    if (length < MAX_FILE && strlen(text) == length)
        return g_strdup(text);
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: is no text of at most 1 MiB", file);
    return NULL;
}

static gboolean
read_optional(const char *file, gboolean secret, char **text, GError **error)
{
    struct stat st;
    return file == NULL || (*text = read_text(file, secret, &st, error)) != NULL;
}

/* With the lock held. */
static gboolean
read_tokens(VarveHttpAuth *self, GError **error)
{
    char *problem = NULL;
    g_free(self->tokens);
    self->tokens = read_text(self->tokens_file, TRUE, &self->read, error);
    if (self->tokens == NULL)
        return FALSE;
    varve_http_tokens_check(self->tokens, "", 0, &problem);
    if (problem == NULL)
        return TRUE;
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s: %s", self->tokens_file, problem);
    g_free(problem);
    g_clear_pointer(&self->tokens, g_free);
    return FALSE;
}

static gboolean
is_changed(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
           a->st_mode != b->st_mode || a->st_uid != b->st_uid ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

/* Tells of a file that is no good once, not with each request. */
static void
refresh(VarveHttpAuth *self)
{
    g_autoptr(GError) error = NULL;
    struct stat st = {0};
    if (stat(self->tokens_file, &st) != 0)
        st = (struct stat){0};
    if (!is_changed(&st, &self->read))
        return;
    if (read_tokens(self, &error))
        varve_log(VARVE_LOG_INFO, "tokens are read again", "file", self->tokens_file, NULL);
    else
        varve_log(VARVE_LOG_ERROR, "no token is good any more", "error", error->message, NULL);
    self->read = st;
}

gboolean
varve_http_auth_check_token(VarveHttpAuth *self, const char *token)
{
    if (self->tokens_file == NULL)
        return FALSE;
    g_autofree char *problem = NULL;
    pthread_mutex_lock(&self->lock);
    refresh(self);
    gboolean good =
        self->tokens != NULL &&
        varve_http_tokens_check(self->tokens, token, g_get_real_time() / G_USEC_PER_SEC, &problem);
    pthread_mutex_unlock(&self->lock);
    return good;
}

VarveHttpAuth *
varve_http_auth_new(const VarveHttpAuthFiles *files, GError **error)
{
    g_autoptr(VarveHttpAuth) self = g_new0(VarveHttpAuth, 1);
    pthread_mutex_init(&self->lock, NULL);
    self->tokens_file = g_strdup(files->tokens);
    if ((files->certificate == NULL) != (files->key == NULL) ||
        (files->client_ca != NULL && files->certificate == NULL) ||
        (files->client_ca == NULL && files->tokens == NULL)) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "TCP needs a certificate with its key and, to know who comes, the "
                        "authority of clients or a file of tokens");
        return NULL;
    }
    if (!read_optional(files->certificate, FALSE, &self->certificate, error) ||
        !read_optional(files->key, TRUE, &self->key, error) ||
        !read_optional(files->client_ca, FALSE, &self->client_ca, error) ||
        (self->tokens_file != NULL && !read_tokens(self, error)))
        return NULL;
    return g_steal_pointer(&self);
}

void
varve_http_auth_free(VarveHttpAuth *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->lock);
    g_free(self->certificate);
    g_free(self->key);
    g_free(self->client_ca);
    g_free(self->tokens_file);
    g_free(self->tokens);
    g_free(self);
}

const char *
varve_http_auth_certificate(const VarveHttpAuth *self)
{
    return self->certificate;
}

const char *
varve_http_auth_key(const VarveHttpAuth *self)
{
    return self->key;
}

const char *
varve_http_auth_client_ca(const VarveHttpAuth *self)
{
    return self->client_ca;
}
