/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request, driven in the caller's thread by a multi handle of its own, so that it can be
 * cancelled at any moment. A "line" is such a handle with the connections that it keeps open; lines
 * that are idle wait for the next exchange, of whatever thread.
 *
 * There is no limit on how long an exchange takes, only on standing still: fewer than STALL_BYTES
 * of a body moved in the stall timeout, or no whole set of headers came in it. A registry that
 * stores what it was sent gets ten times as long to answer.
 */
#include "image/registry/internal.h"
#include <string.h>

#define POLL_MS         100
#define STALL_BYTES     1024
#define STORING_FACTOR  10
#define SMALL_FACTOR    5 /* stall timeouts that an answer without a sink may take in all */
#define MAX_CONNECTIONS 4 /* that one line keeps open */
#define TRANSFER_BUFFER (256 * 1024L)

struct VarveRegistryLines {
    guint connect_timeout_ms, stall_timeout_ms;
    CURLSH *share;
    GMutex share_locks[CURL_LOCK_DATA_LAST];
    GMutex lock;
    GQueue idle; /* of Line, the one used last first */
};

typedef struct {
    CURLM *multi;
    CURL *easy;
} Line;

/* An exchange under way. */
typedef struct {
    const VarveRegistryExchange *exchange;
    VarveRegistryAnswer *answer;
    Line *line;
    GError *error;    /* of the caller's functions, or a limit */
    gboolean foreign; /* that error is the registry's doing, not the caller's */
    gsize header_bytes;
    gboolean begun; /* the sink has seen the headers */
    gboolean headers_done;
    guint64 received; /* of the body */
    guint64 position; /* in the body that is sent */
    guint64 furthest;

    gint64 headers_at; /* when the headers were whole; monotonic microseconds */
    gint64 window_start;
    guint64 window_bytes;
} Transfer;

/* --- answers ---------------------------------------------------------------------------------- */

VarveRegistryAnswer *
varve_registry_answer_new(void)
{
    VarveRegistryAnswer *answer = g_new0(VarveRegistryAnswer, 1);
    answer->headers = g_ptr_array_new_with_free_func(g_free);
    answer->body = g_byte_array_new();
    return answer;
}

void
varve_registry_answer_free(VarveRegistryAnswer *answer)
{
    g_ptr_array_unref(answer->headers);
    g_byte_array_unref(answer->body);
    g_free(answer);
}

static const char *
value_of(const char *header, const char *name)
{
    gsize n = strlen(name);
    if (g_ascii_strncasecmp(header, name, n) != 0 || header[n] != ':')
        return NULL;
    return header + n + 1 + strspn(header + n + 1, " \t");
}

