/* SPDX-License-Identifier: Apache-2.0 */
/* Configs come with images: any bytes are either refused, or give lists that are whole. */
#include "base/digest.h"
#include "image/chain.h"
#include "image/oci.h"

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageConfig) config = varve_image_config_parse((const char *)bytes, n, &error);
    g_assert((config == NULL) == (error != NULL));
    if (config == NULL)
        return 0;
    guint layers = g_strv_length(config->diff_ids);
    g_assert(config->env != NULL && config->cmd != NULL && config->entrypoint != NULL);
    g_assert(config->volumes != NULL && config->labels != NULL && config->user != NULL);
    for (guint i = 0; i < config->history->len; i++) {
        const VarveImageHistory *history = g_ptr_array_index(config->history, i);
        g_assert(history->layer >= -1 && history->layer < (gint64)layers);
    }
    g_autofree char *chain = varve_chain_id((const char *const *)config->diff_ids, layers);
    g_assert(layers == 0 || varve_digest_check(chain, NULL));
    return 0;
}
