# SPDX-License-Identifier: Apache-2.0
"""OCI layouts whose layers are given byte for byte, and whose documents may tell lies.

    layer = packed(tar, "zstd")                   a Blob of a layer: bytes, and their DiffID
    write_layout(directory, [layer, ...])         a layout with one image, tagged "1"
    write_layout(..., edit=f)                     f(config, manifest) changes the documents first

Entries of layers are made by oci.Layer, or, where it is to be another thing than tarfile would write,
by header() and pax() here.
"""

import gzip
import hashlib
import json
import subprocess
from dataclasses import dataclass

from oci import ARCHITECTURE, digest
from patience import TIMEOUT

BLOCK = 512
END = bytes(2 * BLOCK)
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass
class Blob:
    """A layer as it stands in the layout: data is bytes, or a Path of a file of them."""

    data: object
    diff_id: str
    kind: str = "gzip"

    def __post_init__(self):
        if isinstance(self.data, bytes):
            self.digest, self.size = digest(self.data), len(self.data)
        else:
            with open(self.data, "rb") as file:
                self.digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            self.size = self.data.stat().st_size


def zstd(data, *options):
    command = ["zstd", "-q", "-c", *options]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT).stdout


def packed(tar, kind="gzip", diff_id=None, options=()):
    pack = {"gzip": lambda: gzip.compress(tar, 1, mtime=0), "zstd": lambda: zstd(tar, *options), "": lambda: tar}
    return Blob(pack[kind](), diff_id or digest(tar), kind)


def write_layout(directory, layers, edit=None):
    """edit(config, manifest, descriptor) may change them; the digests of changed documents are right
    unless it changes those too."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        if isinstance(layer.data, bytes):
            (blobs / layer.digest[7:]).write_bytes(layer.data)
        else:
            (blobs / layer.digest[7:]).hardlink_to(layer.data)
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "layers": [{"mediaType": LAYER + (f"+{layer.kind}" if layer.kind else ""),
                    "digest": layer.digest, "size": layer.size} for layer in layers],
    }  # fmt: skip
    if edit is not None:
        edit(config, manifest)

    def document(kind, content):
        data = json.dumps(content).encode()
        (blobs / digest(data)[7:]).write_bytes(data)
        media_type = f"application/vnd.oci.image.{kind}.v1+json"
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    manifest.setdefault("config", document("config", config))
    entry = document("manifest", manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


# --- headers ----------------------------------------------------------------------------------------


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def header(name, kind=b"0", size=0, target=b"", mode=0o644, uid=0, mtime=1_500_000_000, device=(0, 0)):
    """A ustar header, to the byte. Numbers that are bytes stand in their field as they are."""

    def number(value, width):
        return value.ljust(width, b"\0") if isinstance(value, bytes) else b"%0*o\0" % (width - 1, value)

    name = name if isinstance(name, bytes) else name.encode()
    target = target if isinstance(target, bytes) else target.encode()
    block = bytearray(name.ljust(100, b"\0") + number(mode, 8) + number(uid, 8) + number(0, 8) +
                      number(size, 12) + number(mtime, 12) + b" " * 8 + kind +
                      target.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) +
                      number(device[0], 8) + number(device[1], 8) + bytes(167))  # fmt: skip
    assert len(block) == BLOCK, name
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def record(key, value):
    """One record of an extended header."""
    key, value = (text if isinstance(text, bytes) else text.encode() for text in (key, value))
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))
    return str(length).encode() + rest


def pax(body, claimed=None):
    """An extended header with that body, for the entry that follows."""
    return header("pax", b"x", len(body) if claimed is None else claimed) + padded(body)


def long_name(name, kind=b"L"):
    """GNU's way to say a long name (L) or target (K)."""
    return header("././@LongLink", kind, len(name) + 1) + padded(name + b"\0")
