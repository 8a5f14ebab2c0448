# SPDX-License-Identifier: Apache-2.0
"""SPEC S10: whoever works on a root may be killed at any moment, under load. Afterwards every
snapshot whose commit was acknowledged has its content, no acknowledged key is lost, what was under
way was done or not done, and nothing is on disk that no record names.

VARVE_CRASH_ROUNDS says how often to kill (default: 100, per driver and per way), VARVE_CRASH_SEED
repeats a run's random choices (not its moments).
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from callers import CommandCaller, DaemonCaller, Gone
from conftest import CLEAN, TIMEOUT, VARVE, wait_until
from workers import Snapshot, Worker

ROUNDS = int(os.environ.get("VARVE_CRASH_ROUNDS", "100"))
SEED = int(os.environ.get("VARVE_CRASH_SEED", random.randrange(1 << 32)))
N_WORKERS = 6
LONGEST = 0.15  # seconds of load before a kill
POOLS = [("overlay", "ext4"), ("native", "xfs"), ("btrfs", "btrfs")]
ALL_POOLS = POOLS + [("zfs", "ext4")]
CAPTURING = {"native", "btrfs", "zfs"}
SLOW = {"zfs": 10}  # times: every change waits for a transaction group

@pytest.fixture(params=ALL_POOLS, ids=[driver for driver, _ in ALL_POOLS])
def driver(request, make_zpool, make_fs, varve, tempdir):
    """A root on the driver's file system with a pool "crash" of it."""
    name, kind = request.param
    place = ["--set", f"dataset={make_zpool()}/crash"] if name == "zfs" else []
    varve.root = make_fs(kind) / "root"
    varve("pool", "create", "crash", "--driver", name, *place)
    print(f"VARVE_CRASH_SEED={SEED}")
    return name


