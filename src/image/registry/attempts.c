/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trying again. At mirrors hardly ever, since there is another place to go to; at the registry with
 * pauses that double, each varied by half so that many clients do not come back at once. What made
 * progress starts counting anew.
 */
#include "image/registry/internal.h"
#include <string.h>

#define MAX_DELAY_MS       (30 * 1000)
#define CONNECTION_RETRIES 2 /* where nothing answers, patience is short */
#define MIRROR_RETRIES     1
#define MIRROR_BAD         (60 * G_USEC_PER_SEC) /* for how long a mirror that failed is left alone */
#define SLEEP_MS           50

static gboolean
sleep_watched(guint64 milliseconds, const gint *cancelled, GError **error)
{
    gint64 end = g_get_monotonic_time() + (gint64)milliseconds * 1000;
    for (gint64 left; (left = end - g_get_monotonic_time()) > 0;) {
        if (!varve_check_cancelled(cancelled, error))
            return FALSE;
        g_usleep((gulong)MIN(left, SLEEP_MS * 1000));
    }
    return varve_check_cancelled(cancelled, error);
}

static guint64
delay_before(const VarveRegistry *registry, guint retry, const VarveRegistryFailure *failure)
{
    guint64 delay = (guint64)registry->retry_delay_ms << MIN(retry, 16);
    delay = (guint64)((double)MIN(delay, MAX_DELAY_MS) * g_random_double_range(0.5, 1.5));
    return MAX(delay, failure->wait * 1000);
}

/* Whether, after that many retries without progress, another one is in place. */
static gboolean
is_worth(const VarveRegistry *registry, const VarveRegistryEndpoint *endpoint, guint retries,
         const VarveRegistryFailure *failure)
{
    guint most = registry->retries;
    if (endpoint->mirror)
        most = failure->connection ? 0 : MIN(most, MIRROR_RETRIES);
    else if (failure->connection)
        most = MIN(most, CONNECTION_RETRIES);
    return failure->again && retries < most &&
           failure->wait <= (endpoint->mirror ? 0 : registry->retry_wait_max_ms / 1000);
}

static void
tell_patience(const VarveRegistry *registry, guint tries, const VarveRegistryFailure *failure,
              GError **error)
{
    if (error == NULL || *error == NULL || !failure->again)
        return;
    g_autofree char *message = (*error)->message;
    if (failure->wait > registry->retry_wait_max_ms / 1000)
        (*error)->message = g_strdup_printf("%s; it asks to come back in %" G_GUINT64_FORMAT " s",
                                            message, failure->wait);
    else
        (*error)->message = g_strdup_printf("%s; tried %u times", message, tries);
}

static gboolean
attempt_at(VarveRegistry *registry, VarveRegistryEndpoint *endpoint,
           const VarveRegistryWatch *watch, VarveRegistryAttempt attempt, gpointer operation,
           VarveRegistryFailure *failure, GError **error)
{
    const gint *cancelled = varve_registry_cancelled(watch);
    guint tries = 0;
    for (guint retries = 0;; retries++) {
        g_autoptr(GError) problem = NULL;
        gboolean progress = FALSE;
        *failure = (VarveRegistryFailure){0};
        tries++;
        if (!varve_check_cancelled(cancelled, error))
            return FALSE;
        if (attempt(operation, endpoint, &progress, failure, &problem))
            return TRUE;
        if (progress)
            retries = 0;
        if (!is_worth(registry, endpoint, retries, failure)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            tell_patience(registry, tries, failure, error);
            return FALSE;
        }
        if (!sleep_watched(delay_before(registry, retries, failure), cancelled, error)) {
            *failure = (VarveRegistryFailure){0};
            return FALSE;
        }
    }
}

static gboolean
is_left_alone(VarveRegistryEndpoint *endpoint)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&endpoint->lock);
    return endpoint->mirror && endpoint->bad_until > g_get_monotonic_time();
}

static void
leave_alone(VarveRegistryEndpoint *endpoint)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&endpoint->lock);
    endpoint->bad_until = g_get_monotonic_time() + MIRROR_BAD;
}

/* Tells after the registry's own failure what its mirrors said. */
static void
add_mirrors(GError **error, const GString *mirrors)
{
    if (mirrors->len == 0 || error == NULL || *error == NULL)
        return;
    g_autofree char *message = (*error)->message;
    (*error)->message = g_strconcat(message, mirrors->str, NULL);
}

gboolean
varve_registry_attempts(VarveRegistry *registry, const char *name, gboolean mirrors,
                        const VarveRegistryWatch *watch, VarveRegistryAttempt attempt,
                        gpointer operation, GError **error)
{
    g_autoptr(GString) failed = g_string_new(NULL);
    GPtrArray *endpoints = varve_registry_endpoints(registry, name, error);
    if (endpoints == NULL)
        return FALSE;
    for (guint i = 0; i < endpoints->len; i++) {
        VarveRegistryEndpoint *endpoint = g_ptr_array_index(endpoints, i);
        VarveRegistryFailure failure;
        g_autoptr(GError) problem = NULL;
        if (endpoint->mirror && (!mirrors || is_left_alone(endpoint)))
            continue;
        if (attempt_at(registry, endpoint, watch, attempt, operation, &failure, &problem))
            return TRUE;
        gboolean ended = g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_CANCELLED);
        if (!endpoint->mirror || failure.local || ended) {
            g_propagate_error(error, g_steal_pointer(&problem));
            add_mirrors(error, failed);
            return FALSE;
        }
        if (failure.again)
            leave_alone(endpoint);
        g_string_append_printf(failed, "; its mirror %s", problem->message);
    }
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "no endpoint was tried");
}
