/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/settings.h"

const VarveDriverSetting varve_zfs_settings[] = {
    {"dataset", VARVE_SETTING_TEXT, NULL, NULL,
     "keep the pool in this dataset of an existing zpool; it is made with the pool, its parent "
     "must "
     "be there"},
    {"file", VARVE_SETTING_PATH, NULL, NULL,
     "keep the pool in a zpool of its own in this sparse file, which is made with the pool"},
    {"size", VARVE_SETTING_SIZE, NULL, NULL,
     "how large the file may grow; when not given, 70% of the file system that it is on"},
    {"zpool", VARVE_SETTING_TEXT, NULL, NULL,
     "the name of the zpool in the file; when not given, varve-NAME, after the pool"},
    {NULL},
};
