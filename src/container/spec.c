/* SPDX-License-Identifier: Apache-2.0 */
#include "container/spec.h"
#include "container/internal.h"
#include <string.h>

/* Of the specification; what both Debian 12's runc and crun know. */
#define OCI_VERSION "1.0.2"

#define FILES_SOFT 1024 /* what select(2) can have */
#define FILES_HARD 524288

#define CPU_PERIOD 100000 /* microseconds */

static json_t *
strings(const char *const *list)
{
    json_t *array = json_array();
    for (; list != NULL && *list != NULL; list++)
        json_array_append_new(array, json_string(*list));
    return array;
}

/* --- the process -------------------------------------------------------------------------- */

static json_t *
user_to_json(const VarveUser *user)
{
    json_t *groups = json_array();
    for (guint i = 0; i < user->groups->len; i++)
        json_array_append_new(groups, json_integer(g_array_index(user->groups, guint32, i)));
    return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid,
                     "additionalGids", groups);
}

/* Who is not root has none in effect, and gets them by set-user-id programs at most. */
static json_t *
capabilities_to_json(const VarveUser *user, char **list)
{
    const char *const *all = (const char *const *)list, *const *own = user->uid == 0 ? all : NULL;
    return json_pack("{s:o, s:o, s:o}", "bounding", strings(all), "effective", strings(own),
                     "permitted", strings(own));
}

static json_t *
process_to_json(const VarveSpecSource *source, char **capabilities, GError **error)
{
    const VarveContainerOptions *options = source->options;
    g_auto(GStrv) args = varve_spec_args(source, error);
    if (args == NULL)
        return NULL;
    g_auto(GStrv) env = varve_spec_env(source);
    g_autofree char *cwd = varve_spec_working_dir(source);
    return json_pack("{s:b, s:o, s:o, s:o, s:s, s:o, s:b, s:[{s:s, s:I, s:I}]}", "terminal",
                     options->terminal, "user", user_to_json(source->user), "args",
                     strings((const char *const *)args), "env", strings((const char *const *)env),
                     "cwd", cwd, "capabilities", capabilities_to_json(source->user, capabilities),
                     "noNewPrivileges", !options->new_privileges, "rlimits", "type",
                     "RLIMIT_NOFILE", "soft", (json_int_t)MIN(FILES_SOFT, source->max_files),
                     "hard", (json_int_t)MIN(FILES_HARD, source->max_files));
}

/* --- mounts ------------------------------------------------------------------------------- */

/* Those that Linux containers expect: the runtime specification's section "Default Filesystems",
 * and what runc, containerd and Docker have beside them. */
static const struct {
    const char *destination, *type, *source, *options;
} usual_mounts[] = {
    {"/proc", "proc", "proc", "nosuid,noexec,nodev"},
    {"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
    {"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
    {"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
    {"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
    {"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"},
};

static void
add_mount(json_t *mounts, const char *destination, const char *type, const char *source,
          const char *options)
{
    g_auto(GStrv) list = g_strsplit(options, ",", -1);
    json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:o}", "destination", destination,
                                            "type", type, "source", source, "options",
                                            strings((const char *const *)list)));
}

/* Where it has the host's network it has what belongs to that, as the bundle's own copies. */
static void
add_network_files(json_t *mounts)
{
    static const char *const names[] = {"resolv.conf", "hosts", "hostname"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *destination = g_build_filename("/etc", names[i], NULL);
        add_mount(mounts, destination, "bind", names[i], "rbind,rprivate");
    }
}

static json_t *
mounts_to_json(const VarveContainerOptions *options)
{
    json_t *mounts = json_array();
    for (gsize i = 0; i < G_N_ELEMENTS(usual_mounts); i++)
        add_mount(mounts, usual_mounts[i].destination, usual_mounts[i].type, usual_mounts[i].source,
                  usual_mounts[i].options);
    if (options->host_network)
        add_network_files(mounts);
    for (const char *const *volume = options->volumes; volume != NULL && *volume != NULL;
         volume++) {
        g_auto(VarveVolumeBinding) binding = {0};
        if (varve_volume_binding_parse(*volume, &binding, NULL))
            add_mount(mounts, binding.destination, "bind", binding.source,
                      binding.read_only ? "rbind,rprivate,ro" : "rbind,rprivate");
    }
    return mounts;
}

/* --- Linux -------------------------------------------------------------------------------- */

/* What of /proc and /sys tells of the host, or changes it, whatever the capabilities. */
static const char *const masked[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    NULL,
};
static const char *const read_only[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

static json_t *
namespaces_to_json(gboolean host_network)
{
    static const char *const types[] = {"pid", "ipc", "uts", "mount", "cgroup", "network"};
    json_t *namespaces = json_array();
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
        if (!host_network || !g_str_equal(types[i], "network"))
            json_array_append_new(namespaces, json_pack("{s:s}", "type", types[i]));
    return namespaces;
}

static json_t *
resources_to_json(const VarveContainerOptions *options)
{
    json_t *resources = json_pack("{s:[{s:b, s:s}]}", "devices", "allow", FALSE, "access", "rwm");
    if (options->memory > 0)
        json_object_set_new(resources, "memory",
                            json_pack("{s:I}", "limit", (json_int_t)options->memory));
    if (options->cpus > 0)
        json_object_set_new(resources, "cpu",
                            json_pack("{s:I, s:i}", "quota",
                                      (json_int_t)(options->cpus * CPU_PERIOD), "period",
                                      CPU_PERIOD));
    if (options->pids_limit > 0)
        json_object_set_new(resources, "pids",
                            json_pack("{s:I}", "limit", (json_int_t)options->pids_limit));
    return resources;
}

json_t *
varve_spec_new(const VarveSpecSource *source, GError **error)
{
    const VarveContainerOptions *options = source->options;
    json_t *seccomp = NULL;
    g_auto(GStrv) capabilities = varve_spec_capabilities(source, error);
    json_t *process = capabilities != NULL ? process_to_json(source, capabilities, error) : NULL;
    if (process == NULL ||
        !varve_spec_seccomp(source, (const char *const *)capabilities, &seccomp, error)) {
        json_decref(process);
        return NULL;
    }
    json_t *linux_part = json_pack("{s:s, s:o, s:o, s:o, s:o}", "cgroupsPath", source->cgroup,
                                   "namespaces", namespaces_to_json(options->host_network),
                                   "resources", resources_to_json(options), "maskedPaths",
                                   strings(masked), "readonlyPaths", strings(read_only));
    if (seccomp != NULL)
        json_object_set_new(linux_part, "seccomp", seccomp);
    return json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", OCI_VERSION,
                     "process", process, "root", "path", "rootfs", "readonly", options->read_only,
                     "hostname", options->hostname != NULL ? options->hostname : source->id,
                     "mounts", mounts_to_json(options), "linux", linux_part);
}
