# SPDX-License-Identifier: Apache-2.0
"""Images unpacked into pools: SPEC rows L1, L2 and L7. The trees are compared with umoci's."""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import time

import oci
import pytest
from conftest import TIMEOUT, VARVE
from oci import Layer, chain_ids, write_image

NAME = "example.org/app:1"


def tree(root):
    """All that can be seen of the files beneath root."""
    found, links = {}, {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *files, "."]):
            path = os.path.normpath(os.path.join(folder, name))
            st = os.lstat(path)
            kind = stat.S_IFMT(st.st_mode)
            found[os.path.relpath(path, root)] = [
                kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns,
                st.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else None,
                os.readlink(path) if kind == stat.S_IFLNK else None,
                open(path, "rb").read() if kind == stat.S_IFREG else None,
                {name: os.getxattr(path, name, follow_symlinks=False)
                 for name in os.listxattr(path, follow_symlinks=False)
                 if not name.startswith("trusted.overlay.")},
                links.setdefault((st.st_dev, st.st_ino), os.path.relpath(path, root))
                if kind == stat.S_IFREG else None,
            ]  # fmt: skip
    return found


def presented(varve, snapshot, point):
    point.mkdir(exist_ok=True)
    varve("snapshot", "view", "look", snapshot, "--mount", point)
    try:
        return tree(point)
    finally:
        varve("snapshot", "umount", point)
        varve("snapshot", "rm", "look")


def layers():
    """What layers can do to each other."""
    base = (
        Layer().dir(".", mode=0o755).dir("bin").file("bin/sh", b"#!" * 5000, mode=0o4755)
        .dir("etc", mode=0o750, uid=3, gid=4).file("etc/old", "old").file("etc/kept", "kept")
        .dir("opt/deep/er", mode=0o700).file("opt/deep/er/file", "x", mtime=1_234_567_890.25)
        .dir("var", xattrs={"user.note": b"of the directory"}).file("var/a", "a").file("var/b", "b")
        .dir("usr").dir("usr/lib").symlink("lib", "usr/lib")
        .file("usr/lib/so", "so", xattrs={"user.x": b"\xff\0y", "trusted.t": b"t"})
        .hardlink("usr/lib/so.1", "usr/lib/so").fifo("var/fifo").device("var/null", 1, 3, mode=0o666)
        .file("replaced", "a file").dir("gone").file("gone/file", "gone")
    )  # fmt: skip
    middle = (
        Layer().whiteout("etc/old").whiteout("gone").dir("var").opaque("var").file("var/c", "c")
        .whiteout("replaced").dir("replaced").file("replaced/inside", "now a directory")
        .file("lib/through-a-link", "there").dir("etc", mode=0o711).file("etc/new", "new", uid=1000)
    )  # fmt: skip
    top = (
        Layer().file("opt/deep/er/second", "its parents stand below").whiteout("etc/new")
        .dir("gone", mode=0o770).file("gone/again", "back").hardlink("gone/sh", "gone/again")
    )  # fmt: skip
    return [base, middle, top]


def import_image(varve, tempdir, stack, name=NAME):
    archive = tempdir / "image.tar"
    write_image(archive, "1", stack)
    varve("image", "import", archive, "--name", name)
    return archive


def keys(varve):
    return sorted(info["name"] for info in varve.json("snapshot", "ls"))


def test_tree_is_that_of_umoci(pool, tempdir):
    for program in "umoci", "skopeo":
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    stack = layers()
    archive = import_image(pool, tempdir, stack)
    done = pool.json("image", "unpack", NAME)
    assert done["snapshot"] == chain_ids(stack)[-1]
    assert (done["layers"], done["unpacked"], done["xattrs_dropped"]) == (3, 3, 0)
    layout, bundle = tempdir / "layout", tempdir / "bundle"
    for command in (["skopeo", "copy", "-q", f"oci-archive:{archive}:1", f"oci:{layout}:1"],
                    ["umoci", "unpack", "--image", f"{layout}:1", bundle]):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    ours, theirs = presented(pool, done["snapshot"], tempdir / "m"), tree(bundle / "rootfs")
    assert sorted(ours) == sorted(theirs)
    # A directory in which an entry was made or removed has the time of that.
    for path, entry in theirs.items():
        if entry[0] == stat.S_IFDIR:
            entry[4] = ours[path][4]
    # umoci follows a link in a layer's path; so does Varve, within the root.
    for path, entry in theirs.items():
        assert ours[path] == entry, path


