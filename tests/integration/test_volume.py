# SPDX-License-Identifier: Apache-2.0
"""Volumes: SPEC rows V1 to V5, V8 and V9, and haves of V6, on every driver."""

import os
import re
import signal
import shutil
import subprocess

import pytest
from conftest import CLEAN, TIMEOUT, VARVE, mounts_below, wait_until

POOLS = [("overlay", "ext4"), ("native", "ext4"), ("native", "xfs"), ("btrfs", "btrfs"), ("zfs", "ext4")]
INVALID, MISSING, TAKEN, STATE, UNABLE, BUSY = 3, 4, 5, 6, 8, 11  # exit statuses


def settings_of(driver, make_zpool):
    return ["--set", f"dataset={make_zpool()}/varve"] if driver == "zfs" else []


class Volumes:
    """varve volume ARGS... on a root with the pool "p"."""

    def __init__(self, varve, driver):
        self.varve, self.driver, self.root = varve, driver, varve.root

    def __call__(self, *args, **kwargs):
        return self.varve("volume", *args, **kwargs)

    def json(self, *args):
        return self.varve.json("volume", *args)

    def path(self, name):
        return self.root / "volumes" / name

    def ids(self, *args):
        return self("ls", "-q", *args).stdout.split()

    def mounted(self, name):
        return mounts_below(self.path(name))


@pytest.fixture(params=POOLS, ids=["-".join(pool) for pool in POOLS])
def volumes(request, make_fs, make_zpool, varve):
    driver, kind = request.param
    varve.root = make_fs(kind) / "root"
    varve("pool", "create", "p", "--driver", driver, *settings_of(driver, make_zpool))
    return Volumes(varve, driver)


@pytest.fixture
def make_volumes(make_fs, varve):
    """make_volumes(driver, kind): on one driver only."""

    def make(driver, kind, *options):
        varve.root = make_fs(kind) / "root"
        varve("pool", "create", "p", "--driver", driver, *options)
        return Volumes(varve, driver)

    return make


class Holder:
    """A process whose directory is held, and with that its mount."""

    def __init__(self, directory, *prefix):
        self.process = subprocess.Popen(
            [*prefix, "sh", "-c", "echo; read line"], cwd=directory,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout.read(1) == b"\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


# --- a life ---------------------------------------------------------------------------------------


def test_create_inspect_destroy(volumes, varve):  # V2, V3
    assert volumes("create", "db", "--meta", "app=shop", "--meta", "note=", "-t", "disk").stdout == "db\n"
    (volumes.path("db") / "file").write_text("data")
    info = volumes.json("inspect", "db")
    assert info["meta"] == {"app": "shop", "note": ""} and info["type"] == "disk"
    assert (info["id"], info["provider"], info["driver"]) == ("db", "p", volumes.driver)
    assert info["mounted"] and not info["snapshot"] and info["path"] == str(volumes.path("db"))
    assert volumes.json("ls") == [info]
    assert re.search(r"^db +volume +disk +p ", volumes("ls").stdout, re.M)

    made_up = volumes("create").stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made_up)
    volumes("rm", "db", made_up)
    assert volumes.ids() == [] and not volumes.path("db").exists()
    assert "no volume 'db'" in volumes("inspect", "db", status=MISSING).stderr
    assert varve.json("snapshot", "ls") == [] and varve.json("system", "cleanup") == CLEAN


def test_snapshot_and_fork(volumes, varve):  # V4, V5
    volumes("create", "db", "--meta", "app=shop")
    file = volumes.path("db") / "file"
    file.write_text("monday")
    volumes("snapshot", "db", "monday", "--meta", "why=backup")
    file.write_text("tuesday")
    with pytest.raises(OSError, match="Read-only"):
        (volumes.path("monday") / "file").write_text("x")
    info = volumes.json("inspect", "monday")
    assert info["snapshot"] and info["of"] == "db" and info["meta"] == {"why": "backup"}
    assert info["mounted"] and volumes.ids("--of", "db") == ["monday"]

    volumes("fork", "monday", "test")
    assert (volumes.path("test") / "file").read_text() == "monday"
    (volumes.path("test") / "file").write_text("mine")
    volumes("snapshot", "test", "test-1")
    volumes("fork", "test-1", "test-2")
    assert (volumes.path("test-2") / "file").read_text() == "mine"
    assert (volumes.path("monday") / "file").read_text() == "monday"
    assert file.read_text() == "tuesday"
    assert volumes.ids("--volumes") == ["db", "test", "test-2"]
    assert volumes.ids("--snapshots") == ["monday", "test-1"]
    assert volumes.ids("--meta", "app=shop") == ["db"]

    before = volumes.json("ls")
    refused = volumes("fork", "db", status=STATE).stderr
    assert "only a snapshot can be forked" in refused
    assert "snapshot itself" in volumes("snapshot", "monday", status=STATE).stderr
    assert "already" in volumes("fork", "monday", "db", status=TAKEN).stderr
    assert "already" in volumes("snapshot", "db", "test", status=TAKEN).stderr
    assert volumes.json("ls") == before
    assert varve.json("system", "cleanup") == CLEAN