const char *
varve_registry_answer_header(const VarveRegistryAnswer *answer, const char *name)
{
    for (guint i = 0; i < answer->headers->len; i++) {
        const char *value = value_of(g_ptr_array_index(answer->headers, i), name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

char *
varve_registry_answer_headers(const VarveRegistryAnswer *answer, const char *name)
{
    g_autoptr(GString) all = g_string_new(NULL);
    for (guint i = 0; i < answer->headers->len; i++) {
        const char *value = value_of(g_ptr_array_index(answer->headers, i), name);
        if (value != NULL)
            g_string_append_printf(all, "%s%s", all->len > 0 ? ", " : "", value);
    }
    return all->len > 0 ? g_string_free(g_steal_pointer(&all), FALSE) : NULL;
}

static void
answer_reset(VarveRegistryAnswer *answer)
{
    answer->status = 0;
    answer->cut = FALSE;
    g_ptr_array_set_size(answer->headers, 0);
    g_byte_array_set_size(answer->body, 0);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void
lock_share(CURL *easy, curl_lock_data what, curl_lock_access access, void *data)
{
    VarveRegistryLines *lines = data;
    g_mutex_lock(&lines->share_locks[what]);
}

static void
unlock_share(CURL *easy, curl_lock_data what, void *data)
{
    VarveRegistryLines *lines = data;
    g_mutex_unlock(&lines->share_locks[what]);
}

VarveRegistryLines *
varve_registry_lines_new(guint connect_timeout_ms, guint stall_timeout_ms)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&once, 1);
    }
    VarveRegistryLines *lines = g_new0(VarveRegistryLines, 1);
    lines->connect_timeout_ms = connect_timeout_ms;
    lines->stall_timeout_ms = stall_timeout_ms;
    g_mutex_init(&lines->lock);
    for (guint i = 0; i < CURL_LOCK_DATA_LAST; i++)
        g_mutex_init(&lines->share_locks[i]);
    lines->share = curl_share_init();
    curl_share_setopt(lines->share, CURLSHOPT_LOCKFUNC, lock_share);
    curl_share_setopt(lines->share, CURLSHOPT_UNLOCKFUNC, unlock_share);
    curl_share_setopt(lines->share, CURLSHOPT_USERDATA, lines);
    curl_share_setopt(lines->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(lines->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return lines;
}

static void
line_free(Line *line)
{
    curl_easy_cleanup(line->easy);
    curl_multi_cleanup(line->multi);
    g_free(line);
}

void
varve_registry_lines_free(VarveRegistryLines *lines)
{
    g_queue_clear_full(&lines->idle, (GDestroyNotify)line_free);
    curl_share_cleanup(lines->share);
    for (guint i = 0; i < CURL_LOCK_DATA_LAST; i++)
        g_mutex_clear(&lines->share_locks[i]);
    g_mutex_clear(&lines->lock);
    g_free(lines);
}

static Line *
take_line(VarveRegistryLines *lines)
{
    g_mutex_lock(&lines->lock);
    Line *line = g_queue_pop_head(&lines->idle);
    g_mutex_unlock(&lines->lock);
    if (line != NULL)
        return line;
    line = g_new0(Line, 1);
    line->multi = curl_multi_init();
    line->easy = curl_easy_init();
    curl_multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, (long)MAX_CONNECTIONS);
    return line;
}

static void
give_line(VarveRegistryLines *lines, Line *line)
{
    curl_easy_reset(line->easy);
    g_mutex_lock(&lines->lock);
    g_queue_push_head(&lines->idle, line);
    g_mutex_unlock(&lines->lock);
}

/* --- libcurl's callbacks ---------------------------------------------------------------------- */

/* Ends the transfer for a reason that is the answer's. */
static void G_GNUC_PRINTF(2, 3) refuse(Transfer *transfer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    transfer->error = g_error_new_valist(VARVE_ERROR, VARVE_ERROR_CORRUPT, format, args);
    va_end(args);
    transfer->foreign = TRUE;
}

static size_t
on_header(char *bytes, size_t size, size_t n, void *data)
{
    Transfer *transfer = data;
    n *= size;
    transfer->header_bytes += n;
    if (transfer->header_bytes > MAX_HEADERS) {
        refuse(transfer, "its answer has more than %d KiB of headers", MAX_HEADERS / 1024);
        return 0;
    }
    if (n >= 5 && strncmp(bytes, "HTTP/", 5) == 0) {
        answer_reset(transfer->answer);
        transfer->headers_done = FALSE;
        return n;
    }
    char *line = g_strchomp(g_strndup(bytes, n));
    if (line[0] != '\0') {
        g_ptr_array_add(transfer->answer->headers, line);
        return n;
    }
    g_free(line);
    curl_easy_getinfo(transfer->line->easy, CURLINFO_RESPONSE_CODE, &transfer->answer->status);
    transfer->headers_done = transfer->answer->status >= 200;
    transfer->headers_at = transfer->window_start = g_get_monotonic_time();
    return n;
}

static gboolean
begin(Transfer *transfer)
{
    const VarveRegistrySink *sink = transfer->exchange->sink;
    transfer->begun = TRUE;
    return sink->begin == NULL || sink->begin(sink->data, transfer->answer, &transfer->error);
}

static gboolean
is_for_sink(const Transfer *transfer)
{
    return transfer->exchange->sink != NULL && transfer->answer->status / 100 == 2;
}

/* Keeps the body. One that is too long fails, unless it belongs to an error: what came of that
 * suffices. */
static gboolean
keep(Transfer *transfer, const void *bytes, gsize n)
{
    gboolean good = transfer->answer->status / 100 == 2;
    gsize limit = good && transfer->exchange->sink == NULL
                      ? MAX(transfer->exchange->limit, MAX_ERROR_BODY)
                      : MAX_ERROR_BODY;
    GByteArray *body = transfer->answer->body;
    gsize fitting = MIN(n, limit - body->len);
    g_byte_array_append(body, bytes, (guint)fitting);
    if (fitting == n)
        return TRUE;
    transfer->answer->cut = TRUE;
    if (good)
        refuse(transfer, "its answer is larger than the %zu KiB that are taken", limit / 1024);
    return FALSE;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *data)
{
    Transfer *transfer = data;
    n *= size;
    transfer->received += n;
    if (!is_for_sink(transfer))
        return keep(transfer, bytes, n) ? n : CURL_WRITEFUNC_ERROR;
    const VarveRegistrySink *sink = transfer->exchange->sink;
    if (!transfer->begun && !begin(transfer))
        return CURL_WRITEFUNC_ERROR;
    return sink->write(sink->data, bytes, n, &transfer->error) ? n : CURL_WRITEFUNC_ERROR;
}

static size_t
on_send(char *buffer, size_t size, size_t n, void *data)
{
    Transfer *transfer = data;
    const VarveRegistryBody *body = transfer->exchange->body;
    gsize wanted = (gsize)MIN(body->size - transfer->position, size * n);
    if (wanted == 0)
        return 0;
    gssize got = body->content->read(body->content->data, body->offset + transfer->position, buffer,
                                     wanted, &transfer->error);
    if (got == 0)
        varve_error_set(&transfer->error, VARVE_ERROR_CORRUPT,
                        "what is to be sent ends before its size");
    if (got <= 0)
        return CURL_READFUNC_ABORT;
    transfer->position += (guint64)got;
    transfer->furthest = MAX(transfer->furthest, transfer->position);
    if (transfer->exchange->sent != NULL)
        transfer->exchange->sent(transfer->exchange->sent_data, transfer->position);
    return (size_t)got;
}

static int
on_seek(void *data, curl_off_t offset, int origin)
{
    Transfer *transfer = data;
    if (origin != SEEK_SET || offset < 0 || (guint64)offset > transfer->exchange->body->size)
        return CURL_SEEKFUNC_FAIL;
    transfer->position = (guint64)offset;
    return CURL_SEEKFUNC_OK;
}

/* --- setting up ------------------------------------------------------------------------------- */

static void
set_method(CURL *easy, Transfer *transfer)
{
    const VarveRegistryExchange *exchange = transfer->exchange;
    if (exchange->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)exchange->body->size);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, TRANSFER_BUFFER);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method);
    } else if (g_str_equal(exchange->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (!g_str_equal(exchange->method, "GET")) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method);
    }
}

