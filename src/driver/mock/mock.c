/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/driver.h"
#include <string.h>
#include <varve/log.h>

/*
 * The mock driver: for those who test their own clients against Varve. It is the native driver, on
 * any file system, with failures and delays that its settings tell:
 *
 *     fail=OPERATION:ERROR[,OPERATION:ERROR]...     fail=snapshot:no-space,create:unavailable
 *     delay=OPERATION:MILLISECONDS[,...]            delay=snapshot:1500
 *
 * What it holds is a client's test data: so it must be asked for by its name and by the setting
 * pretend=true, "auto" never takes it, and opening a pool of it is logged as a warning.
 */

enum { OP_CREATE, OP_FORK, OP_SNAPSHOT, OP_COMMIT, OP_MOUNT, OP_SIZE, OP_USAGE, N_OPS };

static const char *const op_names[N_OPS] = {
    [OP_CREATE] = "create", [OP_FORK] = "fork", [OP_SNAPSHOT] = "snapshot", [OP_COMMIT] = "commit",
    [OP_MOUNT] = "mount",   [OP_SIZE] = "size", [OP_USAGE] = "usage",
};

#define NO_FAILURE (-1)
#define MAX_DELAY  60000 /* ms */
#define SLICE      10

typedef struct {
    int fail[N_OPS];      /* a VarveErrorCode, or NO_FAILURE */
    guint64 delay[N_OPS]; /* ms */
} Plan;

typedef struct {
    const VarveDriverHost *host;
    Plan plan;
    gpointer native;
} Mock;

static const VarveDriver *const real = &varve_driver_native;

/* --- settings --------------------------------------------------------------------------------- */

static const VarveDriverSetting mock_settings[] = {
    {"pretend", VARVE_SETTING_BOOL, NULL, "false",
     "must be true: this is no driver for anything that matters"},
    {"fail", VARVE_SETTING_TEXT, NULL, NULL,
     "which operations fail, and how: create, fork, snapshot, commit, mount, size or usage, a "
     "colon "
     "and an error such as no-space; more after commas"},
    {"delay", VARVE_SETTING_TEXT, NULL, NULL,
     "which operations take longer, and by how many milliseconds: snapshot:1500; more after "
     "commas"},
    {NULL},
};

static gboolean
parse_failure(const char *text, Plan *plan, int op, GError **error)
{
    for (int code = 0; code <= VARVE_ERROR_INTERNAL; code++) {
        GError one = {VARVE_ERROR, code, NULL};
        if (!g_str_equal(varve_error_name(&one), text))
            continue;
        plan->fail[op] = code;
        return TRUE;
    }
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "no error is called '%s': there are no-space, busy, unavailable, "
                           "permission-denied, not-found and the others of the API",
                           text);
}

static gboolean
parse_delay(const char *text, Plan *plan, int op, GError **error)
{
    return g_ascii_string_to_unsigned(text, 10, 0, MAX_DELAY, &plan->delay[op], NULL) ||
           varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "'%s' is no number of milliseconds from 0 to %d", text, MAX_DELAY);
}

static gboolean
parse_item(const char *item, Plan *plan,
           gboolean (*parse)(const char *text, Plan *plan, int op, GError **error), GError **error)
{
    const char *colon = strchrnul(item, ':');
    for (int op = 0; op < N_OPS && *colon != '\0'; op++)
        if (strlen(op_names[op]) == (gsize)(colon - item) &&
            strncmp(op_names[op], item, (gsize)(colon - item)) == 0)
            return parse(colon + 1, plan, op, error);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "'%s' does not begin with create, fork, snapshot, commit, mount, size "
                           "or usage, and a colon",
                           item);
}

