# SPDX-License-Identifier: Apache-2.0
"""Many at once on one root: the daemon, commands and other processes of the library, 64 clients of
containerd's; and what they may bring: deep lineages, and keys and labels of any bytes.
"""

import base64
import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wire
from callers import CommandCaller, DaemonCaller, Refused
from conftest import BUILD, CLEAN, TIMEOUT, wait_until
from workers import Snapshot, Worker

DRIVERS = {"overlay": "ext4", "native": "xfs", "btrfs": "btrfs"}
INVALID, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION = 3, 4, 5, 6  # exit statuses

@pytest.fixture(params=DRIVERS)
def driver(request, varve, make_fs):
    """A root on the driver's file system, with a pool "shared" of it, the only one."""
    varve.root = make_fs(DRIVERS[request.param]) / "root"
    varve("pool", "create", "shared", "--driver", request.param)
    return request.param


@pytest.fixture
def overlay(varve, ext4):
    """The same, for what is not a matter of the driver."""
    varve.root = ext4 / "root"
    varve("pool", "create", "shared", "--driver", "overlay")


@pytest.fixture
def native(varve):
    """The same, wherever the root is."""
    varve("pool", "create", "shared", "--driver", "native")


@pytest.fixture(scope="session")
def stress():
    """stress(daemon, *words) runs the client in stress/, with containerd's own code, and returns
    what it prints."""
    if not shutil.which("go") or not Path("/usr/share/gocode/src/github.com/containerd").exists():
        pytest.skip("Go, or golang-github-containerd-containerd-dev, is missing")
    program = BUILD / "tests/integration/stress"
    program.parent.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    source = Path(__file__).parent / "stress"
    build = ["go", "build", "-o", program, "."]
    subprocess.run(build, cwd=source, env=env, check=True, timeout=600)

    def run(daemon, *words):
        command = [program, daemon.socket, "shared", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stderr}\n{daemon.log()}"
        return done.stdout

    return run


def names(varve):
    return sorted(info["name"] for info in varve.json("snapshot", "ls"))


# --- together -------------------------------------------------------------------------------------


def test_each_sees_the_other_at_once(driver, varve, varved):
    daemon = varved()
    caller = DaemonCaller(daemon.socket, "shared")
    for i in range(20):
        varve("snapshot", "prepare", f"command-{i}")
        caller.commit(f"base-{i}", f"command-{i}")
        mount = caller.prepare(f"daemon-{i}", f"base-{i}")
        [shown] = varve.json("snapshot", "mounts", f"daemon-{i}")
        assert (shown["type"], shown["source"], shown["options"]) == tuple(mount)
        assert "is one: remove that first" in varve("snapshot", "rm", f"base-{i}", status=6).stderr
        varve("snapshot", "rm", f"daemon-{i}", f"base-{i}")
        with pytest.raises(Refused):
            caller.mounts(f"daemon-{i}")
    assert names(varve) == []


def test_all_write_at_the_same_time(driver, varve, varved, load, tempdir):
    """The daemon, a process of the library, and commands; each worker finds what it made."""
    daemon, loaded = varved(), load("shared")
    callers = [DaemonCaller(daemon.socket, "shared"), loaded.caller(), loaded.caller()]
    callers += [DaemonCaller(daemon.socket, "shared"), CommandCaller(varve.root, "shared")]
    workers = [Worker(i, random.Random(i), tempdir / f"worker-{i}") for i in range(len(callers))]
    for worker, caller in zip(workers, callers):
        worker.start(caller)
    time.sleep(2)
    wait_until(lambda: all(worker.done > 5 for worker in workers), "what each has done")
    for worker in workers:
        worker.stop()
    listed = {
        info["name"]: Snapshot(info["kind"], info["parent"], info["labels"].get("value", ""))
        for info in varve.json("snapshot", "ls")
    }
    assert len(listed) == sum(len(worker.book) for worker in workers)
    for worker, caller in zip(workers, reversed(callers)):
        worker.settle(listed)
        worker.inspect(caller, worker.book)
    loaded.kill()
    varve("system", "cleanup")
    assert varve.json("system", "cleanup") == CLEAN