static void
set_tls(CURL *easy, const VarveRegistryExchange *exchange)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (exchange->tls == NULL)
        return;
    if (exchange->tls->authorities != NULL) {
        /* Takes the place of the system's bundle; its directory goes on being looked at. */
        struct curl_blob blob = {exchange->tls->authorities, strlen(exchange->tls->authorities),
                                 CURL_BLOB_NOCOPY};
        curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    }
    curl_easy_setopt(easy, CURLOPT_SSLCERT, exchange->tls->certificate);
    curl_easy_setopt(easy, CURLOPT_SSLKEY, exchange->tls->key);
}

static struct curl_slist *
header_list(const VarveRegistryExchange *exchange)
{
    struct curl_slist *list = NULL;
    for (const char *const *header = exchange->headers; header != NULL && *header; header++)
        list = curl_slist_append(list, *header);
    if (exchange->body != NULL && exchange->body->type != NULL) {
        g_autofree char *type = g_strconcat("Content-Type: ", exchange->body->type, NULL);
        list = curl_slist_append(list, type);
    } else {
        list = curl_slist_append(list, "Content-Type:");
    }
    if (exchange->authorization != NULL) {
        char *header = g_strconcat("Authorization: ", exchange->authorization, NULL);
        list = curl_slist_append(list, header);
        varve_registry_secret_free(header);
    }
    return list;
}

