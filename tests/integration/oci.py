# SPDX-License-Identifier: Apache-2.0
"""Makes container images for tests: OCI archives, as `ctr images import` takes them.

    base = Layer().dir("bin").file("bin/sh", data, mode=0o755)
    top = Layer().whiteout("etc/old").symlink("etc/new", "old", uid=7)
    write_image(path, "example.org/test:1", [base, top])

What the layers hold is up to the caller to the last bit: entries stand in the order of the calls,
and nothing is added to them.
"""

import gzip
import hashlib
import io
import json
import platform
import tarfile

MTIME = 1_500_000_000  # of entries that are given none
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Layer:
    """One layer. Each method adds an entry and returns the layer. Keywords of all: mode, uid, gid,
    mtime, xattrs (a dict of bytes)."""

    def __init__(self):
        self.stream = io.BytesIO()
        self.archive = tarfile.open(fileobj=self.stream, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, path, kind, data=b"", link="", device=(0, 0), mode=0o644, uid=0, gid=0,
            mtime=MTIME, xattrs={}):  # fmt: skip
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.size = kind, link, len(data)
        entry.mode, entry.uid, entry.gid, entry.mtime = mode, uid, gid, mtime
        entry.devmajor, entry.devminor = device
        for name, value in xattrs.items():  # tarfile writes such text as the bytes it came from
            entry.pax_headers[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
        self.archive.addfile(entry, io.BytesIO(data))
        return self

    def dir(self, path, mode=0o755, **attributes):
        return self.add(path, tarfile.DIRTYPE, mode=mode, **attributes)

    def file(self, path, data, **attributes):
        data = data.encode() if isinstance(data, str) else data
        return self.add(path, tarfile.REGTYPE, data, **attributes)

    def symlink(self, path, target, **attributes):
        return self.add(path, tarfile.SYMTYPE, link=target, mode=0o777, **attributes)

    def hardlink(self, path, target, **attributes):
        return self.add(path, tarfile.LNKTYPE, link=target, **attributes)

    def fifo(self, path, **attributes):
        return self.add(path, tarfile.FIFOTYPE, **attributes)

    def device(self, path, major, minor, **attributes):
        return self.add(path, tarfile.CHRTYPE, device=(major, minor), **attributes)

    def whiteout(self, path):
        """Removes what lower layers have at path."""
        folder, _, name = path.rpartition("/")
        return self.file(f"{folder}/.wh.{name}" if folder else f".wh.{name}", b"")

    def opaque(self, path):
        """Removes what lower layers have in the directory path."""
        return self.file(f"{path}/.wh..wh..opq", b"")

    def tar(self):
        self.archive.close()
        return self.stream.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_ids(layers):
    """The ChainIDs of the stacks of the first layer, the first two, and so on."""
    chain = []
    for layer in layers:
        own = digest(layer.tar())
        chain.append(digest(f"{chain[-1]} {own}".encode()) if chain else own)
    return chain


def write_image(path, tag, layers, command=("/bin/sh",)):
    """Writes an OCI archive with one image, whose reference is `BASE-NAME:tag` in containerd."""
    with tarfile.open(path, "w") as archive:

        def put(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

        def blob(kind, data):
            put(f"blobs/sha256/{digest(data)[7:]}", data)
            media_type = f"application/vnd.oci.image.{kind}"
            return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

        def document(kind, content):
            return blob(f"{kind}.v1+json", json.dumps(content).encode())

        tars = [layer.tar() for layer in layers]
        config = {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": document("config", config),
            "layers": [blob("layer.v1.tar+gzip", gzip.compress(tar, 1, mtime=0)) for tar in tars],
        }
        entry = document("manifest", manifest)
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        put("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        put("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
