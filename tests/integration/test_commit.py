# SPDX-License-Identifier: Apache-2.0
"""Snapshots packaged as layers and made into images: SPEC rows L3 and L4. The trees that come out of
them are compared with what went in, by Varve's hands and umoci's."""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tarfile
import threading

import pytest
from conftest import DRIVERS, TIMEOUT, VARVE
from oci import Layer, chain_ids, digest, write_image
from test_unpack import presented, tree

NAME = "example.org/app"
AT_A_TIME = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
EMPTY = digest(bytes(1024))  # of a tar without entries
ACL = bytes.fromhex("0200000001000600ffffffff02000600e803000004000400ffffffff"
                    "10000600ffffffff20000400ffffffff")  # fmt: skip
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def pool_on(varve, driver, place):
    varve("pool", "create", "default", "--driver", driver, "--set", f"path={place}/pool")
    return varve


@pytest.fixture
def pools(varve, make_fs, make_zpool, tempdir):
    """A dict: by driver, Varve with a pool of it. zfs where there is one."""
    found = {driver: pool_on(varve.at(tempdir / driver), driver, make_fs(kind))
             for driver, kind in DRIVERS.items() if kind}  # fmt: skip
    if os.path.exists("/dev/zfs"):
        found["zfs"] = varve.at(tempdir / "zfs")
        dataset = f"dataset={make_zpool()}/varve"
        found["zfs"]("pool", "create", "default", "--driver", "zfs", "--set", dataset)
    return found


@pytest.fixture(params=["native", "overlay"])
def small(request, varve, ext4):
    """A pool for what does not depend on the file system."""
    return pool_on(varve, request.param, ext4)


class Mounted:
    """A snapshot, prepared and mounted for a with statement. Times are set at its end."""

    def __init__(self, varve, point, key, parent=None):
        self.varve, self.point = varve, point
        point.mkdir(exist_ok=True)
        varve("snapshot", "prepare", key, *([parent] if parent else []), "--mount", point)

    def __enter__(self):
        return self.point

    def __exit__(self, *failure):
        self.varve("snapshot", "umount", self.point)


def package(varve, key, *options, runner=()):
    """A snapshot's layer, and what is told of it."""
    command = [*runner, VARVE, "--root", varve.root, "--json", "snapshot", "package", key, "-o", "-"]
    done = subprocess.run([*command, *options], capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stderr)
    assert told["digest"] == digest(done.stdout) and told["size"] == len(done.stdout)
    return done.stdout, told


def entries(layer):
    return tarfile.open(fileobj=io.BytesIO(layer)).getmembers()


def names(layer):
    return [entry.name for entry in entries(layer)]


def commit(varve, key, name, *options, **kwargs):
    return varve.json("image", "commit", key, name, *options, **kwargs)


def write(path, content, mode=None):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if mode is not None:
        path.chmod(mode)
    return path


def set_times(root, seconds):
    """Gives all files a time of their own, which does not depend on when or where it is done."""
    for folder, folders, files in os.walk(root, topdown=False):
        for place in [*(os.path.join(folder, name) for name in files + folders), folder]:
            os.utime(place, ns=(0, seconds * 10**9 + 123_456_789), follow_symlinks=False)


def make_base(root):
    """Something of every kind."""
    for name in ("etc", "usr/lib", "var/log", "home", "turned", "gone/deep/er", "swap-1", "swap-2"):
        (root / name).mkdir(parents=True)
    write(root / "etc/conf", "old")
    write(root / "etc/owned", "owned")
    write(root / "etc/note", "note")
    write(root / "usr/lib/so", b"\x7fELF" * 3000, 0o755)
    os.link(root / "usr/lib/so", root / "usr/lib/so.1")
    os.symlink("so", root / "usr/lib/link")
    os.symlink("usr/lib", root / "lib")
    write(root / "turned/inside", "a file in what becomes a file")
    write(root / "to-directory", "a file")
    write(root / "gone/deep/er/file", "gone")
    write(root / "kept", "never touched")
    write(root / "home/renamed", "of what is renamed")
    (root / "home/dir").mkdir()
    write(root / "home/dir/moves-along", "as it is")
    write(root / "swap-1/file", "first!")
    write(root / "swap-2/file", "second")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.setxattr(root / "etc/note", "user.first", b"1")
    os.chmod(root, 0o755)