static void
free_headers(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item != NULL; item = item->next)
        explicit_bzero(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

static void
set_up(VarveRegistryLines *lines, Transfer *transfer, char *errors, struct curl_slist *headers)
{
    CURL *easy = transfer->line->easy;
    curl_easy_setopt(easy, CURLOPT_URL, transfer->exchange->url->text);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "varve/" VARVE_VERSION);
    curl_easy_setopt(easy, CURLOPT_SHARE, lines->share);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a slow resolver is not waited for */
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, errors);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)lines->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, TRANSFER_BUFFER);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* none to proxies */
    if (transfer->exchange->url->loopback)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    set_method(easy, transfer);
    set_tls(easy, transfer->exchange);
}

/* --- driving ---------------------------------------------------------------------------------- */

static gboolean
is_connected(const Transfer *transfer)
{
    curl_off_t connected = 0;
    curl_easy_getinfo(transfer->line->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    return connected > 0;
}

static gboolean
stands_still(VarveRegistryLines *lines, Transfer *transfer)
{
    gint64 now = g_get_monotonic_time(), limit = (gint64)lines->stall_timeout_ms * 1000;
    const VarveRegistryBody *body = transfer->exchange->body;
    if (!is_connected(transfer)) {
        transfer->window_start = now; /* libcurl has its own limit for that */
        return FALSE;
    }
    if (transfer->headers_done && transfer->exchange->sink == NULL &&
        now - transfer->headers_at > limit * SMALL_FACTOR)
        return TRUE;
    if (body != NULL && transfer->position == body->size && !transfer->headers_done)
        limit *= STORING_FACTOR;
    guint64 moved = transfer->received + transfer->furthest;
    if (moved - transfer->window_bytes >= STALL_BYTES) {
        transfer->window_bytes = moved;
        transfer->window_start = now;
    }
    return now - transfer->window_start > limit;
}

static CURLcode
result_of(CURLM *multi)
{
    int left;
    CURLcode result = CURLE_FAILED_INIT;
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left)) != NULL;)
        if (message->msg == CURLMSG_DONE)
            result = message->data.result;
    return result;
}

static CURLcode
drive(VarveRegistryLines *lines, Transfer *transfer)
{
    CURLM *multi = transfer->line->multi;
    int running = 1;
    transfer->window_start = g_get_monotonic_time();
    while (curl_multi_perform(multi, &running) == CURLM_OK && running > 0) {
        if (!varve_check_cancelled(transfer->exchange->cancelled, &transfer->error))
            return CURLE_ABORTED_BY_CALLBACK;
        if (stands_still(lines, transfer))
            return CURLE_OPERATION_TIMEDOUT;
        curl_multi_poll(multi, NULL, 0, POLL_MS, NULL);
    }
    return result_of(multi);
}

/* --- failing ---------------------------------------------------------------------------------- */

typedef struct {
    CURLcode result;
    VarveErrorCode code;
    gboolean again, connection;
    const char *hint;
} Judgement;

