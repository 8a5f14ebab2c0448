# SPDX-License-Identifier: Apache-2.0
"""Layers that are made to exhaust the machine: SPEC row L8. However large one is, unpacking it takes
less than 64 MB, and it ends with a whole snapshot or with an error and nothing left.

VARVE_BOMB_FACTOR multiplies the numbers of entries: by 167, the first one has ten million.
"""

import gzip
import hashlib
import os
import random
import subprocess
import sys
import zlib

import pytest
from conftest import TIMEOUT, VARVE
from layouts import END, Blob, header, long_name, packed, padded, pax, record, write_layout, zstd
from oci import digest

NAME = "example.org/bomb:1"
FACTOR = float(os.environ.get("VARVE_BOMB_FACTOR", "1"))
LIMIT = 64 << 10
# Of the child alone: what was the interpreter's before it became the command would count too.
WATCHER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
SANITIZED = b"libasan" in VARVE.read_bytes()  # it takes much more memory then


def many(count):
    return int(count * FACTOR)


def unpack_watched(varve, name=NAME, status=0):
    command = [sys.executable, "-S", "-c", WATCHER, VARVE, "--root", varve.root, "image", "unpack", name]
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=TIMEOUT * max(2, FACTOR))  # fmt: skip
    if status is not None:
        assert done.returncode == status, done.stderr
    peak = int(done.stdout.split()[-1])
    assert SANITIZED or peak < LIMIT, f"{peak} KiB of memory"
    return done, peak


class Bomb:
    """Writes a layer piece by piece."""

    def __init__(self, path, level=1):
        self.path, self.plain = path, hashlib.sha256()
        self.packer = zlib.compressobj(level, wbits=31)
        self.file = open(path, "wb")

    def add(self, data):
        self.plain.update(data)
        self.file.write(self.packer.compress(data))

    def end(self):
        self.add(END)
        self.file.write(self.packer.flush())
        self.file.close()
        return Blob(self.path, "sha256:" + self.plain.hexdigest())


def numbered(template, numbers):
    """The headers with each number in place of its name's digits NNNNNNNN."""
    at = template.index(b"NNNNNNNN")
    before, after = template[:148], template[156:]
    base = sum(before) + sum(after) + 8 * 32 - sum(b"NNNNNNNN")
    pieces = []
    for number in numbers:
        digits = b"%08d" % number
        block = before + b"%06o\0 " % (base + sum(digits)) + after
        pieces.append(block[:at] + digits + block[at + 8 :])
    return b"".join(pieces)


def crowd(bomb, template, count):
    for first in range(0, count, 10_000):
        bomb.add(numbered(template, range(first, min(first + 10_000, count))))