def change(root):
    """Every change that there is."""
    write(root / "etc/conf", "new content")
    os.chown(root / "etc/owned", 1000, 5_000_000)
    os.removexattr(root / "etc/note", "user.first")
    os.setxattr(root / "etc/note", "user.second", b"\0\xff=\n")
    os.setxattr(root / "etc/note", "trusted.third", b"")
    os.setxattr(root / "etc/conf", "system.posix_acl_access", ACL)
    os.setxattr(root / "etc", "system.posix_acl_default", ACL)
    write(root / "usr/ping", "ping", 0o755)
    os.setxattr(root / "usr/ping", "security.capability", CAPABILITY)
    write(root / "usr/su", "su", 0o6755)
    write(root / "usr/one", "links within")
    os.link(root / "usr/one", root / "usr/two")
    os.link(root / "usr/one", root / "another-one")
    os.link(root / "kept", root / "usr/kept-too")
    shutil.rmtree(root / "turned")
    write(root / "turned", "now a file")
    os.unlink(root / "to-directory")
    (root / "to-directory").mkdir()
    write(root / "to-directory/inside", "now a directory")
    os.unlink(root / "lib")
    (root / "lib").mkdir(0o711)
    shutil.rmtree(root / "gone")
    os.rename(root / "home/renamed", root / "home/new-name")
    os.rename(root / "home/dir", root / "home/new-dir")
    write(root / "home/new-dir/came-later", "later")
    os.rename(root / "swap-1", root / "swap")
    os.rename(root / "swap-2", root / "swap-1")
    os.rename(root / "swap", root / "swap-2")
    os.symlink("x" * 300, root / "usr/long-link")
    write(root / ("n" * 200), "a long name")
    deep = root / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    write(deep / "file", "deep")
    write(root / os.fsdecode(b"\xff\xfe not UTF-8"), "bytes")
    write(root / os.fsdecode(b"\xff" * 150), "more bytes")
    os.mknod(root / "device", 0o600 | stat.S_IFBLK, os.makedev(259, 70_000))
    os.mkfifo(root / "var/fifo")
    with open(root / "var/sparse", "wb") as file:
        file.seek(3_000_000)
        file.write(b"data")
        file.truncate(6_000_000)
    os.chmod(root / "var", 0o1777)
    os.chmod(root, 0o711)


def make_images(varve, point, links=True):
    """An image of one layer, made of nothing, and a snapshot "web" with the changes on it. Returns
    the image's ChainID and both trees. Without links no file has several names in the lower one:
    overlayfs separates them when one is written to."""
    with Mounted(varve, point, "base") as root:
        make_base(root)
        if not links:
            os.unlink(root / "usr/lib/so.1")
        set_times(root, 1_500_000_000)
        before = tree(root)
    commit(varve, "base", f"{NAME}:1", env=AT_A_TIME)
    chain = varve("image", "unpack", f"{NAME}:1").stdout.strip()
    with Mounted(varve, point, "web", chain) as root:
        change(root)
        set_times(root, 1_600_000_000)
        after = tree(root)
    return chain, before, after


# --- trees there and back -------------------------------------------------------------------------


def test_there_and_back(pool, tempdir):
    chain, before, after = make_images(pool, tempdir / "m")
    assert presented(pool, chain, tempdir / "m") == before
    told = commit(pool, "web", f"{NAME}:2")["layer"]
    assert told["whiteouts"] == 3 and told["changed_meanwhile"] == 0
    done = pool.json("image", "unpack", f"{NAME}:2")
    assert done["unpacked"] == 1 and done["xattrs_dropped"] == 0
    assert presented(pool, done["snapshot"], tempdir / "m") == after
    # The snapshot goes on.
    info = pool.json("snapshot", "stat", "web")
    assert (info["kind"], info["parent"]) == ("active", chain)
    pool("snapshot", "mount", "web", tempdir / "m")
    assert tree(tempdir / "m") == after
    write(tempdir / "m/more", "it is writable")


