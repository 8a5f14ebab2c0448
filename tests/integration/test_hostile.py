# SPDX-License-Identifier: Apache-2.0
"""Hostile images: SPEC row L8. Each case is an attack that some engine or archiver had to repair, or
one that would do harm to a way of unpacking that Varve has: side by side, one by one, and into a
tree that has everything.

Whatever is in the layers, nothing outside the pool is changed or read, the attempt ends soon, and
what it leaves is what it says it made: whole layers, and of a refused one nothing.
"""

import dataclasses
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile

import pytest
from conftest import mounts_below
from layouts import END, header, long_name, packed, padded, pax, record, write_layout
from oci import Layer, digest
from test_unpack import tree

SECRET = b"what nobody may read " * 3
SECONDS = 60  # for one command; a fifo that is opened would take longer than any machine
sys.setrecursionlimit(10_000)  # os.walk recurses, and a case is deep


# --- what is outside --------------------------------------------------------------------------------


class Outside:
    """A tree beside the pool, on the same file system, so that hard links could lead there."""

    def __init__(self, place):
        self.path = place / "outside"
        self.path.mkdir(mode=0o751)
        victim = self.path / "victim"
        victim.write_bytes(SECRET)
        os.setxattr(victim, "user.note", b"untouched")
        victim.chmod(0o640)
        os.chown(victim, 3, 4)
        (self.path / "folder").mkdir()
        (self.path / "folder/file").write_bytes(SECRET)
        (self.path / "link").symlink_to("victim")
        os.mkfifo(self.path / "fifo")
        for path in victim, self.path / "folder/file":
            os.utime(path, ns=(1_000_000_000, 2_000_000_000))  # so the next one who reads it is seen

    def look(self):
        entries = [self.path, *sorted(self.path.rglob("*")), self.path.parent]
        found = {}
        for path in entries[:-1]:
            st = os.lstat(path)
            found[str(path)] = (st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size,
                                st.st_mtime_ns, st.st_ctime_ns, os.listxattr(path, follow_symlinks=False),
                                st.st_atime_ns if stat.S_ISREG(st.st_mode) else None)  # fmt: skip
        found["beside"] = sorted(os.listdir(entries[-1]))
        return found

    def up(self, name="victim"):
        """A relative way there, from however deep."""
        return "../" * 20 + str(self.path / name)[1:]


# --- cases ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Case:
    name: str
    reference: str  # whom it happened to; "" for what is of our own making
    build: object  # build(outside) returns the layers: of Layer, or of the bytes of a tar archive
    refused: str = None  # a regular expression for the message; None: it is unpacked
    check: object = None  # check(tree, outside) looks at what was unpacked: see test_unpack.tree()


CASES = []


def case(name, reference="", refused=None, check=None):
    def register(build):
        CASES.append(Case(name, reference, build, refused, check))
        return build

    return register


def content_is(path, content):
    def check(found, outside):
        assert found[path][7] == content, found[path]

    return check


def absent(*paths):
    def check(found, outside):
        assert not set(paths) & set(found), sorted(found)

    return check


def inside(name):
    """What went to the place outside stands at that path within the root."""

    def check(found, outside):
        path = str(outside.path / name)[1:]
        assert found[path][7] == b"changed"

    return check


def kind_is(path, kind, **more):
    def check(found, outside):
        assert found[path][0] == kind
        if "mode" in more:
            assert found[path][1] == more["mode"]
        if "owner" in more:
            assert tuple(found[path][2:4]) == more["owner"]
        if "time" in more:
            assert found[path][4] == more["time"]
        if "device" in more:
            assert found[path][5] == more["device"]

    return check


# Names

@case("dot-dot", "CVE-2002-0399 (tar)", r'"\.\."')
def _(out):
    return [Layer().file(out.up(), "changed")]


@case("dot-dot-behind-a-name", "CVE-2016-6321 (GNU tar)", r'"\.\."')
def _(out):
    return [Layer().dir("a").file("a/" + out.up(), "changed")]