def entries(bomb):
    """As many as can be: what is known of directories and of what was made does not grow."""
    for folder in range(many(60_000) // 3_000):
        bomb.add(header(f"{folder}/", b"5", mode=0o755))
        bomb.add(numbered(header(f"{folder}/NNNNNNNN"), range(2_999)))


def opaque_after_all(bomb):
    """The directory below is opaque after more was made in it than is remembered in memory."""
    crowd(bomb, header("base/NNNNNNNN"), many(66_000))
    bomb.add(header("base/.wh..wh..opq"))


def hard_links(bomb):
    for folder in range(many(2)):
        bomb.add(header(f"{folder}/f"))
        bomb.add(numbered(header(f"{folder}/NNNNNNNN", b"1", target=f"{folder}/f"), range(15_000)))


def whiteouts(bomb):
    """With names so long that what is noted of them, for layers side by side, would be much."""
    crowd(bomb, header("w/.wh.NNNNNNNN"), many(30_000))
    folder = "/".join(["y" * 250] * 15).encode()
    for number in range(many(5_000)):
        bomb.add(pax(record("path", folder + b"/.wh.%08d" % number)) + header("short"))


def extended(bomb):
    """Headers of a megabyte, maps of sparse files with as many parts as can be, and 64 KB names that
    nothing follows which they would be for."""
    for number in range(many(20)):
        bomb.add(pax(record("comment", b"c" * ((1 << 20) - 100))) + header(f"pax-{number}"))
    parts = 1 << 18
    text = b"%d\n" % parts + b"".join(b"%d\n0\n" % i for i in range(parts))
    body = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")
    body += record("GNU.sparse.name", "sparse") + record("GNU.sparse.realsize", str(parts))
    bomb.add(pax(body) + header("s", size=len(padded(text))) + padded(text))
    for _ in range(many(100)):
        bomb.add(long_name(b"n" * 65_536))
    bomb.add(long_name(b"short") + header("x"))


APPLIED = {
    "overlay": [entries, hard_links, whiteouts, extended],
    "native": [opaque_after_all],
    "btrfs": [extended],
}


def keys(varve):
    return [info["name"] for info in varve.json("snapshot", "ls")]


@pytest.fixture
def bombed(varve, tempdir, make_fs):
    """bombed(driver, *layers) has an image of a small layer and these, and a pool for it."""

    def make(driver, *layers, size=None):
        kind = "btrfs" if driver == "btrfs" else "ext4"
        options = ("-N", str(many(100_000) + 10_000)) if kind == "ext4" and size is None else ()
        place = make_fs(kind, size or f"{many(100) + 300}M", *options)
        varve("pool", "create", "default", "--driver", driver, "--set", f"path={place}/pool")
        base = packed(header("base/", b"5", mode=0o755) + header("base/file") + END)
        write_layout(tempdir / "layout", [base, *layers])
        varve("image", "import", tempdir / "layout", "--name", NAME)
        return varve, base

    return make


@pytest.mark.parametrize(
    "driver, fill", [(driver, fill) for driver, fills in APPLIED.items() for fill in fills],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)  # fmt: skip
def test_memory(bombed, tempdir, driver, fill):
    bomb = Bomb(tempdir / "bomb")
    fill(bomb)
    varve, _ = bombed(driver, bomb.end())
    unpack_watched(varve)
    assert len(keys(varve)) == 2
    if fill is opaque_after_all:
        point = tempdir / "m"
        point.mkdir()
        varve("snapshot", "view", "look", max(varve.json("snapshot", "ls"), key=lambda i: i["created"])["name"],
              "--mount", point)  # fmt: skip
        names = os.listdir(point / "base")
        assert "file" not in names and len(names) == many(66_000)
        varve("snapshot", "umount", point)


def room(varve):
    stat = os.statvfs(varve.json("pool", "inspect", "default")["path"])
    return stat.f_bavail * stat.f_frsize


def refused(bombed, message, layer):
    varve, base = bombed("overlay", layer, size="64M")
    before = room(varve)
    done, _ = unpack_watched(varve, status=None)
    assert done.returncode > 0 and message in done.stderr, done.stderr
    assert keys(varve) == [base.diff_id]
    varve("system", "cleanup")
    assert room(varve) > before - (1 << 20), "something of it is left on the disk"


def test_100_gb_of_zeros(bombed):
    """In three megabytes: the disk is full, and empty again."""
    zeros = zstd(bytes(1 << 27))
    head = zstd(header("zeros", size=b"\x80" + (100 << 30).to_bytes(11, "big")))  # too long for digits
    layer = Blob(head + zeros * 800, digest(b"nobody comes so far"), "zstd")
    refused(bombed, "No space left on device", layer)


def test_100_gb_of_nothing(bombed):
    """A sparse file of that size takes no room, and is what the layer says."""
    body = record("GNU.sparse.size", str(100 << 30)) + record("GNU.sparse.map", f"{(100 << 30) - 1},1")
    varve, _ = bombed("overlay", packed(pax(body) + header("s", size=1) + padded(b"x") + END))
    unpack_watched(varve)
    assert len(keys(varve)) == 2


def test_many_gzip_members(bombed):
    """Of which all but one are empty."""
    tar = header("file") + END
    data = gzip.compress(b"", mtime=0) * 100_000 + gzip.compress(tar, mtime=0)
    varve, _ = bombed("overlay", Blob(data, digest(tar), "gzip"))
    unpack_watched(varve)


def test_windows_of_zstd(bombed):
    """Memory that a frame asks for: as much as is reasonable, and more."""
    noise = random.Random(1).randbytes(1 << 20) * 40
    tar = header("noise", size=len(noise)) + noise + END
    varve, _ = bombed("overlay", packed(tar, "zstd", options=("-1", "--long=25", "-T1")))
    unpack_watched(varve)


def test_window_of_zstd_too_large(bombed):
    tar = header("noise", size=100 << 20) + bytes(100 << 20) + END
    layer = packed(tar, "zstd", options=("-1", "--long=27", "-T1"))
    refused(bombed, "window of more than 32 MB", layer)


def test_xattrs(bombed):
    """More than a file system has room for."""
    body = b"".join(record(f"SCHILY.xattr.user.{i}", b"x" * 200) for i in range(4_000))
    refused(bombed, "setting the xattr", packed(pax(body) + header("file") + END))
