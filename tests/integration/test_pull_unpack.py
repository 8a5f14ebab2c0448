# SPDX-License-Identifier: Apache-2.0
"""varve image pull --unpack, and varve run of an image that is not here: layers are unpacked while
they are fetched (L1, L6, L7). What comes of it is what pulling and then unpacking makes."""

import json
import os
import random
import shutil
import signal
import subprocess

import oci
import pytest
from conftest import TIMEOUT, VARVE, Varve, wait_until
from oci import Layer, chain_ids, write_image
from registries import Simple, Wire, blobs_of
from test_pull import (  # noqa: F401 (no_credentials is a fixture)
    CORRUPT, INVALID, MIB, NO_SPACE, NOT_FOUND, SLACK, UNAVAILABLE, begun, content, fresh, names,
    no_credentials, running,
)  # fmt: skip
from test_run import IMAGE as RUN_IMAGE
from test_run import busybox_layer
from test_run import import_image as import_to_run
from test_unpack import keys, layers, presented, random_layer

SIZE = 6 * MIB


def large_layer():
    """One that is long compressed too; it begins and ends with a small file."""
    data = random.Random(7).randbytes(SIZE)
    return Layer().dir("big").file("big/first", "1").file("big/data", data).file("big/last", "2")


def stack():
    """Those of test_unpack, which depend on each other, and a large one between them."""
    base, middle, top = layers()
    return [base, large_layer(), middle, top]


def push(tempdir, name, made):
    """Puts an image of these layers there; returns the digest of each layer's blob."""
    archive = tempdir / f"{name.replace('/', '-')}.tar"
    write_image(archive, "1", made)
    from_there = Varve(tempdir / f"pushed-{archive.name}")
    from_there("image", "import", archive, "--name", "pushed:1")
    from_there("image", "push", "pushed:1", name)
    blobs = [layer["digest"] for layer in from_there.json("image", "inspect", "pushed:1")["layers"]]
    shutil.rmtree(from_there.root)
    return blobs


def tree_of_two_steps(varve, tempdir, name, snapshot):
    """Of the same image in a pool of its own, pulled and then unpacked."""
    other = fresh(varve, "two-steps")
    other("pool", "create", "default", "--driver", "native")
    other("image", "pull", name)
    assert other.json("image", "unpack", name)["snapshot"] == snapshot
    return presented(other, snapshot, tempdir / "two-steps-mount")


def assert_whole(varve, tempdir, name, made):
    """The image is here, unpacked to the right tree, and nothing else is left."""
    chain = chain_ids(made)
    assert keys(varve) == sorted(chain)
    assert name in names(varve)
    assert begun(varve) == []
    ours = presented(varve, chain[-1], tempdir / "m")
    theirs = tree_of_two_steps(varve, tempdir, name, chain[-1])
    assert sorted(ours) == sorted(theirs)
    for path, entry in theirs.items():
        assert ours[path] == entry, path


def assert_no_half(varve, made):
    """No name, and of the layers the first ones whole, or none. How many."""
    chain = chain_ids(made)
    assert names(varve) == {}
    there = [key for key in keys(varve) if key in chain]
    assert sorted(there) == sorted(chain[: len(there)]) and keys(varve) == sorted(there)
    return len(there)


@pytest.fixture
def overlay(varve, ext4):
    varve("pool", "create", "default", "--driver", "overlay", "--set", f"path={ext4}/pool")
    return varve


def test_tree_is_that_of_two_steps(pool, registry, tempdir):
    made = stack()
    name = f"{registry.host}/a:1"
    push(tempdir, name, made)
    done = pool.json("image", "pull", "--unpack", name)
    assert done["snapshot"] == chain_ids(made)[-1]
    assert (done["layers"], done["unpacked"]) == (4, 4)
    assert_whole(pool, tempdir, name, made)
    # Its blobs are here, too, and none was fetched twice.
    assert set(blobs_of(registry_blobs(registry, tempdir))) <= set(content(pool))
    assert pool("image", "pull", "--unpack", name).stdout == f"{done['snapshot']}\n"
    for blob in content(pool):
        assert registry.requests(f'"GET /v2/a/blobs/{blob}') <= 2  # and by the two steps