@pytest.fixture
def rounds(driver):
    return max(ROUNDS // SLOW.get(driver, 1), 2)


@pytest.fixture
def workers(tempdir):
    seeds = [random.Random(f"{SEED}-{i}") for i in range(N_WORKERS)]
    made = [Worker(i, rng, tempdir / f"worker-{i}") for i, rng in enumerate(seeds)]
    yield made
    for worker in made:
        worker.end()


# --- what is there --------------------------------------------------------------------------------


def listed(varve):
    """What the engine lists, as workers keep it in their books."""
    return {
        info["name"]: Snapshot(info["kind"], info["parent"], info["labels"].get("value", ""))
        for info in varve.json("--pool", "crash", "snapshot", "ls")
    }


def count_ids(folder):
    """How many snapshots have something in a folder of the pool: FOLDER/SHARD/ID."""
    return len([path for path in folder.glob("*/*") if path.name.isdigit()])


def count_datasets(varve):
    """The same for zfs: datasets that are called by a number."""
    dataset = varve.json("pool", "inspect", "crash")["settings"]["dataset"]
    command = ["zfs", "list", "-H", "-r", "-o", "name", dataset]
    names = subprocess.check_output(command, text=True, timeout=TIMEOUT).split()
    return len([name for name in names if name.rpartition("/")[2].isdigit()])


def check_disk(varve, driver, snapshots):
    """As many are on disk as records that have a place there: views have none, they all stand on
    parents here."""
    pool = varve.root / "pools/crash"
    folders = {"overlay": "fs", "native": "snapshots", "btrfs": "subvolumes"}
    placed = [s for s in snapshots.values() if s.kind != "view"]
    if driver == "zfs":
        assert count_datasets(varve) == len(placed), snapshots
        return
    assert count_ids(pool / folders[driver]) == len(placed), snapshots
    if driver == "overlay":  # the scratch directory stays with a committed snapshot
        assert count_ids(pool / "work") == len([s for s in placed if s.parent])


def check_nothing_is_left(varve, driver, snapshots):
    """Starting on what the crash left has undone the half-made: a search finds no more."""
    first = varve.json("system", "cleanup")
    assert (first["orphans"], first["failed"]) == (0, 0)
    assert varve.json("system", "cleanup") == CLEAN
    check_disk(varve, driver, snapshots)


def judge(varve, driver, workers, caller, everything=False):
    """Compares all books with what is there, and looks into what is new and a few others."""
    snapshots = listed(varve)
    for worker in workers:
        worker.settle(snapshots)
        known = sorted(worker.inspected & set(worker.book))
        again = known if everything else known and [worker.rng.choice(known)]
        worker.inspect(caller, set(worker.book) - worker.inspected | set(again))
    check_nothing_is_left(varve, driver, snapshots)


def report(workers, interrupted, rounds):
    print(f"{sum(worker.done for worker in workers)} operations, {interrupted} rounds interrupted")
    assert interrupted > rounds / 2


# --- under load -----------------------------------------------------------------------------------


def test_killed_daemon(driver, rounds, varve, varved, workers):
    daemon = varved()
    caller = DaemonCaller(daemon.socket, "crash")
    interrupted = 0
    for round in range(rounds):
        for worker in workers:
            worker.start(caller)
        time.sleep(workers[0].rng.uniform(0.01, LONGEST))
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL, daemon.log()
        for worker in workers:
            worker.stop()
        interrupted += any(worker.pending is not None for worker in workers)
        daemon.start()
        judge(varve, driver, workers, caller, everything=round == rounds - 1)
    report(workers, interrupted, rounds)


def test_killed_library(driver, rounds, varve, load, workers):
    """Two processes work through the library; one is killed, and the other goes on undisturbed."""
    interrupted = 0
    half = len(workers) // 2
    for worker in workers:
        worker.captures = driver in CAPTURING
    for round in range(rounds):
        victim, survivor = (load("crash") for _ in range(2))
        for i, worker in enumerate(workers):
            worker.start((victim if i < half else survivor).caller())
        time.sleep(workers[0].rng.uniform(0.01, LONGEST))
        victim.kill()
        for worker in workers[:half]:
            worker.stop()
        interrupted += any(worker.pending is not None for worker in workers[:half])
        before = [worker.done for worker in workers[half:]]
        for worker, done in zip(workers[half:], before):
            wait_until(lambda: worker.failure or worker.done > done, "the other process to go on")
            worker.stop()
            assert worker.pending is None
        survivor.kill()
        successor = load("crash")
        judge(varve, driver, workers, successor.caller(), everything=round == rounds - 1)
        successor.kill()
    report(workers, interrupted, rounds)


def test_killed_command(driver, rounds, varve, workers):
    """Commands are killed, each at a random moment of its life."""

    def work(worker, caller):
        while caller.kills < rounds / N_WORKERS:
            try:
                worker.step(caller)
            except Gone:
                worker.settle(listed(varve))

    for worker in workers:
        worker.captures = driver in CAPTURING
    callers = [CommandCaller(varve.root, "crash", worker.rng, 0.03) for worker in workers]
    with ThreadPoolExecutor(N_WORKERS) as pool:
        list(pool.map(work, workers, callers))
    varve("--pool", "crash", "snapshot", "prepare", "somebody-starts")
    varve("--pool", "crash", "snapshot", "rm", "somebody-starts")
    judge(varve, driver, workers, CommandCaller(varve.root, "crash"), everything=True)


# --- what the dead held ---------------------------------------------------------------------------


@contextlib.contextmanager
def frozen(directory):
    """Whoever would change something on that file system waits meanwhile."""
    subprocess.run(["fsfreeze", "--freeze", directory], check=True, timeout=TIMEOUT)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", directory], check=True, timeout=TIMEOUT)


def is_blocked(process):
    """Whether a thread of it waits for a file system to be thawed."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/wchan")
    return any(path.read_text().startswith("percpu_rwsem_wait") for path in threads)


def kill_in(varve, place, *words):
    """Kills a command while it is changing something on the file system at place."""
    command = [VARVE, "--root", varve.root, "--pool", "slow", "snapshot", *words]
    with frozen(place):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_blocked(process), f"{words} to reach the disk")
        process.kill()
    assert process.wait(TIMEOUT) == -signal.SIGKILL


@pytest.fixture(params=POOLS, ids=[driver for driver, _ in POOLS])
def slow(request, make_fs, varve):
    """A file system that can be frozen, with a pool "slow"; the store is on another one."""
    name, kind = request.param
    place = make_fs(kind)
    varve("pool", "create", "slow", "--driver", name, "--set", f"path={place}/pool")
    return place


def test_killed_while_preparing(slow, varve):
    kill_in(varve, slow, "prepare", "key")
    assert varve.json("snapshot", "ls") == []
    varve("snapshot", "prepare", "key")
    varve("snapshot", "rm", "key")
    assert varve.json("system", "cleanup") == CLEAN


def test_killed_while_removing(slow, varve):
    varve("snapshot", "prepare", "key")
    kill_in(varve, slow, "rm", "key")
    assert varve.json("snapshot", "ls") == []
    assert varve.json("system", "info")["pending"] == 1
    varve("snapshot", "prepare", "key")
    wait_until(lambda: varve.json("system", "info")["pending"] == 0, "the space to be freed")


def test_killed_while_committing(varve, varved, btrfs):
    """The daemon, there all the time, neither waits for the dead nor leaves what is theirs."""
    varve("pool", "create", "slow", "--driver", "btrfs", "--set", f"path={btrfs}/pool")
    for key in "again", "remove":
        varve("snapshot", "prepare", key)
    daemon = varved()
    caller = DaemonCaller(daemon.socket, "slow")
    for key in "again", "remove":
        kill_in(varve, btrfs, "commit", "name", key)
    caller.commit("name", "again")
    caller.remove("remove")
    assert [info["name"] for info in varve.json("snapshot", "ls")] == ["name"]
    wait_until(lambda: varve.json("system", "info")["pending"] == 0, "the space to be freed")


def test_places_of_the_dead_are_taken(varve, ext4, load):
    """There is a place for 256 processes; those that died do not keep theirs."""
    varve.root = ext4 / "root"
    varve("pool", "create", "crash", "--driver", "native")
    crowd = [load("crash") for _ in range(256)]
    try:
        assert "256 processes use this root" in varve("snapshot", "ls", status=7).stderr
    finally:
        for process in crowd:
            process.kill()
    assert varve.json("snapshot", "ls") == []