def test_snapshot_is_of_one_moment(volumes):
    volumes("create", "db")
    copied = volumes.driver == "native"
    done = volumes("snapshot", "db", "s")
    assert ("file by file" in done.stderr) == copied
    assert volumes.json("inspect", "s")["atomic"] is not copied


def test_set(volumes):  # V2
    volumes("create", "db", "--meta", "app=shop", "--meta", "owner=ada")
    volumes("snapshot", "db", "s")
    volumes("set", "db", "--meta", "app=", "--unset", "owner", "--unset", "never", "-m", "x=y")
    assert volumes.json("inspect", "db")["meta"] == {"app": "", "x": "y"}
    volumes("set", "s", "--meta", "why=backup")
    assert volumes.json("inspect", "s")["meta"] == {"why": "backup"}
    assert "tell what to change" in volumes("set", "db", status=2).stderr
    assert "at most 4077" in volumes("set", "db", "-m", f"k={'x' * 4077}", status=INVALID).stderr
    assert "no volume 'no'" in volumes("set", "no", "-m", "a=b", status=MISSING).stderr
    assert volumes.json("inspect", "db")["meta"] == {"app": "", "x": "y"}


def test_haves(volumes):  # V6
    volumes("create", "db")
    assert volumes.json("haves", "db") == []
    for name in "one", "two", "three":
        volumes("snapshot", "db", name)
    volumes("fork", "two", "other")
    uuid = {info["id"]: info["uuid"] for info in volumes.json("ls", "--snapshots")}
    assert len(set(uuid.values())) == 3 and None not in uuid.values()

    def haves(name):
        return [(have["id"], have["uuid"]) for have in volumes.json("haves", name)]

    assert haves("db") == [(name, uuid[name]) for name in ("three", "two", "one")]
    assert haves("other") == haves("two") == [(name, uuid[name]) for name in ("two", "one")]


def test_destroying_what_others_stand_on(volumes, varve):  # V3
    volumes("create", "db")
    volumes("snapshot", "db", "s")
    volumes("fork", "s", "fork")
    before = volumes.json("ls")
    refused = volumes("rm", "s", status=STATE).stderr
    assert "'db'" in refused and "'fork'" in refused and "--recursive" in refused
    assert volumes.json("ls") == before

    varve("snapshot", "prepare", "foreign", "volume/s")
    assert "'foreign'" in volumes("rm", "s", "--recursive", status=STATE).stderr
    assert volumes.json("ls") == before
    varve("snapshot", "rm", "foreign")

    volumes("rm", "db")
    volumes("rm", "s", "--recursive")
    assert volumes.json("ls") == [] and varve.json("snapshot", "ls") == []
    assert os.listdir(volumes.root / "volumes") == [".lock"]


