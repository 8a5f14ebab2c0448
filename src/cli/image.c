/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/text.h"
#include <stdio.h>
#include <unistd.h>

struct CliImageOptions cli_image_options;
#define option cli_image_options

gboolean
cli_image_platform(VarvePlatform **platform, GError **error)
{
    *platform = option.platform != NULL ? varve_platform_parse(option.platform, error) : NULL;
    return option.platform == NULL || *platform != NULL;
}

/* --- archives ------------------------------------------------------------------------------ */

static gboolean
import(const Cli *cli, char **args, GError **error)
{
    const VarveImageImport wish = {.only = option.only, .name = option.name};
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    g_autoptr(GPtrArray) infos = g_str_equal(args[0], "-")
                                     ? varve_images_import_fd(images, STDIN_FILENO, &wish, error)
                                     : varve_images_import(images, args[0], &wish, error);
    if (infos == NULL)
        return FALSE;
    cli_clear_progress();
    cli_print_images(cli, infos);
    return TRUE;
}

static gboolean
read_format(VarveImageFormat *format, GError **error)
{
    static const char *const names[] = {[VARVE_EXPORT_ARCHIVE] = "oci",
                                        [VARVE_EXPORT_DIRECTORY] = "dir",
                                        [VARVE_EXPORT_DOCKER] = "docker"};
    *format = VARVE_EXPORT_ARCHIVE;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (option.format == NULL || g_str_equal(option.format, names[i])) {
            *format = (VarveImageFormat)i;
            return TRUE;
        }
    }
    return cli_usage_error(error, "--format is oci, dir or docker, not '%s'", option.format);
}

static gboolean export(const Cli *cli, char **args, GError **error)
{
    const char *const *names = (const char *const *)args;
    VarveImageFormat format;
    g_autoptr(VarvePlatform) platform = NULL;
    if (!read_format(&format, error) || !cli_image_platform(&platform, error))
        return FALSE;
    if (option.output == NULL)
        return cli_usage_error(error, "--output says where to: a file, a directory, or - for "
                                      "standard output");
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    if (!g_str_equal(option.output, "-"))
        return varve_images_export(images, names, platform, format, option.output, error);
    if (isatty(STDOUT_FILENO))
        return cli_usage_error(error, "an archive is nothing for a terminal");
    return varve_images_export_fd(images, names, platform, format, STDOUT_FILENO, error);
}

/* --- names --------------------------------------------------------------------------------- */

static gboolean
tag(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    return images != NULL && varve_images_tag(images, args[0], args[1], error);
}

static gboolean
remove_one(const char *name, gpointer images, GError **error)
{
    return varve_images_remove(images, name, error);
}

static gboolean
rm(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    return images != NULL && cli_for_each(cli, args, remove_one, images, error);
}

static gboolean
prune(const Cli *cli, char **args, GError **error)
{
    VarveImagePrune result = {0};
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL || !varve_images_prune(images, &result, error))
        return FALSE;
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set_int(object, "blobs", result.blobs);
        cli_json_set_int(object, "begun", result.begun);
        cli_json_set_int(object, "bytes", result.bytes);
        cli_json_set_int(object, "in_use", result.in_use);
        cli_json_set_int(object, "snapshots", result.snapshots);
        cli_json_print(object);
        return TRUE;
    }
    g_autofree char *size = cli_format_size(result.bytes);
    printf("deleted %" G_GUINT64_FORMAT " blobs and %" G_GUINT64_FORMAT " unfinished ones, %s\n",
           result.blobs, result.begun, size);
    if (result.snapshots > 0)
        printf("removed %" G_GUINT64_FORMAT " half-unpacked layers\n", result.snapshots);
    return TRUE;
}

/* --- unpacking ----------------------------------------------------------------------------- */

