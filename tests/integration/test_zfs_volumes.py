# SPDX-License-Identifier: Apache-2.0
"""Volumes on zfs: what a host that restarts finds again, snapshots that came from another host, limits
of size, and chains that snapshots are taken out of. SPEC rows V2, V6 to V9 and D5."""

import errno
import os
import signal
import subprocess

import pytest
from conftest import TIMEOUT, export, need_zfs, unmount_of
from test_volume import Volumes, stable
from test_zfs import run

MISSING = 4  # exit status


class Host(Volumes):
    """Volumes on a root of its own, whose default provider is a zpool in a file."""

    def __init__(self, varve, tempdir, name):
        super().__init__(varve.at(tempdir / name), "zfs")
        self.zpool, self.file = f"{tempdir.name}-{name}", tempdir / f"{name}.zpool"
        options = [f"file={self.file}", "size=512M", f"zpool={self.zpool}"]
        settings = [word for option in options for word in ("--set", option)]
        self.varve("pool", "create", "default", "--driver", "zfs", *settings)

    def receive(self, sender, snapshot, *args):
        """From another host."""
        command = ["snapshot", "send", f"volume/{snapshot}", "--format", "native", *args]
        stream = sender.varve(*command, text=False).stdout
        self.varve("snapshot", "receive", input=stream, text=False)

    def shut_down(self):
        """As a reboot does."""
        unmount_of(self.zpool)
        export(self.zpool)

    def datasets(self):
        return run("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", self.zpool).split()

    def used(self):
        run("zpool", "sync", self.zpool)
        return int(run("zfs", "get", "-Hp", "-o", "value", "used", self.zpool))

    def text(self, name):
        return (self.path(name) / "file").read_text()


@pytest.fixture
def host(varve, tempdir):
    need_zfs()
    made = []

    def make(name):
        made.append(Host(varve, tempdir, name))
        return made[-1]

    yield make
    for one in made:
        unmount_of(one.zpool)
        subprocess.run(["zpool", "destroy", "-f", one.zpool], timeout=TIMEOUT)


def write(volumes, name, text):
    (volumes.path(name) / "file").write_text(text)


def test_exported_and_restarted(host, varved):  # V8, D5
    """Volumes and what came from elsewhere are back; a snapshot that was sent is one still."""
    here, there = host("here"), host("there")
    here("create", "db", "--meta", "app=shop", "--meta", "note=")
    for day in "monday", "tuesday":
        write(here, "db", day)
        here("snapshot", "db", day, "--meta", f"day={day}")
    there.receive(here, "monday")
    there.receive(here, "tuesday", "--base", "volume/monday")
    write(here, "db", "now")
    hosts = [here, there]
    before = [(stable(one.json("ls")), one.varve.json("pool", "ls")[0]["created"]) for one in hosts]
    assert [info["id"] for info in before[0][0]] == ["db", "monday", "tuesday"]

    daemons = [varved(root=one.root) for one in hosts]
    for end in signal.SIGTERM, signal.SIGKILL:
        for daemon, one in zip(daemons, hosts):
            daemon.stop(end)
            one.shut_down()
            daemon.start()
        for one, (infos, created) in zip(hosts, before):
            assert stable(one.json("ls")) == infos
            assert [pool["created"] for pool in one.varve.json("pool", "ls")] == [created]
            assert one.text("monday") == "monday" and one.text("tuesday") == "tuesday"
        assert here.text("db") == "now"
    restored = there.json("inspect", "tuesday")
    assert restored["snapshot"] and restored["meta"] == {"day": "tuesday"}
    assert "Read-only" in pytest.raises(OSError, write, there, "tuesday", "x").value.strerror
    there("fork", "tuesday", "mine")
    write(there, "mine", "mine")
    assert [daemon.stop() for daemon in daemons] == [0, 0]


