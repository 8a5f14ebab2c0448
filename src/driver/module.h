/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_MODULE_H
#define VARVE_DRIVER_MODULE_H

/*
 * Drivers that need a library which not every host has are modules: libvarve-NAME.so beside
 * libvarve.so, loaded when drivers are first looked at. Without the module, or without what it
 * needs, Varve works as well, and tells why that driver is missing.
 *
 * A module exports one variable, varve_driver_module. It is of the same release as libvarve, and
 * uses internal functions of it: those that are marked VARVE_SHARED (base/error.h).
 */

#include "driver/driver.h"

typedef struct {
    const char *version; /* VARVE_VERSION of its build: must be libvarve's */
    const VarveDriver *driver;
} VarveDriverModule;

#define VARVE_DRIVER_MODULE_SYMBOL "varve_driver_module"

/* The driver of that name, which stays for ever. VARVE_ERROR_FAILED_PRECONDITION: there is no such
 * module, or it cannot be loaded, and why. */
const VarveDriver *varve_module_load(const char *name, GError **error);

#endif
