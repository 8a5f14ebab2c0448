/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_ZFS_SETTINGS_H
#define VARVE_DRIVER_ZFS_SETTINGS_H

/* What can be known of the zfs driver without its module; this is part of libvarve, so that
 * settings are documented and checked the same on every host. */

#include "driver/driver.h"

#define VARVE_ZFS_SUMMARY "datasets, snapshots and clones of ZFS; nothing is copied"

/* Ended by a NULL name. */
VARVE_SHARED extern const VarveDriverSetting varve_zfs_settings[];

#endif