def test_as_umoci_unpacks_it(small, tempdir):
    _, _, after = make_images(small, tempdir / "m")
    commit(small, "web", f"{NAME}:2")
    archive, layout, bundle = (tempdir / name for name in ("image.tar", "layout", "bundle"))
    small("image", "export", f"{NAME}:2", "--output", archive)
    for command in (["skopeo", "copy", "-q", f"oci-archive:{archive}:2", f"oci:{layout}:2"],
                    ["umoci", "unpack", "--image", f"{layout}:2", bundle]):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    theirs = tree(bundle / "rootfs")
    assert sorted(theirs) == sorted(after)
    for path, entry in after.items():
        if entry[0] == stat.S_IFDIR:  # of which umoci changes the time when it puts something there
            entry[4] = theirs[path][4]
        if path == "etc/note":  # Go leaves out what has no value
            del entry[8]["trusted.third"]
        assert theirs[path] == entry, path


def test_committed_ones(small, tempdir):
    """A committed snapshot is packaged as it was when it was active; one that is a view, not."""
    _, _, after = make_images(small, tempdir / "m")
    active = package(small, "web")
    small("snapshot", "commit", "done", "web")
    assert package(small, "done") == active
    commit(small, "done", f"{NAME}:2")
    chain = small("image", "unpack", f"{NAME}:2").stdout.strip()
    assert presented(small, chain, tempdir / "m") == after
    small("snapshot", "view", "look", "done")
    assert "is a view" in small("snapshot", "package", "look", "-o", "-", status=None).stderr


def test_layer_made_elsewhere(pool, tempdir):
    """A tree that GNU tar packed, unpacked, packaged and unpacked again is the same tree."""
    source, archive = tempdir / "source", tempdir / "image.tar"
    source.mkdir()
    make_base(source)
    change(source)
    set_times(source, 1_400_000_000)
    command = ["tar", "-C", source, "--format=pax", "--xattrs", "--xattrs-include=*", "-c", "."]
    packed = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT).stdout
    layer = Layer()
    layer.tar = lambda: packed
    write_image(archive, "1", [layer])
    pool("image", "import", archive, "--name", f"{NAME}:1")
    chain = pool("image", "unpack", f"{NAME}:1").stdout.strip()
    commit(pool, chain, f"{NAME}:again")
    again = pool("image", "unpack", f"{NAME}:again").stdout.strip()
    assert again != chain
    assert presented(pool, again, tempdir / "m") == presented(pool, chain, tempdir / "m")
    assert presented(pool, again, tempdir / "m") == tree(source)
    # And what is packaged of that is the same to the byte.
    assert package(pool, again) == package(pool, chain)


def test_nothing_changed(pool, tempdir):
    make_images(pool, tempdir / "m")
    chain = pool.json("snapshot", "stat", "web")["parent"]
    pool("snapshot", "prepare", "idle", chain)
    layer, told = package(pool, "idle", "--compression", "none")
    assert layer == bytes(1024) and told["diff_id"] == EMPTY and told["entries"] == 0
    commit(pool, "idle", f"{NAME}:idle")
    again = pool("image", "unpack", f"{NAME}:idle").stdout.strip()
    assert presented(pool, again, tempdir / "m") == presented(pool, chain, tempdir / "m")


# --- the same bytes -------------------------------------------------------------------------------


def test_same_bytes_of_all_drivers(pools, tempdir):
    found = {}
    for driver, one in pools.items():
        make_images(one, tempdir / "m", links=False)
        made = [commit(one, "web", f"{NAME}:{i}", env=AT_A_TIME)["digest"] for i in (2, 3)]
        alone = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        layers = []
        for compression in "gzip", "zstd", "none":
            layers.append(package(one, "web", "--compression", compression)[0])
            again, _ = package(one, "web", "--compression", compression, runner=alone)
            assert again == layers[-1]
        assert made[0] == made[1]
        found[driver] = made[0], [digest(layer) for layer in layers]
    assert all(one == found["native"] for one in found.values())


