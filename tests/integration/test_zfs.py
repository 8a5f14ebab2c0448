# SPDX-License-Identifier: Apache-2.0
"""The zfs driver through the command and the daemon: a zpool that is full, one whose disk is gone,
and what an administrator does to one meanwhile. Rows D3, D5, D6 and V3.

What the driver does of itself is in tests/unit/test-zfs*.c; crashes are in test_crash.py.
"""

import errno
import os
import subprocess

import pytest
from callers import CommandCaller, DaemonCaller, Refused
from conftest import CLEAN, TIMEOUT, export, wait_until

NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, UNAVAILABLE = 4, 5, 6, 7

def run(*command):
    return subprocess.check_output(command, text=True, timeout=TIMEOUT).strip()


@pytest.fixture
def pool(make_zpool, varve, tempdir):
    """pool(size) makes a pool "z" in a new zpool, and returns the zpool's name."""

    def make(size="1G", **options):
        zpool = make_zpool(size, **options)
        varve("pool", "create", "z", "--driver", "zfs", "--set", f"dataset={zpool}/varve")
        return zpool

    return make


@pytest.fixture
def point(tempdir):
    path = tempdir / "point"
    path.mkdir()
    return path


# --- an administrator -----------------------------------------------------------------------------


def test_exported(pool, varve):
    """A zpool that is exported is told about, and its pool works again when it is back."""
    zpool = pool()
    varve("snapshot", "prepare", "key")
    file = next(w for w in run("zpool", "list", "-vHP", zpool).split() if w.startswith("/"))
    export(zpool)
    assert f"zpool import {zpool}" in varve("snapshot", "prepare", "other", status=NOT_FOUND).stderr
    [info] = varve.json("pool", "ls")
    assert f"'{zpool}' is not imported" in info["problem"]
    run("zpool", "import", "-N", "-o", "cachefile=none", "-d", file, zpool)
    varve("snapshot", "prepare", "other")
    assert [info["name"] for info in varve.json("snapshot", "ls")] == ["key", "other"]


def test_pool_is_removed_whole(pool, varve):
    zpool = pool()
    varve("snapshot", "prepare", "key")
    varve("pool", "rm", "z", status=FAILED_PRECONDITION)
    varve("snapshot", "rm", "key")
    run("zfs", "create", f"{zpool}/varve/theirs")
    refused = varve("pool", "rm", "z", status=FAILED_PRECONDITION)
    assert f"{zpool}/varve/theirs" in refused.stderr
    run("zfs", "destroy", f"{zpool}/varve/theirs")


def test_two_pools_in_one_zpool(pool, varve):
    zpool = pool()
    again = ["pool", "create", "y", "--driver", "zfs", "--set"]
    assert "holds a pool already" in varve(
        *again, f"dataset={zpool}/varve", status=ALREADY_EXISTS
    ).stderr
    varve(*again, f"dataset={zpool}/other")
    varve("--pool", "z", "snapshot", "prepare", "key")
    varve("--pool", "y", "snapshot", "prepare", "key")
    assert varve.json("system", "cleanup") == CLEAN
    for name in "z", "y":
        varve("--pool", name, "snapshot", "rm", "key")
        varve("pool", "rm", name)
    assert run("zfs", "list", "-H", "-r", "-o", "name", zpool) == zpool


# --- full -----------------------------------------------------------------------------------------


def fill(directory):
    """Writes to a new file until there is no space."""
    with open(directory / "filler", "wb", buffering=0) as file:
        with pytest.raises(OSError) as full:
            while True:
                file.write(os.urandom(1 << 18))
                os.fsync(file.fileno())
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize("way", ["command", "daemon"])
def test_full(pool, varve, varved, point, way):
    """Each operation works or is refused for want of space, nothing is half-made, and what is full
    can be emptied."""
    zpool = pool("64M")
    caller = DaemonCaller(varved().socket, "z") if way == "daemon" else CommandCaller(varve.root, "z")
    with caller.prepare("keep").at(point) as directory:
        (directory / "precious").write_bytes(b"precious")
    caller.commit("base", "keep")
    with caller.prepare("bulky", "base").at(point) as directory:
        fill(directory)
    for i in range(20):
        try:
            caller.prepare(f"new-{i}", "base")
            caller.commit(f"name-{i}", f"new-{i}")
        except Refused:
            pass
    caller.view("view", "base")
    known = {info["name"] for info in varve.json("--pool", "z", "snapshot", "ls")}
    assert {"base", "bulky", "view"} <= known
    for name in known - {"base", "view"}:
        caller.remove(name)
    wait_until(lambda: varve.json("system", "info")["pending"] == 0, "the space to be freed")
    with caller.prepare("again", "base").at(point) as directory:
        assert (directory / "precious").read_bytes() == b"precious"
        (directory / "large").write_bytes(bytes(1 << 20))
    assert varve.json("system", "cleanup") == CLEAN
    assert run("zpool", "get", "-H", "-o", "value", "health", zpool) == "ONLINE"


