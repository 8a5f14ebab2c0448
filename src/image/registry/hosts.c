/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where registries are. A host's certificates are found as Docker finds them
 * (https://docs.docker.com/engine/security/certificates/): every *.crt in its directory is trusted,
 * NAME.cert with NAME.key is what we show.
 */
#include "image/registry/internal.h"
#include <string.h>

#define MAX_CERTIFICATES (4 * 1024 * 1024)

/* The Hub's API has another host than its name. */
#define HUB     "docker.io"
#define HUB_API "registry-1.docker.io"

const VarveRegistryHost *
varve_registry_host(const VarveRegistry *registry, const char *name)
{
    for (gsize i = 0; i < registry->n_hosts; i++)
        if (g_ascii_strcasecmp(registry->hosts[i].name, name) == 0)
            return &registry->hosts[i];
    return NULL;
}

/* --- certificates ----------------------------------------------------------------------------- */

static void
tls_free(VarveRegistryTls *tls)
{
    g_free(tls->authorities);
    g_free(tls->certificate);
    g_free(tls->key);
    g_free(tls->directory);
    g_free(tls);
}

static gboolean
add_authorities(GString *all, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) problem = NULL;
    gsize n;
    if (!g_file_get_contents(path, &text, &n, &problem))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "reading the certificates that are trusted: %s", problem->message);
    if (strstr(text, "-----BEGIN") == NULL || all->len + n > MAX_CERTIFICATES)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "'%s' does not hold certificates in PEM, or too many", path);
    g_string_append_len(all, text, (gssize)n);
    g_string_append_c(all, '\n');
    return TRUE;
}

/* Takes NAME.cert with NAME.key. */
static gboolean
take_client_certificate(VarveRegistryTls *tls, const char *path, GError **error)
{
    g_autofree char *stem = g_strndup(path, strlen(path) - strlen(".cert"));
    g_autofree char *key = g_strconcat(stem, ".key", NULL);
    if (!g_file_test(key, G_FILE_TEST_EXISTS))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "'%s' lacks its key '%s'",
                               path, key);
    if (tls->certificate == NULL) {
        tls->certificate = g_strdup(path);
        tls->key = g_steal_pointer(&key);
    }
    return TRUE;
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What stands in a directory, sorted; nothing if there is none. */
static GPtrArray *
names_in(const char *directory)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return names;
}