def test_what_a_layer_says(small, tempdir):
    """The entries of a small change, told one by one: only what changed and the way to it."""
    make_images(small, tempdir / "m", links=False)
    chain = small.json("snapshot", "stat", "web")["parent"]
    with Mounted(small, tempdir / "m", "few", chain) as root:
        write(root / "usr/lib/new", "new", 0o640)
        os.unlink(root / "usr/lib/link")
        os.chmod(root / "usr/lib/so", 0o700)
        os.utime(root / "usr/lib", ns=(0, 1_000_000_001))
        os.utime(root / "usr/lib/new", ns=(0, 1_000_000_000))
    layer, told = package(small, "few")
    assert told["whiteouts"] == 1
    listed = {entry.name: entry for entry in entries(layer)}
    assert names(layer) == ["usr", "usr/lib", "usr/lib/.wh.link", "usr/lib/new", "usr/lib/so"]
    assert listed["usr"].isdir() and listed["usr"].pax_headers["mtime"] == "1500000000.123456789"
    assert listed["usr/lib"].pax_headers["mtime"] == "1.000000001"
    assert (listed["usr/lib/new"].mode, listed["usr/lib/new"].mtime) == (0o640, 1)
    assert listed["usr/lib/.wh.link"].size == 0
    assert listed["usr/lib/so"].mode == 0o700 and listed["usr/lib/so"].size == 12000


# --- random changes -------------------------------------------------------------------------------


def mutate(root, numbers, count):
    """Random changes, the same for the same numbers and tree."""

    def every():
        found = [path for path in sorted(root.rglob("*"))]
        return found, [root] + [p for p in found if p.is_dir() and not p.is_symlink()]

    for number in range(count):
        paths, folders = every()
        target = numbers.choice(folders) / numbers.choice("abcdefgh")
        some = numbers.choice(paths) if paths else None
        deed = numbers.randrange(8)
        if deed <= 2 and not os.path.lexists(target):
            [lambda: write(target, f"{number}" * numbers.randrange(1, 2000)), target.mkdir,
             lambda: os.symlink(f"to-{number}", target)][deed]()  # fmt: skip
        elif deed == 3 and some and not some.is_symlink():
            some.chmod(numbers.choice([0o600, 0o644, 0o755, 0o4711]))
        elif deed == 4 and some:
            shutil.rmtree(some) if some.is_dir() and not some.is_symlink() else some.unlink()
        elif deed == 5 and some and not target.is_relative_to(some):
            if not os.path.lexists(target):
                some.rename(target)
        elif deed == 6 and some and some.is_file() and not some.is_symlink():
            os.setxattr(some, f"user.{numbers.choice('xy')}", str(number).encode())
        elif deed == 7 and some:
            os.chown(some, numbers.randrange(3), numbers.randrange(3), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(3))
def test_random_changes(pools, tempdir, seed):
    """Four layers of random changes, one on the other: unpacked the same, packaged the same."""
    digests = {}
    for driver, one in pools.items():
        numbers, parent = random.Random(seed), None
        for level in range(4):
            with Mounted(one, tempdir / "m", f"key-{level}", parent) as root:
                mutate(root, numbers, 40)
                set_times(root, 1_500_000_000 + level)
                expected = tree(root)
            told = commit(one, f"key-{level}", f"{NAME}:{level}")["layer"]
            digests.setdefault(driver, []).append(told["digest"])
            parent = one("image", "unpack", f"{NAME}:{level}").stdout.strip()
            assert presented(one, parent, tempdir / "m") == expected, (driver, level)
    assert all(one == digests["native"] for one in digests.values())


# --- in use ---------------------------------------------------------------------------------------