@case("dot-dot-in-a-directory", "", r'"\.\."')
def _(out):
    return [Layer().dir("../outside", mode=0o777)]


@case("dot-dot-in-a-whiteout", "", r'"\.\."')
def _(out):
    return [Layer().dir("a"), Layer().whiteout(out.up())]


@case("whiteout-of-dot-dot", "", "whiteout of '..'")
def _(out):
    return [Layer().dir("a"), Layer().file("a/.wh...", "")]


@case("absolute", "CVE-2014-9356 (Docker), CVE-2021-32804 (node-tar)", check=inside("victim"))
def _(out):
    return [Layer().file(str(out.path / "victim"), "changed")]


@case("absolute-with-many-slashes", "CVE-2021-32804 (node-tar)", check=inside("victim"))
def _(out):
    return [Layer().file("////" + str(out.path / "victim"), "changed")]


@case("long-name-out", "CVE-2007-4131 (GNU tar)", r'"\.\."')
def _(out):
    return [long_name(out.up().encode()) + header("short", size=7) + padded(b"changed") + END]


@case("pax-path-out", "", r'"\.\."')
def _(out):
    return [pax(record("path", out.up())) + header("short", size=7) + padded(b"changed") + END]


@case("odd-bytes-in-names")
def _(out):
    names = [b"new\nline", b"\x1b[2J\x1b]0;title\x07", b"\xff\xfe", b"back\\slash", b" ", b"-rf", b"\x7f"]
    return [b"".join(header(name) for name in names) + END,
            b"".join(header(b".wh." + name) for name in names[:3]) + END]  # fmt: skip


@case("odd-bytes-in-an-error", "", r'\\n.*\\033')
def _(out):
    return [header(b"a\nb/\x1b[2J/../c") + END]


@case("names-of-64-kb", "", "more than 255 bytes|more than 4095 bytes")
def _(out):
    return [long_name(b"n" * 65_536) + header("x") + END]


@case("paths-of-64-kb", "", "more than 4095 bytes")
def _(out):
    return [long_name(b"/".join([b"n" * 200] * 330)) + header("x") + END]


@case("targets-of-64-kb", "", "target")
def _(out):
    return [long_name(b"t" * 65_536, b"K") + header("x", b"2") + END]


# Symbolic links

@case("link-then-file", "CVE-2014-6407 (Docker)", check=inside("victim"))
def _(out):
    return [Layer().symlink("way", str(out.path)).file("way/victim", "changed")]


@case("relative-link-then-file", "CVE-2018-15664 (Docker), CVE-2019-10152 (podman)", check=inside("victim"))
def _(out):
    return [Layer().symlink("way", out.up("")).file("way/victim", "changed")]


@case("link-then-file-of-the-next-layer", "CVE-2014-6407 (Docker)", check=inside("victim"))
def _(out):
    return [Layer().symlink("way", str(out.path)), Layer().file("way/victim", "changed")]


@case("link-then-file-of-the-third-layer", "CVE-2014-6407 (Docker)", check=inside("victim"))
def _(out):
    return [Layer().symlink("way", out.up("")), Layer().file("other", ""),
            Layer().file("way/victim", "changed")]  # fmt: skip


@case("links-in-two-layers", "CVE-2020-27833 (oc)", check=inside("victim"))
def _(out):
    return [Layer().dir("sub").symlink("sub/up", ".."), Layer().symlink("sub/up/more", "../../.."),
            Layer().file("more" + str(out.path / "victim"), "changed")]  # fmt: skip


@case("link-then-directory", "CVE-2021-41089 (Docker): modes of what is outside")
def _(out):
    return [Layer().symlink("way", str(out.path)).dir("way", mode=0o777, uid=9).file("way/x", "")]


@case("link-then-directory-below")
def _(out):
    return [Layer().symlink("way", out.up("")), Layer().dir("way/folder", mode=0o777, uid=9, mtime=1)]


