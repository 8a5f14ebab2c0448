# SPDX-License-Identifier: Apache-2.0
"""What Flynn's own tests ask of a volume manager (host/volume in flynn), on btrfs in a file and on
native: persistence, transmitted snapshots, forks of forks, destroying what is busy."""

import os
import signal
import subprocess

import pytest
from conftest import TIMEOUT, VARVE, mounts_below, wait_until
from test_volume import BUSY, Holder, Volumes

PROVIDERS = {"btrfs": ["file", "size=1G"], "native": []}


def create_pool(varve, driver, name="p"):
    """A pool on the ext4 that the root is on: btrfs in a file there."""
    settings = []
    for setting in PROVIDERS[driver]:
        value = f"file={varve.root.parent}/{name}.image" if setting == "file" else setting
        settings += ["--set", value]
    varve("pool", "create", name, "--driver", driver, *settings)


@pytest.fixture(params=PROVIDERS)
def volumes(request, make_fs, varve):
    varve.root = make_fs("ext4", "3G") / "root"
    create_pool(varve, request.param)
    return Volumes(varve, request.param)


def known(infos):
    """What must be equal after any restart."""
    return [{key: info[key] for key in info if key != "mounted"} for info in infos]


def reboot(volumes):
    """All that a boot takes away: the volumes' mounts, and the file systems of pools."""
    for point in mounts_below(volumes.root):
        subprocess.run(["umount", point], check=True, timeout=TIMEOUT)
    assert mounts_below(volumes.root) == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_persistence(volumes, varve, varved, end):
    daemon = varved()
    volumes("create", "db", "--meta", "app=shop", "--meta", "empty=")
    (volumes.path("db") / "file").write_text("data")
    volumes("snapshot", "db", "s", "--meta", "why=test")
    before, pools = volumes.json("ls"), varve.json("pool", "ls")
    assert [info["meta"] for info in before] == [{"app": "shop", "empty": ""}, {"why": "test"}]

    daemon.stop(end)
    reboot(volumes)
    daemon.start()
    assert volumes.json("ls") == before  # with created_at and meta, and mounted
    assert (volumes.path("db") / "file").read_text() == "data"
    assert (volumes.path("s") / "file").read_text() == "data"
    (volumes.path("db") / "file").write_text("it can be written to")
    with pytest.raises(OSError, match="Read-only"):
        (volumes.path("s") / "file").write_text("x")
    after = varve.json("pool", "ls")
    assert [(p["name"], p["created"]) for p in after] == [(p["name"], p["created"]) for p in pools]
    assert daemon.stop() == 0
    assert known(volumes.json("ls")) == known(before)


def test_default_provider_is_not_made_again(varve, varved, ext4):
    varve.root = ext4 / "root"
    daemon = varved()
    volumes = Volumes(varve, "any")
    volumes("create", "one")
    before = [(pool["name"], pool["created"]) for pool in varve.json("pool", "ls")]
    daemon.stop(signal.SIGKILL)
    reboot(volumes)
    daemon.start()
    volumes("create", "two")
    assert [(pool["name"], pool["created"]) for pool in varve.json("pool", "ls")] == before
    assert {info["provider"] for info in volumes.json("ls")} == {before[0][0]}


def test_transmitted_snapshot(volumes, varve, tempdir, make_fs):
    """Sent to another host and restored, it is a snapshot still, and has its data."""
    volumes("create", "db", "--meta", "app=shop", "--type", "disk")
    (volumes.path("db") / "file").write_text("data")
    volumes("snapshot", "db", "s", "--meta", "why=test")
    other = varve.at(make_fs("ext4", "2G") / "root")
    create_pool(other, volumes.driver)
    there = Volumes(other, volumes.driver)
    with subprocess.Popen(
        [VARVE, "--root", varve.root, "snapshot", "send", "volume/s"], stdout=subprocess.PIPE
    ) as sender:
        other("snapshot", "receive", stdin=sender.stdout)
        assert sender.wait(TIMEOUT) == 0
    there("mount", "s")

    here, restored = volumes.json("inspect", "s"), there.json("inspect", "s")
    for key in "snapshot", "uuid", "type", "meta", "atomic":
        assert restored[key] == here[key], key
    assert restored["snapshot"] is True
    assert (there.path("s") / "file").read_text() == "data"
    with pytest.raises(OSError, match="Read-only"):
        (there.path("s") / "file").write_text("x")
    there("fork", "s", "restored")
    (there.path("restored") / "file").write_text("mine")
    assert (there.path("s") / "file").read_text() == "data"