def registry_blobs(registry, tempdir):
    """Its blobs as an OCI layout has them."""
    there = tempdir / "there/blobs/sha256"
    there.mkdir(parents=True)
    for data in (registry.directory / "data").rglob("blobs/sha256/*/*/data"):
        (there / data.parent.name).write_bytes(data.read_bytes())
    return tempdir / "there"


@pytest.mark.parametrize("seed", range(4))
def test_random_layers_in_small_pieces(overlay, registry, tempdir, seed):
    chance = random.Random(seed)
    linked = Layer().dir(".").file("a/x", "below").dir("b", mode=0o700, uid=9).hardlink("b/x", "a/x")
    made = [linked] + [random_layer(chance) for _ in range(5)]
    push(tempdir, f"{registry.host}/a:1", made)
    pulled = overlay("image", "pull", "--unpack", f"{registry.host}/a:1", status=None)
    other = fresh(overlay, "other")
    place = f"path={tempdir}/ext4-1/other"
    other("pool", "create", "default", "--driver", "overlay", "--set", place)
    other("image", "pull", f"{registry.host}/a:1")
    unpacked = other("image", "unpack", f"{registry.host}/a:1", status=None)
    assert pulled.returncode == unpacked.returncode
    if pulled.returncode == 0:
        snapshot = pulled.stdout.strip()
        ours = presented(overlay, snapshot, tempdir / "ours")
        assert ours == presented(other, snapshot, tempdir / "theirs")


# --- while it comes -------------------------------------------------------------------------------


def hold(varve, wire, name, at=3 * MIB, *options):
    """A pull in the background that gets no more than so many bytes."""
    wire.hold_at = at
    return running(varve, "image", "pull", "--unpack", name, "--retries", "0", *options)


def begun_bytes(varve):
    """Of what is fetched just now."""
    total = 0
    for folder, _, files in os.walk(varve.root / "content/ingest"):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # it has become a blob
                pass
    return total


def begun_to_unpack(tempdir):
    """What stands at the beginning of the large layer is in a pool."""
    return lambda: any(
        name == "first"
        for place in tempdir.glob("*/pool")
        for folder, _, files in os.walk(place)
        for name in files
    )


def test_files_are_there_before_the_blob_is(pool, registry, tempdir):
    if pool.json("pool", "ls")[0]["driver"] == "zfs":
        pytest.skip("its files are not seen from outside while they are written")
    made = stack()
    blobs = push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        # One after the other: a driver that unpacks in turns needs the layer below first.
        with hold(pool, wire, name, 3 * MIB, "--jobs", "1") as process:
            wait_until(begun_to_unpack(tempdir), "the first file of the large layer")
            assert blobs[1] not in content(pool)
            assert chain_ids(made)[1] not in keys(pool) and names(pool) == {}
            wire.hold_at = None
            assert process.wait(TIMEOUT) == 0
        assert_whole(pool, tempdir, name, made)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_in_the_middle(pool, registry, tempdir, number):
    made = stack()
    push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        with hold(pool, wire, name, 4 * MIB) as process:
            wait_until(lambda: begun_bytes(pool) >= 2 * MIB, "a beginning")
            process.send_signal(number)
            _, told = process.communicate(timeout=TIMEOUT)
            assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
            assert number == signal.SIGKILL or "hint: what was fetched is kept" in told
        if number != signal.SIGKILL:
            assert_no_half(pool, made)
        first = wire.received
        wire.reset()
        pool("image", "pull", "--unpack", name)
        assert wire.received <= SIZE - first + 3 * MIB  # but for what was on the way
        assert_whole(pool, tempdir, name, made)