void
cli_print_unpacked(const Cli *cli, const VarveImageUnpacked *unpacked)
{
    if (cli->json) {
        json_t *object = json_object();
        cli_json_set(object, "snapshot", unpacked->chain_id);
        cli_json_set_int(object, "layers", unpacked->layers);
        cli_json_set_int(object, "unpacked", unpacked->unpacked);
        cli_json_set_int(object, "compressed", unpacked->compressed);
        cli_json_set_int(object, "bytes", unpacked->plain);
        cli_json_set_int(object, "entries", unpacked->entries);
        cli_json_set_int(object, "xattrs_dropped", unpacked->xattrs_dropped);
        cli_json_print(object);
        return;
    }
    g_autofree char *size = cli_format_size(unpacked->plain);
    printf("%s\n", unpacked->chain_id);
    fprintf(stderr, "%u of %u layers unpacked: %" G_GUINT64_FORMAT " files, %s\n",
            unpacked->unpacked, unpacked->layers, unpacked->entries, size);
}

static gboolean
unpack(const Cli *cli, char **args, GError **error)
{
    g_auto(VarveImageUnpacked) unpacked = {0};
    g_autoptr(VarvePlatform) platform = NULL;
    if (!cli_image_platform(&platform, error))
        return FALSE;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    CliProgress *progress = cli_progress_new(cli, images, option.progress);
    gboolean ok = varve_images_unpack(images, cli->pool, args[0], platform, &unpacked, error);
    cli_progress_free(progress);
    if (ok)
        cli_print_unpacked(cli, &unpacked);
    return ok;
}

/* --- the table ----------------------------------------------------------------------------- */

#define PLATFORM_OPTION                                                                            \
    {                                                                                              \
        "platform", 0, 0, G_OPTION_ARG_FILENAME, &option.platform,                                 \
            "the image for this platform: linux/arm64, linux/arm/v7, ...", "PLATFORM"              \
    }
#define FULL_OPTION                                                                                \
    {                                                                                              \
        "full", 0, 0, G_OPTION_ARG_NONE, &option.full, "print whole names, digests and times",     \
            NULL                                                                                   \
    }

static const GOptionEntry ls_options[] = {FULL_OPTION, {NULL}};
static const GOptionEntry history_options[] = {PLATFORM_OPTION, FULL_OPTION, {NULL}};
static const GOptionEntry inspect_options[] = {
    PLATFORM_OPTION,
    {"raw", 0, 0, G_OPTION_ARG_NONE, &option.raw, "print the manifest as it is", NULL},
    {NULL},
};
static const GOptionEntry unpack_options[] = {
    PLATFORM_OPTION,
    {"progress", 0, 0, G_OPTION_ARG_NONE, &option.progress,
     "tell each step on standard error, with --json as JSON", NULL},
    {NULL},
};
static const GOptionEntry commit_options[] = {
    {"from", 0, 0, G_OPTION_ARG_FILENAME, &option.from,
     "the image that the snapshot stands on, where several have the same layers", "IMAGE"},
    {"author", 'a', 0, G_OPTION_ARG_FILENAME, &option.author, "who made it", "TEXT"},
    {"message", 'm', 0, G_OPTION_ARG_FILENAME, &option.message, "what was done", "TEXT"},
    {"change", 'c', 0, G_OPTION_ARG_FILENAME_ARRAY, &option.changes,
     "change its config: 'CMD [\"/bin/app\"]', 'ENV KEY=VALUE', ...; may be repeated", "LINE"},
    {"compression", 0, 0, G_OPTION_ARG_FILENAME, &option.compression,
     "of the new layer: gzip, the default, zstd or none", "KIND"},
    {NULL},
};
static const GOptionEntry import_options[] = {
    {"name", 'n', 0, G_OPTION_ARG_FILENAME, &option.name,
     "what the image is to be called; without a tag, with that of the archive", "NAME"},
    {"only", 0, 0, G_OPTION_ARG_FILENAME, &option.only,
     "only the image that has this name or tag in the archive", "NAME"},
    {NULL},
};
static const GOptionEntry export_options[] = {
    {"output", 'o', 0, G_OPTION_ARG_FILENAME, &option.output,
     "where to; - is standard output, for archives", "PATH"},
    {"format", 'f', 0, G_OPTION_ARG_FILENAME, &option.format,
     "oci: an archive, the default; dir; docker: for 'docker load'", "FORMAT"},
    PLATFORM_OPTION,
    {NULL},
};

