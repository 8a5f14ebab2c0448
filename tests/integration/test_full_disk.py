# SPDX-License-Identifier: Apache-2.0
"""A file system that is full, of blocks or of inodes, or read-only: every operation either works or
says what it could not do and why, and nothing is half-made. Removal works on a full one.

Root and pool are on the file system that is filled, unless a test says otherwise.
"""

import errno
import json
import os
import random
import subprocess
import threading

import pytest
import wire
from callers import CommandCaller, DaemonCaller, Refused
from conftest import CLEAN, TIMEOUT, wait_until

NO_SPACE, FAILED_PRECONDITION = 10, 6  # exit statuses
KINDS = {
    "overlay": ("overlay", "ext4", "64M"),
    "overlay-inodes": ("overlay", "ext4", "64M", "-N", "1024"),
    "native": ("native", "xfs", "300M"),
    "btrfs": ("btrfs", "btrfs", "128M"),
}
LOOKING = [
    "snapshot ls", "snapshot tree", "snapshot tree --usage", "snapshot stat base",
    "snapshot mounts active", "snapshot usage", "snapshot usage top", "system info",
    "pool ls", "pool inspect full",
]  # fmt: skip
# What is done, and how the message of its refusal begins.
CHANGING = [
    ("pool create other --driver {driver}", "creating pool 'other'"),
    ("snapshot prepare new", "preparing 'new' in pool 'full'"),
    ("snapshot prepare new-top base", "preparing 'new-top' in pool 'full'"),
    ("snapshot view new-view base", "viewing 'new-view' in pool 'full'"),
    ("snapshot commit done active", "committing 'active' in pool 'full'"),
    ("snapshot label base long={long}", "updating 'base' in pool 'full'"),
    ("snapshot prepare labelled --label long={long}", "preparing 'labelled' in pool 'full'"),
]


# --- filling --------------------------------------------------------------------------------------


def until_full(step):
    """Calls step(0), step(1), ... until there is no space."""
    count = 0
    try:
        while True:
            step(count)
            count += 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    return count


def fill_blocks(place):
    """To the last one: what is written back late may free some again."""
    with open(place / "filler", "ab", buffering=0) as filler:
        for _ in range(2):
            for size in 1 << 20, 1 << 12, 1 << 9, 1:
                until_full(lambda _: filler.write(bytes(size)))
            os.sync()


def fill_names(place):
    crowd = place / "crowd"
    try:
        crowd.mkdir(exist_ok=True)
        until_full(lambda i: (crowd / str(i)).mkdir())
    except OSError as error:
        assert error.errno == errno.ENOSPC
    os.sync()


def fill(place):
    """Leaves neither a block nor an inode. On btrfs, where an inode is metadata, there is room for
    those."""
    fill_blocks(place)
    if subprocess.check_output(["stat", "-fc", "%T", place], text=True) != "btrfs\n":
        fill_names(place)


def make_room(place):
    subprocess.run(["rm", "-rf", place / "filler", place / "crowd"], check=True)
    os.sync()


# --- a full one -----------------------------------------------------------------------------------