@case("directory-becomes-link", "CVE-2021-32803 (node-tar)", check=inside("victim"))
def _(out):
    return [Layer().dir("d").file("d/a", "").symlink("d", str(out.path)).file("d/victim", "changed")]


@case("directory-becomes-link-in-the-next-layer", "CVE-2021-32803 (node-tar)", check=inside("victim"))
def _(out):
    return [Layer().dir("d").file("d/a", ""),
            Layer().whiteout("d").symlink("d", str(out.path)).file("d/victim", "changed")]  # fmt: skip


@case("late-attributes-through-link", "CVE-2021-31566 (libarchive)")
def _(out):
    return [Layer().dir("d", mode=0o6777, uid=9, mtime=1).file("d/a", "")
            .symlink("d", str(out.path))]  # fmt: skip


@case("late-attributes-through-link-above", "CVE-2021-31566 (libarchive)")
def _(out):
    return [Layer().dir("d").dir("d/folder", mode=0o6777, uid=9, mtime=1).symlink("d", str(out.path))]


@case("link-with-mode-owner-and-xattrs", "CVE-2021-23177 (libarchive), CVE-2021-32760 (containerd)")
def _(out):
    return [Layer().symlink("soft", str(out.path / "victim"), uid=9, mtime=1,
                            xattrs={"trusted.x": b"x", "user.note": b"changed"})
            .symlink("other", str(out.path / "victim"))]  # fmt: skip


@case("magic-links", "CVE-2024-21626 (runc): descriptors of the engine")
def _(out):
    layer = Layer()
    for number in range(3, 40):
        layer.symlink(f"fd{number}", f"/proc/self/fd/{number}").file(f"fd{number}/{out.up('x')[60:]}", "x")
    return [layer.symlink("root", "/proc/1/root").file(f"root{out.path}/victim", "changed")]


@case("link-over-dev-null", "CVE-2025-31133 (runc)", check=inside("victim"))
def _(out):
    return [Layer().dir("dev").symlink("dev/null", str(out.path)), Layer().file("dev/null/victim", "changed")]


@case("path-longer-than-the-kernel-resolves", "CVE-2025-4517 (Python's tarfile)")
def _(out):
    layer, step, way = Layer(), "d" * 240, ""
    for letter in "abcdefghijklmnop":
        layer.dir(way + step).symlink(way + letter, step)
        way += letter + "/"
    return [layer.symlink(way + "l" * 200, "../" * 16).symlink("escape", f"{way}{'l' * 200}/{out.up()}")
            .file("escape/x", "changed").hardlink("escape2", "escape")]  # fmt: skip


@case("chain-of-1000-links", "", "symbolic links")
def _(out):
    layer = Layer().symlink("0", str(out.path))
    for number in range(1, 1000):
        layer.symlink(str(number), str(number - 1))
    return [layer.file("999/victim", "changed")]


@case("links-in-a-ring-over-layers", "", "symbolic links")
def _(out):
    return [Layer().symlink("a", "b"), Layer().symlink("b", "a"), Layer().file("a/file", "x")]


@case("link-to-outside-is-replaced", "CVE-2014-6407 (Docker)", check=content_is("file", b"new"))
def _(out):
    return [Layer().symlink("file", str(out.path / "victim")), Layer().file("file", "new")]


@case("root-is-link", "CVE-2021-29136 (umoci)", "the root is no directory")
def _(out):
    return [Layer().symlink(".", str(out.path)).file("victim", "changed")]


@case("root-is-link-in-the-next-layer", "CVE-2021-29136 (umoci)", "the root is no directory")
def _(out):
    return [Layer().dir(".").file("a", ""), Layer().symlink("/", str(out.path))]


# Hard links

@case("hard-link-out", "CVE-2014-6407 (Docker)", r'"\.\."')
def _(out):
    return [Layer().hardlink("link", out.up())]


@case("hard-link-out-absolute", "CVE-2014-6407 (Docker)", "hard link to")
def _(out):
    return [Layer().hardlink("link", str(out.path / "victim"))]