/* What libcurl's results mean; those that are not here: unavailable, and trying again helps. */
static const Judgement judgements[] = {
    {CURLE_COULDNT_RESOLVE_HOST, VARVE_ERROR_UNAVAILABLE, TRUE, TRUE,
     "check the name and the machine's name servers"},
    {CURLE_COULDNT_RESOLVE_PROXY, VARVE_ERROR_UNAVAILABLE, FALSE, TRUE,
     "check https_proxy and http_proxy in the environment"},
    {CURLE_COULDNT_CONNECT, VARVE_ERROR_UNAVAILABLE, TRUE, TRUE, NULL},
    {CURLE_SSL_CONNECT_ERROR, VARVE_ERROR_UNAVAILABLE, TRUE, TRUE, NULL},
    {CURLE_PEER_FAILED_VERIFICATION, VARVE_ERROR_FAILED_PRECONDITION, FALSE, FALSE,
     "if it is yours, put its CA's certificate into %s/ca.crt"},
    {CURLE_SSL_CACERT_BADFILE, VARVE_ERROR_FAILED_PRECONDITION, FALSE, FALSE,
     "install the package ca-certificates, or check the files in %s"},
    {CURLE_SSL_CERTPROBLEM, VARVE_ERROR_FAILED_PRECONDITION, FALSE, FALSE,
     "check the client's certificate and key in %s"},
    {CURLE_UNSUPPORTED_PROTOCOL, VARVE_ERROR_CORRUPT, FALSE, FALSE, NULL},
    {CURLE_URL_MALFORMAT, VARVE_ERROR_INVALID_ARGUMENT, FALSE, FALSE, NULL},
    {CURLE_OUT_OF_MEMORY, VARVE_ERROR_INTERNAL, FALSE, FALSE, NULL},
    {CURLE_FAILED_INIT, VARVE_ERROR_INTERNAL, FALSE, FALSE, NULL},
    {CURLE_WEIRD_SERVER_REPLY, VARVE_ERROR_CORRUPT, FALSE, FALSE, NULL},
    {CURLE_OPERATION_TIMEDOUT, VARVE_ERROR_UNAVAILABLE, TRUE, FALSE, NULL},
};

static Judgement
judge(CURLcode result)
{
    for (gsize i = 0; i < G_N_ELEMENTS(judgements); i++)
        if (judgements[i].result == result)
            return judgements[i];
    return (Judgement){result, VARVE_ERROR_UNAVAILABLE, TRUE, FALSE, NULL};
}

static gboolean
fail(VarveRegistryLines *lines, Transfer *transfer, CURLcode result, const char *errors,
     VarveRegistryFailure *failure, GError **error)
{
    if (transfer->error != NULL) {
        failure->local = !transfer->foreign;
        g_propagate_error(error, g_steal_pointer(&transfer->error));
        return FALSE;
    }
    Judgement judgement = judge(result);
    failure->again = judgement.again;
    failure->connection = judgement.connection;
    failure->no_tls = result == CURLE_SSL_CONNECT_ERROR;
    g_autofree char *why =
        result == CURLE_OPERATION_TIMEDOUT && is_connected(transfer)
            ? g_strdup_printf("nothing more came for %g s", lines->stall_timeout_ms / 1000.0)
            : varve_registry_text_clean(errors[0] != '\0' ? errors : curl_easy_strerror(result),
                                        -1);
    const VarveRegistryTls *tls = transfer->exchange->tls;
    g_autoptr(GString) hint = g_string_new(judgement.hint != NULL ? "; " : NULL);
    g_string_append(hint, judgement.hint != NULL ? judgement.hint : "");
    g_string_replace(hint, "%s", tls != NULL ? tls->directory : "its directory", 0);
    return varve_error_set(error, judgement.code, "%s%s", why, hint->str);
}

/* An error's body that was cut off at its limit ends the transfer, and yet is an answer. */
static gboolean
is_answer(const Transfer *transfer, CURLcode result)
{
    if (transfer->error != NULL || transfer->answer->status == 0)
        return FALSE;
    return result == CURLE_OK || (transfer->answer->status >= 300 && transfer->headers_done);
}

gboolean
varve_registry_exchange(VarveRegistryLines *lines, const VarveRegistryExchange *exchange,
                        VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    Transfer transfer = {.exchange = exchange, .answer = answer, .line = take_line(lines)};
    char errors[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = header_list(exchange);
    answer_reset(answer);
    set_up(lines, &transfer, errors, headers);
    curl_multi_add_handle(transfer.line->multi, transfer.line->easy);
    CURLcode result = drive(lines, &transfer);
    if (result == CURLE_OK && transfer.error == NULL && is_for_sink(&transfer) && !transfer.begun)
        (void)begin(&transfer); /* an empty body */
    gboolean good =
        is_answer(&transfer, result) || fail(lines, &transfer, result, errors, failure, error);
    curl_multi_remove_handle(transfer.line->multi, transfer.line->easy);
    give_line(lines, transfer.line);
    free_headers(headers);
    return good;
}
