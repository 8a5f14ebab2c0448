/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/host/internal.h"
#include <string.h>
#include <varve/sections.h>

#define MAX_NAME    64
#define MAX_SECONDS 3600

struct VarveHosts {
    GPtrArray *entries; /* of VarveHostEntry* */
};

/* --- settings --------------------------------------------------------------------------------- */

const VarveHostSetting varve_host_settings[] = {
    {"address",
     "https://HOST:PORT, as varved of that host listens at; http://127.0.0.1:PORT or "
     "http://[::1]:PORT; or the path of a unix socket.",
     ""},
    {"ca",
     "The authorities, in PEM, of which the host's certificate must be; without it the system's.",
     ""},
    {"certificate", "The certificate that the host is shown, in PEM.", ""},
    {"key", "Its private key, in PEM, readable by nobody else.", ""},
    {"token-file", "A file with the token that the host is shown; readable by nobody else.", ""},
    {"timeout", "Seconds without a byte after which a connection is given up, 1 to 3600.", "60"},
    {NULL},
};

static gboolean
set_path(const char *value, gpointer field, GError **error)
{
    if (!g_path_is_absolute(value))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "'%s' is not an absolute path",
                               value);
    g_free(*(char **)field);
    *(char **)field = g_strdup(value);
    return TRUE;
}

/* A name or number of a host, and perhaps a port: nothing that a URL could have beside. */
static gboolean
is_authority(const char *text)
{
    gsize n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]");
    return n > 0 && text[n] == '\0';
}

static gboolean
is_local(const char *authority)
{
    static const char *const names[] = {"127.0.0.1", "[::1]", NULL};
    for (const char *const *name = names; *name != NULL; name++) {
        gsize n = strlen(*name);
        if (strncmp(authority, *name, n) == 0 && (authority[n] == '\0' || authority[n] == ':'))
            return TRUE;
    }
    return FALSE;
}

static gboolean
set_address(const char *value, gpointer field, GError **error)
{
    const char *tls = g_str_has_prefix(value, "https://") ? value + strlen("https://") : NULL;
    const char *plain = g_str_has_prefix(value, "http://") ? value + strlen("http://") : NULL;
    if (value[0] == '/')
        return set_path(value, field, error);
    if (plain != NULL && is_authority(plain) && !is_local(plain))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is another host, which only https:// leads to", value);
    if ((tls == NULL || !is_authority(tls)) && (plain == NULL || !is_authority(plain)))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is neither https://HOST:PORT nor the path of a socket", value);
    g_free(*(char **)field);
    *(char **)field = g_strdup(value);
    return TRUE;
}

static gboolean
set_seconds(const char *value, gpointer field, GError **error)
{
    guint64 number = 0;
    if (!g_ascii_string_to_unsigned(value, 10, 1, MAX_SECONDS, &number, NULL))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is not a number from 1 to %d", value, MAX_SECONDS);
    *(guint *)field = (guint)number;
    return TRUE;
}

/* In the order of varve_host_settings. */
static const struct {
    gboolean (*set)(const char *value, gpointer field, GError **error);
    gsize offset;
} setters[] = {
    {set_address, G_STRUCT_OFFSET(VarveHostEntry, address)},
    {set_path, G_STRUCT_OFFSET(VarveHostEntry, ca)},
    {set_path, G_STRUCT_OFFSET(VarveHostEntry, certificate)},
    {set_path, G_STRUCT_OFFSET(VarveHostEntry, key)},
    {set_path, G_STRUCT_OFFSET(VarveHostEntry, token_file)},
    {set_seconds, G_STRUCT_OFFSET(VarveHostEntry, timeout)},
};

static gboolean
set_in_entry(VarveHostEntry *entry, const char *setting, const char *value, GError **error)
{
    g_autoptr(GString) all = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(setters); i++) {
        const char *name = varve_host_settings[i].name;
        g_string_append_printf(all, "%s%s", i > 0 ? ", " : "", name);
        if (!g_str_equal(setting, name))
            continue;
        if (setters[i].set(value, G_STRUCT_MEMBER_P(entry, setters[i].offset), error))
            return TRUE;
        g_prefix_error(error, "setting '%s': ", setting);
        return FALSE;
    }
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "unknown setting '%s' in [host %s]: there are %s", setting, entry->name,
                           all->str);
}