def test_64_clients(driver, varve, varved, stress):
    daemon = varved()
    left = stress(daemon, "clients", 64, 3).split()
    assert len(left) == 64 * 3 + 1
    assert names(varve) == sorted(left)
    assert daemon.stop() == 0
    varve("system", "cleanup")
    assert varve.json("system", "cleanup") == CLEAN


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_others_see_that_it_is_open(make_fs, varved, kind):
    """By a lock on the store's first byte: without it they would set its locks up anew, beside those
    who write. The daemon makes the root, and finds it."""
    root = make_fs(kind) / "root"
    for _ in range(2):
        daemon = varved(root=root)
        with open(root / "store/lock.mdb", "rb+") as file:
            whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
            found = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, whole))
        assert (found[0], found[-1]) == (fcntl.F_RDLCK, daemon.process.pid)
        assert daemon.stop() == 0


# --- races ----------------------------------------------------------------------------------------


@pytest.fixture
def rivals(driver, varve, load):
    """race(first, second): two calls at the same time, by two processes; whether each succeeded."""
    processes = [load("shared") for _ in range(2)]
    callers = [process.caller() for process in processes]

    def attempt(caller, name, *args):
        try:
            getattr(caller, name)(*args)
        except Refused as refusal:
            return str(refusal)
        return True

    with ThreadPoolExecutor(2) as pool:

        def race(first, second):
            futures = [pool.submit(attempt, c, *call) for c, call in zip(callers, (first, second))]
            return [future.result(TIMEOUT) for future in futures]

        race.caller = callers[0]
        yield race
    for process in processes:
        process.kill()
    load("shared").kill()
    assert varve.json("system", "cleanup")["orphans"] == 0


def test_race_for_a_key(rivals, varve):
    for i in range(60):
        outcome = rivals(("prepare", f"key-{i}"), ("prepare", f"key-{i}"))
        assert outcome.count(True) == 1, outcome
    assert len(names(varve)) == 60


def test_race_for_a_name(rivals, varve):
    for i in range(40):
        for key in "first", "second":
            rivals.caller.prepare(f"{key}-{i}")
        name = f"name-{i}"
        outcome = rivals(("commit", name, f"first-{i}"), ("commit", name, f"second-{i}"))
        assert outcome.count(True) == 1, outcome
        loser = ("first", "second")[outcome.index(True) ^ 1]
        rivals.caller.commit(f"other-{i}", f"{loser}-{i}")  # it stayed as it was
    assert len(names(varve)) == 80


def test_race_of_two_commits_of_a_key(rivals, varve):
    for i in range(40):
        rivals.caller.prepare(f"key-{i}")
        outcome = rivals(("commit", f"one-{i}", f"key-{i}"), ("commit", f"two-{i}", f"key-{i}"))
        assert outcome.count(True) == 1, outcome
        rivals.caller.view(f"view-{i}", f"{('one', 'two')[outcome.index(True)]}-{i}")


def test_race_of_child_and_removal(rivals, varve):
    for i in range(60):
        rivals.caller.prepare("key")
        rivals.caller.commit(f"base-{i}", "key")
        outcome = rivals(("prepare", f"child-{i}", f"base-{i}"), ("remove", f"base-{i}"))
        assert outcome.count(True) == 1, outcome
    listed = varve.json("snapshot", "ls")
    there = {info["name"] for info in listed}
    assert all(info["parent"] in there for info in listed if info["parent"])


def test_race_of_commit_and_removal(rivals, varve):
    for i in range(40):
        rivals.caller.prepare(f"key-{i}")
        committed, removed = rivals(("commit", f"name-{i}", f"key-{i}"), ("remove", f"key-{i}"))
        assert (committed is True) != (removed is True), (committed, removed)
        assert names(varve).count(f"name-{i}") == (committed is True)


def at_once(n, run):
    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


def test_a_hundred_commands(overlay, varve):
    """One of many wins where only one can, and all where all can."""

    def outcomes(words):
        """The exit statuses of 25 commands at once; words(i) are those of one."""
        return at_once(25, lambda i: varve("snapshot", *words(i), status=None).returncode)

    one_wins = [0] + [ALREADY_EXISTS] * 24
    assert sorted(outcomes(lambda i: ["prepare", "same"])) == one_wins
    assert outcomes(lambda i: ["prepare", f"key-{i}"]) == [0] * 25
    won = outcomes(lambda i: ["commit", "name", f"key-{i}"])
    assert sorted(won) == one_wins
    rest = sorted({f"key-{i}" for i in range(25)} - {f"key-{won.index(0)}"})
    assert names(varve) == sorted(["same", "name", *rest])
    assert sorted(outcomes(lambda i: ["rm", "name"])) == [0] + [NOT_FOUND] * 24
    assert outcomes(lambda i: ["rm", ["same", *rest][i]]) == [0] * 25
    assert names(varve) == []
    varve("system", "cleanup")
    assert varve.json("system", "cleanup") == CLEAN


