/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include <dlfcn.h>

/* Beside the file that this code is in: libvarve.so, in the build directory or where it was
 * installed. To the dynamic linker $ORIGIN is the place of who calls dlopen(), which is a
 * sanitizer's library where there is one. */
static char *
path_of(const char *name)
{
    static char here;
    Dl_info self = {0};
    gboolean known = dladdr(&here, &self) != 0 && g_path_is_absolute(self.dli_fname);
    g_autofree char *directory = known ? g_path_get_dirname(self.dli_fname) : g_strdup("$ORIGIN");
    return g_strdup_printf("%s/libvarve-%s.so", directory, name);
}

gconstpointer
varve_module_load(const char *name, const char *what, GError **error)
{
    g_autofree char *file = path_of(name);
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