class Full:
    """A root with some snapshots on a small file system.

    base (committed, holds a file) <- top (active), view;  active;  bulky (holds 5 MiB)"""

    def __init__(self, varve, place, driver, mountpoint):
        self.varve, self.place, self.driver, self.mountpoint = varve, place, driver, mountpoint
        mountpoint.mkdir()
        varve.root = place / "root"
        varve("pool", "create", "full", "--driver", driver)
        self.caller = CommandCaller(varve.root, "full")
        self.make("fill", "precious", b"precious" * 1000)
        self.caller.commit("base", "fill")
        self.make("bulky", "bulk", bytes(5 << 20))
        self.caller.prepare("active")
        self.caller.prepare("top", "base")
        self.caller.view("view", "base")
        os.sync()

    def make(self, key, file, data):
        with self.caller.prepare(key).at(self.mountpoint) as directory:
            (directory / file).write_bytes(data)

    def run(self, line, **kwargs):
        words = [w.format(driver=self.driver, long="x" * 3000) for w in line.split()]
        pool = [] if words[0] == "pool" else ["--pool", "full"]
        return self.varve(*pool, *words, **kwargs)

    def state(self):
        """All that the records say."""
        return self.varve.json("--pool", "full", "snapshot", "ls"), [
            pool["name"] for pool in self.varve.json("pool", "ls")
        ]

    def free(self):
        """Bytes; btrfs is told to do now what it would do in the background."""
        if self.driver == "btrfs":
            subprocess.run(["btrfs", "filesystem", "sync", self.place], check=True, timeout=TIMEOUT)
        status = os.statvfs(self.place)
        return status.f_bfree * status.f_bsize

    def check_whole(self):
        """With room again, nothing is left over, and everything that is recorded works."""
        assert self.run("system cleanup --json").stdout == json.dumps(CLEAN, indent=2) + "\n"
        listed, _ = self.state()
        for info in listed:
            name, committed = info["name"], info["kind"] == "committed"
            mount = self.caller.view("look", name) if committed else self.caller.mounts(name)
            with mount.at(self.mountpoint) as directory:
                if "base" in (name, info["parent"]):
                    assert (directory / "precious").read_bytes() == b"precious" * 1000
                if info["kind"] == "active":
                    (directory / "probe").write_bytes(b"probe")
            if committed:
                self.caller.remove("look")
        names = {info["name"]: info["parent"] for info in listed}
        for name in sorted(names, key=lambda name: name in names.values()):
            self.caller.remove(name)
        assert self.run("system cleanup --json").stdout == json.dumps(CLEAN, indent=2) + "\n"


@pytest.fixture(params=KINDS)
def full(request, varve, make_fs, tempdir):
    """A Full, not filled yet."""
    driver, *fs = KINDS[request.param]
    return Full(varve, make_fs(*fs), driver, tempdir / "mountpoint")


def test_looking(full):
    fill(full.place)
    for line in LOOKING:
        full.run(line)


def test_mounting(full, tempdir):
    """overlayfs makes directories for its own use, the other ones need nothing."""
    target = tempdir / "target"
    target.mkdir()
    fill(full.place)
    for key in "active", "view", "top":
        done = full.run(f"snapshot mount {key} {target}", status=None)
        if done.returncode == 0:
            full.run(f"snapshot umount {target}")
        else:
            assert key == "top" and full.driver == "overlay" and done.returncode == NO_SPACE, done
            assert "No space left on device" in done.stderr
        assert not os.path.ismount(target)


def test_changing(full):
    fill(full.place)
    refused = []
    for line, beginning in CHANGING:
        before = full.state()
        done = full.run(line, status=None)
        if done.returncode == 0:
            assert full.state() != before, line
            continue
        refused.append(line)
        assert done.returncode == NO_SPACE, f"{line}: {done}"
        assert done.stderr.startswith(f"varve: {beginning}: "), done.stderr
        assert "No space left on device" in done.stderr
        assert full.state() == before, line
    assert refused or full.driver == "btrfs"  # where none of these needs a block
    make_room(full.place)
    full.check_whole()


def test_removing(full):
    """It works, and frees what the snapshot took, without any room."""
    fill(full.place)
    before = full.free()
    full.run("snapshot rm top view bulky")
    assert full.varve.json("system", "info")["pending"] == 0
    wait_until(lambda: full.free() > before + (4 << 20), "the space to be freed")
    full.run("snapshot prepare again base")
    make_room(full.place)
    full.check_whole()


def test_cleanup(full):
    fill(full.place)
    assert json.loads(full.run("system cleanup --json").stdout) == CLEAN


def test_new_root(full):
    """One that cannot be made on a full file system is made as soon as there is room."""
    fill(full.place)
    other = full.varve.at(full.place / "other")
    done = other("pool", "create", "new", "--driver", full.driver, status=None)
    if done.returncode != 0:
        assert done.returncode == NO_SPACE and "No space left on device" in done.stderr, done
    make_room(full.place)
    if done.returncode != 0:
        other("pool", "create", "new", "--driver", full.driver)
    other("snapshot", "prepare", "key")


def test_removing_a_pool(full):
    full.varve("pool", "create", "other", "--driver", full.driver)
    fill(full.place)
    full.varve("pool", "rm", "other")
    assert [pool["name"] for pool in full.varve.json("pool", "ls")] == ["full"]
    assert not (full.varve.root / "pools/other").exists()