def test_default_pool_is_made_once(ext4, varve):
    varve.root = ext4 / "fresh"
    at_once(12, lambda i: varve("snapshot", "prepare", f"key-{i}"))
    assert [pool["name"] for pool in varve.json("pool", "ls")] == ["default"]
    assert len(names(varve)) == 12


# --- deep -----------------------------------------------------------------------------------------


def test_200_layers(driver, varve, varved, stress, tempdir):
    """containerd's mount.All and ours show all of them; the path is as long as it may be there."""
    stress(varved(), "layers", 200)
    expected = {f"layer-{i}" for i in range(1, 201)}
    target = tempdir / "target"
    target.mkdir()
    varve("snapshot", "prepare", "top", "layer-200", "--mount", target)
    assert set(os.listdir(target)) == expected
    for name in "layer-1", "layer-100", "layer-200":
        (target / name).unlink()
    (target / "new").write_text("new")
    varve("snapshot", "umount", target)
    varve("snapshot", "commit", "layer-201", "top")
    varve("snapshot", "view", "look", "layer-201")
    varve("snapshot", "mount", "look", target)
    assert set(os.listdir(target)) == expected - {"layer-1", "layer-100", "layer-200"} | {"new"}
    assert (target / "layer-150").read_text() == "layer-150"
    with pytest.raises(OSError, match="Read-only file system"):
        (target / "more").write_text("more")
    varve("snapshot", "umount", target)
    lines = varve("snapshot", "tree").stdout
    assert all(name in lines for name in expected)
    varve("snapshot", "rm", "look", *(f"layer-{i}" for i in range(201, 0, -1)))
    assert names(varve) == []


# --- hostile --------------------------------------------------------------------------------------

HOSTILE = [
    b"x" * 4096,
    "ä".encode() * 2048,
    b"two\nlines\n",
    b"\n",
    b" ",
    b"\t\r\x1b[31mred\x1b[0m\x07",
    b"\x01\x7f\x80\xfe\xff",
    b"\xff" * 4096,
    "größe/名前/🗻".encode(),
    "\u202eright to left\u200b".encode(),
    b"../../../../tmp/escape",
    b"/",
    b".",
    b"..",
    b"'; rm -rf $HOME; `id` $(id) \"",
    b'{"json": "\\u0000"}',
    b"%s%n%d",
    b"*?[a]~",
    b"a=b,c==d",
    b"-rf",
    b"--json",
    b"--",
    b"help",
    b"name\\",
    b"1",
    b"containerd.io/snapshot/x",
]


def identify(key):
    """A short name for a test with that key."""
    return repr(key[:20])[2:-1]


def decoded(entry, field):
    """The bytes of a field of the command's JSON."""
    raw = entry.get(f"{field}_base64")
    return base64.b64decode(raw) if raw is not None else entry[field].encode()


def listed_names(varve, *filters):
    return sorted(decoded(info, "name") for info in varve.json("snapshot", "ls", "--", *filters))


def quoted(text):
    """As a value in a filter."""
    return b'"' + text.replace(b"\\", rb"\\").replace(b'"', rb"\"") + b'"'


@pytest.mark.parametrize("key", HOSTILE, ids=identify)
def test_hostile_key(native, varve, tempdir, key):
    """In every command that takes one, as key, as name and as parent."""
    other = (b"+" + key)[:4096]
    before = sorted(path for path in varve.root.rglob("*") if "snapshots" not in path.parts)
    target = tempdir / "target"
    target.mkdir()
    varve("snapshot", "prepare", "--", key)
    assert listed_names(varve) == [key]
    stat = varve.json("snapshot", "stat", "--", key)
    assert (decoded(stat, "name"), stat["kind"]) == (key, "active")
    assert len(varve.json("snapshot", "mounts", "--", key)) == 1
    [usage] = varve.json("snapshot", "usage", "--", key)["snapshots"]
    assert decoded(usage, "name") == key
    varve("snapshot", "mount", "--", key, target)
    (target / "file").write_text("file")
    varve("snapshot", "umount", target)
    labelled = varve.json("snapshot", "label", "--", key, b"note=" + key[:4092])
    assert list(labelled["labels"]) == ["note"]
    taken = varve("snapshot", "prepare", "--", key, status=ALREADY_EXISTS).stderr
    assert "is taken" in taken and taken.count("\n") == 1 and "\x1b" not in taken

    varve("snapshot", "commit", "--", other, key)
    assert listed_names(varve) == [other]
    varve("snapshot", "prepare", "--", key, other)  # the key is free again
    varve("snapshot", "view", "--", "view", other)
    refused = varve("--json", "snapshot", "rm", "--", other, status=FAILED_PRECONDITION)
    assert refused.stderr.count("\n") == 1
    listed = varve.json("snapshot", "ls")
    parents = {decoded(info, "name"): decoded(info, "parent") for info in listed}
    assert parents == {other: b"", key: other, b"view": other}
    if b"\n" not in key and key.isascii():
        assert listed_names(varve, b"name==" + quoted(key)) == [key]
        assert listed_names(varve, b"parent==" + quoted(other)) == sorted([key, b"view"])
    for look in ["ls"], ["ls", "--full"], ["tree"], ["tree", "--full", "--usage"], ["usage"]:
        shown = varve("snapshot", *look).stdout
        assert "\x1b" not in shown and len(shown.splitlines()) >= 3
    varve("snapshot", "rm", "--", "view", key, other)
    assert listed_names(varve) == []
    assert sorted(path for path in varve.root.rglob("*") if "snapshots" not in path.parts) == before


