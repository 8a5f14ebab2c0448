/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/module.h"
#include "base/error.h"
#include <dlfcn.h>

/* The dynamic linker looks for $ORIGIN beside the file that this code is in: libvarve.so, in the
 * build directory or where it was installed. */
const VarveDriver *
varve_module_load(const char *name, GError **error)
{
    g_autofree char *file = g_strdup_printf("$ORIGIN/libvarve-%s.so", name);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const VarveDriverModule *module =
        handle != NULL ? dlsym(handle, VARVE_DRIVER_MODULE_SYMBOL) : NULL;
    if (module == NULL) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "the driver '%s' is not installed, or a library that it needs is not: %s",
                        name, dlerror());
        return NULL;
    }
    if (g_str_equal(module->version, VARVE_VERSION))
        return module->driver;
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "the driver '%s' is of Varve %s, this is %s: install the same release of both",
                    name, module->version, VARVE_VERSION);
    return NULL;
}