class Packaging:
    """A layer on its way into a pipe, of which the beginning was taken: what makes it waits."""

    def __init__(self, varve, key):
        command = [VARVE, "--json", "--root", varve.root, "snapshot", "package", key, "-o", "-",
                   "--compression", "none"]  # fmt: skip
        self.process = subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)  # fmt: skip
        self.begun = b""
        while len(self.begun) < 1_000_000:
            self.begun += self.process.stdout.read(1_000_000)

    def finish(self):
        """The whole layer, what was told, and the exit status."""
        rest, told = self.process.communicate(timeout=TIMEOUT)
        return self.begun + rest, told.decode(), self.process.returncode


@pytest.mark.parametrize("size", [1000, 90_000_000])
def test_file_changes_while_it_is_read(pool, tempdir, size):
    """The layer waits to be taken when the large file is cut off, or grows: it stays whole."""
    whole = 60_000_000
    with Mounted(pool, tempdir / "m", "web") as root:
        large = write(root / "large", b"x" * whole)
        write(root / "z-last", "the last one")
        packaging = Packaging(pool, "web")
        os.truncate(large, size)
        layer, told, status = packaging.finish()
        assert status == 0 and json.loads(told)["changed_meanwhile"] == 1
    archive = tarfile.open(fileobj=io.BytesIO(layer))
    content = archive.extractfile("large").read()
    assert len(content) == whole and content[:900_000] == b"x" * 900_000
    kept = content.rstrip(b"\0")
    assert kept == b"x" * len(kept) and (len(kept) == whole) == (size > whole)
    assert archive.extractfile("z-last").read() == b"the last one"


def come_and_go(folder, end):
    """Makes and removes files until it is told to end."""
    while not end.is_set():
        for number in range(9):
            write(folder / f"{number}", str(number))
            (folder / f"dir-{number}").mkdir()
            write(folder / f"dir-{number}/file", "x")
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_while_files_come_and_go(small, tempdir):
    """A busy container: every layer that is made of it can be read to its end."""
    end = threading.Event()
    with Mounted(small, tempdir / "m", "web") as root:
        (root / "work").mkdir()
        write(root / "still", "still here")
        with concurrent.futures.ThreadPoolExecutor() as threads:
            busy = threads.submit(come_and_go, root / "work", end)
            try:
                for _ in range(30):
                    listed = names(package(small, "web")[0])
                    assert listed[listed.index("still") + 1] == "work"
            finally:
                end.set()
            busy.result(TIMEOUT)


def test_removed_meanwhile(small, tempdir):
    """A layer of a snapshot that was removed under the reading is none."""
    with Mounted(small, tempdir / "m", "web") as root:
        write(root / "large", b"x" * 60_000_000)
        for number in range(100):
            write(root / f"small-{number}", "x")
    packaging = Packaging(small, "web")
    small("snapshot", "rm", "web")
    _, told, status = packaging.finish()
    assert status != 0 and "there is no snapshot 'web'" in told


def test_socket(small, tempdir):
    with Mounted(small, tempdir / "m", "web") as root:
        write(root / "file", "x")
        with socket.socket(socket.AF_UNIX) as one:
            os.chdir(root)
            one.bind("socket")
            os.chdir("/")
    layer, told = package(small, "web")
    assert names(layer) == [".", "file"] and told["sockets"] == 1


# --- images ---------------------------------------------------------------------------------------

CHANGES = {
    'CMD ["/bin/app", "-x"]': ("Cmd", ["/bin/app", "-x"]),
    "CMD echo $HOME": ("Cmd", ["/bin/sh", "-c", "echo $HOME"]),
    'ENTRYPOINT ["/init"]': ("Entrypoint", ["/init"]),
    "ENV PATH=/sbin A=1 B='two words'": ("Env", ["PATH=/sbin", "A=1", "B=two words"]),
    "env OLD form of it": ("Env", ["PATH=/bin", "OLD=form of it"]),
    "EXPOSE 80 8000-8002/udp": ("ExposedPorts", {"80/tcp": {}, "8000/udp": {}, "8001/udp": {},
                                                 "8002/udp": {}}),
    "LABEL a=b \"c d\"='e f'": ("Labels", {"a": "b", "c d": "e f"}),
    "USER nobody:nogroup": ("User", "nobody:nogroup"),
    'VOLUME ["/a b", "/c"]': ("Volumes", {"/a b": {}, "/c": {}}),
    "VOLUME /a /b": ("Volumes", {"/a": {}, "/b": {}}),
    "WORKDIR /srv/../app": ("WorkingDir", "/app"),
    "STOPSIGNAL SIGINT": ("StopSignal", "SIGINT"),
}  # fmt: skip