@case("hard-link-through-link", "CVE-2014-6407 (Docker)", "hard link to")
def _(out):
    return [Layer().symlink("way", str(out.path)).hardlink("link", "way/victim")]


@case("hard-link-through-link-of-lower-layer", "CVE-2014-6407 (Docker)", "hard link to")
def _(out):
    return [Layer().symlink("way", out.up("")), Layer().hardlink("link", "way/victim")]


@case("hard-link-with-content", "CVE-2016-5418 (libarchive)", "hard link to")
def _(out):
    target = str(out.path / "victim").encode()
    return [header("hard", b"1", 7, target) + header("after") + END]


@case("hard-link-to-link-with-mode", "CVE-2021-32760 (containerd)")
def _(out):
    return [Layer().symlink("soft", str(out.path / "victim"))
            .hardlink("hard", "soft", mode=0o777, uid=9, mtime=1)]  # fmt: skip


@case("hard-link-to-link-then-file", "CVE-2016-5418 (libarchive)", check=content_is("hard", b"new"))
def _(out):
    return [Layer().symlink("soft", str(out.path / "victim")).hardlink("hard", "soft")
            .file("hard", "new")]  # fmt: skip


@case("hard-link-to-itself", "", "hard link to|itself|No such file")
def _(out):
    return [Layer().hardlink("self", "self")]


@case("hard-link-to-itself-that-is-there", check=content_is("self", b"here"))
def _(out):
    return [Layer().file("self", "here").hardlink("self", "self")]


@case("hard-link-to-whiteout", "", "hard link to")
def _(out):
    return [Layer().file("a", "x"), Layer().whiteout("a").hardlink("b", "a")]


@case("hard-link-to-directory", "", "it is a directory")
def _(out):
    return [Layer().dir("d"), Layer().hardlink("link", "d")]


@case("hard-link-to-lower-file", check=content_is("b", b"below"))
def _(out):
    return [Layer().file("a", "below", mode=0o4755), Layer().hardlink("b", "a")]


@case("hard-link-to-lower-fifo", check=kind_is("b", stat.S_IFIFO, mode=0o620, owner=(7, 0)))
def _(out):
    return [Layer().fifo("pipe", mode=0o620, uid=7), Layer().file("x", ""), Layer().hardlink("b", "pipe")]


@case("hard-link-to-lower-link", "CVE-2014-6407 (Docker)", check=kind_is("b", stat.S_IFLNK, owner=(7, 0)))
def _(out):
    return [Layer().symlink("a", str(out.path / "victim"), uid=7), Layer().hardlink("b", "a")]


@case("hard-link-to-lower-device", check=kind_is("b", stat.S_IFBLK, device=os.makedev(7, 255)))
def _(out):
    return [Layer().add("a", tarfile.BLKTYPE, device=(7, 255)), Layer().hardlink("b", "a")]


# Whiteouts

@case("whiteout-through-link", "")
def _(out):
    return [Layer().symlink("way", str(out.path)).file("way/.wh.victim", "").file("way/.wh.folder", "")]


@case("whiteout-through-link-of-lower-layer", "")
def _(out):
    return [Layer().symlink("way", str(out.path)), Layer().whiteout("way/victim").whiteout("way/folder")]


@case("opaque-through-link", "")
def _(out):
    return [Layer().symlink("way", out.up("")), Layer().file("x", ""), Layer().opaque("way")]


@case("opaque-on-a-link", "", None)
def _(out):
    return [Layer().dir("d").file("d/a", "").symlink("way", "d"), Layer().opaque("way")]


@case("opaque-root", check=absent("a", "d"))
def _(out):
    return [Layer().file("a", "").dir("d").file("d/a", ""), Layer().file(".wh..wh..opq", "").file("new", "")]


@case("whiteout-is-a-directory", "")
def _(out):
    return [Layer().file("a", ""), Layer().dir(".wh.a").file(".wh.a/inside", "x")]


