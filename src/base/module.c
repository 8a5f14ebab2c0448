/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include <dlfcn.h>

/* The dynamic linker looks for $ORIGIN beside the file that this code is in: libvarve.so, in the
 * build directory or where it was installed. */
gconstpointer
varve_module_load(const char *name, const char *what, GError **error)
{
    g_autofree char *file = g_strdup_printf("$ORIGIN/libvarve-%s.so", name);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const VarveModule *module = handle != NULL ? dlsym(handle, VARVE_MODULE_SYMBOL) : NULL;
    if (module == NULL) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "%s is not installed, or a library that it needs is not: %s", what,
                        dlerror());
        return NULL;
    }
    if (g_str_equal(module->version, VARVE_VERSION))
        return module->offered;
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "%s is of Varve %s, this is %s: install the same release of both", what,
                    module->version, VARVE_VERSION);
    return NULL;
}
