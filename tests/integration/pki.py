# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates for tests, by openssl(1): NAME.pem and NAME.key in a directory."""

import subprocess

from conftest import TIMEOUT

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(directory, *args):
    subprocess.run(
        ["openssl", *args], cwd=directory, check=True, capture_output=True, timeout=TIMEOUT
    )


def make_authority(directory, name):
    openssl(directory, "req", "-x509", *KEY, "-subj", f"/CN={name}", "-days", "2",
            "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip


def make_certificate(directory, ca, name, days=2, usage="clientAuth", address="127.0.0.1"):
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName=IP:{address}\nextendedKeyUsage={usage}\n")
    openssl(directory, "req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr")  # fmt: skip
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
            "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", f"{name}.pem")  # fmt: skip