@case("whiteout-and-file-in-one-layer", check=absent("b"))
def _(out):
    return [Layer().file("a", "old").file("b", "old"),
            Layer().file("a", "new").whiteout("b").file("c", "")]  # fmt: skip


# Other things than files

@case("fifo-in-place-of-a-file", "CVE-2024-9676 (containers/storage)", check=kind_is("etc/passwd", stat.S_IFIFO))
def _(out):
    return [Layer().dir("etc").file("etc/passwd", "x").file("etc/group", "x"),
            Layer().fifo("etc/passwd").fifo("etc/group").fifo("etc/nsswitch.conf")]  # fmt: skip


@case("file-in-place-of-a-fifo", "CVE-2024-9676 (containers/storage)", check=content_is("pipe", b"new"))
def _(out):
    return [Layer().fifo("pipe").fifo("d"), Layer().file("pipe", "new").dir("d").file("d/x", "")]


@case("through-a-fifo", "", "no directory|Not a directory")
def _(out):
    return [Layer().fifo("pipe"), Layer().file("pipe/x", "")]


@case("passwd-is-a-link-out", "CVE-2024-9676 (containers/storage), CVE-2019-14271 (Docker)",
      check=kind_is("file", stat.S_IFREG, owner=(1234, 0)))
def _(out):
    return [Layer().dir("etc").symlink("etc/passwd", str(out.path / "victim"))
            .symlink("etc/nsswitch.conf", str(out.path / "victim")).file("file", "", uid=1234)]  # fmt: skip


@case("devices", check=kind_is("disk", stat.S_IFBLK, mode=0o666, device=os.makedev(7, 255)))
def _(out):
    return [Layer().add("disk", tarfile.BLKTYPE, device=(7, 255), mode=0o666).device("mem", 1, 1)
            .device("tty", 5, 0)]  # fmt: skip


@case("file-over-device", check=content_is("disk", b"not on the disk"))
def _(out):
    return [Layer().add("disk", tarfile.BLKTYPE, device=(7, 255)), Layer().file("disk", "not on the disk")]


@case("type-that-is-unknown", "", "type 0x")
def _(out):
    return [header("a", b"Z") + END]


@case("overlay-xattrs", "", check=lambda found, out: found["lower/secret"])
def _(out):
    marks = {"trusted.overlay.opaque": b"y", "trusted.overlay.redirect": b"/../../outside",
             "trusted.overlay.metacopy": b"", "trusted.overlay.origin": b"x"}  # fmt: skip
    return [Layer().dir("lower").file("lower/secret", "x").file("f", "below"),
            Layer().dir("lower", xattrs=marks).file("g", "", xattrs=marks)]  # fmt: skip


@case("overlay-redirect-of-a-file", "", check=lambda found, out: absent_secret(found))
def _(out):
    marks = {"trusted.overlay.redirect": str(out.path / "victim").encode(), "trusted.overlay.metacopy": b""}
    return [Layer().file("f", "below"), Layer().file("f", "", xattrs=marks)]


def absent_secret(found):
    assert not any(entry[7] and SECRET in entry[7] for entry in found.values())


@case("setuid-and-capabilities", check=kind_is("sh", stat.S_IFREG, mode=0o6755, owner=(1000, 0)))
def _(out):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    return [Layer().file("sh", "x", mode=0o6755, uid=1000)
            .file("ping", "x", mode=0o755, xattrs={"security.capability": capability})]  # fmt: skip


# Numbers

@case("uid-of-nobody", "", "uid|owner|out of range")
def _(out):
    return [pax(record("uid", "4294967295")) + header("a") + END]


@case("uid-that-is-negative", "", "owner|out of range")
def _(out):
    return [header("a", uid=b"\xff" * 8) + END]


@case("huge-uid", check=kind_is("a", stat.S_IFREG, owner=(4294967294, 0)))
def _(out):
    return [Layer().file("a", "", uid=4294967294)]


@case("times-before-1970", check=kind_is("a", stat.S_IFREG, time=-1_000_000_000 * 10**9 - 250_000_000))
def _(out):
    return [pax(record("mtime", "-1000000000.25")) + header("a") + END]