def test_daemon(full, varved):
    """It goes on, answers what it can, and is as before when there is room."""
    daemon = varved()
    pid, caller = daemon.pid, DaemonCaller(daemon.socket, "full")
    fill(full.place)
    wanted = wire.OK if full.driver == "btrfs" else wire.RESOURCE_EXHAUSTED
    for i in range(20):
        request = {1: "full", 2: f"key-{i}", 3: "base"}
        assert wire.call(daemon.socket, "Prepare", request)[0] == wanted
    caller.mounts("active")
    assert wire.serves(daemon.socket, "full")
    caller.remove("bulky")
    make_room(full.place)
    caller.prepare("key-after", "base")
    caller.commit("name-after", "key-after")
    assert daemon.pid == pid and daemon.process.poll() is None
    assert daemon.stop() == 0
    full.check_whole()


# --- the store alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, size", [("ext4", "64M"), ("xfs", "300M"), ("btrfs", "128M")])
def test_room_for_removals_is_kept(varve, make_fs, load, kind, size):
    """When records have taken all the room that there was for them, snapshots can still be removed,
    and what they took is used again, though the disk is as full as before."""
    varve.root = make_fs(kind, size) / "root"
    varve("pool", "create", "p", "--driver", "overlay", "--set", f"path={make_fs('ext4')}/p")
    loaded = load("p")
    caller = loaded.caller()
    caller.prepare("fill")
    caller.commit("base", "fill")
    fill(varve.root.parent)
    views = []
    with pytest.raises(Refused, match="in pool 'p': writing the store: No space left on device"):
        while len(views) < 3000:
            caller.view(f"view-{len(views)}", "base")  # has nothing but its record
            views.append(f"view-{len(views)}")
            caller.label(views[-1], "long", "x" * 4000)
    assert len(views) > 50
    for view in views:
        caller.remove(view)
    for view in views:
        caller.view(view, "base")
    loaded.kill()


# --- full now and then ----------------------------------------------------------------------------


class Tide(threading.Thread):
    """Fills a file system and makes room, again and again."""

    def __init__(self, place):
        super().__init__()
        self.place, self.ended = place, threading.Event()

    def run(self):
        while not self.ended.is_set():
            fill_blocks(self.place)
            self.ended.wait(0.02)
            (self.place / "filler").unlink()
            self.ended.wait(0.005)


class Life(threading.Thread):
    """Does random operations and keeps a book (name: kind) of those that were not refused."""

    def __init__(self, number, caller):
        super().__init__()
        self.number, self.caller, self.rng = number, caller, random.Random(number)
        self.book, self.done, self.refused = {}, 0, 0
        self.ending, self.sound = False, False

    def run(self):
        while not self.ending:
            try:
                self.step()
                self.done += 1
            except Refused as refusal:
                assert "No space left on device" in str(refusal)
                self.refused += 1
        self.sound = True

    def step(self):
        new = f"{self.number}-{self.done + self.refused}"
        old = self.rng.choice(["", *self.book])
        if not old:
            self.caller.prepare(f"key-{new}", "base")
            self.book[f"key-{new}"] = "active"
        elif self.book[old] == "active" and self.rng.random() < 0.7:
            self.caller.commit(f"name-{new}", old)
            self.book[f"name-{new}"] = "committed"
            del self.book[old]
        else:
            self.caller.remove(old)
            del self.book[old]


@pytest.mark.parametrize("kind", ["overlay", "native", "btrfs"])
def test_full_now_and_then(varve, make_fs, load, tempdir, kind):
    """Many threads work while the disk is full at some moments: what was refused was not done."""
    driver, *fs = KINDS[kind]
    full = Full(varve, make_fs(*fs), driver, tempdir / "mountpoint")
    before = {info["name"]: info["kind"] for info in full.state()[0]}
    loaded, tide = load("full"), Tide(full.place)
    lives = [Life(i, loaded.caller()) for i in range(4)]

    def enough():
        done, refused = sum(life.done for life in lives), sum(life.refused for life in lives)
        # btrfs keeps metadata apart, and is hardly ever full for this.
        return not all(life.is_alive() for life in lives) or done > 100 and (
            refused > 20 or kind == "btrfs" and done > 500
        )

    try:
        for thread in [tide, *lives]:
            thread.start()
        wait_until(enough, "operations to be done and refused")
    finally:
        tide.ended.set()
        for life in lives:
            life.ending = True
        for thread in [tide, *lives]:
            thread.join()
    assert all(life.sound for life in lives)
    books = [before, *(life.book for life in lives)]
    expected = {name: kind for book in books for name, kind in book.items()}
    assert {info["name"]: info["kind"] for info in full.state()[0]} == expected
    make_room(full.place)
    wait_until(lambda: varve.json("system", "info")["pending"] == 0, "the space to be freed")
    loaded.kill()
    full.check_whole()


