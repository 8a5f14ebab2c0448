/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_CONFIG_H
#define VARVE_DAEMON_CONFIG_H

/*
 * varved's configuration: one file of sections and settings.
 *
 *     # a comment
 *     [varved]
 *     log-level = debug
 *
 *     [pool fast]
 *     driver = btrfs
 *     file = /srv/fast.img
 *
 * What is not known is refused, with file and line. Here only the file's form and the settings of
 * [varved], [diff], [http] and [docker] are judged; what a pool may be told is its driver's
 * business (pools.h), what a host may the library's (varve/host.h).
 */

#include <varve/varve.h>

typedef struct {
    char *name;
    char *value;
    guint line;
} VarveConfigSetting;

typedef struct {
    char *name;
    char *driver;     /* "auto" unless told */
    GArray *settings; /* of VarveConfigSetting, without the driver */
    guint line;       /* of its section */
    guint driver_line;
} VarveConfigPool;

typedef struct {
    char *file; /* NULL: no file was read */
    char *root;
    char *socket;
    char *socket_group;  /* NULL: root only */
    char *fallback_pool; /* NULL: none */
    VarveLogLevel log_level;
    guint workers;
    char *diff_content;    /* containerd's content store; NULL: not told */
    char *diff_containerd; /* containerd's socket; NULL: not told */
    /* Of [http]; those that are NULL were not told. */
    char *http_socket; /* NULL: beside socket; "none" */
    char *http_socket_group;
    char *http_listen; /* ADDRESS:PORT */
    char *http_certificate, *http_key, *http_client_ca, *http_tokens;
    guint http_timeout;
    char *docker_socket; /* NULL: none */
    GPtrArray *pools;    /* of VarveConfigPool* */
    VarveHosts *hosts;
} VarveConfig;

/* All defaults and no pools. */
VarveConfig *varve_config_new(void);
void varve_config_free(VarveConfig *config);

/* Reads a file. An error's message begins with "FILE:LINE: ", as far as there is a line. */
VarveConfig *varve_config_load(const char *file, GError **error);

/* The same, of a text; file is the name to use in messages. */
VarveConfig *varve_config_parse(const char *file, const char *text, GError **error);

/* Sets one setting of [varved] by its name, as the file would. */
gboolean varve_config_set(VarveConfig *config, const char *name, const char *value, GError **error);

/* The settings of one pool as a table of char* to char*, which points into pool. */
GHashTable *varve_config_pool_settings(const VarveConfigPool *pool);

/* Appends the sections [varved], [diff], [http] and [docker] with every setting explained,
 * commented out, at its default. */
void varve_config_describe(GString *text);

/* Appends what may be said of other hosts, commented out. */
void varve_config_describe_hosts(GString *text);

/* Appends lines of at most 100 columns, each begun with "# ". */
void varve_config_describe_text(GString *text, const char *words);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveConfig, varve_config_free)

#endif