def test_taking_a_snapshot_out_of_the_chain(volumes, varve):
    volumes("create", "db")
    file = volumes.path("db") / "file"
    for name in "one", "two", "three":
        file.write_text(name)
        (volumes.path("db") / name).touch()
        volumes("snapshot", "db", name)
    volumes("fork", "two", "fork")
    file.write_text("now")
    varve("snapshot", "usage")
    before = volumes.json("ls")
    if volumes.driver == "overlay":
        assert f"'{volumes.driver}' cannot" in volumes("rm", "two", "--only", status=UNABLE).stderr
        assert volumes.json("ls") == before
        return
    varve("snapshot", "view", "look", "volume/two")
    assert "view 'look'" in volumes("rm", "two", "--only", status=STATE).stderr
    varve("snapshot", "rm", "look")
    assert volumes.json("ls") == before
    volumes("rm", "two", "--only")

    def read(name):
        path = volumes.path(name)
        return (path / "file").read_text(), set(os.listdir(path)) - {"file"}

    assert read("one") == ("one", {"one"})
    assert read("three") == ("three", {"one", "two", "three"})
    assert read("fork") == ("two", {"one", "two"})
    assert read("db") == ("now", {"one", "two", "three"})
    parents = {info["id"]: info["parent"] for info in volumes.json("ls")}
    assert parents == {
        "one": "", "three": "volume/one", "fork": "volume/one", "db": "volume/three",
    }  # fmt: skip

    def changes(key):
        return {change["path"] for change in varve.json("snapshot", "diff", key)} - {"/"}

    assert changes("volume/three") == {"/file", "/two", "/three"}
    assert changes("volume/fork") == {"/file", "/two"}
    volumes("rm", "one", "three", "--only")
    assert volumes.ids() == ["db", "fork"] and volumes.json("haves", "db") == []
    assert changes("volume/db") == {"/file", "/one", "/two", "/three"}
    assert read("db") == ("now", {"one", "two", "three"})
    volumes("rm", "db", "fork")
    assert varve.json("system", "cleanup") == CLEAN


# --- in use ---------------------------------------------------------------------------------------


def test_destroying_while_busy(volumes):  # V3
    volumes("create", "db")
    (volumes.path("db") / "file").write_text("data")
    with Holder(volumes.path("db")) as holder:
        assert "in use" in volumes("rm", "db", status=BUSY).stderr
        assert (volumes.path("db") / "file").read_text() == "data"
        command = [VARVE, "--root", volumes.root, "volume", "rm", "db"]
        with subprocess.Popen(command) as removing:
            holder.process.kill()
            assert removing.wait(TIMEOUT) == 0
    assert volumes.ids() == []


def test_destroying_what_another_mount_namespace_has(volumes, tempdir):
    """Bound to another place, as into a container: a mere copy of all mounts is no use."""
    volumes("create", "db")
    (volumes.path("db") / "file").write_text("data")
    bind = 'mount --bind "$0" "$1" && shift && exec "$@"'
    private = ["unshare", "--mount", "--propagation", "private"]
    with Holder("/", *private, "sh", "-c", bind, str(volumes.path("db")), str(tempdir)) as holder:
        refused = volumes("rm", "db", status=BUSY).stderr
        assert f"on {tempdir} in the mount namespace of process {holder.process.pid}" in refused
        assert (volumes.path("db") / "file").read_text() == "data"
    with Holder("/", *private):
        volumes("rm", "db")
    assert volumes.ids() == []


def test_snapshot_on_overlay_of_what_is_in_use(make_volumes):
    volumes = make_volumes("overlay", "ext4")
    volumes("create", "db")
    for _ in range(2):  # a bind mount first, an overlay then
        with Holder(volumes.path("db")):
            assert "not in use" in volumes("snapshot", "db", "no", status=BUSY).stderr
        assert volumes.mounted("db")
        volumes("snapshot", "db")
    assert volumes("umount", "db").stdout == ""
    volumes("snapshot", "db", "unmounted")
    assert not volumes.mounted("db")
    assert "no" not in volumes.ids()


def test_mount_elsewhere(volumes, tempdir):
    directory = tempdir / "here"
    directory.mkdir()
    volumes("create", "db", "--no-mount")
    assert not volumes.mounted("db")
    volumes("mount", "db", directory)
    (directory / "file").write_text("data")
    assert (volumes.path("db") / "file").read_text() == "data"
    assert f"it is mounted on {directory}" in volumes("rm", "db", status=BUSY).stderr
    assert "not mounted on" in volumes("umount", "db", tempdir, status=STATE).stderr
    volumes("umount", "db", directory)
    assert mounts_below(directory) == []
    volumes("umount", "db")
    assert "not mounted on" in volumes("umount", "db", status=STATE).stderr
    volumes("rm", "db")


def test_freeze(make_volumes):
    volumes = make_volumes("native", "ext4")
    volumes("create", "db")
    file = volumes.path("db") / "file"
    with open(file, "w") as writer:
        assert "open for writing" in volumes("snapshot", "db", "s", "--freeze", status=BUSY).stderr
        writer.write("data")
    assert volumes.json("inspect", "db")["parent"] == ""
    volumes("snapshot", "db", "s", "--freeze")
    assert volumes.json("inspect", "s")["atomic"] is True
    assert (volumes.path("s") / "file").read_text() == "data"
    file.write_text("it is writable again")
    # One that was killed while the volume was frozen left it so.
    subprocess.run(["mount", "-o", "remount,bind,ro", volumes.path("db")], check=True)
    with pytest.raises(OSError, match="Read-only"):
        file.write_text("x")
    volumes("mount", "db")
    file.write_text("y")


