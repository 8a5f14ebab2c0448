/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_TOKEN_H
#define VARVE_STREAM_TOKEN_H

/* What a receiver tells a sender, so that it goes on where it has to: one word, which can be an
 * argument or a part of a URL as it is. */

#include "volume/stream/header.h"

typedef struct {
    char *uuid, *format;
    char *base; /* "": none */
    gboolean plain;
    guint64 expected;
    VarveFramePlace place;
} VarveResumeToken;

void varve_resume_token_clear(VarveResumeToken *token);

/* Of a stream with that header. */
char *varve_resume_token_write(const VarveStreamHeader *header, const VarveFramePlace *place);

/* VARVE_ERROR_INVALID_ARGUMENT: it is none. */
gboolean varve_resume_token_read(const char *text, VarveResumeToken *token, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveResumeToken, varve_resume_token_clear)

#endif
