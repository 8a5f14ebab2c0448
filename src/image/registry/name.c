/* SPDX-License-Identifier: Apache-2.0 */
#include "image/registry/parse.h"
#include "image/registry/registry.h"
#include <string.h>

#define MAX_NAME 255

static gboolean
matches(const char *pattern, const char *text)
{
    return strlen(text) <= MAX_NAME &&
           g_regex_match_simple(pattern, text, G_REGEX_DOLLAR_ENDONLY, 0);
}

gboolean
varve_registry_authority_check(const char *authority)
{
    return matches("^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
                   "(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
                   "|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$",
                   authority);
}

gboolean
varve_registry_repository_check(const char *repository)
{
    return matches("^[a-z0-9]+((\\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|__?|-+)[a-z0-9]+)*)*$",
                   repository);
}

void
varve_registry_descriptor_clear(VarveRegistryDescriptor *descriptor)
{
    g_clear_pointer(&descriptor->media_type, g_free);
    g_clear_pointer(&descriptor->digest, g_free);
    descriptor->size = 0;
}