@case("times-beyond-the-file-system")
def _(out):
    times = ["253402300800", "99999999999999", "-99999999999999"]
    return [b"".join(pax(record("mtime", t)) + header(f"f{i}") + pax(record("mtime", t)) +
                     header(f"d{i}/", b"5", mode=0o755) for i, t in enumerate(times)) + END]  # fmt: skip


@case("times-that-are-none", "", "mtime")
def _(out):
    return [pax(record("mtime", "1e9")) + header("a") + END]


@case("size-that-is-negative", "", "size")
def _(out):
    return [header("a", size=b"-0000000001") + END]


@case("size-beyond-the-archive", "", "truncated")
def _(out):
    return [header("a", size=10**9) + b"x" * 512]


@case("two-sizes", "CVE-2025-62518 (tokio-tar)", check=absent("smuggled"))
def _(out):
    inner = header("smuggled", size=1) + padded(b"x")
    return [pax(record("size", str(len(inner)))) + header("outer") + inner + header("after") + END]


@case("extended-header-of-a-gigabyte", "CVE-2022-2879 (Go)", "not accepted")
def _(out):
    return [pax(b"", 1 << 30) + END]


@case("extended-header-that-lies", "", "record that is not valid|without a key")
def _(out):
    return [pax(b"999999 path=a\n") + header("a") + END]


@case("sparse-map-without-end", "CVE-2025-58183 (Go)", "sparse")
def _(out):
    body = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")
    body += record("GNU.sparse.name", "s") + record("GNU.sparse.realsize", "1")
    return [pax(body) + header("s", size=1024) + padded(b"99999999\n0\n1\n") + bytes(512) + END]


@case("sparse-map-that-lies", "", "sparse|too large")
def _(out):
    body = record("GNU.sparse.size", str(2**62)) + record("GNU.sparse.map", f"{2**62 - 9},9")
    return [pax(body) + header("s", size=1) + padded(b"x") + END]


@case("sparse-parts-that-overlap", "", "sparse")
def _(out):
    body = record("GNU.sparse.size", "100") + record("GNU.sparse.map", "50,10,0,60")
    return [pax(body) + header("s", size=70) + padded(b"x" * 70) + END]


# Things that change

@case("file-and-directory-in-turns", check=content_is("a", b"last"))
def _(out):
    return [Layer().file("a", "1").dir("a").file("a/b", "2").file("a", "3").dir("a").file("a/c", "4")
            .symlink("a", str(out.path)).file("a", "last")]  # fmt: skip


@case("file-and-directory-in-turns-over-layers", check=content_is("a/b", b"3"))
def _(out):
    return [Layer().file("a", "1"), Layer().dir("a").file("a/b", "2"), Layer().file("a", ""),
            Layer().dir("a").file("a/b", "3")]  # fmt: skip


@case("entry-twice", check=content_is("a", b"second"))
def _(out):
    return [Layer().file("a", "first, and longer").file("a", "second")]


@case("deep", "CVE-2024-28863 (node-tar)", check=lambda found, out: found["d/" * 1000 + "f"])
def _(out):
    path = "d/" * 1000 + "f"
    return [Layer().file(path, "x"), Layer().file(path + "2", "y").whiteout("d/" * 500 + "d")
            .file(path, "x")]  # fmt: skip


@case("beside-a-removed-directory", check=absent("a/b"))
def _(out):
    return [Layer().dir("a").dir("a/b").file("a/b/c", ""), Layer().whiteout("a/b/c").whiteout("a/b")]


# Compression

@case("xz-layer", "CVE-2014-9357 (Docker): no program is run for it", "header|not")
def _(out):
    done = subprocess.run(["xz", "-c"], input=Layer().file("a", "x").tar(), stdout=subprocess.PIPE, check=True)
    return [done.stdout]


@case("something-after-the-archive", "")
def _(out):
    return [Layer().file("a", "x").tar() + header("hidden") + END]


