# SPDX-License-Identifier: Apache-2.0
"""Capture: a committed snapshot is made of an active one, which goes on and stands on it."""

import subprocess

import pytest
from conftest import CLEAN, TIMEOUT

POOLS = [("native", "xfs"), ("btrfs", "btrfs")]
GONE_ON = 6  # exit status of VARVE_ERROR_FAILED_PRECONDITION


@pytest.fixture(params=POOLS, ids=[driver for driver, _ in POOLS])
def snapshots(request, make_fs, varve):
    """varve snapshot ... on a pool of the driver."""
    name, kind = request.param
    varve.root = make_fs(kind) / "root"
    varve("pool", "create", "p", "--driver", name)
    return lambda *args, **kwargs: varve("snapshot", *args, **kwargs)


@pytest.fixture
def web(snapshots, tempdir):
    """An active snapshot "web" on "base", mounted: its directory."""
    directory = tempdir / "web"
    directory.mkdir()
    snapshots("prepare", "fill", "--mount", directory)
    (directory / "old").write_text("base")
    snapshots("umount", directory)
    snapshots("commit", "base", "fill")
    snapshots("prepare", "web", "base", "--label", "owner=ada", "--mount", directory)
    return directory


def read(snapshots, name, directory):
    """What a committed snapshot holds: {file: text}."""
    directory.mkdir(exist_ok=True)
    snapshots("view", "look", name, "--mount", directory)
    found = {entry.name: entry.read_text() for entry in directory.iterdir()}
    snapshots("umount", directory)
    snapshots("rm", "look")
    return found


def test_capture(snapshots, web, varve, tempdir):
    (web / "old").write_text("monday")
    (web / "new").write_text("monday")
    with open(web / "new", "a") as still_open:
        snapshots("capture", "monday", "web", "--label", "reason=backup")
        still_open.write(" and tuesday")
    (web / "old").unlink()
    snapshots("capture", "tuesday", "web")
    (web / "new").write_text("wednesday")

    assert read(snapshots, "base", tempdir / "look") == {"old": "base"}
    assert read(snapshots, "monday", tempdir / "look") == {"old": "monday", "new": "monday"}
    assert read(snapshots, "tuesday", tempdir / "look") == {"new": "monday and tuesday"}
    assert (web / "new").read_text() == "wednesday"

    infos = {info["name"]: info for info in varve.json("snapshot", "ls")}
    assert {name: (info["kind"], info["parent"]) for name, info in infos.items()} == {
        "base": ("committed", ""),
        "monday": ("committed", "base"),
        "tuesday": ("committed", "monday"),
        "web": ("active", "tuesday"),
    }
    assert infos["monday"]["labels"] == {"reason": "backup"}
    assert infos["web"]["labels"] == {"owner": "ada"}


def test_captured_is_a_parent(snapshots, web, varve, tempdir):
    """It outlives the one that it was taken from, and others can stand on it."""
    (web / "new").write_text("1")
    snapshots("capture", "one", "web")
    assert "'web' is one" in snapshots("rm", "one", status=GONE_ON).stderr
    snapshots("umount", web)
    snapshots("rm", "web")
    snapshots("prepare", "next", "one")
    snapshots("commit", "two", "next")
    assert read(snapshots, "two", tempdir / "look") == {"old": "base", "new": "1"}
    snapshots("rm", "two", "one", "base")
    assert varve.json("snapshot", "ls") == []
    assert varve.json("system", "cleanup") == CLEAN


def test_captured_from_nothing(snapshots, varve, tempdir):
    snapshots("prepare", "web")
    snapshots("capture", "one", "web")
    snapshots("capture", "two", "web")
    assert read(snapshots, "two", tempdir / "look") == {}
    assert varve.json("snapshot", "stat", "web")["parent"] == "two"


def test_commit_after_capture(snapshots, web, tempdir):
    (web / "new").write_text("1")
    snapshots("capture", "one", "web")
    (web / "new").write_text("2")
    snapshots("umount", web)
    snapshots("commit", "two", "web")
    assert read(snapshots, "one", tempdir / "look")["new"] == "1"
    assert read(snapshots, "two", tempdir / "look")["new"] == "2"


def test_refusals(snapshots, web, varve):
    snapshots("view", "view", "base")
    before = varve.json("snapshot", "ls")
    assert "'base' is taken" in snapshots("capture", "base", "web", status=None).stderr
    assert "it is view" in snapshots("capture", "x", "view", status=GONE_ON).stderr
    assert "it is committed" in snapshots("capture", "x", "base", status=GONE_ON).stderr
    assert "no snapshot 'missing'" in snapshots("capture", "x", "missing", status=None).stderr
    assert varve.json("snapshot", "ls") == before
    assert varve.json("system", "cleanup")["orphans"] == 0


def test_overlay_cannot(varve, ext4):
    varve.root = ext4 / "root"
    varve("pool", "create", "p", "--driver", "overlay")
    varve("snapshot", "prepare", "web")
    refused = varve("snapshot", "capture", "one", "web", status=None)
    assert refused.returncode != 0
    assert "'overlay' cannot commit a snapshot that goes on" in refused.stderr
    assert [info["name"] for info in varve.json("snapshot", "ls")] == ["web"]


def test_full_disk(varve, make_fs, tempdir):
    """A capture that the disk has no room for leaves nothing, and the active one as it was."""
    place = make_fs("ext4", "64M")
    varve("pool", "create", "p", "--driver", "native", "--set", f"path={place}/pool")
    directory = tempdir / "web"
    directory.mkdir()
    varve("snapshot", "prepare", "web", "--mount", directory)
    (directory / "big").write_bytes(b"x" * (40 << 20))
    subprocess.run(["sync", "-f", directory], check=True, timeout=TIMEOUT)
    refused = varve("snapshot", "capture", "one", "web", status=None)
    assert "No space left on device" in refused.stderr
    assert (directory / "big").stat().st_size == 40 << 20
    assert [info["name"] for info in varve.json("snapshot", "ls")] == ["web"]
    assert varve.json("system", "cleanup") == CLEAN
