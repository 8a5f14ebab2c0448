# SPDX-License-Identifier: Apache-2.0
"""Debian's containerd, with varved as its snapshotter: images are imported, containers run.

Each containerd here is one of its own, with all its places in the test's directory, and in a
namespace of its own, which also keeps its containers' cgroups apart.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import CLEAN, TIMEOUT, wait_until
from oci import MTIME, Layer, chain_ids, write_image

BUSYBOX = Path("/bin/busybox")  # of Debian's package busybox-static
FILE_SYSTEM = {"overlay": "ext4", "btrfs": "btrfs", "native": "xfs"}
IMAGE = "example.org/test"
EVERY_DRIVER = pytest.mark.parametrize("driver", FILE_SYSTEM)


# --- containerd -----------------------------------------------------------------------------------


class Containerd:
    """A containerd that knows the pools of a varved.

    .ctr(*args, status=0)       runs ctr, returns what it prints
    .snapshots(*args, pool=P)   `ctr snapshots --snapshotter P ARGS...`
    .load(archive, tag)         imports and unpacks an image
    .run(tag, name, script)     runs a container to its end, returns what it prints
    .start() .stop(signal)      as of the daemon
    .reconnect()                waits until it speaks with a restarted varved again
    """

    def __init__(self, directory, daemon, pools):
        self.directory, self.daemon, self.pool = directory, daemon, pools[0]
        self.socket, self.logfile = directory / "sock", directory / "log"
        self.namespace = f"varve-test-{os.getpid()}"
        self.config = directory / "config.toml"
        lines = [
            "version = 2",
            f'root = "{directory}/root"',
            f'state = "{directory}/state"',
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
            '[debug]\nlevel = "warn"',
            # It collects garbage, such as the views of ctr, when it is told to: images rm --sync.
            '[plugins."io.containerd.gc.v1.scheduler"]',
            'startup_delay = "24h"\nmutation_threshold = 0',
            f'[grpc]\naddress = "{self.socket}"',
        ]
        for pool in pools:
            address = f'type = "snapshot"\naddress = "{daemon.socket}"'
            lines.append(f"[proxy_plugins.{pool}]\n{address}")
        self.config.write_text("\n".join(lines))
        self.process = None

    def start(self):
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen(
                ["containerd", "--config", self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self.answers, "containerd to answer")

    def answers(self):
        assert self.process.poll() is None, f"containerd ended:\n{self.logfile.read_text()}"
        return self.socket.exists() and self.call("version").returncode == 0

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT)

    def call(self, *args):
        command = ["ctr", "--address", self.socket, "--namespace", self.namespace, *args]
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT)

    def ctr(self, *args, status=0, text=True):
        done = self.call(*args)
        assert done.returncode == status, f"ctr {args}: {done.returncode}\n{done.stderr.decode()}"
        return done.stdout.decode() if text else done.stdout

    def snapshots(self, *args, pool=None, **kwargs):
        return self.ctr("snapshots", "--snapshotter", pool or self.pool, *args, **kwargs)

    def keys(self, pool=None):
        """{key: (parent, kind)}"""
        rows = self.snapshots("ls", pool=pool).splitlines()[1:]
        fields = [row.split() for row in rows]
        return {f[0]: (f[1] if len(f) == 3 else "", f[-1]) for f in fields}

    def load(self, archive, tag, pool=None):
        options = ["--snapshotter", pool or self.pool, "--base-name", IMAGE]
        self.ctr("images", "import", *options, archive)
        assert f"{IMAGE}:{tag}" in self.ctr("images", "ls", "-q").split()

    def run(self, tag, name, script, *options, pool=None):
        places = [f"--runc-root={self.directory}/runc", f"--fifo-dir={self.directory}/fifo"]
        options = [f"--snapshotter={pool or self.pool}", *places, *options]
        return self.ctr("run", *options, f"{IMAGE}:{tag}", name, "/bin/sh", "-euc", script)

    def execute(self, name, script):
        options = ["--exec-id", f"exec-{time.monotonic_ns()}", f"--fifo-dir={self.directory}/fifo"]
        return self.ctr("tasks", "exec", *options, name, "/bin/sh", "-euc", script)

    def reconnect(self):
        probe = ("snapshots", "--snapshotter", self.pool, "prepare", f"probe-{time.monotonic_ns()}")
        wait_until(lambda: self.call(*probe).returncode == 0, "containerd to reconnect")
        self.snapshots("rm", probe[-1])

    def committed(self):
        """The names of containerd's committed snapshots, as the store has them."""
        found = self.varve.json("snapshot", "ls", "kind==committed")
        return [snapshot["name"].split("/")[-1] for snapshot in found]

    def finish(self):
        """Ends the containers, then containerd; both by the process ids that containerd keeps."""
        for pid in self.directory.glob("state/*/*/*/init.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        for shim in self.shims():
            with contextlib.suppress(ProcessLookupError):
                os.kill(shim, signal.SIGKILL)
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        for cgroup in cgroups(self.namespace):
            wait_until(lambda: remove_cgroup(cgroup), f"{cgroup} to be empty")
        print(f"containerd:\n{self.logfile.read_text()}\nvarved:\n{self.daemon.log()}")

    def shims(self):
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = entry.read_bytes().split(b"\0")
                if words[0].endswith(b"containerd-shim-runc-v2") and bytes(self.socket) in words:
                    yield int(entry.parent.name)


def cgroups(name):
    """Those of that name. Others come and go meanwhile."""
    return [Path(folder) / name for folder, names, _ in os.walk("/sys/fs/cgroup") if name in names]


def remove_cgroup(path):
    try:
        for folder, _, _ in os.walk(path, topdown=False):
            os.rmdir(folder)
    except OSError:
        return False
    return True


@pytest.fixture
def start_containerd(tempdir):
    """start_containerd(daemon, pool...) starts a containerd and returns it."""
    with contextlib.ExitStack() as stack:

        def start(daemon, *pools):
            directory = tempdir / f"containerd-{len(os.listdir(tempdir))}"
            directory.mkdir()
            containerd = Containerd(directory, daemon, pools)
            stack.callback(containerd.finish)
            containerd.start()
            return containerd

        yield start


@pytest.fixture
def host(driver, make_fs, varved, start_containerd, varve):
    """containerd on varved with one pool, `varve`, on a file system of its own: .place."""
    place = make_fs(FILE_SYSTEM[driver])
    daemon = varved(root=place / "root", config=f"[pool varve]\ndriver = {driver}\n")
    containerd = start_containerd(daemon, "varve")
    containerd.place = place
    containerd.varve = varve.at(place / "root")
    return containerd


# --- images ---------------------------------------------------------------------------------------


def base_layer():
    """A root file system with busybox, and what runc wants to mount on."""
    layer = Layer()
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        layer.dir(name)
    layer.file("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    for name in set(applets.stdout.split()) - {"busybox"}:
        layer.symlink(f"bin/{name}", "busybox")
    return layer


@pytest.fixture(scope="session")
def base():
    return base_layer()


@pytest.fixture
def load(tempdir):
    """load(containerd, tag, layers) makes an image and loads it."""

    def load(containerd, tag, layers, pool=None):
        archive = tempdir / f"{tag}.tar"
        write_image(archive, tag, layers)
        containerd.load(archive, tag, pool)

    return load


def manifest(root):
    """{path: what a user can see of the file}, for all below root. Times stand for themselves where
    an image set them; what was written later is just new."""
    found = {}
    for folder, directories, files in os.walk(root):
        for name in directories + files:
            path = Path(folder, name)
            info = path.lstat()
            kind = stat.S_IFMT(info.st_mode)
            seen = {
                "mode": oct(info.st_mode),
                "owner": (info.st_uid, info.st_gid),
                "mtime": int(info.st_mtime) if info.st_mtime < MTIME + 1000 else "new",
                "xattrs": {k: os.getxattr(path, k, follow_symlinks=False)
                           for k in os.listxattr(path, follow_symlinks=False)},
            }  # fmt: skip
            if kind != stat.S_IFDIR:
                seen["links"] = info.st_nlink
            if kind == stat.S_IFREG:
                seen["content"] = (info.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            if kind == stat.S_IFLNK:
                seen["target"] = os.readlink(path)
            if kind in (stat.S_IFCHR, stat.S_IFBLK):
                seen["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
            found[str(path.relative_to(root))] = seen
    return found


@contextlib.contextmanager
def mounted(commands, target):
    """Runs the mount commands that `ctr snapshots mounts|prepare|view` printed."""
    target.mkdir(exist_ok=True)
    subprocess.run(["/bin/sh", "-euc", commands], check=True, timeout=TIMEOUT)
    try:
        yield target
    finally:
        subprocess.run(["umount", target], check=True, timeout=TIMEOUT)


@contextlib.contextmanager
def viewed(host, name, tempdir):
    """The content of a committed snapshot."""
    key, target = f"view-{time.monotonic_ns()}", tempdir / "viewed"
    with mounted(host.snapshots("view", "--target", target, key, name), target) as root:
        yield root
    host.snapshots("rm", key)


# --- import, unpack, run --------------------------------------------------------------------------


@EVERY_DRIVER
def test_layers(host, base, load, tempdir):
    capability = b"\1\0\0\2" + b"\0\4\0\0" + bytes(12)  # cap_net_bind_service=ep, as of version 2
    second = (
        Layer()
        .dir("a", mode=0o1777, uid=3, gid=4)
        .file("a/set-id", "set id", mode=0o6751, uid=5, gid=6)
        .hardlink("a/three", "a/set-id", mode=0o6751, uid=5, gid=6)
        .file("a/one", "one name", mtime=MTIME - 7)
        .hardlink("a/two", "a/one", mtime=MTIME - 7)
        .file("a/able", "able", mode=0o755, xattrs={"security.capability": capability})
        .file("a/noted", "noted", xattrs={"user.note": "ä".encode()})
        .symlink("a/link", "../etc/nowhere", uid=7, gid=8)
        .fifo("a/pipe", mode=0o600)
        .device("a/null", 1, 3, mode=0o666)
        .file("a/in two\nlines ä", "text")
        .file("a/" + "n" * 255, "long")
        .dir("b").file("b/gone", "gone").file("b/stays", "from 2").file("b/changed", "from 2")
        .dir("c").file("c/hidden", "hidden").dir("c/d").file("c/d/hidden", "hidden")
        .file("file-then-dir", "").dir("dir-then-file").file("dir-then-file/x", "")
    )  # fmt: skip
    third = (
        Layer()
        .whiteout("b/gone").file("b/changed", "from 3", uid=9, mtime=MTIME + 9)
        .dir("c", mode=0o700).opaque("c").file("c/shown", "from 3")
        .whiteout("file-then-dir").dir("file-then-dir").file("file-then-dir/x", "from 3")
        .whiteout("dir-then-file").file("dir-then-file", "from 3")
    )  # fmt: skip
    layers = [base, second, third]
    load(host, "layers", layers)

    chain = chain_ids(layers)
    parents = [""] + chain[:-1]
    assert host.keys() == {n: (p, "Committed") for n, p in zip(chain, parents)}

    out = host.run("layers", "reader", "cat /a/two /b/stays /b/changed /c/* /dir-then-file; ls /b")
    assert out == "one namefrom 2from 3from 3from 3changed\nstays\n"

    with viewed(host, chain[-1], tempdir) as root:
        seen = manifest(root)
        assert seen["a"]["mode"] == "0o41777" and seen["a"]["owner"] == (3, 4)
        assert seen["a"]["mtime"] == MTIME
        for name in ("a/set-id", "a/three"):
            assert (seen[name]["mode"], seen[name]["owner"]) == ("0o106751", (5, 6))
            assert seen[name]["links"] == 2
        assert os.path.samefile(root / "a/set-id", root / "a/three")
        assert os.path.samefile(root / "a/one", root / "a/two")
        assert seen["a/one"]["mtime"] == MTIME - 7
        assert seen["a/able"]["xattrs"] == {"security.capability": capability}
        assert seen["a/noted"]["xattrs"] == {"user.note": "ä".encode()}
        assert (seen["a/link"]["target"], seen["a/link"]["owner"]) == ("../etc/nowhere", (7, 8))
        assert seen["a/pipe"]["mode"] == "0o10600"
        assert (seen["a/null"]["mode"], seen["a/null"]["device"]) == ("0o20666", (1, 3))
        assert (root / "a/in two\nlines ä").read_text() == "text"
        assert (root / "a" / ("n" * 255)).read_text() == "long"
        assert sorted(os.listdir(root / "b")) == ["changed", "stays"]
        assert (seen["b/changed"]["owner"], seen["b/changed"]["mtime"]) == ((9, 0), MTIME + 9)
        assert seen["c"]["mode"] == "0o40700" and os.listdir(root / "c") == ["shown"]
        assert os.listdir(root / "file-then-dir") == ["x"]
        assert (root / "dir-then-file").read_text() == "from 3"
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()


@EVERY_DRIVER
def test_twelve_layers(host, base, load, tempdir):
    layers = [base]
    for i in range(1, 12):
        layer = Layer().dir("shared").file(f"shared/of-{i}", f"{i}\n").file("last", f"{i}\n")
        if i > 2:
            layer.whiteout(f"shared/of-{i - 2}")
        layers.append(layer)
    load(host, "twelve", layers)
    assert len(host.keys()) == 12
    out = host.run("twelve", "deep", "cat /last; cat /shared/*; ls /shared")
    assert out == "11\n10\n11\nof-10\nof-11\n"
    with viewed(host, chain_ids(layers)[6], tempdir) as root:
        assert sorted(os.listdir(root / "shared")) == ["of-5", "of-6"]
        assert (root / "last").read_text() == "6\n"


# What a container does to files that are not its own, in row S12's words.
CHANGES = """
cd /data
mv renamed moved
mv tree forest
mv deep/a forest/across
chown 12:34 chowned
chmod 4751 moded
chmod 700 deep
chown -h 5:6 deep/b deep/link
rm gone
rm -r replaced; mkdir replaced; echo new >replaced/new
rm -r emptied/*
rm file; mkdir file; echo in >file/in
rm -r dir; echo now >dir
ln kept kept-too
echo more >>appended
: >truncated
ln -sf elsewhere link
mkfifo -m 600 pipe
touch -d @1400000000 touched
rm -r again; mkdir -p again/b; mv again other; mkdir again
rmdir none; mkdir none; chmod 2775 none
"""


@EVERY_DRIVER
def test_changes_to_lower_files(host, base, load, tempdir):
    """The same changes in a container and in a plain directory have the same result."""
    data = Layer().dir("data").dir("data/deep").dir("data/deep/b", uid=1).dir("data/none")
    for name in ("renamed", "chowned", "gone", "file", "kept", "appended", "truncated", "touched"):
        data.file(f"data/{name}", f"{name}\n" * 1000)
    data.file("data/moded", "moded", mode=0o755).file("data/deep/a", "a", uid=9, mode=0o4755)
    data.symlink("data/deep/link", "a").symlink("data/link", "kept")
    for name in ("tree", "replaced", "emptied", "dir", "again"):
        data.dir(f"data/{name}").file(f"data/{name}/x", "x", mtime=MTIME - 1)
        data.dir(f"data/{name}/b").file(f"data/{name}/b/c", "c", uid=4)
    layers = [base, data, Layer().file("data/replaced/y", "y").file("data/tree/b/d", "d")]
    top = chain_ids(layers)[-1]
    load(host, "data", layers)

    plain = tempdir / "plain"
    with viewed(host, top, tempdir) as root:
        subprocess.run(["cp", "-a", root, plain], check=True)
        before = manifest(root / "data")
    subprocess.run(["chroot", plain, "/bin/sh", "-euc", CHANGES], check=True)
    expected = manifest(plain / "data")
    assert expected != before

    host.run("data", "changer", CHANGES)
    target = tempdir / "changer"
    with mounted(host.snapshots("mounts", target, "changer"), target):
        assert manifest(target / "data") == expected

    host.snapshots("commit", "changed", "changer")
    assert host.keys()["changed"] == (top, "Committed")
    with viewed(host, "changed", tempdir) as root:
        assert manifest(root / "data") == expected
    with viewed(host, top, tempdir) as root:  # the parent is as it was
        assert manifest(root / "data") == before
    host.ctr("containers", "rm", "--keep-snapshot", "changer")


# --- ctr snapshots --------------------------------------------------------------------------------


@EVERY_DRIVER
def test_ctr_snapshots(host, base, load, tempdir):
    layers = [base, Layer().file("etc/motd", "hello").file("etc/old", "old")]
    load(host, "small", layers)
    bottom, top = chain_ids(layers)

    target = tempdir / "active"
    printed = host.snapshots("prepare", "--target", target, "work", top)
    assert printed == host.snapshots("mounts", target, "work")
    with mounted(printed, target):
        assert (target / "etc/motd").read_text() == "hello"
        (target / "big").write_bytes(os.urandom(5 << 20))
        (target / "etc/old").unlink()
    assert host.keys()["work"] == (top, "Active")

    rows = dict(row.split(maxsplit=1) for row in host.snapshots("usage", "-b").splitlines()[1:])
    assert set(rows) == set(host.keys())
    size = int(host.snapshots("usage", "-b", "work").splitlines()[1].split()[1])
    assert 5 << 20 <= size < 6 << 20

    packed = host.snapshots("diff", "work", text=False)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        names = {entry.name.rstrip("/") for entry in archive if not entry.isdir()}
    assert names == {"big", "etc/.wh.old"}

    told = "containerd.io/snapshot/kept"  # others containerd keeps to itself
    host.snapshots("label", "work", "colour=blue", f"{told}=yes")
    host.snapshots("label", "work", "colour=")
    labels = json.loads(host.snapshots("info", "work"))["Labels"]
    assert labels[told] == "yes" and not labels.get("colour")
    own = [s for s in host.varve.json("snapshot", "ls") if s["name"].endswith("/work")]
    assert [(s["kind"], s["labels"][told]) for s in own] == [("active", "yes")]

    host.snapshots("rm", top, status=1)  # it has a child
    host.snapshots("prepare", "work", status=1)
    host.snapshots("commit", top, "work", status=1)
    host.snapshots("commit", "done", "work")
    info = json.loads(host.snapshots("info", "done"))
    assert (info["Kind"], info["Parent"]) == ("Committed", top)
    assert "work" not in host.keys()
    tree = [line.strip(" \\_") for line in host.snapshots("tree").splitlines()]
    assert tree == [bottom, top, "done"]

    with viewed(host, "done", tempdir) as root:
        assert (root / "big").stat().st_size == 5 << 20
        assert not (root / "etc/old").exists()
    host.snapshots("view", "look", "done")
    host.snapshots("commit", "never", "look", status=1)
    host.snapshots("rm", "look")
    host.snapshots("rm", "done")
    assert set(host.keys()) == {bottom, top}


@EVERY_DRIVER
def test_removed_image_frees_its_space(host, base, load, driver):
    def used():
        if driver == "btrfs":  # its cleaner works at every commit, which comes every 30 s, if not now
            subprocess.run(["btrfs", "filesystem", "sync", host.place], check=True)
        else:
            subprocess.run(["sync", "-f", host.place], check=True)
        info = os.statvfs(host.place)
        return (info.f_blocks - info.f_bfree) * info.f_frsize

    size = 48 << 20
    before = used()
    load(host, "big", [base, Layer().file("big", os.urandom(size))])
    host.run("big", "writer", f"head -c {size} /dev/urandom >/more")
    full = used()
    assert full - before >= 2 * size

    host.ctr("containers", "rm", "writer")
    host.ctr("images", "rm", "--sync", f"{IMAGE}:big")
    assert host.keys() == {}
    assert host.varve.json("snapshot", "ls") == []
    wait_until(lambda: used() - before < 4 << 20, f"the space of {before} of {full} to be free")


# --- restarts -------------------------------------------------------------------------------------


@EVERY_DRIVER
def test_daemons_restart_under_a_running_container(host, base, load):
    load(host, "base", [base])
    script = "echo start >>/starts; while :; do date >/alive; sleep 0.1; done"
    host.run("base", "runner", script, "--detach", "--null-io")
    known, daemon = host.keys(), host.daemon
    mounts = host.snapshots("mounts", "/target", "runner")

    for part, number in [
        (daemon, signal.SIGKILL),
        (daemon, signal.SIGTERM),
        (host, signal.SIGKILL),
        (host, signal.SIGTERM),
    ]:
        assert part.stop(number) in (0, -number)
        part.start()
        host.reconnect()
        assert host.keys() == known
        assert host.snapshots("mounts", "/target", "runner") == mounts
        out = host.execute("runner", "rm -f /alive; until cat /alive; do :; done; cat /starts")
        assert out.endswith("start\n")

    host.ctr("tasks", "rm", "--force", "runner")
    host.ctr("tasks", "start", "--null-io", "--detach", "runner")
    host.execute("runner", "until [ $(wc -l </starts) = 2 ]; do :; done")
    host.ctr("tasks", "rm", "--force", "runner")
    host.ctr("containers", "rm", "runner")
    assert "runner" not in host.keys()


@EVERY_DRIVER
def test_varved_killed_amid_an_import(host, base, load, tempdir):
    """The next import works, and nothing of either stays on disk."""
    layers = [base] + [Layer().file(f"layer-{i}", os.urandom(2 << 20)) for i in range(6)]
    chain = chain_ids(layers)
    write_image(tempdir / "killed.tar", "killed", layers)
    with ThreadPoolExecutor() as pool:
        options = ["--snapshotter", host.pool, "--base-name", IMAGE]
        done = pool.submit(host.call, "images", "import", *options, tempdir / "killed.tar")
        wait_until(lambda: chain[1] in host.committed(), "the second layer")
        host.daemon.stop(signal.SIGKILL)
        done.result()  # a failure, but for a machine on which all layers came before the signal
    host.daemon.start()
    host.reconnect()
    load(host, "killed", layers)
    assert set(chain) <= set(host.keys())
    out = host.run("killed", "user", "wc -c /layer-*")
    assert out.count(str(2 << 20)) == 6
    host.ctr("containers", "rm", "user")
    host.ctr("images", "rm", "--sync", f"{IMAGE}:killed")
    assert host.committed() == [] and host.keys() == {}
    cleaned = host.varve.json("system", "cleanup")
    assert cleaned == CLEAN


# --- pools ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["native", "btrfs"])
def test_two_pools(second, ext4, base, load, varved, start_containerd, varve, tempdir):
    """Two proxy plugins on one socket; the btrfs pool makes itself a file to be in."""
    setting = f"file = {ext4}/pool.btrfs\nsize = 512M\n" if second == "btrfs" else ""
    config = f"[pool one]\ndriver = overlay\n[pool two]\ndriver = {second}\n{setting}"
    daemon = varved(root=ext4 / "root", config=config)
    containerd = start_containerd(daemon, "one", "two")
    layers = [base, Layer().file("etc/motd", "hello")]
    for pool in ("one", "two"):
        load(containerd, "both", layers, pool)
        out = containerd.run("both", f"in-{pool}", "cat /etc/motd; echo x >/x", pool=pool)
        assert out == "hello"
        containerd.snapshots("prepare", "same-key", chain_ids(layers)[1], pool=pool)
    assert set(containerd.keys("one")) ^ set(containerd.keys("two")) == {"in-one", "in-two"}

    mounts = [containerd.snapshots("mounts", "/t", "same-key", pool=p) for p in ("one", "two")]
    assert "overlay" in mounts[0] and "overlay" not in mounts[1]
    containerd.snapshots("rm", "same-key", pool="one")
    assert "same-key" not in containerd.keys("one") and "same-key" in containerd.keys("two")

    containerd.ctr("containers", "rm", "in-one")
    containerd.ctr("images", "rm", "--sync", f"{IMAGE}:both")
    pools = varve.at(ext4 / "root").json("pool", "ls")
    counts = {pool["name"]: (pool["driver"], pool["snapshots"]) for pool in pools}
    assert counts == {"one": ("overlay", 0), "two": (second, 4)}
    containerd.snapshots("ls", pool="three", status=1)