static gboolean
parse_plan(GHashTable *settings, Plan *plan, GError **error)
{
    static const struct {
        const char *setting;
        gboolean (*parse)(const char *text, Plan *plan, int op, GError **error);
    } parts[] = {{"fail", parse_failure}, {"delay", parse_delay}};
    *plan = (Plan){0};
    for (int op = 0; op < N_OPS; op++)
        plan->fail[op] = NO_FAILURE;
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        const char *text =
            settings != NULL ? g_hash_table_lookup(settings, parts[i].setting) : NULL;
        g_auto(GStrv) items = text != NULL ? g_strsplit(text, ",", -1) : NULL;
        for (char **item = items; item != NULL && *item != NULL; item++) {
            if (parse_item(*item, plan, parts[i].parse, error))
                continue;
            g_prefix_error(error, "setting '%s': ", parts[i].setting);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
mock_probe(const char *path, GHashTable *settings, GError **error)
{
    Plan plan;
    const char *pretend = settings != NULL ? g_hash_table_lookup(settings, "pretend") : NULL;
    if (g_strcmp0(pretend, "true") != 0)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "this driver is for tests of clients only, which fails when it is "
                               "told to: if you want that, set pretend=true");
    return parse_plan(settings, &plan, error) && real->probe(path, NULL, error);
}

/* --- a pool ----------------------------------------------------------------------------------- */

static gpointer
mock_open(const VarveDriverHost *host, gboolean fresh, GError **error)
{
    g_autofree Mock *mock = g_new0(Mock, 1);
    mock->host = host;
    if (!parse_plan(host->settings, &mock->plan, error))
        return NULL;
    mock->native = real->open(host, fresh, error);
    if (mock->native == NULL)
        return NULL;
    varve_log(VARVE_LOG_WARNING, "this pool is a mock, for tests of clients", "pool", host->name,
              NULL);
    return g_steal_pointer(&mock);
}

static void
mock_close(gpointer self)
{
    Mock *mock = self;
    real->close(mock->native);
    g_free(mock);
}

static gboolean
mock_destroy(gpointer self, GError **error)
{
    return real->destroy(((Mock *)self)->native, error);
}

static gboolean
mock_space(gpointer self, guint64 *size, guint64 *free, GError **error)
{
    return real->space(((Mock *)self)->native, size, free, error);
}

/* --- what is planned -------------------------------------------------------------------------- */

static gboolean
go_by_plan(const Mock *mock, int op, GError **error)
{
    const gint *cancelled = mock->host->cancelled;
    for (guint64 waited = 0; waited < mock->plan.delay[op]; waited += SLICE) {
        if (cancelled != NULL && !varve_check_cancelled(cancelled, error))
            return FALSE;
        g_usleep(SLICE * 1000);
    }
    return mock->plan.fail[op] == NO_FAILURE ||
           varve_error_set(error, (VarveErrorCode)mock->plan.fail[op],
                           "the mock was told to fail here");
}

static gboolean
mock_create(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Mock *mock = self;
    return go_by_plan(mock, snapshot->n_parents > 0 ? OP_FORK : OP_CREATE, error) &&
           real->create(mock->native, snapshot, error);
}

static gboolean
mock_commit(gpointer self, guint64 id, GError **error)
{
    return go_by_plan(self, OP_COMMIT, error);
}

/* Plain directories stay writable. */
static gboolean
mock_reopen(gpointer self, guint64 id, GError **error)
{
    return TRUE;
}

static gboolean
mock_capture(gpointer self, guint64 of, guint64 id, GError **error)
{
    Mock *mock = self;
    return go_by_plan(mock, OP_SNAPSHOT, error) && real->capture(mock->native, of, id, error);
}

/* Nothing is limited: what a client is to see is that it can be asked for. */
static gboolean
mock_limit(gpointer self, guint64 id, guint64 bytes, GError **error)
{
    return go_by_plan(self, OP_SIZE, error);
}

static VarveMount *
mock_mounts(gpointer self, const VarveDriverSnapshot *snapshot, GError **error)
{
    Mock *mock = self;
    return go_by_plan(mock, OP_MOUNT, error) ? real->mounts(mock->native, snapshot, error) : NULL;
}

static gboolean
mock_usage(gpointer self, const VarveDriverSnapshot *snapshot, VarveUsage *usage, GError **error)
{
    Mock *mock = self;
    return go_by_plan(mock, OP_USAGE, error) && real->usage(mock->native, snapshot, usage, error);
}

/* --- the rest --------------------------------------------------------------------------------- */

/* Test data needs not outlive a power cut, and a client's tests no waiting for disks. */
static gboolean
mock_sync(gpointer self, guint64 id, GError **error)
{
    return TRUE;
}

static gboolean
mock_changes(gpointer self, const VarveDriverSnapshot *snapshot, guint64 scratch,
             VarveChangeFunc func, gpointer data, GError **error)
{
    return real->changes(((Mock *)self)->native, snapshot, scratch, func, data, error);
}

static gboolean
mock_forget_parent(gpointer self, guint64 id, GError **error)
{
    return real->forget_parent(((Mock *)self)->native, id, error);
}

static gboolean
mock_remove(gpointer self, guint64 id, GError **error)
{
    return real->remove(((Mock *)self)->native, id, error);
}

static gboolean
mock_list(gpointer self, VarveDriverListFunc func, gpointer data, GError **error)
{
    return real->list(((Mock *)self)->native, func, data, error);
}

const VarveDriver varve_driver_mock = {
    .name = "mock",
    .summary = "for tests of clients only: plain directories, and failures on request",
    .flags = VARVE_DRIVER_WHOLE,
    .settings = mock_settings,
    .probe = mock_probe,
    .open = mock_open,
    .close = mock_close,
    .destroy = mock_destroy,
    .space = mock_space,
    .create = mock_create,
    .commit = mock_commit,
    .reopen = mock_reopen,
    .sync = mock_sync,
    .mounts = mock_mounts,
    .usage = mock_usage,
    .changes = mock_changes,
    .capture = mock_capture,
    .forget_parent = mock_forget_parent,
    .limit = mock_limit,
    .remove = mock_remove,
    .list = mock_list,
};