@pytest.fixture
def on_image(varve, ext4, tempdir):
    """Varve with an image, unpacked, and the snapshot "web" prepared on it."""
    pool_on(varve, "native", ext4)
    archive = tempdir / "image.tar"
    write_image(archive, "1", [Layer().file("one", "1"), Layer().file("two", "2")], ("/bin/old",))
    varve("image", "import", archive, "--name", f"{NAME}:1")
    varve("snapshot", "prepare", "web", varve("image", "unpack", f"{NAME}:1").stdout.strip())
    return varve


def config_of(varve, name, tempdir):
    """The config as skopeo reads it."""
    archive = tempdir / "config-of.tar"
    varve("image", "export", name, "--output", archive)
    tag = name.rpartition(":")[2]
    command = ["skopeo", "inspect", "--config", "--raw", f"oci-archive:{archive}:{tag}"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    archive.unlink()
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", CHANGES)
def test_changes_of_the_config(on_image, tempdir, line):
    commit(on_image, "web", f"{NAME}:2", "--change", line)
    old = config_of(on_image, f"{NAME}:1", tempdir)["config"]
    key, value = CHANGES[line]
    new = config_of(on_image, f"{NAME}:2", tempdir)["config"]
    if key == "Entrypoint":
        del old["Cmd"]
    assert new == old | {key: value}


@pytest.mark.parametrize("line", ["RUN x", "CMD", "ENV novalue", "EXPOSE 0", "EXPOSE 70000",
                                  "EXPOSE 80/ip", "EXPOSE 9-8", "LABEL a='b", ""])  # fmt: skip
def test_wrong_changes(on_image, line):
    done = on_image("image", "commit", "web", f"{NAME}:2", "--change", line, status=None)
    assert done.returncode != 0 and "change '" in done.stderr
    assert len(on_image.json("image", "ls")) == 1


def test_config_and_history(on_image, tempdir):
    options = ["--message", "what was done", "--author", "ada", "--compression", "zstd"]
    made = commit(on_image, "web", f"{NAME}:2", *options, env=AT_A_TIME)
    config = config_of(on_image, f"{NAME}:2", tempdir)
    assert config["created"] == "2023-11-14T22:13:20Z" and config["author"] == "ada"
    assert config["rootfs"]["diff_ids"][2:] == [made["layer"]["diff_id"]]
    assert len(config["history"]) == 3
    assert config["history"][2] == {
        "created": "2023-11-14T22:13:20Z", "created_by": "varve image commit", "author": "ada",
        "comment": "what was done",
    }  # fmt: skip
    assert [step["layer"] for step in on_image.json("image", "history", f"{NAME}:2")] == [0, 1, 2]
    details = on_image.json("image", "inspect", f"{NAME}:2")
    assert details["layers"][2]["media_type"].endswith("tar+zstd")
    assert details["layers"][:2] == on_image.json("image", "inspect", f"{NAME}:1")["layers"]


def test_which_image_it_stands_on(on_image, tempdir):
    """Images with the same layers and other configs: one has to be named; aliases do not matter."""
    on_image("image", "tag", f"{NAME}:1", f"{NAME}:alias")
    commit(on_image, "web", f"{NAME}:2")
    archive = tempdir / "other.tar"
    layers = [Layer().file("one", "1"), Layer().file("two", "2")]
    write_image(archive, "1", layers, ("/bin/other",))
    on_image("image", "import", archive, "--name", f"{NAME}:other")
    done = on_image("image", "commit", "web", f"{NAME}:3", status=None)
    assert done.returncode != 0 and "say which" in done.stderr and "--from" in done.stderr
    commit(on_image, "web", f"{NAME}:3", "--from", f"{NAME}:other")
    assert config_of(on_image, f"{NAME}:3", tempdir)["config"]["Cmd"] == ["/bin/other"]
    done = on_image("image", "commit", "web", f"{NAME}:4", "--from", f"{NAME}:2", status=None)
    assert done.returncode != 0 and chain_ids(layers)[1] in done.stderr


def test_refusals(on_image, tempdir):
    def refused(wanted, *args):
        done = on_image("image", "commit", *args, status=None)
        assert done.returncode != 0 and wanted in done.stderr, done.stderr

    refused("there is no snapshot 'none'", "none", f"{NAME}:2")
    refused("No-Such", "web", "No-Such")
    refused("digest", "web", f"{NAME}@{EMPTY}")
    refused("no image 'example.org/none:latest'", "web", f"{NAME}:2", "--from", "example.org/none")
    refused("--compression", "web", f"{NAME}:2", "--compression", "xz")
    with Mounted(on_image, tempdir / "m", "reserved") as root:
        write(root / ".wh.name", "x")
    refused("/.wh.name", "reserved", f"{NAME}:2")
    with Mounted(on_image, tempdir / "m", "deep") as root:
        deepen = 'for i in $(seq 20); do mkdir "$1"; cd -P "./$1"; done'
        subprocess.run(["sh", "-c", deepen, "sh", "d" * 250], cwd=root, check=True, timeout=TIMEOUT)
    refused("its path is longer", "deep", f"{NAME}:2")
    on_image("snapshot", "prepare", "plain")
    on_image("snapshot", "commit", "no-image", "plain")
    on_image("snapshot", "prepare", "on-plain", "no-image")
    refused("'no-image', which is no image's ChainID", "on-plain", f"{NAME}:2")
    on_image("image", "rm", f"{NAME}:1")
    refused("no image here has the layers", "web", f"{NAME}:2")
    assert on_image.json("image", "ls") == []
    on_image("image", "prune")
    assert not list((on_image.root / "content/blobs/sha256").iterdir())


def test_layers_that_are_not_here(on_image):
    top = on_image.json("image", "inspect", f"{NAME}:1")["layers"][1]["digest"]
    (on_image.root / "content/blobs/sha256" / top[7:]).unlink()
    done = on_image("image", "commit", "web", f"{NAME}:2", status=None)
    assert done.returncode != 0 and f"layer {top} is not here" in done.stderr


def test_output_to_a_file(on_image, tempdir):
    target = tempdir / "layer.tar.gz"
    done = on_image("snapshot", "package", "web", "--output", target)
    assert done.stdout.strip() == EMPTY
    before = target.read_bytes()
    done = on_image("snapshot", "package", "web", "--output", target, status=None)
    assert done.returncode != 0 and target.read_bytes() == before
    on_image("snapshot", "package", "none", "--output", tempdir / "other", status=None)
    assert not (tempdir / "other").exists()


# --- what goes wrong ------------------------------------------------------------------------------


def blobs(varve):
    return sorted(path.name for path in (varve.root / "content/blobs/sha256").iterdir())


def ingests(varve):
    return list((varve.root / "content/ingest").iterdir())


def bytes_begun(varve):
    """Of the blobs that are being written just now."""
    total = 0
    for path in ingests(varve):
        with contextlib.suppress(FileNotFoundError):  # it is whole now
            total += path.stat().st_size
    return total


def test_full_disk(varve, make_fs, tempdir):
    """Where there is no room for the layer, nothing is named, and nothing stays."""
    store, place = varve.at(make_fs("ext4", "40M") / "root"), make_fs("ext4")
    pool_on(store, "native", place)
    with Mounted(store, tempdir / "m", "web") as root:
        write(root / "large", os.urandom(60_000_000))
    done = store("image", "commit", "web", f"{NAME}:1", status=None)
    assert done.returncode == 10 and "No space left on device" in done.stderr
    assert store.json("image", "ls") == [] and blobs(store) == [] and ingests(store) == []
    done = store("snapshot", "package", "web", "-o", f"{store.root}/layer", status=None)
    assert done.returncode == 10 and not (store.root / "layer").exists()


def test_killed(on_image, tempdir):
    """Killed at many moments: the image is named and whole, or not named, and prune clears up."""
    point = tempdir / "mount"
    point.mkdir()
    on_image("snapshot", "mount", "web", point)
    write(point / "large", os.urandom(8_000_000))
    on_image("snapshot", "umount", point)
    before = blobs(on_image)
    for bytes_written in [0, 1, 100_000, 1_000_000, 4_000_000, 7_900_000]:
        process = subprocess.Popen([VARVE, "--root", on_image.root, "image", "commit", "web",
                                    f"{NAME}:2"], stdout=subprocess.DEVNULL)  # fmt: skip
        while process.poll() is None:
            if bytes_begun(on_image) >= bytes_written:
                break
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=TIMEOUT)
        if len(on_image.json("image", "ls")) == 2:  # it was done by then
            assert on_image.json("image", "ls")[1]["complete"]
            on_image("image", "rm", f"{NAME}:2")
        on_image("image", "prune")
        assert blobs(on_image) == before and ingests(on_image) == []
    commit(on_image, "web", f"{NAME}:2")
    assert on_image.json("image", "unpack", f"{NAME}:2")["unpacked"] == 1


