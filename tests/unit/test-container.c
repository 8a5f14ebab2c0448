/* SPDX-License-Identifier: Apache-2.0 */
/* What an OCI runtime is told of a container, and who its users are. */
#include "container/internal.h"
#include "container/spec.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NONE      ((const char *const[]){NULL})

/* --- words ------------------------------------------------------------------------------------ */

static void
test_args(void)
{
    static const char *const none[] = {NULL}, *const e[] = {"e", NULL}, *const c[] = {"c", NULL},
                             *const own[] = {"own", NULL}, *const empty[] = {"", NULL};
    static const struct {
        const char *const *entrypoint, *const *cmd, *const *own_entrypoint, *const *own_command;
        const char *wanted; /* NULL: refused */
    } cases[] = {
        {e, c, NULL, NULL, "e c"},      {e, c, NULL, none, "e c"},       {e, c, NULL, own, "e own"},
        {e, c, own, NULL, "own"},       {e, c, own, c, "own c"},         {e, c, none, own, "own"},
        {e, c, none, NULL, NULL},       {none, c, NULL, NULL, "c"},      {e, none, NULL, NULL, "e"},
        {none, none, NULL, NULL, NULL}, {none, empty, NULL, NULL, NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const VarveImageConfig image = {.entrypoint = (char **)cases[i].entrypoint,
                                        .cmd = (char **)cases[i].cmd};
        const VarveContainerOptions options = {.entrypoint = cases[i].own_entrypoint,
                                               .command = cases[i].own_command};
        const VarveSpecSource source = {.image = &image, .options = &options};
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) args = varve_spec_args(&source, &error);
        g_autofree char *joined = args != NULL ? g_strjoinv(" ", args) : NULL;
        g_assert_cmpstr(joined, ==, cases[i].wanted);
        if (cases[i].wanted == NULL)
            g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
}

static void
test_env(void)
{
    const VarveUser user = {.home = (char *)"/home/ada"};
    const VarveImageConfig image = {
        .env = (char **)LIST("A=1", "B=1", "A=2", "none", "=x", "TERM=dumb", "E=")};
    const VarveContainerOptions options = {.env = LIST("B=2=3", "C="), .terminal = TRUE};
    const VarveSpecSource source = {
        .id = "box", .image = &image, .options = &options, .user = &user};
    g_auto(GStrv) env = varve_spec_env(&source);
    g_autofree char *joined = g_strjoinv(" ", env);
    g_assert_cmpstr(joined, ==,
                    "A=2 B=2=3 TERM=dumb E= C= "
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
                    "HOSTNAME=box HOME=/home/ada");
}

static void
test_working_dir(void)
{
    static const struct {
        const char *image, *own, *wanted;
    } cases[] = {
        {"", NULL, "/"},         {"/a/b", NULL, "/a/b"}, {"a", NULL, "/a"},
        {"/a", "/b/../c", "/c"}, {"../..", NULL, "/"},   {"/a//./b/", NULL, "/a/b"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const VarveImageConfig image = {.working_dir = (char *)cases[i].image};
        const VarveContainerOptions options = {.working_dir = cases[i].own};
        const VarveSpecSource source = {.image = &image, .options = &options};
        g_autofree char *path = varve_spec_working_dir(&source);
        g_assert_cmpstr(path, ==, cases[i].wanted);
    }
}

static void
test_capabilities(void)
{
    static const char *const all[] = {"all", NULL}, *const kill[] = {"kill", NULL},
                             *const bpf[] = {"CAP_BPF", NULL}, *const fly[] = {"FLY", NULL};
    static const struct {
        const char *const *add, *const *drop;
        int wanted; /* how many; -1: refused */
    } cases[] = {
        {NULL, NULL, 14}, {all, NULL, 41}, {NULL, all, 0},  {kill, all, 1},  {NULL, kill, 13},
        {bpf, NULL, 15},  {bpf, bpf, 15},  {fly, NULL, -1}, {NULL, fly, -1},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const VarveContainerOptions options = {.cap_add = cases[i].add, .cap_drop = cases[i].drop};
        const VarveSpecSource source = {.options = &options};
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) names = varve_spec_capabilities(&source, &error);
        g_assert_cmpint(names != NULL ? (int)g_strv_length(names) : -1, ==, cases[i].wanted);
    }
}

/* --- the whole -------------------------------------------------------------------------------- */

static json_t *
make_spec(const VarveContainerOptions *options, guint32 uid)
{
    const VarveImageConfig image = {.env = (char **)NONE,
                                    .cmd = (char **)LIST("sh"),
                                    .entrypoint = (char **)NONE,
                                    .working_dir = (char *)""};
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(guint32));
    const VarveUser user = {.uid = uid, .gid = 5, .groups = groups, .home = (char *)"/"};
    const VarveSpecSource source = {.id = "box",
                                    .image = &image,
                                    .options = options,
                                    .user = &user,
                                    .cgroup = "/varve/box",
                                    .max_files = 4096};
    g_autoptr(GError) error = NULL;
    json_t *spec = varve_spec_new(&source, &error);
    g_assert_no_error(error);
    return spec;
}