/* --- entries ---------------------------------------------------------------------------------- */

VarveHostEntry *
varve_host_entry_copy(const VarveHostEntry *entry)
{
    VarveHostEntry *copy = g_new(VarveHostEntry, 1);
    *copy = (VarveHostEntry){.name = g_strdup(entry->name),
                             .address = g_strdup(entry->address),
                             .ca = g_strdup(entry->ca),
                             .certificate = g_strdup(entry->certificate),
                             .key = g_strdup(entry->key),
                             .token_file = g_strdup(entry->token_file),
                             .timeout = entry->timeout};
    return copy;
}

void
varve_host_entry_free(gpointer data)
{
    VarveHostEntry *entry = data;
    g_free(entry->name);
    g_free(entry->address);
    g_free(entry->ca);
    g_free(entry->certificate);
    g_free(entry->key);
    g_free(entry->token_file);
    g_free(entry);
}

VarveHosts *
varve_hosts_new(void)
{
    VarveHosts *hosts = g_new0(VarveHosts, 1);
    hosts->entries = g_ptr_array_new_with_free_func(varve_host_entry_free);
    return hosts;
}

void
varve_hosts_free(VarveHosts *hosts)
{
    if (hosts == NULL)
        return;
    g_ptr_array_unref(hosts->entries);
    g_free(hosts);
}

static VarveHostEntry *
find(const VarveHosts *hosts, const char *name)
{
    for (guint i = 0; i < hosts->entries->len; i++) {
        VarveHostEntry *entry = hosts->entries->pdata[i];
        if (g_str_equal(entry->name, name))
            return entry;
    }
    return NULL;
}

const VarveHostEntry *
varve_hosts_find(const VarveHosts *hosts, const char *name, GError **error)
{
    const VarveHostEntry *entry = find(hosts, name);
    g_autofree char *shown = varve_key_display(name);
    if (entry == NULL)
        varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                        "there is no host '%s': its address belongs into a section [host %s] of "
                        "the configuration",
                        shown, shown);
    else if (entry->address == NULL)
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "the section [host %s] of the configuration does not tell its address",
                        shown);
    return entry != NULL && entry->address != NULL ? entry : NULL;
}

gboolean
varve_hosts_add(VarveHosts *hosts, const char *name, GError **error)
{
    gsize length =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    if (!g_ascii_isalnum(name[0]) || name[length] != '\0' || length > MAX_NAME)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "a host's name is a letter or digit, then those and any of _.-, at "
                               "most %d",
                               MAX_NAME);
    if (find(hosts, name) != NULL)
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "the host '%s' is there already",
                               name);
    VarveHostEntry *entry = g_new0(VarveHostEntry, 1);
    entry->name = g_strdup(name);
    g_ptr_array_add(hosts->entries, entry);
    return TRUE;
}

gboolean
varve_hosts_set(VarveHosts *hosts, const char *name, const char *setting, const char *value,
                GError **error)
{
    VarveHostEntry *entry = find(hosts, name);
    if (entry == NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no host '%s'", name);
    return set_in_entry(entry, setting, value, error);
}

/* --- the file --------------------------------------------------------------------------------- */

typedef struct {
    VarveHosts *hosts;
    char *name; /* NULL: the section is no host's */
} Reading;

static gboolean
begin_section(gpointer data, const char *header, guint line, GError **error)
{
    Reading *reading = data;
    g_clear_pointer(&reading->name, g_free);
    if (!g_str_has_prefix(header, "host "))
        return TRUE;
    reading->name = g_strdup(header + strlen("host "));
    return varve_hosts_add(reading->hosts, reading->name, error);
}

static gboolean
take_setting(gpointer data, const char *name, const char *value, guint line, GError **error)
{
    const Reading *reading = data;
    return reading->name == NULL ||
           varve_hosts_set(reading->hosts, reading->name, name, value, error);
}

VarveHosts *
varve_hosts_load(const char *file, GError **error)
{
    static const VarveSectionsReader reader = {begin_section, take_setting};
    g_autoptr(VarveHosts) hosts = varve_hosts_new();
    Reading reading = {.hosts = hosts};
    gboolean ok = varve_sections_load(file, &reader, &reading, error);
    g_free(reading.name);
    return ok ? g_steal_pointer(&hosts) : NULL;
}