@pytest.mark.parametrize("size", [4097, 100_000])
def test_key_too_long(native, varve, size):
    key = "x" * size
    varve("snapshot", "prepare", "short")
    for words in (
        ["prepare", key], ["prepare", "new", key], ["view", key, "base"], ["commit", key, "short"],
        ["stat", key], ["mounts", key], ["rm", key], ["label", key, "a=b"],
    ):  # fmt: skip
        stderr = varve("snapshot", *words, status=None).stderr
        assert "4096" in stderr or "there is no snapshot" in stderr, words
        assert len(stderr) < 2000
    varve("snapshot", "prepare", "", status=INVALID)
    assert names(varve) == ["short"]
    varve("snapshot", "rm", "short")


@pytest.mark.parametrize("value", HOSTILE, ids=identify)
def test_hostile_label(native, varve, value):
    value = value[:4092]
    varve("snapshot", "prepare", "key", "--label", b"note=" + value)
    name = value[:4090].replace(b"=", b":") or b"x"
    varve("snapshot", "label", "--", "key", b"/" + name + b"=value")
    info = varve.json("snapshot", "stat", "key")
    raw = {base64.b64decode(k): base64.b64decode(v) for k, v in info.get("labels_base64", [])}
    labels = {k.encode(): v.encode() for k, v in info["labels"].items()} | raw
    assert labels[b"note"] == value and labels[b"/" + name] == b"value"
    for look in ["stat", "key"], ["ls", "--full"], ["ls"]:
        assert "\x1b" not in varve("snapshot", *look).stdout
    varve("snapshot", "label", "--", "key", b"/" + name + b"-", "note-")
    assert varve.json("snapshot", "stat", "key")["labels"] == {}
    varve("snapshot", "rm", "key")


def test_label_too_long(native, varve):
    varve("snapshot", "prepare", "key")
    varve("snapshot", "label", "key", "k=" + "v" * 4095)
    long = "k=" + "v" * 4096
    for words in ["label", "key", long], ["prepare", "new", "--label", long]:
        assert "4096" in varve("snapshot", *words, status=INVALID).stderr
    assert varve.json("snapshot", "stat", "key")["labels"] == {"k": "v" * 4095}
    varve("snapshot", "rm", "key")


def test_hostile_keys_through_the_daemon(overlay, varve, varved):
    """The same bytes arrive. What is not UTF-8 is none of protobuf's strings."""
    daemon = varved()
    for key in HOSTILE:
        status, _ = wire.call(daemon.socket, "Prepare", {1: "shared", 2: key})
        try:
            key.decode()
        except UnicodeDecodeError:
            assert status in (wire.OK, wire.INVALID_ARGUMENT)
            continue
        assert status == wire.OK
        assert wire.call(daemon.socket, "Stat", {1: "shared", 2: key})[0] == wire.OK
        assert key in listed_names(varve)
        status, data = wire.call(daemon.socket, "List", {1: "shared", 2: b"name==" + quoted(key)})
        if b"\n" not in key and key.isascii():
            assert status == wire.OK and key in data
        assert wire.call(daemon.socket, "Remove", {1: "shared", 2: key})[0] == wire.OK
    for key in b"", b"x" * 4097:
        status, _ = wire.call(daemon.socket, "Prepare", {1: "shared", 2: key})
        assert status == wire.INVALID_ARGUMENT