/* The value at "a.b.0.c". */
static json_t *
at(json_t *value, const char *path)
{
    g_auto(GStrv) keys = g_strsplit(path, ".", -1);
    for (char **key = keys; *key != NULL; key++)
        value = json_is_array(value) ? json_array_get(value, (gsize)atoi(*key))
                                     : json_object_get(value, *key);
    return value;
}

static gboolean
has_namespace(json_t *spec, const char *type)
{
    json_t *item;
    gsize i;
    json_array_foreach(at(spec, "linux.namespaces"), i, item)
    {
        if (g_strcmp0(json_string_value(at(item, "type")), type) == 0)
            return TRUE;
    }
    return FALSE;
}

static void
test_spec(void)
{
    const VarveContainerOptions options = {0};
    json_auto_t *spec = make_spec(&options, 0);
    g_assert_cmpstr(json_string_value(at(spec, "hostname")), ==, "box");
    g_assert_cmpstr(json_string_value(at(spec, "linux.cgroupsPath")), ==, "/varve/box");
    g_assert_true(json_is_true(at(spec, "process.noNewPrivileges")));
    g_assert_true(json_is_false(at(spec, "root.readonly")));
    g_assert_cmpint(json_integer_value(at(spec, "process.rlimits.0.hard")), ==, 4096);
    g_assert_cmpint(json_integer_value(at(spec, "process.rlimits.0.soft")), ==, 1024);
    g_assert_cmpint(json_array_size(at(spec, "process.capabilities.effective")), ==, 14);
    g_assert_null(at(spec, "linux.resources.memory"));
    g_assert_true(has_namespace(spec, "network"));
    g_assert_true(has_namespace(spec, "cgroup"));

    json_auto_t *ada = make_spec(&options, 1000);
    g_assert_cmpint(json_array_size(at(ada, "process.capabilities.effective")), ==, 0);
    g_assert_cmpint(json_array_size(at(ada, "process.capabilities.bounding")), ==, 14);
}

static void
test_spec_of_options(void)
{
    const VarveContainerOptions options = {.volumes = LIST("/a:/b:ro", "/c:/d"),
                                           .hostname = "name",
                                           .memory = 1 << 20,
                                           .cpus = 0.5,
                                           .pids_limit = 7,
                                           .terminal = TRUE,
                                           .read_only = TRUE,
                                           .host_network = TRUE,
                                           .new_privileges = TRUE};
    json_auto_t *spec = make_spec(&options, 0);
    g_assert_cmpstr(json_string_value(at(spec, "hostname")), ==, "name");
    g_assert_true(json_is_true(at(spec, "process.terminal")));
    g_assert_true(json_is_false(at(spec, "process.noNewPrivileges")));
    g_assert_true(json_is_true(at(spec, "root.readonly")));
    g_assert_false(has_namespace(spec, "network"));
    g_assert_cmpint(json_integer_value(at(spec, "linux.resources.memory.limit")), ==, 1 << 20);
    g_assert_cmpint(json_integer_value(at(spec, "linux.resources.cpu.quota")), ==, 50000);
    g_assert_cmpint(json_integer_value(at(spec, "linux.resources.pids.limit")), ==, 7);
    json_t *mounts = at(spec, "mounts");
    gsize n = json_array_size(mounts);
    json_t *first = json_array_get(mounts, n - 2), *second = json_array_get(mounts, n - 1);
    g_assert_cmpstr(json_string_value(at(first, "destination")), ==, "/b");
    g_assert_cmpstr(json_string_value(at(first, "options.2")), ==, "ro");
    g_assert_cmpstr(json_string_value(at(second, "source")), ==, "/c");
    g_assert_null(at(second, "options.2"));
}

/* --- options ---------------------------------------------------------------------------------- */

