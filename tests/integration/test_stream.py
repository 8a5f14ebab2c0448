# SPDX-License-Identifier: Apache-2.0
"""Streams: snapshots sent from any pool to any other, whole or as differences. SPEC rows V6, V7."""

import itertools
import json
import os
import random
import signal
import subprocess

import pytest
from conftest import CLEAN, TIMEOUT, VARVE
from test_unpack import tree
from test_volume import settings_of
from trees import MIB, Changes, holes

DRIVERS = {"overlay": "ext4", "native": "xfs", "btrfs": "btrfs", "zfs": "ext4"}
PAIRS = list(itertools.product(DRIVERS, DRIVERS))
INCREMENTS = int(os.environ.get("VARVE_STREAM_INCREMENTS", "50"))
LONG = [("overlay", "native"), ("native", "btrfs"), ("btrfs", "overlay")]  # the others have fewer

ALREADY_EXISTS, FAILED_PRECONDITION, NOT_IMPLEMENTED = 5, 6, 8
BUSY, CORRUPT, CANCELLED = 11, 12, 13


def see(root):
    """All that is to be equal. XFS shows an ACL a second time, in the form in which it keeps it."""
    found = tree(root)
    for attributes in found.values():
        for name in ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT"):
            attributes[8].pop(name, None)
    return found


def assert_same(there, here, what=""):
    """As see() has them; tells where they differ, and not all that is the same."""
    differing = {
        path: (str(there.get(path))[:300], str(here.get(path))[:300])
        for path in sorted(there.keys() | here.keys())
        if there.get(path) != here.get(path)
    }
    assert not differing, what


class Side:
    """A pool on a root of its own."""

    def __init__(self, varve, place, driver, point, settings=()):
        self.varve, self.point, self.driver = varve.at(place / "root"), point, driver
        self.varve("pool", "create", "p", "--driver", driver, *settings)
        point.mkdir()

    def __call__(self, *args, **kwargs):
        return self.varve("snapshot", *args, **kwargs)

    def make(self, name, parent=None, fill=lambda root: None):
        """A committed snapshot, filled by a function."""
        self("prepare", "work", *([parent] if parent else []), "--mount", self.point)
        try:
            fill(self.point)
        finally:
            self("umount", self.point)
        self("commit", name, "work", "--label", f"made={name}")

    def look(self, name, see=see):
        self("view", "look", name, "--mount", self.point)
        try:
            return see(self.point)
        finally:
            self("umount", self.point)
            self("rm", "look")

    def send(self, name, *args, **kwargs):
        """The stream, as bytes."""
        return self("send", name, *args, text=False, **kwargs).stdout

    def receive(self, stream, *args, **kwargs):
        done = self("receive", *args, input=stream, text=False, **kwargs)
        done.stderr = done.stderr.decode()
        return done

    def names(self):
        return sorted(info["name"] for info in self.varve.json("snapshot", "ls"))

    def uuid(self, name):
        return self.varve.json("snapshot", "stat", name)["labels"]["varve/uuid"]


def maker(kind, make_fs, make_zpool, varve, tempdir):
    def make(*drivers):
        return [
            kind(varve, make_fs(DRIVERS[driver]), driver, tempdir / f"point-{i}",
                 settings_of(driver, make_zpool))
            for i, driver in enumerate(drivers)
        ]  # fmt: skip

    return make


@pytest.fixture
def sides(make_fs, make_zpool, varve, tempdir):
    return maker(Side, make_fs, make_zpool, varve, tempdir)


def fill(root, seed=1):
    for name in ("dir/deep", "other"):
        (root / name).mkdir(parents=True)
    (root / "file").write_bytes(b"content" * 1000)
    (root / "dir/deep/file").write_text("deep")
    os.chown(root / "file", 3, 4)
    os.utime(root / "other", ns=(5, 1_234_567_890_123_456_789))
    Changes(root, seed).change(60)


