# SPDX-License-Identifier: Apache-2.0
"""The power goes while snapshots are worked on: what was committed before is there, with its
content, and nothing else is left behind.

The disk is a file on an XFS, mounted by a loop device. A clone of that file is what the disk holds at
one instant, without anything that the kernel has still in memory: what is found after a power cut.
"""

import os
import random
import subprocess
import time

import pytest
from conftest import CLEAN, TIMEOUT, wait_until
from workers import Worker

SEED = int(os.environ.get("VARVE_CRASH_SEED", random.randrange(1 << 32)))
CUTS = 8
DRIVERS = {"overlay": "ext4", "native": "ext4", "btrfs": "btrfs"}


def run(*command):
    subprocess.run(command, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)


@pytest.fixture(params=DRIVERS)
def disk(request, varve, make_fs, tempdir):
    """The disk's file; it is mounted, and holds varve's root with a pool "crash"."""
    print(f"VARVE_CRASH_SEED={SEED}")
    kind = DRIVERS[request.param]
    disk, point = make_fs("xfs", "4G") / "disk", tempdir / "point"
    point.mkdir()
    run("truncate", "-s", "1G", disk)
    run(f"mkfs.{kind}", "-q", "-f" if kind == "btrfs" else "-F", disk)
    run("mount", "-o", "loop", disk, point)
    varve.root = point / "root"
    varve("pool", "create", "crash", "--driver", request.param)
    return disk


def committed(workers):
    """What the workers know to be committed, and not being removed: {name: (worker, files)}. They work
    on meanwhile: the book is read last, which has no more what a removal took that ended between."""
    there = {}
    for worker in workers:
        pending, book = worker.pending, worker.book
        for name, snapshot in book.items():
            if snapshot.kind == "committed" and (pending is None or name in pending):
                there[name] = (worker, set(worker.files[name]))
    return there


def cut(disk, number, workers):
    """Clones the disk, and tells what must be on the clone: what was committed before, and was not
    removed meanwhile."""
    clone = disk.with_name(f"cut-{number}")
    before = committed(workers)
    run("cp", "--reflink=always", disk, clone)
    after = committed(workers)
    return clone, {name: before[name] for name in before.keys() & after.keys()}


def check(varve, clone, must, point, target):
    run("mount", "-o", "loop", clone, point)
    there = varve.at(point / "root")
    (there.root / "inflight").unlink(missing_ok=True)  # what it says holds for the boot before
    assert there.json("system", "cleanup")["failed"] == 0
    assert there.json("system", "cleanup") == CLEAN
    listed = {info["name"]: info["kind"] for info in there.json("snapshot", "ls")}
    for name, (worker, files) in must.items():
        assert listed.get(name) == "committed", name
        worker.files[name] = files
        there("snapshot", "view", "inspection", name)
        there("snapshot", "mount", "inspection", worker.mountpoint)
        try:
            worker.check_files(name, worker.mountpoint)
        finally:
            there("snapshot", "umount", worker.mountpoint)
        there("snapshot", "rm", "inspection")
    for name in (name for name, kind in listed.items() if kind == "active"):
        there("snapshot", "mount", name, target)  # what is listed is whole
        (target / "probe").write_bytes(b"")
        there("snapshot", "umount", target)
    run("umount", point)


def test_power_cut(disk, varve, load, tempdir):
    rng = random.Random(SEED)
    workers = [Worker(i, random.Random(rng.random()), tempdir / f"worker-{i}") for i in range(3)]
    loaded = load("crash")
    cuts = []
    try:
        for worker in workers:
            worker.start(loaded.caller())
        for number in range(CUTS):
            time.sleep(rng.uniform(0.05, 0.5))
            wait_until(lambda: len(committed(workers)) > 2, "snapshots to be committed")
            cuts.append(cut(disk, number, workers))
    finally:
        for worker in workers:
            worker.stop()
    loaded.kill()
    point = varve.root.parent
    run("umount", point)
    assert sum(len(must) for clone, must in cuts) > CUTS
    for clone, must in cuts:
        check(varve, clone, must, point, workers[0].mountpoint)
