/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_PACKER_CONTENT_H
#define VARVE_LAYER_PACKER_CONTENT_H

/* Copies the content of files into a tar: for packer.c. */

#include "layer/tar-writer.h"
#include <sys/stat.h>

typedef struct VarvePackerContent VarvePackerContent;

VarvePackerContent *varve_packer_content_new(VarveTarWriter *writer, const gint *cancelled);
void varve_packer_content_free(VarvePackerContent *content);

/* Writes exactly st->st_size bytes: what the file lacks of them is zeros. st: what fstat told when
 * it was opened. *quiet: nobody has written to it since. */
gboolean varve_packer_content_copy(VarvePackerContent *content, int fd, const struct stat *st,
                                   gboolean *quiet, GError **error);

#endif
