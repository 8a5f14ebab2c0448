/* SPDX-License-Identifier: Apache-2.0 */
#include "container/users.h"
#include <string.h>

/* The fields of an entry that are of use: passwd has name:x:uid:gid:comment:home:shell, group has
 * name:x:gid:members. */
typedef struct {
    const char *name;
    guint32 id, gid;
    const char *home, *members;
} Entry;

/* The highest number stands for none, in the system calls that take one. */
static gboolean
parse_id(const char *text, guint32 *id)
{
    guint64 value;
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32 - 1, &value, NULL))
        return FALSE;
    *id = (guint32)value;
    return TRUE;
}

static gboolean
parse_passwd(char **fields, Entry *entry)
{
    if (g_strv_length(fields) < 6 || !parse_id(fields[2], &entry->id) ||
        !parse_id(fields[3], &entry->gid))
        return FALSE;
    entry->home = fields[5];
    return TRUE;
}

static gboolean
parse_group(char **fields, Entry *entry)
{
    if (g_strv_length(fields) < 3 || !parse_id(fields[2], &entry->id))
        return FALSE;
    entry->members = fields[3] != NULL ? fields[3] : "";
    return TRUE;
}

/* Called for each entry, until it returns FALSE. */
typedef gboolean (*EntryFunc)(const Entry *entry, gpointer data);

static void
for_each(const char *text, gboolean (*parse)(char **, Entry *), EntryFunc func, gpointer data)
{
    gboolean more = TRUE;
    while (more && *text != '\0') {
        const char *end = strchrnul(text, '\n');
        g_autofree char *line = g_strndup(text, (gsize)(end - text));
        g_auto(GStrv) fields = g_strsplit(line, ":", -1);
        Entry entry = {.name = fields[0]};
        if (entry.name != NULL && *entry.name != '\0' && parse(fields, &entry))
            more = func(&entry, data);
        text = *end != '\0' ? end + 1 : end;
    }
}

/* --- one by name or number ---------------------------------------------------------------- */

typedef struct {
    const char *wanted;
    gboolean is_id;
    guint32 id;
    gboolean found;
    guint32 found_id, found_gid;
    char *name, *home;
} Search;

/* A name that is all digits is a name first. */
static gboolean
match(const Entry *entry, gpointer data)
{
    Search *search = data;
    gboolean by_name = g_str_equal(entry->name, search->wanted);
    if (!by_name && (search->found || !search->is_id || entry->id != search->id))
        return TRUE;
    search->found = TRUE;
    search->found_id = entry->id;
    search->found_gid = entry->gid;
    g_free(search->name);
    g_free(search->home);
    search->name = g_strdup(entry->name);
    search->home = g_strdup(entry->home);
    return !by_name;
}

static void
search_clear(Search *search)
{
    g_free(search->name);
    g_free(search->home);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Search, search_clear)

static void
look_up(const char *text, gboolean (*parse)(char **, Entry *), const char *wanted, Search *search)
{
    *search = (Search){.wanted = wanted};
    search->is_id = parse_id(wanted, &search->id);
    for_each(text, parse, match, search);
}

/* --- the groups that a user is in --------------------------------------------------------- */

#define MAX_GROUPS 65536 /* NGROUPS_MAX of Linux */

typedef struct {
    const char *name;
    GArray *groups;
} Membership;

static gboolean
add_membership(const Entry *entry, gpointer data)
{
    Membership *membership = data;
    g_auto(GStrv) members = g_strsplit(entry->members, ",", -1);
    if (g_strv_contains((const char *const *)members, membership->name))
        g_array_append_val(membership->groups, entry->id);
    return membership->groups->len < MAX_GROUPS;
}

/* --- both --------------------------------------------------------------------------------- */

static gboolean
resolve_user(const char *passwd, const char *wanted, Search *search, VarveUser *result,
             GError **error)
{
    look_up(passwd, parse_passwd, wanted, search);
    if (!search->found && !search->is_id)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                               "the container's /etc/passwd has no user '%s'", wanted);
    result->uid = search->found ? search->found_id : search->id;
    result->gid = search->found ? search->found_gid : 0;
    gboolean has_home =
        search->home != NULL && search->home[0] == '/' && g_utf8_validate(search->home, -1, NULL);
    result->home = g_strdup(has_home ? search->home : "/");
    return TRUE;
}

static gboolean
resolve_group(const char *group, const char *wanted, VarveUser *result, GError **error)
{
    g_auto(Search) search = {0};
    look_up(group, parse_group, wanted, &search);
    if (!search.found && !search.is_id)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND,
                               "the container's /etc/group has no group '%s'", wanted);
    result->gid = search.found ? search.found_id : search.id;
    return TRUE;
}

/* Who names a group is in that one alone. */
static gboolean
resolve(const char *passwd, const char *group, const char *user, const char *own_group,
        VarveUser *result, GError **error)
{
    g_auto(Search) search = {0};
    if (!resolve_user(passwd, user, &search, result, error))
        return FALSE;
    if (own_group != NULL)
        return resolve_group(group, own_group, result, error);
    if (search.name != NULL) {
        Membership membership = {search.name, result->groups};
        for_each(group, parse_group, add_membership, &membership);
    }
    return TRUE;
}

gboolean
varve_user_resolve(const char *passwd, const char *group, const char *user, VarveUser *result,
                   GError **error)
{
    g_auto(GStrv) parts = g_strsplit(user != NULL ? user : "", ":", 2);
    const char *name = parts[0] != NULL && *parts[0] != '\0' ? parts[0] : "0";
    const char *own_group = parts[0] != NULL ? parts[1] : NULL;
    *result = (VarveUser){.groups = g_array_new(FALSE, FALSE, sizeof(guint32))};
    if (own_group != NULL && (*own_group == '\0' || strchr(own_group, ':') != NULL))
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "user '%s' is not of the form USER[:GROUP]", user);
    else if (resolve(passwd, group, name, own_group, result, error))
        return TRUE;
    varve_user_clear(result);
    return FALSE;
}

void
varve_user_clear(VarveUser *user)
{
    g_clear_pointer(&user->groups, g_array_unref);
    g_clear_pointer(&user->home, g_free);
}
