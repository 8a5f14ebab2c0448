# SPDX-License-Identifier: Apache-2.0
"""Real trees as images: what comes out is what GNU tar put in, on every driver, through 60 layers,
gzip, zstd and an archive of Docker's.

Larger ones, made by bench/images.py, are compared with their trees and with what umoci makes of them
when VARVE_REAL_IMAGES names the directory that holds them (build/bench/images).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_unpack import presented, tree

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import images

NAME = "example.org/real:1"
REAL = os.environ.get("VARVE_REAL_IMAGES")
PARTS = ["etc", "usr/lib/python3"]  # of this host: small files, links, owners
TIME, LINKS = 4, 9  # of an entry of tree()


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=900)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What is not in every directory of a host is added."""
    root = tmp_path_factory.mktemp("real") / "tree"
    root.mkdir()
    parts = [part for part in PARTS if Path("/", part).exists()]
    copying = 'tar -C / -c --xattrs --ignore-failed-read "$@" | tar -C "$0" -x -p --xattrs'
    run("sh", "-c", copying, root, *parts)
    odd = root / "odd"
    odd.mkdir(mode=0o1777)
    (odd / "a").write_bytes(b"linked")
    os.link(odd / "a", odd / "b")
    os.mkfifo(odd / "fifo", 0o620)
    os.mknod(odd / "null", 0o20666, os.makedev(1, 3))
    os.setxattr(odd / "a", "user.note", b"\xff\n")
    os.chown(odd / "a", 70_000, 3_000_000_000)
    os.chmod(odd / "a", 0o4755)
    (odd / "\udcff name\nof two lines").symlink_to("nowhere")
    with open(odd / "holes", "wb") as file:
        file.truncate(50 << 20)
        file.seek(20 << 20)
        file.write(b"data")
    os.utime(odd / "holes", ns=(1, 987_654_321_123_456_789))
    os.utime(odd, ns=(5, -1_000_000_001))
    return root


def same(ours, theirs, layers):
    """Where a file and its link went into different layers, tar made two files of them."""
    assert sorted(ours) == sorted(theirs)
    for path, entry in theirs.items():
        if layers > 1:
            entry[LINKS] = ours[path][LINKS] = None
        assert ours[path] == entry, path


@pytest.mark.parametrize("driver, layers, kind", [("overlay", 60, "gzip"), ("native", 1, "zstd"),
                                                  ("btrfs", 5, "gzip")])  # fmt: skip
def test_tree_of_this_host(varve, make_fs, tempdir, source, driver, layers, kind):
    place = make_fs("btrfs" if driver == "btrfs" else "ext4", "2G")
    varve("pool", "create", "default", "--driver", driver, "--set", f"path={place}/pool")
    images.write_layout(tempdir / "layout", source, layers, kind)
    varve("image", "import", tempdir / "layout", "--name", NAME)
    done = varve.json("image", "unpack", NAME)
    assert (done["layers"], done["xattrs_dropped"]) == (layers, 0)
    same(presented(varve, done["snapshot"], tempdir / "m"), tree(source), layers)


def test_docker_archive(varve, make_fs, tempdir, source):
    """The layers are not compressed there; it is the same image then."""
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo")
    varve("pool", "create", "default", "--driver", "overlay", "--set", f"path={make_fs('ext4', '2G')}/pool")
    layout, archive = tempdir / "layout", tempdir / "archive.tar"
    images.write_layout(layout, source, 3, "gzip")
    run("skopeo", "copy", "-q", f"oci:{layout}", f"docker-archive:{archive}:{NAME}")
    varve("image", "import", archive)
    done = varve.json("image", "unpack", NAME)
    same(presented(varve, done["snapshot"], tempdir / "m"), tree(source), 3)
    varve("image", "import", layout, "--name", "example.org/layout:1")
    assert varve.json("image", "unpack", "example.org/layout:1")["unpacked"] == 0


@pytest.mark.skipif(not REAL, reason="VARVE_REAL_IMAGES names no directory of images")
@pytest.mark.parametrize("layout", sorted(path.parent.name for path in Path(REAL or ".").glob("*/index.json")))
@pytest.mark.parametrize("driver", ["overlay", "native", "btrfs"])
def test_large_image(varve, make_fs, tempdir, driver, layout):
    place = make_fs("btrfs" if driver == "btrfs" else "ext4", "6G")
    varve.root = place / "root"
    varve("pool", "create", "default", "--driver", driver)
    varve("image", "import", Path(REAL) / layout, "--name", NAME, timeout=600)
    done = json.loads(varve("--json", "image", "unpack", NAME, timeout=900).stdout)
    ours = presented(varve, done["snapshot"], tempdir / "m")
    same(ours, tree(Path(REAL) / layout.partition("-")[0]), 2)
    if driver == "overlay":
        bundle = place / "bundle"
        run("umoci", "unpack", "--image", f"{REAL}/{layout}:bench", bundle)
        same(ours, tree(bundle / "rootfs"), 2)