#define SEE_LS    "'varve image ls' lists the images"
#define SEE_CREDS "--creds says who to be; without it, 'docker login' does"
#define KEPT      "what was fetched is kept: run it again to go on"

static const CliVerb verbs[] = {
    {
        .name = "ls",
        .synopsis = "[--full] [-q [-0]]",
        .summary = "List the images",
        .about = "Of an image for several platforms, those are shown that are here whole.",
        .example = "varve image ls\n",
        .options = ls_options,
        .lists_names = TRUE,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .run = cli_image_ls,
    },
    {
        .name = "inspect",
        .synopsis = "IMAGE [--platform PLATFORM] [--raw]",
        .summary = "Show what an image consists of and runs",
        .about = "Of an image for several platforms, the one for this machine.",
        .example = "varve image inspect debian:12\n"
                   "varve image inspect debian:12 --platform linux/arm64\n",
        .min_args = 1,
        .max_args = 1,
        .options = inspect_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_image_inspect,
    },
    {
        .name = "history",
        .synopsis = "IMAGE [--platform PLATFORM] [--full]",
        .summary = "Show how an image was made, the newest step first",
        .example = "varve image history debian:12\n",
        .min_args = 1,
        .max_args = 1,
        .options = history_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = CLI_LOOK,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = cli_image_history,
    },
    {
        .name = "import",
        .synopsis = "PATH [--name NAME] [--only NAME]",
        .summary = "Take in an OCI layout or archive, or what 'docker save' wrote",
        .about =
            "PATH is a directory, an archive (plain, or compressed with gzip or zstd), or - for\n"
            "an archive on standard input. Every blob is verified. Prints the names under which\n"
            "the images are here then; when it fails, no name was changed.",
        .example = "varve image import debian.tar\n"
                   "varve image import layout/ --only 12 --name debian:12\n"
                   "docker save app:1 | varve image import -\n",
        .min_args = 1,
        .max_args = 1,
        .options = import_options,
        .needs = CLI_NEEDS_ENGINE,
        .hint = {[VARVE_ERROR_CORRUPT] = "the archive is damaged: get it again"},
        .run = import,
    },
    {
        .name = "pull",
        .synopsis = "NAME [--unpack] [--platform PLATFORM]... [--name NAME]\n"
                    "[OPTION]...",
        .summary = "Fetch an image from a registry",
        .about =
            "Every blob is verified, and what is here is not fetched. When it is interrupted, the\n"
            "next pull goes on where it ended. Prints the name under which the image is here "
            "then;\n"
            "when it fails, no name was changed. Credentials are those of 'docker login'.\n"
            "With --unpack, layers are unpacked while they come, and it prints what 'varve image\n"
            "unpack' does.",
        .example =
            "varve image pull debian:12\n"
            "varve image pull --unpack debian:12\n"
            "varve image pull registry.example.org/app:1 --creds me --password-file -\n"
            "varve image pull debian:12 --platform linux/arm64 --mirror mirror.example.org\n",
        .min_args = 1,
        .max_args = 1,
        .options = cli_image_pull_options,
        .needs = CLI_NEEDS_ENGINE,
        .hint = {[VARVE_ERROR_UNAVAILABLE] = KEPT,
                 [VARVE_ERROR_CANCELLED] = KEPT,
                 [VARVE_ERROR_PERMISSION_DENIED] = SEE_CREDS,
                 [VARVE_ERROR_NO_SPACE] = "'varve image prune' deletes what no image needs"},
        .run = cli_image_pull,
    },
    {
        .name = "push",
        .synopsis = "IMAGE [NAME] [--platform PLATFORM] [OPTION]...",
        .summary = "Put an image into a registry",
        .about =
            "NAME says where to; without it, the image's own name does. Only what is not there is\n"
            "sent, and digests stay what they are. Prints the name with the digest, by which it "
            "can\n"
            "be pulled from then on. Credentials are those of 'docker login'.",
        .example = "varve image push registry.example.org/app:1\n"
                   "varve image push debian:12 registry.example.org/base:12 --platform arm64\n",
        .min_args = 1,
        .max_args = 2,
        .options = cli_image_push_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_PERMISSION_DENIED] = SEE_CREDS},
        .run = cli_image_push,
    },
    {
        .name = "unpack",
        .synopsis = "IMAGE [--platform PLATFORM] [--progress]",
        .summary = "Unpack an image's layers into snapshots of a pool",
        .about =
            "Each layer becomes a committed snapshot, named by its ChainID, on the one below.\n"
            "Those that are there are left alone. Prints the name of the highest one, on which a\n"
            "container's root file system can be prepared.",
        .example = "varve image unpack debian:12\n"
                   "varve snapshot prepare web $(varve image unpack debian:12) --mount /mnt\n",
        .min_args = 1,
        .max_args = 1,
        .options = unpack_options,
        .needs = CLI_NEEDS_POOL,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS,
                 [VARVE_ERROR_CORRUPT] = "the image is damaged: get it again"},
        .run = unpack,
    },
    {
        .name = "commit",
        .synopsis = "SNAPSHOT NAME [--from IMAGE] [--author TEXT] [--message TEXT]\n"
                    "[--change LINE]... [--compression KIND]",
        .summary = "Make an image of a snapshot's changes",
        .about =
            "SNAPSHOT, active or committed, stands on the snapshot of an unpacked image, and its\n"
            "changes become one more layer on that image's; one that stands on nothing makes an\n"
            "image of one layer. It goes on as it was. A container in it may run, but what it\n"
            "writes meanwhile may or may not be in the layer. SOURCE_DATE_EPOCH counts.",
        .example = "varve image commit web example.org/app:2 --message 'new pages'\n"
                   "varve image commit web app:2 --change 'CMD [\"/bin/app\"]'\n",
        .min_args = 2,
        .max_args = 2,
        .options = commit_options,
        .needs = CLI_NEEDS_POOL,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = "'varve snapshot ls' lists the snapshots, 'varve image "
                                           "ls' the images",
                 [VARVE_ERROR_FAILED_PRECONDITION] = "--from IMAGE says which image it stands on"},
        .run = cli_image_commit,
    },
    {
        .name = "export",
        .synopsis = "IMAGE... --output PATH [--format FORMAT] [--platform PLATFORM]",
        .summary = "Write images to an archive or an OCI layout",
        .about =
            "Blobs are written as they were imported or pulled, to the byte, and the same images\n"
            "give the same archive. PATH must not exist yet. FORMAT oci is an archive of an OCI\n"
            "layout, dir is an OCI layout, docker is an archive of an OCI layout that 'docker\n"
            "load' takes as well.",
        .example = "varve image export debian:12 --output debian.tar\n"
                   "varve image export app:1 app:2 --format docker --output - | docker load\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .options = export_options,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = export,
    },
    {
        .name = "tag",
        .synopsis = "IMAGE NAME",
        .summary = "Give an image another name",
        .about = "A name that another image had is led away from it.",
        .example = "varve image tag debian:12 example.org/base:stable\n",
        .min_args = 2,
        .max_args = 2,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = tag,
    },
    {
        .name = "rm",
        .synopsis = "IMAGE...",
        .summary = "Take names of images away",
        .about = "What no name leads to any more is deleted by 'varve image prune'.",
        .example = "varve image rm debian:11\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .hint = {[VARVE_ERROR_NOT_FOUND] = SEE_LS},
        .run = rm,
    },
    {
        .name = "prune",
        .synopsis = "",
        .summary = "Delete the blobs that no image needs",
        .about =
            "Also what unfinished imports and pulls left, and, in all pools, layers that were\n"
            "left half-unpacked. What any process is working with just now is spared.",
        .example = "varve image prune\n",
        .needs = CLI_NEEDS_ENGINE,
        .flags = VARVE_ENGINE_MUST_EXIST,
        .run = prune,
    },
    {NULL},
};

const CliNoun cli_image_noun = {
    .name = "image",
    .summary = "Images: what containers are made from",
    .about =
        "IMAGE is a name, as Docker writes them (debian is docker.io/library/debian:latest), or\n"
        "the digest of its manifest, or at least six digits of that.",
    .verbs = verbs,
};
