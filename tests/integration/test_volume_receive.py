# SPDX-License-Identifier: Apache-2.0
"""Volumes that come as streams, and replace what is there: SPEC rows V6 and V7."""

import itertools
import signal
import subprocess
import time

import pytest
from conftest import CLEAN, TIMEOUT, VARVE
from test_stream import assert_same, see
from test_volume import Holder, Volumes, settings_of
from trees import Changes

DRIVERS = {"overlay": "ext4", "native": "xfs", "btrfs": "btrfs", "zfs": "ext4"}
PAIRS = [("overlay", "btrfs"), ("btrfs", "native"), ("native", "overlay"), ("btrfs", "btrfs"),
         ("zfs", "zfs"), ("native", "zfs")]  # fmt: skip
TAKEN, STATE, BUSY, CORRUPT = 5, 6, 11, 12  # exit statuses


class Host(Volumes):
    """A root with a pool, and its volumes."""

    def __init__(self, varve, place, driver, settings):
        varve = varve.at(place / "root")
        varve("pool", "create", "p", "--driver", driver, *settings)
        super().__init__(varve, driver)

    def make(self, volume):
        self("create", volume, "--type", "database")

    def change(self, volume, seed, count=20):
        Changes(self.path(volume), seed).change(count)

    def send(self, snapshot, *args):
        return self("send", snapshot, *args, text=False).stdout

    def receive(self, volume, stream, *args, **kwargs):
        done = self("receive", volume, *args, input=stream, text=False, **kwargs)
        return done.stdout.decode().strip() if done.returncode == 0 else done.stderr.decode()

    def look(self, name):
        return see(self.path(name))


@pytest.fixture
def hosts(make_fs, make_zpool, varve):
    def make(*drivers):
        return [
            Host(varve, make_fs(DRIVERS[driver]), driver, settings_of(driver, make_zpool))
            for driver in drivers
        ]

    return make