# --- refusals -------------------------------------------------------------------------------------


def test_providers_are_told_apart(volumes, varve, tempdir):  # V1
    assert "no pool" in volumes("create", "db", "--pool", "nowhere", status=MISSING).stderr
    varve("pool", "create", "q", "--driver", "native", "--set", f"path={tempdir}/q")
    volumes("create", "db", "--pool", "p")
    assert "in pool 'p'" in volumes("create", "db", "--pool", "q", status=TAKEN).stderr
    volumes("create", "other", "--pool", "q")
    assert volumes.ids() == ["db", "other"] and volumes.ids("--pool", "q") == ["other"]


def test_wrong_requests(volumes):
    for name in ("-x", ".x", "a/b", "a b", "x" * 129, "..", "é"):
        volumes("create", "--", name, status=INVALID)
    volumes("create", "x" * 128)
    assert "'long'" in volumes("create", "a", "--meta", "long=" + "x" * 4096, status=INVALID).stderr
    volumes("create", "a", "--type", "A b", status=INVALID)
    assert "stands alone" in volumes("mount", "a", "--all", status=2).stderr
    assert volumes.ids() == ["x" * 128]
    if volumes.driver in ("overlay", "native"):
        refused = volumes("create", "a", "--size", "1g", status=UNABLE).stderr
        assert f"driver '{volumes.driver}'" in refused
        assert volumes.ids() == ["x" * 128]


def test_size(make_fs, varve):
    place = make_fs("ext4", "2G")
    varve.root = place / "root"
    options = ["--set", f"file={place}/image", "--set", "size=1G"]
    varve("pool", "create", "p", "--driver", "btrfs", *options)
    volumes = Volumes(varve, "btrfs")
    volumes("create", "db", "--size", "20m")
    with pytest.raises(OSError, match="quota exceeded"):
        with open(volumes.path("db") / "big", "wb", buffering=0) as big:
            for _ in range(40):
                big.write(b"x" * (1 << 20))
                os.fsync(big.fileno())
    assert volumes.json("inspect", "db")["size"] == 20 << 20
    volumes("snapshot", "db", "s")
    volumes("fork", "s", "larger", "--size", "60m")
    (volumes.path("larger") / "more").write_bytes(b"x" * (20 << 20))
    assert volumes.json("inspect", volumes("fork", "s").stdout.strip())["size"] == 20 << 20


def test_size_without_quotas(make_volumes):
    volumes = make_volumes("btrfs", "btrfs")
    assert "btrfs quota enable" in volumes("create", "db", "--size", "20m", status=STATE).stderr
    assert volumes.ids() == [] and not volumes.path("db").exists()
    subprocess.run(["btrfs", "quota", "enable", volumes.root], check=True, timeout=TIMEOUT)
    volumes("create", "db", "--size", "20m")


# --- hosts that start and stop --------------------------------------------------------------------


def stable(infos):
    return [{key: info[key] for key in info if key != "mounted"} for info in infos]


def test_restart(volumes, varved, varve):  # V8
    volumes("create", "db", "--meta", "app=shop")
    (volumes.path("db") / "file").write_text("data")
    volumes("snapshot", "db", "s")
    volumes("create", "by-hand", "--no-mount")
    before, pools = volumes.json("ls"), [pool["created"] for pool in varve.json("pool", "ls")]
    for name in "db", "s":
        volumes("umount", name)  # as a reboot does

    daemon = varved()
    for end in (signal.SIGKILL, signal.SIGTERM):
        assert volumes.json("ls") == before  # mounted too
        assert len(volumes.mounted("db")) == len(volumes.mounted("s")) == 1
        assert volumes.mounted("by-hand") == []
        assert (volumes.path("db") / "file").read_text() == "data"
        assert (volumes.path("s") / "file").read_text() == "data"
        (volumes.path("db") / "file").write_text("data")
        daemon.stop(end)
        assert bool(volumes.mounted("db")) == (end == signal.SIGKILL)  # a clean stop unmounts
        assert stable(volumes.json("ls")) == stable(before)
        daemon.start()
    assert volumes.json("ls") == before
    assert [pool["created"] for pool in varve.json("pool", "ls")] == pools
    assert daemon.stop() == 0