static gboolean
read_directory(VarveRegistryTls *tls, GString *authorities, GError **error)
{
    g_autoptr(GPtrArray) names = names_in(tls->directory);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = g_build_filename(tls->directory, name, NULL);
        if (g_str_has_suffix(name, ".crt") && !add_authorities(authorities, path, error))
            return FALSE;
        if (g_str_has_suffix(name, ".cert") && !take_client_certificate(tls, path, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
tls_fill(VarveRegistry *registry, const char *authority, VarveRegistryTls *tls, GError **error)
{
    const VarveRegistryHost *host = varve_registry_host(registry, authority);
    g_autoptr(GString) authorities = g_string_new(NULL);
    tls->directory = g_build_filename(registry->certificates_dir, authority, NULL);
    if (host != NULL && host->client_certificate != NULL) {
        tls->certificate = g_strdup(host->client_certificate);
        tls->key = g_strdup(host->client_key);
    }
    if (host != NULL && host->ca_file != NULL &&
        !add_authorities(authorities, host->ca_file, error))
        return FALSE;
    if (!read_directory(tls, authorities, error))
        return FALSE;
    if (authorities->len > 0)
        tls->authorities = g_string_free(g_steal_pointer(&authorities), FALSE);
    return TRUE;
}

const VarveRegistryTls *
varve_registry_tls(VarveRegistry *registry, const char *authority, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&registry->lock);
    VarveRegistryTls *tls = g_hash_table_lookup(registry->tls, authority);
    if (tls != NULL)
        return tls;
    tls = g_new0(VarveRegistryTls, 1);
    if (!tls_fill(registry, authority, tls, error)) {
        tls_free(tls);
        return NULL;
    }
    g_hash_table_insert(registry->tls, g_strdup(authority), tls);
    return tls;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static void
endpoint_free(VarveRegistryEndpoint *endpoint)
{
    varve_registry_auth_clear(endpoint);
    g_free(endpoint->registry);
    g_free(endpoint->authority);
    g_free(endpoint->path);
    g_mutex_clear(&endpoint->lock);
    g_cond_clear(&endpoint->changed);
    g_free(endpoint);
}

/* Where it is clear how a host is spoken to, says so: those that have certificates, and those that
 * must have TLS. The others are tried. */
static void
know_scheme(VarveRegistryEndpoint *endpoint, const VarveRegistryTls *tls)
{
    if (!endpoint->may_be_plain || tls->authorities != NULL || tls->certificate != NULL)
        endpoint->scheme_known = TRUE;
}

static VarveRegistryEndpoint *
endpoint_new(VarveRegistry *registry, const char *name, const char *authority, const char *path,
             GError **error)
{
    const VarveRegistryTls *tls = varve_registry_tls(registry, authority, error);
    if (tls == NULL)
        return NULL;
    const VarveRegistryHost *host = varve_registry_host(registry, authority);
    VarveRegistryEndpoint *endpoint = g_new0(VarveRegistryEndpoint, 1);
    endpoint->registry = g_strdup(name);
    endpoint->authority = g_strdup(authority);
    endpoint->path = g_strdup(path);
    g_mutex_init(&endpoint->lock);
    g_cond_init(&endpoint->changed);
    varve_registry_auth_init(endpoint);
    if (host != NULL) {
        endpoint->username = host->username;
        endpoint->password = host->password;
        endpoint->chunk_size = host->chunk_size;
    }
    g_autofree char *bare = g_strndup(authority, authority[0] == '[' ? strcspn(authority, "]") + 1
                                                                     : strcspn(authority, ":"));
    endpoint->loopback = varve_registry_host_is_loopback(bare);
    endpoint->may_be_plain = endpoint->loopback || (host != NULL && host->plain_http);
    know_scheme(endpoint, tls);
    return endpoint;
}

/* "https://HOST/PATH/" and the like. */
static VarveRegistryEndpoint *
mirror_new(VarveRegistry *registry, const char *name, const char *text, GError **error)
{
    const char *rest = text;
    gboolean tls = g_str_has_prefix(text, "https://"), plain = g_str_has_prefix(text, "http://");
    if (tls || plain)
        rest = strstr(text, "://") + 3;
    gsize n = strcspn(rest, "/");
    g_autofree char *authority = g_strndup(rest, n);
    g_autofree char *path = g_strdup(rest + n);
    for (gsize end = strlen(path); end > 0 && path[end - 1] == '/'; end--)
        path[end - 1] = '\0';
    if (!varve_registry_authority_check(authority) || strpbrk(path, "?#@% ") != NULL) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "mirror '%s' of '%s' must be HOST[:PORT][/PATH]", text, name);
        return NULL;
    }
    VarveRegistryEndpoint *endpoint = endpoint_new(registry, name, authority, path, error);
    if (endpoint == NULL)
        return NULL;
    endpoint->mirror = TRUE;
    endpoint->scheme_known |= tls || plain;
    endpoint->plain = plain;
    if (!plain || endpoint->may_be_plain)
        return endpoint;
    endpoint_free(endpoint);
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                    "mirror '%s' of '%s' must use https: plain HTTP is for loopback hosts and for "
                    "those whose settings say so",
                    text, name);
    return NULL;
}

static GPtrArray *
make_endpoints(VarveRegistry *registry, const char *name, GError **error)
{
    g_autoptr(GPtrArray) endpoints = g_ptr_array_new_with_free_func((GDestroyNotify)endpoint_free);
    const VarveRegistryHost *host = varve_registry_host(registry, name);
    const char *const *mirror = host != NULL ? host->mirrors : NULL;
    for (; mirror != NULL && *mirror != NULL; mirror++) {
        VarveRegistryEndpoint *endpoint = mirror_new(registry, name, *mirror, error);
        if (endpoint == NULL)
            return NULL;
        g_ptr_array_add(endpoints, endpoint);
    }
    const char *authority = g_str_equal(name, HUB) ? HUB_API : name;
    VarveRegistryEndpoint *own = endpoint_new(registry, name, authority, "", error);
    if (own == NULL)
        return NULL;
    if (host != NULL) { /* the Hub's settings stand under its name */
        own->username = host->username;
        own->password = host->password;
        own->chunk_size = host->chunk_size;
    }
    g_ptr_array_add(endpoints, own);
    return g_steal_pointer(&endpoints);
}

