/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/json.h"
#include "container/spec.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

/*
 * Which system calls a container may not make: those that no namespace or capability keeps to the
 * container, and those that reach parts of the kernel where faults have let containers out, and
 * that programs in them have no use for. What is not named here works. A capability that a call is
 * for lets it through; the kernel has its say then.
 */

#define MAX_PROFILE (1 << 20) /* bytes, of a caller's own */

static const struct {
    const char *capability; /* NULL: whatever it has */
    const char *calls;
} denied[] = {
    {"CAP_SYS_ADMIN",
     "mount umount umount2 pivot_root move_mount open_tree fsopen fsconfig fsmount "
     "fspick mount_setattr setns unshare quotactl quotactl_fd swapon swapoff "
     "fanotify_init lookup_dcookie"},
    {"CAP_BPF", "bpf"},
    {"CAP_PERFMON", "perf_event_open"},
    {"CAP_SYSLOG", "syslog"},
    {"CAP_SYS_MODULE", "init_module finit_module delete_module"},
    {"CAP_SYS_BOOT", "reboot kexec_load kexec_file_load"},
    {"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
    {"CAP_SYS_RAWIO", "iopl ioperm"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev"},
    /* Keys and pages of whoever asks, in no namespace; calls of long ago. */
    {NULL, "add_key keyctl request_key userfaultfd io_uring_setup io_uring_enter io_uring_register "
           "vm86 vm86old uselib ustat sysfs _sysctl nfsservctl create_module get_kernel_syms "
           "query_module"},
};

/* Each makes a namespace, in which a process has all capabilities. */
static const guint64 new_namespaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                         CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

/* They type into the terminal of whoever started the container. */
static const guint64 terminal_input[] = {TIOCSTI, TIOCLINUX};

/* What this machine's kernel may run: the filter of an architecture that is not named kills. */
static const struct {
    const char *machine, *architectures;
} machines[] = {
    {"x86_64", "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32"},
    {"aarch64", "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM"},
};

static json_t *
words_to_json(const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    json_t *array = json_array();
    for (char **word = words; *word != NULL; word++)
        json_array_append_new(array, json_string(*word));
    return array;
}

static void
deny(json_t *rules, const char *calls, int number)
{
    json_array_append_new(rules, json_pack("{s:o, s:s, s:i}", "names", words_to_json(calls),
                                           "action", "SCMP_ACT_ERRNO", "errnoRet", number));
}

/* Where the argument of that number has these bits, of those that mask has. */
static void
deny_with(json_t *rules, const char *call, guint argument, guint64 mask, guint64 bits)
{
    json_array_append_new(rules,
                          json_pack("{s:[s], s:s, s:i, s:[{s:i, s:I, s:I, s:s}]}", "names", call,
                                    "action", "SCMP_ACT_ERRNO", "errnoRet", EPERM, "args", "index",
                                    (int)argument, "value", (json_int_t)mask, "valueTwo",
                                    (json_int_t)bits, "op", "SCMP_CMP_MASKED_EQ"));
}

static json_t *
rules_to_json(const char *const *capabilities)
{
    json_t *rules = json_array();
    for (gsize i = 0; i < G_N_ELEMENTS(denied); i++) {
        if (denied[i].capability == NULL || !g_strv_contains(capabilities, denied[i].capability))
            deny(rules, denied[i].calls, EPERM);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(terminal_input); i++)
        deny_with(rules, "ioctl", 1, G_MAXUINT32, terminal_input[i]);
    if (g_strv_contains(capabilities, "CAP_SYS_ADMIN"))
        return rules;
    for (gsize i = 0; i < G_N_ELEMENTS(new_namespaces); i++)
        deny_with(rules, "clone", 0, new_namespaces[i], new_namespaces[i]);
    deny(rules, "clone3", ENOSYS); /* its flags are in memory; libraries fall back to clone */
    return rules;
}

static json_t *
usual_profile(const char *const *capabilities)
{
    json_t *profile = json_pack("{s:s, s:o}", "defaultAction", "SCMP_ACT_ALLOW", "syscalls",
                                rules_to_json(capabilities));
    struct utsname name;
    for (gsize i = 0; uname(&name) == 0 && i < G_N_ELEMENTS(machines); i++) {
        if (g_str_equal(name.machine, machines[i].machine))
            json_object_set_new(profile, "architectures", words_to_json(machines[i].architectures));
    }
    return profile;
}

static json_t *
read_profile(const char *path, GError **error)
{
    gsize size;
    const char *action = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) failure = NULL;
    json_t *profile = NULL;
    if (!g_file_get_contents(path, &text, &size, &failure)) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the seccomp profile: %s",
                        failure->message);
        return NULL;
    }
    profile = varve_json_parse(text, size, MAX_PROFILE, JSON_OBJECT, error);
    if (profile != NULL && varve_json_get_string(profile, "defaultAction", &action, error) &&
        (action != NULL || varve_json_missing("defaultAction", error)))
        return profile;
    g_prefix_error(error, "the seccomp profile %s: ", path);
    json_decref(profile);
    return NULL;
}

gboolean
varve_spec_seccomp(const VarveSpecSource *source, const char *const *capabilities, json_t **profile,
                   GError **error)
{
    const char *wish = source->options->seccomp;
    *profile = NULL;
    if (wish != NULL && g_str_equal(wish, "unconfined"))
        return TRUE;
    *profile = wish != NULL ? read_profile(wish, error) : usual_profile(capabilities);
    return *profile != NULL;
}