def test_file_that_is_not_the_pool(host):  # D5
    """It is neither overwritten nor taken for an empty pool."""
    here = host("here")
    here("create", "db")
    write(here, "db", "data")
    here.shut_down()
    kept = here.file.with_suffix(".kept")
    here.file.rename(kept)
    assert str(here.file) in here("create", "x", status=MISSING).stderr
    assert not here.file.exists()
    here.file.write_bytes(b"precious" * 100_000)
    refused = here("create", "x", status=None)
    assert refused.returncode not in (0, 1) and str(here.file) in refused.stderr
    assert here.file.read_bytes() == b"precious" * 100_000
    kept.rename(here.file)
    here("mount", "--all")
    assert here.text("db") == "data" and here.ids() == ["db"]


def fill(path, most):
    """Writes until there is an error, and says how many MiB went in, and which error it was."""
    done = 0
    try:
        with open(path, "wb", buffering=0) as big:
            while done < most:
                big.write(os.urandom(1 << 20))
                os.fsync(big.fileno())
                done += 1
    except OSError as error:
        return done, error.errno
    return done, 0


def test_size(host, tempdir):
    here = host("here")
    here("create", "db", "--size", "12m")
    done, why = fill(here.path("db") / "big", 60)
    assert why == errno.EDQUOT and 8 <= done <= 18
    assert here.json("inspect", "db")["size"] == 12 << 20
    (here.path("db") / "big").unlink()
    (here.path("db") / "some").write_bytes(os.urandom(6 << 20))
    here("snapshot", "db", "s")  # what it shares with that counts
    assert fill(here.path("db") / "big", 60)[1] == errno.EDQUOT
    here("fork", "s", "larger", "--size", "32m")
    assert fill(here.path("larger") / "big", 16) == (16, 0)
    assert here.json("inspect", here("fork", "s", "same").stdout.strip())["size"] == 12 << 20
    assert fill(here.path("same") / "big", 60)[1] == errno.EDQUOT
    here("fork", "s", "smaller", "--size", "3m")  # there is more in it already
    assert fill(here.path("smaller") / "big", 60) == (0, errno.EDQUOT)
    for name in "db", "smaller":  # they can be mounted, full as they are
        here("umount", name)
        here("mount", name)
        assert (here.path(name) / "some").stat().st_size == 6 << 20
    (here.path("smaller") / "some").unlink()
    here("umount", "smaller")
    run("zpool", "sync", here.zpool)
    here("mount", "smaller")
    assert fill(here.path("smaller") / "big", 60)[1] == errno.EDQUOT


def test_snapshots_are_pruned(host):
    """The oldest ones go from chains, with the space that they alone take; what stands on them, and
    what came as streams, is as it was, and can be gone on with."""
    here, there = host("here"), host("there")
    here("create", "db")
    for i in range(1, 6):
        write(here, "db", f"text {i}")
        (here.path("db") / "big").write_bytes(os.urandom(4 << 20))
        here("snapshot", "db", f"s{i}")
        there.receive(here, f"s{i}", *(["--base", f"volume/s{i - 1}"] if i > 1 else []))
    here("fork", "s2", "fork")
    there("mount", "--all")
    for one in here, there:
        before = one.used()
        one("rm", "s1", "s2", "s3", "--only")
        assert one.varve.json("system", "cleanup")["failed"] == 0
        assert one.text("s4") == "text 4" and one.text("s5") == "text 5"
        assert before - one.used() > 7 << 20
    assert here.text("fork") == "text 2" and here.text("db") == "text 5"
    [usage] = here.varve.json("snapshot", "usage", "volume/fork")["snapshots"]
    assert usage["bytes"] > 4 << 20  # it stands on nothing now

    write(here, "db", "text 6")
    here("snapshot", "db", "s6")
    there.receive(here, "s6", "--base", "volume/s5")
    there("rm", "s4", "s5", "--only")
    there("mount", "--all")
    assert there.text("s6") == "text 6"
    changed = here.varve.json("snapshot", "diff", "volume/s6")
    assert [change["path"] for change in changed] == ["/file"]
    for one, names in (here, ["fork", "s4"]), (there, ["s6"]):
        one("rm", "--recursive", *names)
        assert one.ids() == []
        assert one.varve.json("system", "cleanup")["failed"] == 0
        base = one.zpool
        assert set(one.datasets()) == {
            base, f"{base}/runtime", f"{base}/storage", f"{base}/storage/empty",
            f"{base}/storage/empty@extracted",
        }  # fmt: skip