def test_stop_while_in_use(volumes, varved):
    """What is in use stays mounted, and the next start finds it."""
    volumes("create", "db")
    volumes("create", "idle")
    daemon = varved()
    with Holder(volumes.path("db")):
        assert daemon.stop() == 0
        assert "volume stays mounted" in daemon.log()
        assert volumes.mounted("db") and not volumes.mounted("idle")
        daemon.start()
        assert len(volumes.mounted("db")) == len(volumes.mounted("idle")) == 1


def test_default_provider_is_made_once(varve, ext4):  # V8
    varve.root = ext4 / "root"
    varve("volume", "create", "one")
    first = varve.json("pool", "ls")
    varve("volume", "create", "two")
    assert [pool["name"] for pool in first] == ["default"]
    assert [pool["created"] for pool in varve.json("pool", "ls")] == [first[0]["created"]]


def vanish(volumes, name):
    """Takes a volume's files away behind the store's back."""
    command = ["findmnt", "--noheadings", "--output", "SOURCE", volumes.path(name)]
    source = subprocess.check_output(command, text=True, timeout=TIMEOUT).strip()
    volumes("umount", name)
    pool = volumes.root / "pools/p"
    if volumes.driver == "zfs":
        subprocess.run(["zfs", "destroy", source], check=True, timeout=TIMEOUT)
    elif volumes.driver == "btrfs":
        victim = next(pool.glob(f"subvolumes/*/*/{name}-is-here")).parent
        subprocess.run(["btrfs", "-q", "subvolume", "delete", victim], check=True, timeout=TIMEOUT)
    else:
        folder = {"overlay": "fs", "native": "snapshots"}[volumes.driver]
        shutil.rmtree(next(pool.glob(f"{folder}/*/*/{name}-is-here")).parent)


def test_vanished(volumes, varved):  # V9
    for name in "a", "b", "c":
        volumes("create", name)
        (volumes.path(name) / f"{name}-is-here").touch()
    vanish(volumes, "b")
    volumes("umount", "--all")
    done = volumes("mount", "--all", status=None)
    assert done.returncode != 0 and "volume is skipped" in done.stderr and "volume=b" in done.stderr
    assert volumes.mounted("a") and not volumes.mounted("b") and volumes.mounted("c")

    volumes("umount", "--all")
    daemon = varved()
    assert "volume is skipped" in daemon.log()
    assert (volumes.path("c") / "c-is-here").exists()
    volumes("rm", "b")
    assert daemon.stop() == 0 and volumes.ids() == ["a", "c"]


def test_record_vanished(volumes, varve):
    """A mount whose volume was removed by other means is taken away, another of that id mounted."""
    for name in "a", "b":
        volumes("create", name)
        (volumes.path(name) / "old").touch()
        varve("snapshot", "rm", f"volume/{name}")
    volumes("create", "a")
    assert os.listdir(volumes.path("a")) == [] and len(volumes.mounted("a")) == 1
    volumes("mount", "--all")
    assert not volumes.path("b").exists()


# --- imports --------------------------------------------------------------------------------------


@pytest.fixture
def tree(tempdir):
    tree = tempdir / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/file").write_bytes(os.urandom(100_000))
    (tree / "link").symlink_to("below/file")
    os.link(tree / "below/file", tree / "hard")
    os.chmod(tree / "below/file", 0o640)
    return tree


def make_image(kind, tree, file):
    if kind == "ext4":
        subprocess.run(["truncate", "-s", "16M", file], check=True)
        command = ["mkfs.ext4", "-q", "-d", tree, file]
    elif kind == "squashfs":
        command = ["mksquashfs", tree, file, "-quiet", "-no-progress"]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    subprocess.run(command, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)
    return file


@pytest.mark.parametrize("kind", ["ext4", "squashfs"])
def test_import(volumes, varve, tree, tempdir, kind):
    image = make_image(kind, tree, tempdir / "image")
    volumes("import", image, "tools", "--meta", "from=file")
    info = volumes.json("inspect", "tools")
    assert (info["type"], info["snapshot"], info["of"]) == (kind, True, None)
    copy = volumes.path("tools")
    assert (copy / "below/file").read_bytes() == (tree / "below/file").read_bytes()
    assert (copy / "hard").stat().st_ino == (copy / "below/file").stat().st_ino
    assert (copy / "below/file").stat().st_mode & 0o777 == 0o640
    assert os.readlink(copy / "link") == "below/file"
    with pytest.raises(OSError, match="Read-only"):
        (copy / "new").touch()
    volumes("fork", "tools", "mine")
    (volumes.path("mine") / "new").touch()
    loops = lambda: subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    wait_until(lambda: str(image) not in loops(), "the loop device to go")  # who looks at it holds it
    volumes("rm", "-r", "tools")
    assert varve.json("snapshot", "ls") == [] and varve.json("system", "cleanup") == CLEAN