def test_progress(pool, tempdir):
    import_image(pool, tempdir, layers()[:2], "example.org/lower:1")
    pool("image", "unpack", "example.org/lower:1")
    stack = layers()
    import_image(pool, tempdir, stack)
    blobs = [layer["digest"] for layer in pool.json("image", "inspect", NAME)["layers"]]
    done = pool("--json", "image", "unpack", NAME, "--progress")
    assert json.loads(done.stdout)["unpacked"] == 1
    events = [json.loads(line)["progress"] for line in done.stderr.splitlines()]
    assert {event["item"] for event in events} == {blobs[2]}
    assert events[0]["stage"] == "waiting" and events[-1]["stage"] == "done"
    assert "unpacking" in {event["stage"] for event in events}
    assert events[-1]["done"] == events[-1]["total"] > 0
    assert "progress" not in pool("image", "unpack", NAME).stderr


def test_what_is_there_is_left_alone(pool, tempdir):
    stack = layers()
    import_image(pool, tempdir, stack)
    import_image(pool, tempdir, layers()[:2], "example.org/lower:1")
    assert pool.json("image", "unpack", "example.org/lower:1")["unpacked"] == 2
    assert pool.json("image", "unpack", NAME)["unpacked"] == 1
    done = pool.json("image", "unpack", NAME)
    assert (done["layers"], done["unpacked"], done["entries"]) == (3, 0, 0)
    chain = chain_ids(layers())
    assert keys(pool) == sorted(chain)
    for info in pool.json("snapshot", "ls"):
        assert info["labels"] == {"containerd.io/snapshot.ref": info["name"]}
        position = chain.index(info["name"])
        assert info["parent"] == (chain[position - 1] if position else "")
    assert not list((pool.root / "turns").iterdir())


def test_damaged_layer(pool, tempdir):
    """Two layers whole, the third not what its digest says: nothing of it stays."""
    stack = layers()
    archive = import_image(pool, tempdir, stack)
    digest = pool.json("image", "inspect", NAME)["layers"][2]["digest"]
    blob = pool.root / "content/blobs/sha256" / digest[7:]
    whole = blob.read_bytes()
    for damaged in whole[:-20], whole + b"more", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]:
        blob.chmod(0o600)
        blob.write_bytes(damaged)
        done = pool("image", "unpack", NAME, status=None)
        assert done.returncode != 0 and "layer 3 of 3" in done.stderr
        assert keys(pool) == sorted(chain_ids(layers())[:2])
    blob.unlink()
    done = pool("image", "unpack", NAME, status=None)
    assert done.returncode != 0 and "layer 3 of 3" in done.stderr
    pool("image", "import", archive, "--name", NAME)
    assert pool.json("image", "unpack", NAME)["unpacked"] == 1


def test_wrong_diff_id(varve, tempdir, monkeypatch):
    varve("pool", "create", "default", "--driver", "native")
    layer, archive = Layer().file("file", "content"), tempdir / "image.tar"
    tar, digest = layer.tar(), oci.digest
    with monkeypatch.context() as patch:  # the config tells another layer's DiffID
        patch.setattr(oci, "digest", lambda data: digest(b"other" if data == tar else data))
        write_image(archive, "1", [layer])
    varve("image", "import", archive, "--name", NAME)
    done = varve("image", "unpack", NAME, status=None)
    assert done.returncode != 0 and "decompressed" in done.stderr
    assert keys(varve) == []


def test_killed_and_again(pool, tempdir):
    """Killed at many moments: what is listed is whole, and the next attempt goes on."""
    stack = layers()
    stack[1].file("large", os.urandom(3_000_000))
    import_image(pool, tempdir, stack)
    chain = chain_ids(stack)
    for delay in range(0, 60, 6):
        process = subprocess.Popen([VARVE, "--root", pool.root, "image", "unpack", NAME],
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=TIMEOUT)
        there = [key for key in keys(pool) if key in chain]
        assert there == sorted(chain[: len(there)])
        assert set(keys(pool)) - set(there) <= {f"unpack {name}" for name in chain}
        pool("image", "unpack", NAME)
        assert keys(pool) == sorted(chain)
        for key in reversed(chain):
            pool("snapshot", "rm", key)