def test_hash_is_of_the_bytes(small, tempdir):
    """The DiffID is the digest of what the layer decompresses to."""
    with Mounted(small, tempdir / "m", "web") as root:
        write(root / "file", os.urandom(3_000_000))
    plain, _ = package(small, "web", "--compression", "none")
    for compression, command in ("gzip", ["gzip", "-dc"]), ("zstd", ["zstd", "-dc"]):
        layer, told = package(small, "web", "--compression", compression)
        done = subprocess.run(command, input=layer, capture_output=True, check=True, timeout=TIMEOUT)
        assert done.stdout == plain
        assert told["diff_id"] == "sha256:" + hashlib.sha256(plain).hexdigest()


# --- what it costs --------------------------------------------------------------------------------


FILES_IN_DIRECTORY = 100


def image_of(path, files):
    """An image of one layer with so many files, and the directories that ten of them are in."""
    layer = Layer()
    for i in range(0, files, FILES_IN_DIRECTORY):
        layer.dir(f"d{i}")
        for j in range(FILES_IN_DIRECTORY):
            layer.file(f"d{i}/{j}", b"%d" % (i + j))
    write_image(path, "1", [layer])
    return range(0, files, files // 10)


def calls_of_commit(varve, files, tempdir):
    """The system calls of a commit of ten changed files, on an image with so many; without those by
    which threads wait for each other."""
    archive = tempdir / f"{files}.tar"
    changed = image_of(archive, files)
    varve("image", "import", archive, "--name", f"{NAME}:{files}")
    top = varve("image", "unpack", f"{NAME}:{files}").stdout.split()[-1]
    with Mounted(varve, tempdir / "mnt", f"key-{files}", top) as root:
        for i in changed:
            write(root / f"d{i}/7", "changed")
    trace = tempdir / f"{files}.strace"
    command = ["strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=!futex", "-o", trace, VARVE,
               "--root", varve.root, "--json", "image", "commit", f"key-{files}", f"{NAME}:of-{files}"]
    env = dict(os.environ, ASAN_OPTIONS=f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0")
    done = subprocess.run(command, capture_output=True, env=env, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layer"]["entries"] == 20  # and their directories
    return sum(1 for line in open(trace) if " resumed>" not in line)


@pytest.mark.parametrize("driver", ["overlay", "btrfs"])
def test_commit_costs_what_changed(varve, make_fs, tempdir, driver):
    """Ten changed files among 30,000 take no more system calls than among 3,000."""
    pool_on(varve, driver, make_fs(DRIVERS[driver]))
    few, many = (calls_of_commit(varve, files, tempdir) for files in (3_000, 30_000))
    assert abs(many - few) < 100, (few, many)