def test_import_refuses(make_volumes, varve, tree, tempdir):
    volumes = make_volumes("native", "ext4")
    other = tempdir / "other"
    other.write_bytes(os.urandom(1 << 20))
    assert "no image of" in volumes("import", other, status=INVALID).stderr
    assert "no regular file" in volumes("import", "/dev/null", status=INVALID).stderr
    assert "no regular file" in volumes("import", tree, status=INVALID).stderr
    volumes("import", tempdir / "missing", status=MISSING)
    torn = make_image("ext4", tree, tempdir / "torn")
    with open(torn, "r+b") as file:
        file.truncate(8192)
    volumes("import", torn, status=None)
    assert volumes.ids() == [] and varve.json("snapshot", "ls") == []


# --- several at once, crashes, full disks ---------------------------------------------------------


def at_once(volumes, *commands):
    """The exit statuses of commands that run at the same time."""
    running = [
        subprocess.Popen([VARVE, "--root", volumes.root, "volume", *command],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]  # fmt: skip
    return [process.wait(TIMEOUT) for process in running]


def test_several_at_once(volumes, varve):
    done = at_once(volumes, *[("create", "db")] * 6)
    assert sorted(done) == [0, *[TAKEN] * 5]
    assert len(volumes.mounted("db")) == 1
    volumes("umount", "db")
    assert at_once(volumes, *[("mount", "db")] * 6) == [0] * 6
    assert len(volumes.mounted("db")) == 1
    done = at_once(volumes, *[("snapshot", "db", f"s{i % 3}") for i in range(6)])
    assert sorted(done) == [0] * 3 + [TAKEN] * 3
    done = at_once(volumes, *[("rm", "-r", "s0", "s1", "s2")] * 3, ("create", "db"))
    assert set(volumes.ids()) <= {"db"}
    assert varve.json("system", "cleanup") == CLEAN


def test_killed(volumes, varve):
    """kill -9 at any time leaves a volume with its data, and snapshots that are whole or not there."""
    volumes("create", "db")
    (volumes.path("db") / "file").write_text("data")
    for i in range(16):
        command = [VARVE, "--root", volumes.root, "volume", "snapshot", "db", f"s{i}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(0.004 * i)
            except subprocess.TimeoutExpired:
                process.kill()
        volumes("mount", "--all")
        assert (volumes.path("db") / "file").read_text() == "data"
        for name in volumes.ids("--snapshots"):
            assert (volumes.path(name) / "file").read_text() == "data"
            assert len(volumes.mounted(name)) == 1
    (volumes.path("db") / "file").write_text("more")
    varve("system", "cleanup")
    volumes("rm", "db")
    for name in [have["id"] for have in volumes.json("ls", "--snapshots")][:1]:
        volumes("rm", "-r", name, status=None)
    assert varve.json("system", "cleanup") == CLEAN


def test_full_disk(make_fs, varve):
    varve.root = make_fs("ext4", "128M") / "root"
    varve("pool", "create", "p", "--driver", "native")
    volumes = Volumes(varve, "native")
    volumes("create", "db")
    (volumes.path("db") / "big").write_bytes(b"x" * (60 << 20))
    done = volumes("snapshot", "db", "s", status=None)
    assert done.returncode != 0 and "No space left on device" in done.stderr
    assert volumes.ids() == ["db"] and (volumes.path("db") / "big").stat().st_size == 60 << 20
    assert varve.json("system", "cleanup") == CLEAN
    (volumes.path("db") / "big").unlink()
    volumes("snapshot", "db", "s")


def test_many_are_listed_fast_enough_to_wait_for(make_volumes, varve):
    """Those among many other snapshots, in the order of their ids."""
    volumes = make_volumes("native", "ext4")
    for name in "aaa", "volumf", "zzz", "volume":
        varve("snapshot", "prepare", name)
    for name in "b", "a", "c":
        volumes("create", name, "--no-mount")
    varve("snapshot", "prepare", "volume/no-volume")
    assert volumes.ids() == ["a", "b", "c"]