def random_layer(chance):
    """Entries over few names, so that layers meet: paths through what others made or removed."""
    layer, made = Layer(), set()
    folders = ["a", "b", "a/c", "a/c/d", "b/e", "link", "link/c"]
    for _ in range(chance.randrange(2, 12)):
        folder, name = chance.choice(folders), chance.choice("xyz")
        attributes = {"uid": chance.randrange(3), "mtime": 1_600_000_000 + chance.random()}
        kind = chance.randrange(12)
        if kind < 5:
            layer.file(f"{folder}/{name}", chance.randbytes(9), **attributes)
            made.add(f"{folder}/{name}")
        elif kind < 7:
            layer.dir(folder if folder[0] != "l" else "a", mode=chance.choice([0o700, 0o2755, 0o711]),
                      xattrs={"user.n": chance.randbytes(3)}, **attributes)
        elif kind == 7:
            layer.symlink("link", chance.choice(["a", "b", "/a", "missing"]), **attributes)
        elif kind == 8:
            layer.whiteout(f"{folder}/{name}")
        elif kind == 9:
            layer.opaque(chance.choice(["a", "b", "a/c"]))
        elif kind == 10 and chance.random() < 0.5:
            layer.dir(".", mode=0o711, **attributes).opaque(".") if chance.random() < 0.2 else (
                layer.dir(".", mode=0o751, xattrs={"user.root": b"r"}, **attributes))
        elif made:
            layer.hardlink(f"{folder}/{name}", chance.choice(sorted(made)))
    return layer


@pytest.mark.parametrize("seed", [*range(10), 147])
def test_side_by_side_is_one_by_one(varve, make_fs, tempdir, seed):
    """On overlay, layers that are unpacked at the same time make what they do in turns."""
    chance, place = random.Random(seed), make_fs("ext4")
    linked = Layer().dir(".").file("a/x", "below").dir("b", mode=0o700, uid=9).hardlink("b/x", "a/x")
    stack = [linked] + [random_layer(chance) for _ in range(7)]
    stack[4].hardlink("b/of-another-layer", "a/x")
    import_image(varve, tempdir, stack)
    for kind in "beside", "turns":
        varve("pool", "create", kind, "--driver", "overlay", "--set", f"path={place}/{kind}")
    beside = varve("--pool", "beside", "image", "unpack", NAME, status=None)
    for i in range(len(stack)):
        name = f"example.org/part-{i}:1"
        (tempdir / "image.tar").unlink()
        import_image(varve, tempdir, stack[: i + 1], name)
        turns = varve("--pool", "turns", "image", "unpack", name, status=None)
        if turns.returncode:
            break
    assert beside.returncode == turns.returncode
    if beside.returncode:
        layer = f"layer {i + 1} of "
        assert layer in beside.stderr and layer in turns.stderr
    trees = []
    for kind in "beside", "turns":
        found = varve.json("--pool", kind, "snapshot", "ls")
        trees.append({
            info["name"]: presented(Pooled(varve, kind), info["name"], tempdir / "m") for info in found
        })
    assert trees[0] == trees[1]


class Pooled:
    """Varve with one pool."""

    def __init__(self, varve, pool):
        self.varve, self.pool = varve, pool

    def __call__(self, *args, **options):
        return self.varve("--pool", self.pool, *args, **options)


def test_at_once(pool, tempdir):
    import_image(pool, tempdir, layers())
    running = [subprocess.Popen([VARVE, "--json", "--root", pool.root, "image", "unpack", NAME],
                                stdout=subprocess.PIPE, text=True) for _ in range(4)]  # fmt: skip
    done = [json.loads(process.communicate(timeout=TIMEOUT)[0]) for process in running]
    assert all(process.returncode == 0 for process in running)
    assert sum(one["unpacked"] for one in done) == 3
    assert keys(pool) == sorted(chain_ids(layers()))


def test_full_disk(varve, make_fs, tempdir):
    place = make_fs("ext4", "16M")
    varve("pool", "create", "default", "--driver", "overlay", "--set", f"path={place}/pool")
    stack = [Layer().file("small", "x"), Layer().file("large", os.urandom(20_000_000))]
    import_image(varve, tempdir, stack)
    done = varve("image", "unpack", NAME, status=None)
    assert done.returncode == 10 and "No space left on device" in done.stderr
    assert "layer 2 of 2" in done.stderr
    assert keys(varve) == chain_ids(stack)[:1]


def test_refusals(varve, tempdir):
    varve("pool", "create", "default", "--driver", "native")
    assert "no image" in varve("image", "unpack", "example.org/none:1", status=None).stderr
    import_image(varve, tempdir, layers())
    done = varve("image", "unpack", NAME, "--platform", "linux/s390x", status=None)
    assert done.returncode != 0 and "linux/s390x" in done.stderr
