/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_MODULE_H
#define VARVE_BASE_MODULE_H

/*
 * What needs libraries that not every host has, or that not every command shall load, is a module:
 * libvarve-NAME.so beside libvarve.so, loaded when it is first needed. Without the module, or
 * without what it needs, Varve works as well, and tells why that part is missing.
 *
 * A module exports one variable, varve_module. It is of the same release as libvarve, and uses
 * internal functions of it: those that are marked VARVE_SHARED (base/error.h).
 */

#include "base/error.h"

typedef struct {
    const char *version;   /* VARVE_VERSION of its build: must be libvarve's */
    gconstpointer offered; /* what it is loaded for: a table of functions */
} VarveModule;

#define VARVE_MODULE_SYMBOL "varve_module"

/* What the module of that name offers, which stays for ever. what: what it is to people, "the
 * driver 'zfs'". VARVE_ERROR_FAILED_PRECONDITION: there is no such module, or it cannot be loaded,
 * and why. */
gconstpointer varve_module_load(const char *name, const char *what, GError **error);

#endif