def test_fork_of_a_fork(volumes):
    volumes("create", "one")
    generations = ["one", "two", "three", "four"]
    for older, newer in zip(generations, generations[1:]):
        (volumes.path(older) / older).write_text(older)
        volumes("snapshot", older, f"{older}-s")
        volumes("fork", f"{older}-s", newer)
    assert sorted(os.listdir(volumes.path("four"))) == ["one", "three", "two"]
    (volumes.path("three") / "one").unlink()
    assert (volumes.path("four") / "one").read_text() == "one"
    assert (volumes.path("one") / "one").read_text() == "one"
    assert len(volumes.json("haves", "four")) == 3


def test_destroy_while_busy(volumes):
    volumes("create", "db")
    with Holder(volumes.path("db")):
        refused = volumes("rm", "db", status=BUSY).stderr
        assert "destroying volume 'db'" in refused
        assert volumes.mounted("db") and volumes.ids() == ["db"]
    volumes("rm", "db")
    assert volumes.ids() == []


def test_destroy_waits_for_what_is_about_to_end(volumes):
    """One that lets go within the time is no reason to refuse."""
    volumes("create", "db")
    with Holder(volumes.path("db")) as holder:
        command = [VARVE, "--root", volumes.root, "volume", "rm", "db"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as remover:
            tried = f"/proc/{remover.pid}/wchan"
            wait_until(lambda: "nanosleep" in open(tried).read(), "it to wait")
            holder.process.stdin.write(b"\n")
            holder.process.stdin.flush()
            assert remover.wait(TIMEOUT) == 0, remover.stderr.read()
    assert volumes.ids() == [] and not volumes.path("db").exists()


def find_below(place, name):
    return next(base for base, _, files in os.walk(place) if name in files)


def vanish(volumes, name, place):
    """Takes a volume's files away behind the store's back; place: an empty directory."""
    point = str(volumes.path(name))
    volumes("umount", name)
    if volumes.driver == "native":
        pool = volumes.varve.json("pool", "ls")[0]["path"]
        subprocess.run(["rm", "-r", find_below(pool, f"{name}-is-here")], check=True)
        return
    volumes("mount", name)
    line = next(line for line in open("/proc/self/mounts") if line.split()[1] == point)
    volumes("umount", name)
    command = ["mount", "-o", "subvolid=5", line.split()[0], place]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    victim = find_below(place, f"{name}-is-here")
    subprocess.run(["btrfs", "-q", "subvolume", "delete", victim], check=True, timeout=TIMEOUT)
    subprocess.run(["umount", place], check=True, timeout=TIMEOUT)


def test_a_vanished_volume_is_skipped(volumes, varved, tempdir):
    for name in "a", "b", "c":
        volumes("create", name)
        (volumes.path(name) / f"{name}-is-here").touch()
    (tempdir / "top").mkdir()
    vanish(volumes, "b", tempdir / "top")
    volumes("umount", "--all")
    daemon = varved()
    assert "volume is skipped" in daemon.log() and "volume=b" in daemon.log()
    assert volumes.mounted("a") and not volumes.mounted("b") and volumes.mounted("c")
    volumes("rm", "b")
    assert volumes.ids() == ["a", "c"]


@pytest.mark.parametrize("freeze", [False, True])
def test_a_copy_says_that_it_is_not_of_one_moment(make_fs, varve, varved, freeze):
    """On native; by the command and by the API."""
    from test_http import Api

    varve.root = make_fs("ext4") / "root"
    api = Api(varved(config="[pool p]\ndriver = native\n"))
    volumes = Volumes(varve, "native")
    volumes("create", "db")
    said = volumes("snapshot", "db", "s", *(["--freeze"] if freeze else [])).stderr
    assert ("file by file" in said and "--freeze" in said) is not freeze
    assert ("file by file" in volumes("inspect", "s").stdout) is not freeze
    answer = api("PUT", "/storage/volumes/db/snapshot", {"id": "t", "freeze": freeze}).json
    assert answer["atomic"] is freeze
    assert api("GET", "/storage/volumes/t").json["atomic"] is freeze
    with open(volumes.path("db") / "file", "w"):
        body = {"id": "u", "freeze": True}
        told = api("PUT", "/storage/volumes/db/snapshot", body, 409).json
    assert told["code"] == "conflict" and "a file in it is open for writing" in told["message"]