GPtrArray *
varve_registry_endpoints(VarveRegistry *registry, const char *name, GError **error)
{
    g_mutex_lock(&registry->lock);
    GPtrArray *endpoints = g_hash_table_lookup(registry->endpoints, name);
    g_mutex_unlock(&registry->lock);
    if (endpoints != NULL)
        return endpoints;

    g_autoptr(GPtrArray) made = make_endpoints(registry, name, error);
    if (made == NULL)
        return NULL;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&registry->lock);
    endpoints = g_hash_table_lookup(registry->endpoints, name);
    if (endpoints != NULL)
        return endpoints;
    endpoints = g_steal_pointer(&made);
    g_hash_table_insert(registry->endpoints, g_strdup(name), endpoints);
    return endpoints;
}

/* --- the registry itself ---------------------------------------------------------------------- */

static void
host_copy(VarveRegistryHost *to, const VarveRegistryHost *from)
{
    to->name = g_strdup(from->name);
    to->mirrors = (const char *const *)g_strdupv((char **)from->mirrors);
    to->plain_http = from->plain_http;
    to->ca_file = g_strdup(from->ca_file);
    to->client_certificate = g_strdup(from->client_certificate);
    to->client_key = g_strdup(from->client_key);
    to->username = g_strdup(from->username);
    to->password = g_strdup(from->password);
    to->chunk_size = from->chunk_size;
}

static void
host_clear(VarveRegistryHost *host)
{
    g_free((char *)host->name);
    g_strfreev((char **)host->mirrors);
    g_free((char *)host->ca_file);
    g_free((char *)host->client_certificate);
    g_free((char *)host->client_key);
    g_free((char *)host->username);
    varve_registry_secret_free((char *)host->password);
}

static gboolean
check_host(const VarveRegistryHost *host, GError **error)
{
    const char *wrong = NULL;
    if (host->name == NULL || !varve_registry_authority_check(host->name))
        wrong = "its name must be HOST or HOST:PORT";
    else if ((host->client_certificate == NULL) != (host->client_key == NULL))
        wrong = "a client's certificate and key go together";
    else if ((host->username == NULL) != (host->password == NULL))
        wrong = "a user and a password go together";
    return wrong == NULL ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "settings of registry '%s': %s",
                           host->name != NULL ? host->name : "", wrong);
}

static guint
or_default(guint value, guint otherwise)
{
    return value != 0 ? value : otherwise;
}

VarveRegistry *
varve_registry_new(const VarveRegistrySettings *settings, GError **error)
{
    static const VarveRegistrySettings none;
    if (settings == NULL)
        settings = &none;
    for (gsize i = 0; i < settings->n_hosts; i++)
        if (!check_host(&settings->hosts[i], error))
            return NULL;

    VarveRegistry *registry = g_new0(VarveRegistry, 1);
    g_mutex_init(&registry->lock);
    registry->hosts = g_new0(VarveRegistryHost, settings->n_hosts + 1);
    registry->n_hosts = settings->n_hosts;
    for (gsize i = 0; i < settings->n_hosts; i++)
        host_copy(&registry->hosts[i], &settings->hosts[i]);
    registry->certificates_dir = g_strdup(
        settings->certificates_dir != NULL ? settings->certificates_dir : "/etc/docker/certs.d");
    registry->auth_file = g_strdup(settings->auth_file);
    registry->retries =
        settings->retries == VARVE_REGISTRY_NO_RETRIES ? 0 : or_default(settings->retries, 5);
    registry->retry_delay_ms = or_default(settings->retry_delay_ms, 500);
    registry->retry_wait_max_ms = or_default(settings->retry_wait_max_ms, 60 * 1000);
    registry->endpoints =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    registry->tls =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)tls_free);
    registry->lines = varve_registry_lines_new(or_default(settings->connect_timeout_ms, 30 * 1000),
                                               or_default(settings->stall_timeout_ms, 60 * 1000));
    return registry;
}

void
varve_registry_free(VarveRegistry *registry)
{
    g_hash_table_unref(registry->endpoints);
    g_hash_table_unref(registry->tls);
    varve_registry_lines_free(registry->lines);
    for (gsize i = 0; i < registry->n_hosts; i++)
        host_clear(&registry->hosts[i]);
    g_free(registry->hosts);
    g_free(registry->certificates_dir);
    g_free(registry->auth_file);
    g_mutex_clear(&registry->lock);
    g_free(registry);
}