# --- read-only ------------------------------------------------------------------------------------


def remount(place, how):
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True, timeout=TIMEOUT)


@pytest.fixture(params=["overlay", "native", "btrfs"])
def apart(request, varve, make_fs, tempdir):
    """A root, and its pool "full" on a file system of its own."""
    driver, kind, *size = KINDS[request.param]
    place = make_fs(kind, *size)
    varve("pool", "create", "full", "--driver", driver, "--set", f"path={place}/pool")
    caller = CommandCaller(varve.root, "full")
    caller.prepare("fill")
    caller.commit("base", "fill")
    caller.prepare("active")
    caller.prepare("top", "base")
    yield place
    remount(place, "rw")


READ_ONLY = "Read-only file system"


def test_read_only_pool(apart, varve):
    remount(apart, "ro")
    for line in LOOKING:
        varve(*(["--pool", "full"] if line.startswith("snapshot") else []), *line.split())
    before = varve.json("snapshot", "ls")
    for line in "snapshot prepare new", "snapshot prepare new base":
        stderr = varve(*line.split(), status=FAILED_PRECONDITION).stderr
        assert stderr.startswith("varve: preparing 'new' in pool 'full': ") and READ_ONLY in stderr
        assert varve.json("snapshot", "ls") == before
    done = varve("snapshot", "commit", "done", "active", status=None)
    if done.returncode != 0:
        assert done.stderr.startswith("varve: committing 'active' in pool 'full': ")
        assert READ_ONLY in done.stderr and varve.json("snapshot", "ls") == before
    remount(apart, "rw")
    if done.returncode != 0:
        varve("snapshot", "commit", "done", "active")
    varve("snapshot", "rm", "done", "top", "base")
    assert varve.json("system", "cleanup") == CLEAN


def test_removing_from_a_read_only_pool(apart, varve):
    """The record goes; what is on disk waits until it can be freed."""
    remount(apart, "ro")
    varve("snapshot", "rm", "top")
    assert "top" not in [info["name"] for info in varve.json("snapshot", "ls")]
    done = varve("--json", "system", "cleanup", status=None)
    assert done.returncode != 0 and READ_ONLY in done.stderr
    remount(apart, "rw")
    varve("snapshot", "prepare", "top", "base")
    varve("system", "cleanup")
    assert varve.json("system", "info")["pending"] == 0
    assert varve.json("system", "cleanup") == CLEAN


def test_daemon_with_a_read_only_pool(apart, varve, varved):
    daemon = varved()
    caller = DaemonCaller(daemon.socket, "full")
    remount(apart, "ro")
    request = {1: "full", 2: "new", 3: "base"}
    assert wire.call(daemon.socket, "Prepare", request)[0] == wire.FAILED_PRECONDITION
    caller.mounts("top")
    remount(apart, "rw")
    caller.prepare("new", "base")
    caller.commit("done", "active")


@pytest.mark.parametrize("kind", ["overlay", "native", "btrfs"])
def test_read_only_root(varve, make_fs, tempdir, kind):
    """Nothing can be done there, and each command says so."""
    driver, *fs = KINDS[kind]
    full = Full(varve, make_fs(*fs), driver, tempdir / "mountpoint")
    before = full.state()
    remount(full.place, "ro")
    try:
        changing = [line for line, _ in CHANGING]
        for line in [*LOOKING, *changing, "snapshot rm top", "system cleanup"]:
            done = full.run(line, status=None)
            assert done.returncode == FAILED_PRECONDITION and READ_ONLY in done.stderr, done
            assert str(varve.root) in done.stderr
        other = varve.at(full.place / "other")
        done = other("pool", "create", "new", status=FAILED_PRECONDITION)
        assert READ_ONLY in done.stderr
    finally:
        remount(full.place, "rw")
    assert full.state() == before
    full.check_whole()