@pytest.mark.parametrize("source, target", PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_chain(hosts, source, target):
    """V6: a new volume, then one difference after the other; each replaces what is there. Type and
    meta come along, what was written here since is gone, and a snapshot can be forked."""
    here, there = hosts(source, target)
    here.make("db")
    for i in range(4):
        here.change("db", i)
        here("snapshot", "db", f"db-{i}", "--meta", "app=shop")
        bases = [have["uuid"] for have in there.json("haves", "copy")] if i > 0 else []
        options = itertools.chain.from_iterable(("--base", uuid) for uuid in bases)
        assert there.receive("copy", here.send(f"db-{i}", *options)) == f"db-{i}"
        assert_same(there.look("copy"), here.look(f"db-{i}"))
        assert_same(there.look(f"db-{i}"), here.look(f"db-{i}"))
        (there.path("copy") / "only here").write_text("until the next one comes")
        mounts = there.mounted("copy")
        assert len(mounts) == 1
    volume, snapshot = there.json("inspect", "copy"), there.json("inspect", "db-3")
    assert (volume["type"], volume["meta"]) == ("database", {"app": "shop"})
    assert volume["parent"] == "volume/db-3" and snapshot["parent"] == "volume/db-2"
    assert snapshot["snapshot"] and snapshot["of"] == "copy"
    assert snapshot["uuid"] == here.json("inspect", "db-3")["uuid"]
    assert (snapshot["type"], snapshot["meta"]) == ("database", {"app": "shop"})
    there("fork", "db-2", "fork")
    assert_same(there.look("fork"), here.look("db-2"))
    assert there.varve.json("system", "cleanup") == CLEAN


def test_haves_from(hosts):
    """What `varve volume haves -q` prints is what a sender takes."""
    here, there = hosts("native", "btrfs")
    here.make("db")
    here("snapshot", "db", "db-1")
    there.receive("db", here.send("db-1"))
    here.change("db", 1)
    here("snapshot", "db", "db-2")
    haves = there("haves", "db", "-q").stdout
    stream = here("send", "db-2", "--haves-from", "-", input=haves.encode(), text=False).stdout
    there.receive("db", stream)
    assert there.json("inspect", "db-2")["parent"] == "volume/db-1"
    assert_same(there.look("db"), here.look("db-2"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_existing_volume(hosts, driver):
    """It keeps what it is, and what it stood on stays; the old content's space is freed."""
    here, there = hosts("native", driver)
    here.make("db")
    here.change("db", 1)
    here("snapshot", "db", "new")
    there("create", "db", "--meta", "owner=ada")
    (there.path("db") / "old").write_text("old")
    there("snapshot", "db", "before")
    created = there.json("inspect", "db")["created_at"]
    assert there.receive("db", here.send("new")) == "new"
    volume = there.json("inspect", "db")
    assert (volume["type"], volume["meta"]) == ("data", {"owner": "ada"})
    assert volume["created_at"] == created and volume["mounted"]
    assert_same(there.look("db"), here.look("new"))
    assert (there.path("before") / "old").read_text() == "old"
    assert [have["id"] for have in there.json("haves", "db")] == ["new"]
    there("rm", "before")
    assert there.varve.json("system", "cleanup") == CLEAN
    assert there.ids() == ["db", "new"]


def make_stream(here):
    """Of a snapshot "s" of a volume "db"."""
    here.make("db")
    here.change("db", 1)
    here("snapshot", "db", "s")
    return here.send("s")


def make_old(there):
    there("create", "db")
    (there.path("db") / "old").write_text("old")


@pytest.mark.parametrize("driver", DRIVERS)
def test_refusals(hosts, driver):
    """V7: whatever is refused changes nothing, and the volume stays mounted as it was."""
    here, there = hosts("overlay", driver)
    stream = make_stream(here)
    make_old(there)
    with Holder(there.path("db")):
        assert "in use" in there.receive("db", stream, status=BUSY)
    damaged = bytearray(stream)
    damaged[len(stream) // 2] ^= 1
    for bad in (bytes(damaged), stream[:-1], stream + b"x", b"", b"something else" * 10):
        there.receive("db", bad, status=CORRUPT)
        assert (there.path("db") / "old").read_text() == "old"
        assert there.ids() == ["db"] and len(there.mounted("db")) == 1
    there("snapshot", "db", "taken")
    assert "snapshot itself" in there.receive("taken", stream, status=STATE)
    assert "'taken'" in there.receive("db", stream, "taken", status=TAKEN)
    assert "'db'" in there.receive("db", stream, "db", status=TAKEN)
    there.varve("pool", "create", "other", "--driver", "native")
    assert "in pool 'p'" in there.varve("--pool", "other", "volume", "receive", "db", input=stream,
                                        text=False, status=STATE).stderr.decode()  # fmt: skip
    # Only a snapshot can be sent.
    assert "snapshot" in here("send", "db", status=STATE).stderr
    there.receive("db", stream, "given")
    assert_same(there.look("db"), here.look("s"))
    assert "is there, as" in there.receive("db", stream, status=TAKEN)
    assert there.ids() == ["db", "given", "taken"]
    assert there.varve.json("system", "cleanup") == CLEAN


def test_taken_id(hosts):
    """A snapshot whose id is taken here gets a fresh one."""
    here, there = hosts("native", "native")
    here.make("db")
    here("snapshot", "db", "copy")
    made = there.receive("copy", here.send("copy"))
    assert made != "copy" and there.json("inspect", made)["of"] == "copy"
    assert there.json("inspect", "copy")["parent"] == f"volume/{made}"


def test_in_use_when_all_has_come(hosts):
    """What began to use it meanwhile is in the way too; then it can be received once more."""
    here, there = hosts("native", "btrfs")
    here.make("db")
    (here.path("db") / "large").write_bytes(bytes(range(256)) * 4000)
    here("snapshot", "db", "s")
    stream = here.send("s", "--compression", "none")
    there("create", "db")
    receiver = subprocess.Popen([VARVE, "--root", there.root, "volume", "receive", "db"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip
    receiver.stdin.write(stream[:600_000])
    receiver.stdin.flush()
    with Holder(there.path("db")):
        _, told = receiver.communicate(stream[600_000:], TIMEOUT)
    assert receiver.returncode == BUSY and b"in use" in told
    assert there.ids() == ["db"] and len(there.mounted("db")) == 1
    assert list(there.path("db").iterdir()) == []
    there.receive("db", stream)
    assert_same(there.look("db"), here.look("s"))
    assert there.varve.json("system", "cleanup") == CLEAN


@pytest.mark.parametrize("driver", DRIVERS)
def test_killed(hosts, driver):
    """Killed at any moment, it holds the old content or the new one, and is mounted again."""
    here, there = hosts("native", driver)
    stream = make_stream(here)
    began = time.monotonic()
    there.receive("db", stream)
    took = time.monotonic() - began
    for i in range(30):
        for name in ("s", "old"):
            if name in there.ids():
                there("rm", "--recursive", name)
        make_old(there)
        there("snapshot", "db", "old")
        receiver = subprocess.Popen([VARVE, "--root", there.root, "volume", "receive", "db"],
                                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)  # fmt: skip
        receiver.stdin.write(stream)
        receiver.stdin.close()
        time.sleep(took * (0.4 + 0.7 * i / 30))
        receiver.send_signal(signal.SIGKILL)
        receiver.wait(TIMEOUT)
        there("mount", "--all")
        assert len(there.mounted("db")) == 1
        assert_same(there.look("db"), there.look("s" if "s" in there.ids() else "old"))
        there.varve("system", "cleanup")
        assert there.varve.json("system", "cleanup") == CLEAN
