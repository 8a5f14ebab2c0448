/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_H
#define VARVE_H

/* All of libvarve's public API. */

#include <varve/backup.h>
#include <varve/changes.h>
#include <varve/container.h>
#include <varve/engine.h>
#include <varve/error.h>
#include <varve/host.h>
#include <varve/image.h>
#include <varve/layer.h>
#include <varve/log.h>
#include <varve/mount.h>
#include <varve/sections.h>
#include <varve/snapshot.h>
#include <varve/stream.h>
#include <varve/transfer.h>
#include <varve/volume.h>

#endif