static void
test_ids(void)
{
    static const char *const good[] = {"a", "0", "web-1", "A.b_c"};
    static const char *const bad[] = {"",    ".",   "..",  "-a",         "_a",
                                      "a/b", "a b", "a\n", "caf\xc3\xa9"};
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(varve_container_id_check(good[i], NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(varve_container_id_check(bad[i], NULL));
    g_autofree char *longest = g_strnfill(64, 'x'), *longer = g_strnfill(65, 'x');
    g_assert_true(varve_container_id_check(longest, NULL));
    g_assert_false(varve_container_id_check(longer, NULL));
}

static void
test_volumes(void)
{
    static const struct {
        const char *text, *source, *destination;
        gboolean read_only;
    } good[] = {
        {"/a:/b", "/a", "/b", FALSE},
        {"/a:/b:ro", "/a", "/b", TRUE},
        {"/:/b/c:rw", "/", "/b/c", FALSE},
    };
    static const char *const bad[] = {"",        "/a",          "/a:",    "a:/b",
                                      "/a:b",    "/a:/",        "/a:/./", "/a:/../",
                                      "/a:/b:r", "/a:/b:ro:ro", "/a:/b:", ":/b"};
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_auto(VarveVolumeBinding) binding = {0};
        g_assert_true(varve_volume_binding_parse(good[i].text, &binding, NULL));
        g_assert_cmpstr(binding.source, ==, good[i].source);
        g_assert_cmpstr(binding.destination, ==, good[i].destination);
        g_assert_cmpint(binding.read_only, ==, good[i].read_only);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(VarveVolumeBinding) binding = {0};
        g_autoptr(GError) error = NULL;
        g_assert_false(varve_volume_binding_parse(bad[i], &binding, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
}

/* --- users ------------------------------------------------------------------------------------ */

#define PASSWD                                                                                     \
    "root:x:0:0::/root:/bin/sh\n\nbroken\n:x:9:9::/:\nada:x:1000:100::/home/ada:/bin/sh\n"         \
    "far:x:4294967295:1::/:\n12:x:7:8::relative:/bin/sh\nada:x:1:1::/second:\nlast:x:30:31::/l"
#define GROUP                                                                                      \
    "root:x:0:\nusers:x:100:ada\nwheel:x:10:root,ada\nshort:x\nx:x:y:ada\nboat:x:55:ada,\n"

static void
test_users(void)
{
    static const struct {
        const char *user, *wanted; /* NULL: refused */
    } cases[] = {
        {NULL, "0:0 10 /root"},
        {"", "0:0 10 /root"},
        {"0", "0:0 10 /root"},
        {"ada", "1000:100 100 10 55 /home/ada"},
        {"1000", "1000:100 100 10 55 /home/ada"},
        {"ada:wheel", "1000:10 /home/ada"},
        {"ada:77", "1000:77 /home/ada"},
        {"12", "7:8 /"},
        {"30", "30:31 /l"},
        {"4711", "4711:0 /"},
        {"4711:boat", "4711:55 /"},
        {"4294967294", "4294967294:0 /"},
        {"4294967295", NULL},
        {"far", NULL},
        {"broken", NULL},
        {"-1", NULL},
        {"+1", NULL},
        {" 1", NULL},
        {"ada:", NULL},
        {":wheel", "0:10 /root"},
        {"ada:wheel:x", NULL},
        {"ada:none", NULL},
        {"root\n", NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(VarveUser) user = {0};
        g_autoptr(GString) got = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        gboolean found = varve_user_resolve(PASSWD, GROUP, cases[i].user, &user, &error);
        if (found) {
            g_string_printf(got, "%u:%u ", user.uid, user.gid);
            for (guint j = 0; j < user.groups->len; j++)
                g_string_append_printf(got, "%u ", g_array_index(user.groups, guint32, j));
            g_string_append(got, user.home);
        }
        g_assert_cmpstr(found ? got->str : NULL, ==, cases[i].wanted);
        g_assert_true(found == (error == NULL));
    }
}

static void
test_root_read(void)
{
    g_autofree char *path = g_dir_make_tmp("varve-XXXXXX", NULL);
    g_assert_nonnull(path);
    varve_autofd root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    varve_autofd file = openat(root, "file", O_WRONLY | O_CREAT, 0600);
    g_assert_cmpint(write(file, "a\0b", 3), ==, 3);
    g_assert_cmpint(symlinkat("/../../file", root, "link"), ==, 0);
    g_assert_cmpint(symlinkat("/etc/hostname", root, "out"), ==, 0);
    g_assert_cmpint(symlinkat("loop", root, "loop"), ==, 0);
    g_assert_cmpint(symlinkat("/proc/self/exe", root, "magic"), ==, 0);
    g_assert_cmpint(mkfifoat(root, "fifo", 0600), ==, 0);
    static const struct {
        const char *name, *wanted; /* NULL: refused */
        gsize max;
    } cases[] = {
        {"file", "a\nb", 3}, {"file", NULL, 2}, {"link", "a\nb", 9}, {"out", "", 999},
        {"none", "", 9},     {"loop", NULL, 9}, {"magic", "", 9},    {"fifo", NULL, 9},
        {".", NULL, 9},      {"file/x", "", 9},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = varve_root_read(root, cases[i].name, cases[i].max, NULL);
        g_assert_cmpstr(text, ==, cases[i].wanted);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        (void)unlinkat(root, cases[i].name, 0);
    g_assert_cmpint(rmdir(path), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/container/args", test_args);
    g_test_add_func("/container/env", test_env);
    g_test_add_func("/container/working-dir", test_working_dir);
    g_test_add_func("/container/capabilities", test_capabilities);
    g_test_add_func("/container/spec", test_spec);
    g_test_add_func("/container/spec-of-options", test_spec_of_options);
    g_test_add_func("/container/ids", test_ids);
    g_test_add_func("/container/volumes", test_volumes);
    g_test_add_func("/container/users", test_users);
    g_test_add_func("/container/root-read", test_root_read);
    return g_test_run();
}