def test_killed_at_many_moments(overlay, registry, tempdir):
    """Each kills the pull somewhere further on: what is there is whole, and it goes on."""
    made = stack()
    push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        for at in range(64 * 1024, SIZE, MIB):
            with hold(overlay, wire, name, at) as process:
                wait_until(lambda: wire.received >= min(at, SIZE // 2) or process.poll() is not None, at)
                process.kill()
                process.wait(TIMEOUT)
            there = [key for key in keys(overlay) if key in chain_ids(made)]
            assert sorted(there) == sorted(chain_ids(made)[: len(there)])
            wire.reset()
        overlay("image", "pull", "--unpack", name)
        assert_whole(overlay, tempdir, name, made)


def test_cut_connection(pool, registry, tempdir):
    """It goes on where it was cut, with what has been unpacked of the layer; or in another pull."""
    made = stack()
    push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        wire.cut_at = 3 * MIB
        done = pool("image", "pull", "--unpack", name, "--retries", "0", status=UNAVAILABLE)
        assert "hint: what was fetched is kept" in done.stderr
        assert "fetching blob" in done.stderr  # the reason, not what came of it
        assert_no_half(pool, made)
        first = wire.received
        wire.reset()
        wire.cut_at = 2 * MIB
        pool("image", "pull", "--unpack", name)
        assert wire.cut_at is None and wire.received <= SIZE - first + 3 * MIB
        assert_whole(pool, tempdir, name, made)


def test_two_at_once(pool, registry, tempdir):
    """Each layer is fetched once and unpacked once."""
    made = stack()
    push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire:
        command = [VARVE, "--json", "--root", pool.root, "image", "pull", "--unpack", f"{wire.host}/a:1"]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        done = [json.loads(process.communicate(timeout=TIMEOUT)[0]) for process in both]
        assert [process.returncode for process in both] == [0, 0, 0]
        assert sum(one["unpacked"] for one in done) == 4
        assert wire.received <= SIZE + MIB
        assert_whole(pool, tempdir, f"{wire.host}/a:1", made)


def test_takes_over_when_another_dies(pool, registry, tempdir):
    made = stack()
    push(tempdir, f"{registry.host}/a:1", made)
    with Wire(registry.host) as wire, Wire(registry.host) as direct:
        name = f"{direct.host}/a:1"
        with hold(pool, wire, f"{wire.host}/a:1") as first:
            wait_until(lambda: begun_bytes(pool) > MIB, "a beginning")
            with running(pool, "image", "pull", "--unpack", name, "--progress") as second:
                lines = iter(second.stderr.readline, "")
                assert any(": waiting" in line for line in lines)
                first.kill()
                assert second.wait(TIMEOUT) == 0
        assert direct.received <= SIZE - MIB + SLACK
        assert_whole(pool, tempdir, name, made)


# --- what is there --------------------------------------------------------------------------------


def events_of(done):
    """The stages of each item, in their order and without repetitions."""
    stages = {}
    for line in done.stderr.splitlines():
        event = json.loads(line)["progress"]
        known = stages.setdefault(event["item"], [])
        if known[-1:] != [event["stage"]]:
            known.append(event["stage"])
    return stages


def test_what_is_there_is_left_alone(pool, registry, tempdir):
    """Of four layers one is unpacked, the next one's blob is here, and two are nowhere."""
    made = stack()
    blobs = push(tempdir, f"{registry.host}/a:1", made)
    push(tempdir, f"{registry.host}/lower:1", stack()[:1])
    push(tempdir, f"{registry.host}/lower:2", stack()[:2])
    pool("image", "pull", "--unpack", f"{registry.host}/lower:1")
    pool("image", "pull", f"{registry.host}/lower:2")
    done = pool("--json", "image", "pull", "--unpack", f"{registry.host}/a:1", "--progress")
    assert json.loads(done.stdout)["unpacked"] == 3
    stages = events_of(done)
    assert stages[blobs[0]] == ["waiting", "present"]
    assert stages[blobs[1]][-2:] == ["unpacking", "done"] and "fetching" not in stages[blobs[1]]
    for blob in blobs[2:]:
        assert stages[blob][0] == "waiting" and "fetching" in stages[blob]
        assert stages[blob][-1] == "done"
        assert registry.requests(f'"GET /v2/a/blobs/{blob}') == 1
    for blob in blobs[:2]:
        assert registry.requests(f'"GET /v2/a/blobs/{blob}') == 0
    assert keys(pool) == sorted(chain_ids(made))


def test_present_layers_do_not_wait_for_others(overlay, registry, tempdir):
    """Snapshots are made from the blobs that are here while another one is not coming."""
    made = [*layers()[:1], large_layer()]
    push(tempdir, f"{registry.host}/lower:1", layers()[:1])
    push(tempdir, f"{registry.host}/a:1", made)
    overlay("image", "pull", f"{registry.host}/lower:1")
    with Wire(registry.host) as wire:
        with hold(overlay, wire, f"{wire.host}/a:1", MIB, "--jobs", "1") as process:
            wait_until(lambda: keys(overlay)[:1] and chain_ids(made)[0] in keys(overlay), "layer 1")
            assert process.poll() is None and names(overlay).keys() == {f"{registry.host}/lower:1"}
            wire.hold_at = None
            assert process.wait(TIMEOUT) == 0


def test_progress(overlay, registry, tempdir):
    """One item for each layer, which is fetched, then unpacked, and done once."""
    made = stack()
    blobs = push(tempdir, f"{registry.host}/a:1", made)
    done = overlay("--json", "image", "pull", "--unpack", f"{registry.host}/a:1", "--progress")
    stages = events_of(done)
    assert set(stages) == set(content(overlay))
    for blob in blobs:
        told = [stage for stage in stages[blob] if stage != "waiting"]
        assert told in (["fetching", "unpacking", "done"], ["fetching", "done"])
    last = [json.loads(line)["progress"] for line in done.stderr.splitlines()]
    for blob in blobs:
        (end,) = [event for event in last if event["item"] == blob and event["stage"] == "done"]
        assert end["done"] == end["total"] == len(content(overlay)[blob])


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [0.1, 0.6, 1])
def test_wrong_digest(pool, tempdir, where):
    """A byte of a layer is another one: nothing of that layer is left, whatever was unpacked of it."""
    made = stack()

    def change(request, data):
        if not (wrong and request.command == "GET" and f"/blobs/{blobs[1]}" in request.place):
            return data
        at = min(int(len(data) * where), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    wrong = []
    with Simple(change) as there:
        name = f"{there.host}/x:1"
        blobs = push(tempdir, name, made)
        wrong.append(True)
        done = pool("image", "pull", "--unpack", name, status=CORRUPT)
        assert blobs[1] in done.stderr and "fetching blob" in done.stderr
        assert assert_no_half(pool, made) <= 1
        assert blobs[1] not in content(pool)
        wrong.clear()
        pool("image", "pull", "--unpack", name)
        assert_whole(pool, tempdir, name, made)


def test_beginning_that_is_wrong(pool, registry, tempdir):
    """What an earlier attempt left is not the beginning of the blob: it is fetched whole, and what
    was unpacked of it is thrown away, whether it could be unpacked or not."""
    made = stack()
    blobs = push(tempdir, f"{registry.host}/a:1", made)
    pool("image", "prune")  # makes the folders
    data = blobs_of(registry_blobs(registry, tempdir))[blobs[1]]
    left = pool.root / "content/ingest" / blobs[1][7:]
    left.write_bytes(data[: 2 * MIB] + b"?" + data[2 * MIB + 1 : 4 * MIB])
    name = f"{registry.host}/a:1"
    pool("image", "pull", "--unpack", name)
    assert registry.requests(f'"GET /v2/a/blobs/{blobs[1]}') == 2
    assert_whole(pool, tempdir, name, made)


def test_wrong_diff_id(pool, tempdir, registry, monkeypatch):
    layer = Layer().file("file", "content")
    tar, right = layer.tar(), oci.digest
    with monkeypatch.context() as patch:  # the config tells another layer's DiffID
        patch.setattr(oci, "digest", lambda data: right(b"other" if data == tar else data))
        push(tempdir, f"{registry.host}/a:1", [layer])
    done = pool("image", "pull", "--unpack", f"{registry.host}/a:1", status=CORRUPT)
    assert "decompressed" in done.stderr and "layer 1 of 1" in done.stderr
    assert keys(pool) == [] and names(pool) == {}


def test_malformed_layer_ends_the_fetch(overlay, tempdir):
    """The blob is what it should be, but no layer; the next one never comes to its end."""

    def change(request, data):
        if request.command == "GET" and blobs and f"/blobs/{blobs[1]}" in request.place:
            request.send_response(200)
            request.send_header("Content-Length", len(data))
            request.end_headers()
            request.raw(data[:MIB])
            request.wait_for_end()
        return data

    blobs = []
    with Simple(change) as there:
        name = f"{there.host}/x:1"
        first = Layer().file("a/../../out", "x")
        blobs += push(tempdir, name, [first, large_layer()])
        done = overlay("image", "pull", "--unpack", name, status=None)
        assert done.returncode != 0 and "layer 1 of 2" in done.stderr
        assert keys(overlay) == [] and names(overlay) == {}


def test_full_disk(varve, registry, tempdir, make_fs):
    """In the pool, while the blobs have room."""
    place = make_fs("ext4", "16M")
    varve("pool", "create", "default", "--driver", "overlay", "--set", f"path={place}/pool")
    made = [Layer().file("small", "x"), Layer().file("large", random.Random(3).randbytes(20 * MIB))]
    push(tempdir, f"{registry.host}/a:1", made)
    done = varve("image", "pull", "--unpack", f"{registry.host}/a:1", status=NO_SPACE)
    assert "layer 2 of 2" in done.stderr and "No space left on device" in done.stderr
    assert assert_no_half(varve, made) == 1


def test_blob_that_does_not_fit(varve, registry, tempdir, make_fs, ext4):
    """In the content store, while the pool has room."""
    small = varve.at(make_fs("ext4", "24M") / "root")
    small("pool", "create", "default", "--driver", "overlay", "--set", f"path={ext4}/pool")
    made = [Layer().file("small", "x"), Layer().file("large", random.Random(3).randbytes(40 * MIB))]
    push(tempdir, f"{registry.host}/a:1", made)
    done = small("image", "pull", "--unpack", f"{registry.host}/a:1", status=NO_SPACE)
    assert "No space left on device" in done.stderr
    assert assert_no_half(small, made) <= 1


def test_refusals(overlay, registry, tempdir):
    name = f"{registry.host}/a:1"
    push(tempdir, name, layers())
    done = overlay("image", "pull", "--unpack", name, "--platform", "linux/amd64", "--platform",
                   "linux/arm64", status=None)  # fmt: skip
    assert done.returncode in (INVALID, NOT_FOUND) and names(overlay) == {}
    done = overlay("--pool", "none", "image", "pull", "--unpack", name, status=NOT_FOUND)
    assert "varve pool ls" in done.stderr and names(overlay) == {}
    assert registry.requests('"GET /v2/a/blobs') == registry.requests('"GET /v2/a/blobs/sha256:')


# --- run ------------------------------------------------------------------------------------------


needs_runc = pytest.mark.skipif(not shutil.which("runc"), reason="needs runc")


def push_to_run(varve, name, said):
    layer = busybox_layer().file("said", said)
    import_to_run(varve, [layer])
    varve("image", "push", RUN_IMAGE, name)


def run(varve, *args, **options):
    return varve("run", "--rm", *args, stdin=subprocess.DEVNULL, **options)


@needs_runc
def test_run_pulls_what_is_missing(overlay, registry):
    name = f"{registry.host}/a:1"
    source = fresh(overlay, "source")
    source("pool", "create", "default", "--driver", "native")
    push_to_run(source, name, "one")
    done = run(overlay, "--pull", "never", name, "cat", "/said", status=125)
    assert "there is no image" in done.stderr and names(overlay) == {}
    assert run(overlay, name, "cat", "/said").stdout == "one"
    push_to_run(source, name, "two")
    asked = registry.requests("/v2/a/")
    assert run(overlay, name, "cat", "/said").stdout == "one"
    assert run(overlay, "--pull", "missing", name, "cat", "/said").stdout == "one"
    assert run(overlay, "--pull", "never", name, "cat", "/said").stdout == "one"
    assert registry.requests("/v2/a/") == asked
    assert run(overlay, "--pull", "always", name, "cat", "/said").stdout == "two"
    assert run(overlay, name, "cat", "/said").stdout == "two"


@needs_runc
def test_run_of_what_is_nowhere(overlay, registry):
    done = run(overlay, f"{registry.host}/none:1", "true", status=125)
    assert f"pulling image '{registry.host}/none:1'" in done.stderr
    assert "hint: 'varve image ls'" in done.stderr
    assert "--pull is missing, always or never" in run(overlay, "--pull", "x", "a", status=125).stderr
