/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_CHAIN_H
#define VARVE_IMAGE_CHAIN_H

/* ChainIDs: the names of stacks of layers, as config.md of the OCI image specification ("Layer
 * ChainID") and containerd compute them. */

#include <glib.h>

/* The ChainID of a layer of that DiffID on a stack of that ChainID; chain NULL or "": on nothing.
 */
char *varve_chain_id_add(const char *chain, const char *diff_id);

/* The ChainID of the first n layers; "" of none. */
char *varve_chain_id(const char *const *diff_ids, gsize n);

#endif
