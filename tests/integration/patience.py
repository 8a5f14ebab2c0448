# SPDX-License-Identifier: Apache-2.0
"""How long tests wait for what should come at once."""

import os

FACTOR = int(os.environ.get("VARVE_TIMEOUT_FACTOR", "1"))  # sanitizers and some machines are slow
TIMEOUT = 60 * FACTOR  # seconds
