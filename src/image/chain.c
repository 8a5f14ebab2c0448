/* SPDX-License-Identifier: Apache-2.0 */
#include "image/chain.h"
#include "base/digest.h"
#include <string.h>

char *
varve_chain_id_add(const char *chain, const char *diff_id)
{
    if (chain == NULL || *chain == '\0')
        return g_strdup(diff_id);
    g_autofree char *both = g_strconcat(chain, " ", diff_id, NULL);
    return varve_digest_of(both, strlen(both));
}

char *
varve_chain_id(const char *const *diff_ids, gsize n)
{
    char *chain = g_strdup("");
    for (gsize i = 0; i < n; i++) {
        char *next = varve_chain_id_add(chain, diff_ids[i]);
        g_free(chain);
        chain = next;
    }
    return chain;
}