# --- running them -----------------------------------------------------------------------------------


def tar_of(layer):
    return layer if isinstance(layer, bytes) else layer.tar()


class Runner:
    """Cases in one pool, one after the other; each leaves it as it was."""

    def __init__(self, varve, place, tempdir, alone):
        self.varve, self.place, self.tempdir, self.alone = varve, place, tempdir, alone
        self.outside = Outside(place)
        self.before = self.outside.look()

    def steps(self, tars):
        return [tars[:n] for n in range(1, len(tars) + 1)] if self.alone else [tars]

    def unpack(self, tars, number):
        layout = write_layout(self.tempdir / "layout", [packed(tar) for tar in tars])
        name = f"example.org/hostile-{number}:{len(tars)}"
        try:
            self.varve("image", "import", layout, "--name", name, timeout=SECONDS)
        finally:
            shutil.rmtree(layout)
        return self.varve("image", "unpack", name, status=None, timeout=SECONDS)

    def keys(self):
        return [info["name"] for info in self.varve.json("snapshot", "ls")]

    def run(self, number, case, everything):
        tars = [tar_of(layer) for layer in case.build(self.outside)]
        if len(tars) == 1 and not everything:
            return
        for step in self.steps(tars):
            done = self.unpack(step, number)
            if done.returncode:
                break
        assert done.returncode >= 0, f"killed by signal {-done.returncode}"
        try:
            self.judge(case, tars, done)
        finally:
            for key in reversed([key for key in self.chain(tars) if key in self.keys()]):
                self.varve("snapshot", "rm", key)
        self.check_clean()

    def chain(self, tars):
        chain = []
        for tar in tars:
            chain.append(digest(f"{chain[-1]} {digest(tar)}".encode()) if chain else digest(tar))
        return chain

    def judge(self, case, tars, done):
        assert self.outside.look() == self.before, "what is outside was touched"
        chain, keys = self.chain(tars), self.keys()
        assert sorted(keys) == sorted(chain[: len(keys)]), "what is there is no stack of whole layers"
        if case.refused is not None:
            assert done.returncode != 0, "it was unpacked"
            assert re.search(case.refused, done.stderr), done.stderr
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", done.stderr), "unprintable message"
            assert len(keys) < len(chain)
            return
        assert done.returncode == 0, done.stderr
        point = self.tempdir / "m"
        point.mkdir(exist_ok=True)
        self.varve("snapshot", "view", "look", chain[-1], "--mount", point)
        try:
            found = tree(point)
            absent_secret(found)
            if case.check is not None:
                case.check(found, self.outside)
        finally:
            self.varve("snapshot", "umount", point)
            self.varve("snapshot", "rm", "look")

    def check_clean(self):
        assert self.outside.look() == self.before, "what is outside was touched by removing it"
        assert self.keys() == [] and not list((self.varve.root / "turns").iterdir())
        assert mounts_below(self.varve.root) == []
        assert mounts_below(self.place) == [str(self.place)]


# driver; whether each layer comes when those below are there already; and whether all cases run: one
# layer is unpacked the same way alone as beside others, and on btrfs as on native.
WAYS = {"overlay-beside": ("overlay", False, True), "overlay-alone": ("overlay", True, False),
        "native-beside": ("native", False, True), "btrfs-beside": ("btrfs", False, False)}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_hostile(varve, make_fs, tempdir, way):
    driver, alone, everything = WAYS[way]
    place = make_fs("btrfs" if driver == "btrfs" else "ext4")
    varve.root = place / "root"
    varve("pool", "create", "default", "--driver", driver)
    runner, failed = Runner(varve, place, tempdir, alone), {}
    for number, one in enumerate(CASES):
        try:
            runner.run(number, one, everything)
        except Exception as problem:
            failed[one.name] = f"{type(problem).__name__}: {problem}"[:600]
    assert not failed, "\n".join(f"{name}: {what}" for name, what in failed.items())
    assert varve.json("system", "cleanup")["orphans"] == 0
