# SPDX-License-Identifier: Apache-2.0
"""Importing and unpacking that is killed at any moment, or finds the disk full at any point: what is
listed is whole, and the next attempt completes, with what is there."""

import os
import random
import signal
import subprocess
import time

import pytest
from conftest import CLEAN, TIMEOUT, VARVE, wait_until
from layouts import END, header, packed, write_layout
from oci import Layer, digest

NAME = "docker.io/library/app:1"
ROUNDS = int(os.environ.get("VARVE_CRASH_ROUNDS", "100")) // 8
NO_SPACE = 10


def image(directory, megabytes=2):
    """Four layers, each with content that does not compress and some small files."""
    chance, layers = random.Random(5), []
    for number in range(4):
        layer = Layer().dir(f"d{number}").file("large", chance.randbytes(megabytes << 19))
        for i in range(50):
            layer.file(f"d{number}/{i}", chance.randbytes(100))
        layers.append(layer.tar())
    write_layout(directory, [packed(tar) for tar in layers])
    chain = []
    for tar in layers:
        chain.append(digest(f"{chain[-1]} {digest(tar)}".encode()) if chain else digest(tar))
    return chain


def keys(varve, pool="default"):
    return sorted(info["name"] for info in varve.json("--pool", pool, "snapshot", "ls"))


def blobs(varve):
    folder = varve.root / "content/blobs/sha256"
    return {path.name: path.stat().st_ino for path in folder.iterdir()} if folder.exists() else {}


def check_store(varve):
    """Every blob is what its name says, and every name leads to an image that is here whole."""
    for name in blobs(varve):
        assert digest((varve.root / "content/blobs/sha256" / name).read_bytes()) == f"sha256:{name}"
    for info in varve.json("image", "ls"):
        assert info["complete"]


def check_snapshots(varve, chain):
    """Whole layers, and perhaps what was begun of others."""
    there = [key for key in keys(varve) if key in chain]
    assert there == sorted(chain[: len(there)])
    assert set(keys(varve)) - set(there) <= {f"unpack {name}" for name in chain}


def start(varve, *args):
    return subprocess.Popen([VARVE, "--root", varve.root, *args], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)  # fmt: skip


def kill_at(moment, varve, *args):
    """Killed after that time; it may have ended before."""
    process = start(varve, *args)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait(TIMEOUT)


def duration(varve, *args):
    begun = time.monotonic()
    varve(*args)
    return time.monotonic() - begun


@pytest.fixture(params=["overlay", "native", "btrfs"])
def pool(request, varve, make_fs):
    place = make_fs("btrfs" if request.param == "btrfs" else "ext4")
    varve.root = place / "root"
    varve("pool", "create", "default", "--driver", request.param)
    return varve


def test_import_killed(varve, make_fs, tempdir):
    image(tempdir / "layout")
    varve.root = make_fs("ext4") / "root"
    command = "image", "import", tempdir / "layout", "--name", NAME
    whole = duration(varve, *command)
    for moment in range(ROUNDS):
        varve("image", "rm", NAME, status=None)
        if moment % 2:
            varve("image", "prune")
            assert blobs(varve) == {}
        kill_at(whole * moment / ROUNDS, varve, *command)
        check_store(varve)
        before = blobs(varve)
        varve(*command)
        check_store(varve)
        assert len(blobs(varve)) == 6 and before.items() <= blobs(varve).items(), "fetched once more"


def test_unpack_killed(pool, tempdir):
    """What is left of a layer is removed by the next attempt, or by prune."""
    chain = image(tempdir / "layout")
    pool("image", "import", tempdir / "layout", "--name", NAME)
    whole = duration(pool, "image", "unpack", NAME)
    for moment in range(ROUNDS):
        for key in reversed(chain):
            pool("snapshot", "rm", key)
        kill_at(whole * moment / ROUNDS, pool, "image", "unpack", NAME)
        check_snapshots(pool, chain)
        if moment % 2:
            begun = [key for key in keys(pool) if key not in chain]
            assert pool.json("image", "prune")["snapshots"] == len(begun)
            assert set(keys(pool)) <= set(chain) and not list((pool.root / "turns").glob("*"))
        there = len([key for key in keys(pool) if key in chain])
        assert pool.json("image", "unpack", NAME)["unpacked"] == 4 - there
        assert keys(pool) == sorted(chain)
    pool("system", "cleanup")
    assert pool.json("system", "cleanup") == CLEAN


def test_prune_spares_who_unpacks(varve, make_fs, tempdir):
    """And what only looks like it; and takes what a killed one left, in whichever pool."""
    place = make_fs("ext4", "2G")
    varve.root = place / "root"
    varve("pool", "create", "another", "--driver", "native")
    varve("pool", "create", "default", "--driver", "native")
    megabytes = 256
    tar = header("zeros", size=megabytes << 20) + bytes(megabytes << 20) + END
    write_layout(tempdir / "layout", [packed(tar)])
    varve("image", "import", tempdir / "layout", "--name", NAME)
    key = f"unpack {digest(tar)}"
    for other in "unpack mine", "unpack sha256:00", "web":
        varve("snapshot", "prepare", other)
    process = start(varve, "image", "unpack", NAME)
    wait_until(lambda: key in keys(varve), "the layer to be begun")
    pruned = varve.json("image", "prune")["snapshots"]
    assert process.poll() is None, "it was not seen at work: the layer must be larger"
    assert pruned == 0
    assert process.wait(TIMEOUT) == 0 and digest(tar) in keys(varve)

    process = start(varve, "--pool", "another", "image", "unpack", NAME)
    wait_until(lambda: key in keys(varve, "another"), "the layer to be begun")
    process.send_signal(signal.SIGKILL)
    process.wait(TIMEOUT)
    assert "removed 1 half-unpacked layers" in varve("image", "prune").stdout
    assert keys(varve, "another") == []
    assert keys(varve) == [digest(tar), "unpack mine", "unpack sha256:00", "web"]
    assert not list((varve.root / "turns").iterdir())


@pytest.mark.parametrize("driver", ["overlay", "native", "btrfs"])
def test_disk_full_at_any_size(varve, make_fs, tempdir, driver):
    """Root and pool on one disk, which is given three megabytes more after each attempt."""
    step = 3 << 20
    place = make_fs("btrfs" if driver == "btrfs" else "ext4", "256M")
    chain = image(tempdir / "layout", 8)
    varve.root = place / "root"
    varve("pool", "create", "default", "--driver", driver)
    filler = place / "filler"
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - step)
    ended, seen = 0, set()
    while ended < 2:
        command = [("image", "import", tempdir / "layout", "--name", NAME), ("image", "unpack", NAME)][ended]
        before = blobs(varve)
        done = varve(*command, status=None)
        check_store(varve)
        assert before.items() <= blobs(varve).items()
        assert set(keys(varve)) <= set(chain)
        if done.returncode == 0:
            ended += 1
            continue
        assert done.returncode == NO_SPACE and "No space left on device" in done.stderr
        seen.add(command[1])
        left = filler.stat().st_size - step
        assert left > 0, f"{command}: {done.stderr}"
        os.truncate(filler, left)
    assert keys(varve) == sorted(chain)
    assert seen == {"import", "unpack"}, "there was room for all of it at once"
    filler.unlink()
    varve("system", "cleanup")
    assert varve.json("system", "cleanup") == CLEAN
