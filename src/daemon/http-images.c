/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http-json.h"
#include "daemon/http.h"

static json_t *
image_json(const VarveImageInfo *info)
{
    json_t *value = json_object(), *platforms = json_array();
    varve_http_set(value, "name", info->name);
    varve_http_set(value, "digest", info->digest);
    varve_http_set(value, "media_type", info->media_type);
    varve_http_set_time(value, "created_at", info->created);
    varve_http_set_time(value, "updated_at", info->updated);
    varve_http_set_int(value, "size", info->size);
    varve_http_set_int(value, "blobs", info->blobs);
    json_object_set_new(value, "complete", json_boolean(info->complete));
    for (guint i = 0; i < info->platforms->len; i++) {
        g_autofree char *platform = varve_platform_format(info->platforms->pdata[i]);
        json_array_append_new(platforms, json_string(platform));
    }
    json_object_set_new(value, "platforms", platforms);
    return value;
}

static void
list_images(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(GPtrArray) images = varve_images_list(context->images, &error);
    if (images == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    json_t *list = json_array();
    for (guint i = 0; i < images->len; i++)
        json_array_append_new(list, image_json(images->pdata[i]));
    varve_http_reply_json(request, 200, list);
}

static void
get_image(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    VarveImageInfo *info =
        varve_images_find(context->images, varve_http_request_param(request, "name"), &error);
    if (info == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    varve_http_reply_json(request, 200, image_json(info));
    varve_image_info_free(info);
}

const VarveHttpRoute varve_http_image_routes[] = {
    {"GET", "/images", list_images, VARVE_HTTP_DEFAULT},
    {"GET", "/images/:name", get_image, VARVE_HTTP_DEFAULT},
    {NULL},
};