def test_quota(pool, varve, point):
    """A quota of the administrator's is a full pool, and says so."""
    zpool = pool()
    varve("snapshot", "prepare", "bulky")
    run("zfs", "set", "quota=1M", f"{zpool}/varve")
    mount = CommandCaller(varve.root, "z").mounts("bulky")
    with mount.at(point) as directory, pytest.raises(OSError) as full:
        (directory / "bulk").write_bytes(os.urandom(4 << 20))
    assert full.value.errno in (errno.EDQUOT, errno.ENOSPC)
    varve("snapshot", "rm", "bulky")
    run("zfs", "set", "quota=none", f"{zpool}/varve")
    varve("snapshot", "prepare", "bulky")


# --- suspended ------------------------------------------------------------------------------------


def state(zpool):
    with open(f"/proc/spl/kstat/zfs/{zpool}/state") as file:
        return file.read().strip()


@pytest.fixture
def small_disk(tempdir):
    """A file system with less space than a sparse file on it may want."""
    place = tempdir / "disk"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48M", "tmpfs", place)
    return place


def suspend(zpool, disk, directory):
    """Takes the disk's last space away and has ZFS want some."""
    with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(1 << 16))
    writer = subprocess.Popen(["dd", "if=/dev/urandom", f"of={directory}/x", "bs=1M", "count=40"])
    wait_until(lambda: state(zpool) == "SUSPENDED", "the zpool to be suspended")
    return writer


def test_suspended(small_disk, make_zpool, varve, varved, point):
    """No call waits in the kernel for a disk that is gone; all is well when it is back."""
    zpool = make_zpool("512M", place=small_disk)
    varve("pool", "create", "z", "--driver", "zfs", "--set", f"dataset={zpool}/varve")
    daemon = varved()
    caller = DaemonCaller(daemon.socket, "z")
    mount = caller.prepare("bulky")
    with mount.at(point) as directory:
        writer = suspend(zpool, small_disk, directory)
        try:
            for words in ["prepare", "other"], ["commit", "name", "bulky"], ["usage", "bulky"]:
                refused = varve("snapshot", *words, status=UNAVAILABLE)
                assert f"zpool clear {zpool}" in refused.stderr
            [info] = varve.json("pool", "ls")
            assert f"'{zpool}' is suspended" in info["problem"]
            with pytest.raises(Refused, match="status 14"):  # UNAVAILABLE
                caller.prepare("other")
        finally:
            run("mount", "-o", "remount,size=1G", small_disk)
            run("zpool", "clear", zpool)
            writer.wait(TIMEOUT)
    caller.commit("name", "bulky")
    caller.prepare("other", "name")
    assert varve.json("system", "cleanup")["failed"] == 0


# --- busy -----------------------------------------------------------------------------------------


def test_removed_while_busy(pool, varve, point):
    """Removing frees the key at once; the files go when whoever uses them is done."""
    zpool = pool()
    caller = CommandCaller(varve.root, "z")
    with caller.prepare("key").at(point) as directory:
        (directory / "file").write_text("text")
        caller.remove("key")
        caller.prepare("key")
        assert varve.json("system", "info")["pending"] == 1
        assert (directory / "file").read_text() == "text"
    varve("system", "cleanup")
    assert varve.json("system", "info")["pending"] == 0
    names = run("zfs", "list", "-H", "-r", "-o", "name", f"{zpool}/varve/runtime").split()
    assert len(names) == 2