@pytest.mark.parametrize("source, target", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_increments(sides, source, target):
    """V6: one difference after the other, each tree equal to the last xattr and link."""
    here, there = sides(source, target)
    here.make("0", fill=fill)
    there.receive(here.send("0"))
    assert_same(there.look("0"), here.look("0"))
    count = INCREMENTS if (source, target) in LONG else min(INCREMENTS, 12)
    for i in range(1, count + 1):
        here.make(str(i), str(i - 1), lambda root: Changes(root, i).change(8))
        there.receive(here.send(str(i), "--base", str(i - 1)))
        assert_same(there.look(str(i)), here.look(str(i)), f"increment {i}")
    infos = {info["name"]: info for info in there.varve.json("snapshot", "ls")}
    assert infos["1"]["parent"] == "0" and infos["1"]["labels"]["made"] == "1"
    assert there.varve.json("system", "cleanup") == CLEAN


@pytest.mark.parametrize("driver", DRIVERS)
def test_difference_to_an_older_one(sides, driver):
    """V6: the newest common snapshot, also when it is not the parent."""
    here, there = sides(driver, "native")
    here.make("0", fill=fill)
    for i in range(1, 13):
        here.make(str(i), str(i - 1), lambda root: Changes(root, 100 + i).change(8))
    there.receive(here.send("0"))
    there.receive(here.send("4", "--base", "0"))
    told = there.varve.json("snapshot", "haves")["haves"]
    assert told == [here.uuid("4"), here.uuid("0")]
    bases = itertools.chain.from_iterable(("--base", uuid) for uuid in reversed(told))
    done = here.varve("--json", "snapshot", "send", "12", *bases, "--compression", "none",
                      text=False)  # fmt: skip
    assert json.loads(done.stderr)["base"] == here.uuid("4")
    there.receive(done.stdout, "renamed")
    assert_same(there.look("renamed"), here.look("12"))
    assert there.varve.json("snapshot", "stat", "renamed")["parent"] == "4"
    assert there.uuid("renamed") == here.uuid("12")


def test_everything_is_kept(sides):
    """A full stream is deterministic, and is what a second receiver has too."""
    here, there = sides("btrfs", "overlay")
    here.make("0", fill=lambda root: fill(root, 7))
    first, second = here.send("0"), here.send("0")
    assert first == second
    done = there.receive(first, "mine", "--label", "owner=ada", "--label", "made=there")
    assert done.stdout.decode().strip() == here.uuid("0")
    labels = there.varve.json("snapshot", "stat", "mine")["labels"]
    assert labels == {"made": "there", "owner": "ada", "varve/uuid": here.uuid("0")}
    assert_same(there.look("mine"), here.look("0"))


@pytest.mark.parametrize("source, target", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_holes(sides, source, target):
    """Holes stay holes; what became one is made one, and what was one is filled."""
    here, there = sides(source, target)
    content = random.Random(1).randbytes(MIB)

    def write(root, name, size, *places):
        with open(root / name, "r+b" if (root / name).exists() else "xb") as file:
            for place in places:
                file.seek(place * MIB)
                file.write(content)
            file.truncate(size * MIB)

    def base(root):
        for name in ("filled", "punched", "grown", "cut"):
            write(root, name, 32, 4, 12, 20)
        write(root, "end", 32, 31)
        write(root, "none", 32)

    def change(root):
        write(root, "filled", 32, 8, 28)
        subprocess.run(["fallocate", "-p", "-o", f"{12 * MIB}", "-l", f"{MIB}", root / "punched"],
                       check=True)  # fmt: skip
        write(root, "grown", 64, 60)
        write(root, "cut", 16)
        write(root, "none", 64)

    here.make("0", fill=base)
    here.make("1", "0", change)
    for name, sent in (("0", here.send("0")), ("1", here.send("1", "--base", "0"))):
        there.receive(sent)
        assert_same(there.look(name), here.look(name))
        assert_same(there.look(name, holes), here.look(name, holes))
    assert there.look("1", holes)["./punched"] == [(4, 5), (20, 21)]
    assert there.look("1", holes)["./filled"] == [(4, 5), (8, 9), (12, 13), (20, 21), (28, 29)]


def test_there_and_back(sides):
    """A snapshot that came from elsewhere is a base for what goes back."""
    here, there = sides("overlay", "btrfs")
    here.make("0", fill=fill)
    there.receive(here.send("0"))
    there.make("1", "0", lambda root: Changes(root, 3).change(20))
    here.receive(there.send("1", "--base", "0"))
    assert_same(here.look("1"), there.look("1"))
    assert here.varve.json("snapshot", "stat", "1")["parent"] == "0"


def test_changed_ranges_only(sides):
    """A small change of a large file is a small stream."""
    here, there = sides("btrfs", "overlay")
    content = random.Random(1).randbytes(8 << 20)
    here.make("0", fill=lambda root: (root / "large").write_bytes(content))

    def change(root):
        with open(root / "large", "r+b") as file:
            file.seek(3 << 20)
            file.write(b"x" * 8192)

    here.make("1", "0", change)
    full, increment = here.send("0"), here.send("1", "--base", "0")
    assert len(full) > 8 << 20
    assert len(increment) < 20_000
    there.receive(full)
    there.receive(increment)
    assert_same(there.look("1"), here.look("1"))


def test_refusals(sides):
    here, there = sides("btrfs", "overlay")
    here.make("0", fill=fill)
    here.make("1", "0", lambda root: Changes(root, 3).change(20))
    increment = here.send("1", "--base", "0")
    refused = there.receive(increment, status=FAILED_PRECONDITION)
    assert here.uuid("0") in refused.stderr and "not there" in refused.stderr
    full = here.send("0")
    there.receive(full)
    assert "is there, as '0'" in there.receive(full, "x", status=ALREADY_EXISTS).stderr
    there.make("1")
    assert "'1' is taken" in there.receive(increment, status=ALREADY_EXISTS).stderr
    here("prepare", "active", "1")
    assert b"not committed" in here("send", "active", status=None, text=False).stderr
    assert b"no snapshot 'gone'" in here("send", "gone", status=None, text=False).stderr
    there("send", "0", "--format", "native", status=NOT_IMPLEMENTED)
    assert there.names() == ["0", "1"]
    assert there.varve.json("system", "cleanup") == CLEAN


def native(*sides):
    """The format of streams of their drivers' own."""
    formats = {side.varve.json("snapshot", "haves")["format"] for side in sides}
    if None in formats:
        pytest.skip("the driver has no streams of its own")
    assert len(formats) == 1
    return formats.pop()


NATIVE = ["btrfs", "zfs"]  # the drivers that have one


@pytest.mark.parametrize("driver", NATIVE)
def test_native(sides, driver):
    """A driver's own stream is sent to who takes it, and only then; a difference as well."""
    here, there, other = sides(driver, driver, "native")
    kind = native(here, there)
    here.make("0", fill=fill)
    there.receive(here.send("0", "--accept", "another-1", "--accept", kind))
    assert_same(there.look("0"), here.look("0"))
    for i in range(1, 13):
        here.make(str(i), str(i - 1), lambda root: Changes(root, i).change(8))
    for name, base in (("1", "0"), ("2", "1"), ("12", "2")):
        done = here.varve("--json", "snapshot", "send", name, "--base", base, "--format", "native",
                          text=False)  # fmt: skip
        assert json.loads(done.stderr)["format"] == kind
        refused = other.receive(done.stdout, status=None)
        assert refused.returncode == FAILED_PRECONDITION  # it has no base; see below
        there.receive(done.stdout)
        assert_same(there.look(name), here.look(name), name)
    refused = other.receive(here.send("0", "--format", "native"), status=NOT_IMPLEMENTED)
    assert "portable" in refused.stderr
    other.receive(here.send("0"))
    assert_same(other.look("0"), here.look("0"))
    assert there.varve.json("system", "cleanup") == CLEAN


@pytest.mark.parametrize("driver", NATIVE)
def test_native_damaged(sides, driver):
    here, there = sides(driver, driver)
    native(here, there)
    here.make("0", fill=fill)
    whole = here.send("0", "--format", "native")
    assert here.send("0", "--format", "native") == whole  # so that one can go on with it
    for begin, end in itertools.pairwise(frames(whole)):
        damaged = bytearray(whole)
        damaged[(begin + HEAD + end) // 2] ^= 1
        there.receive(bytes(damaged), status=CORRUPT)
        there.receive(whole[:end - 1], status=CORRUPT)
    assert there.names() == []
    assert there.varve.json("system", "cleanup") == CLEAN


@pytest.mark.parametrize("driver", DRIVERS)
def test_two_at_once(sides, driver):
    """Of two that receive the same, one does."""
    here, there = sides("overlay", driver)
    here.make("0", fill=fill)
    whole = here.send("0")
    receivers = [
        subprocess.Popen([VARVE, "--root", there.varve.root, "snapshot", "receive"],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(3)
    ]  # fmt: skip
    for receiver in receivers:
        receiver.stdin.write(whole[:5000])
        receiver.stdin.flush()
    for receiver in receivers:
        receiver.communicate(whole[5000:], TIMEOUT)
    ended = sorted(receiver.returncode for receiver in receivers)
    assert ended[0] == 0 and set(ended[1:]) <= {ALREADY_EXISTS, BUSY}
    assert_same(there.look("0"), here.look("0"))
    assert there.varve.json("system", "cleanup") == CLEAN


# --- V7: damaged streams --------------------------------------------------------------------------

PREAMBLE, HEAD = 16, 24


def frames(stream):
    """Where each frame begins, and the end."""
    at, found = PREAMBLE, []
    while at < len(stream):
        found.append(at)
        at += HEAD + int.from_bytes(stream[at + 12 : at + 16], "little")
    return [*found, at]


@pytest.fixture
def stream(sides):
    """One of six frames, and where it can be received."""
    here, there = sides("btrfs", "native")
    content = random.Random(1).randbytes(3 << 20)
    here.make("0", fill=lambda root: (root / "large").write_bytes(content))
    there.make("kept")
    whole = here.send("0")
    assert len(frames(whole)) == 1 + 1 + 4 + 1
    yield whole, there, here
    assert there.names() == ["kept"]
    assert there.varve.json("system", "cleanup") == CLEAN


def test_flipped(stream):
    whole, there, _ = stream
    begins = frames(whole)
    places = [0, 9, 13]
    for begin, end in itertools.pairwise(begins):
        places += [begin, begin + 8, begin + 10, begin + 13, begin + 17, begin + 21,
                   begin + HEAD, (begin + HEAD + end) // 2, end - 1]  # fmt: skip
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 4
        refused = there.receive(bytes(damaged), status=None)
        assert refused.returncode in (CORRUPT, NOT_IMPLEMENTED), (place, refused.stderr)
        assert "stream" in refused.stderr


def test_cut_off(stream):
    whole, there, _ = stream
    for end in [0, 1, PREAMBLE, *(b + n for b in frames(whole)[:-1] for n in (0, 1, HEAD, HEAD + 9))]:
        refused = there.receive(whole[:end], status=CORRUPT)
        assert "empty" in refused.stderr or "did not arrive whole" in refused.stderr or "begins with something else" in refused.stderr  # fmt: skip


def test_reordered_replayed_left_out_or_foreign(stream):
    whole, there, here = stream
    begins = frames(whole)
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(begins)]
    here.make("other", fill=lambda root: (root / "large").write_bytes(b"\0" * (3 << 20)))
    other = here.send("other", "--compression", "none")
    strange = [other[begin:end] for begin, end in itertools.pairwise(frames(other))]
    assert len(strange) == len(pieces)
    for i in range(len(pieces)):
        damaged = [
            pieces[:i] + pieces[i + 1 :],
            pieces[:i] + [pieces[i]] + pieces[i:],
            pieces[:i] + [strange[i]] + pieces[i + 1 :],
        ]
        if i + 1 < len(pieces):
            damaged.append(pieces[:i] + [pieces[i + 1], pieces[i]] + pieces[i + 2 :])
        for wrong in damaged:
            there.receive(whole[:PREAMBLE] + b"".join(wrong), status=CORRUPT)
    there.receive(whole + whole, status=CORRUPT)
    there.receive(whole + b"x", status=CORRUPT)
    there.receive(b"hello" * 100, status=CORRUPT)


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", DRIVERS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed(sides, target, how):
    """In the middle of a transfer: nothing is there, and the next one succeeds."""
    here, there = sides("overlay", target)
    here.make("0", fill=lambda root: (root / "large").write_bytes(random.Random(1).randbytes(8 << 20)))
    whole = here.send("0")
    receiver = subprocess.Popen([VARVE, "--root", there.varve.root, "snapshot", "receive"],
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    receiver.stdin.write(whole[: len(whole) // 2])
    receiver.stdin.flush()  # a pipe holds 64 KiB: what was sent before has been taken
    receiver.send_signal(how)
    receiver.wait(TIMEOUT)
    receiver.stdin.close()
    told = receiver.stderr.read().decode()
    receiver.stderr.close()
    if how == signal.SIGINT:
        assert "interrupted" in told
    assert there.names() == []
    there.receive(whole)
    assert_same(there.look("0"), here.look("0"))
    assert there.varve.json("system", "cleanup")["failed"] == 0
    assert there.varve.json("system", "cleanup") == CLEAN


def test_full_disk(make_fs, varve, tempdir):
    here = Side(varve, make_fs("ext4"), "overlay", tempdir / "here")
    here.make("0", fill=lambda root: (root / "large").write_bytes(random.Random(1).randbytes(64 << 20)))
    place = make_fs("ext4", "64M")
    small = varve.at(make_fs("ext4") / "root")
    small("pool", "create", "p", "--driver", "native", "--set", f"path={place}/pool")
    refused = small("snapshot", "receive", input=here.send("0"), text=False, status=10)
    assert b"No space left on device" in refused.stderr
    assert small.json("snapshot", "ls") == []
    assert small.json("system", "cleanup") == CLEAN
