/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include "rpc/http-client.h"

VARVE_SHARED const VarveModule varve_module = {VARVE_VERSION, &varve_http_client};
