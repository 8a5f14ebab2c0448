/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONTAINER_SPEC_H
#define VARVE_CONTAINER_SPEC_H

/*
 * What an OCI runtime is told of a container: config.json, as
 * https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md has it, from what the image
 * says and what the caller wishes. No file is looked at here.
 */

#include "container/users.h"
#include <jansson.h>
#include <varve/container.h>

typedef struct {
    const char *id;
    const VarveImageConfig *image;
    const VarveContainerOptions *options; /* checked */
    const VarveUser *user;
    const char *cgroup; /* its path beneath that of each controller */
    guint64 max_files;  /* how many open ones a process here may be allowed */
} VarveSpecSource;

/* Returns config.json, to be released by the caller. VARVE_ERROR_INVALID_ARGUMENT: there is nothing
 * to run, or a capability is unknown. */
json_t *varve_spec_new(const VarveSpecSource *source, GError **error);

/* --- process.c ----------------------------------------------------------------------------- */

/* What is run, by Docker's rules: the entrypoint and then the command, the image's where the caller
 * has none; an entrypoint of the caller's takes the place of both. */
char **varve_spec_args(const VarveSpecSource *source, GError **error);

/* The environment: the image's, the caller's over it, and what is missing then. */
char **varve_spec_env(const VarveSpecSource *source);

/* An absolute path. */
char *varve_spec_working_dir(const VarveSpecSource *source);

/* Capabilities as the kernel names them, "CAP_KILL". */
char **varve_spec_capabilities(const VarveSpecSource *source, GError **error);

/* --- seccomp.c ----------------------------------------------------------------------------- */

/* Sets *profile to the filter of system calls for a process that may have these capabilities
 * (config-linux.md, "Seccomp"), or to NULL for none. */
gboolean varve_spec_seccomp(const VarveSpecSource *source, const char *const *capabilities,
                            json_t **profile, GError **error);

#endif
