# SPDX-License-Identifier: Apache-2.0
"""Users who are not root get at a snapshot where it is mounted, and not by its pool's path: among
the files are programs that set the user id, of versions with known holes. SPEC row D1."""

import os
import stat
import subprocess

import pytest
from conftest import DRIVERS

NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


@pytest.fixture
def place(tempdir):
    """A directory that everybody may pass to."""
    tempdir.chmod(0o755)
    place = tempdir / "place"
    place.mkdir(mode=0o755)
    return place


@pytest.fixture(params=DRIVERS)
def settings(request, make_fs, make_zpool, place):
    """What makes a pool of that driver beneath place; a file system that needs to be is there."""
    if request.param == "zfs":
        return ["--driver", "zfs", "--set", f"dataset={make_zpool()}/varve"]
    subprocess.run(["mount", "--bind", make_fs(DRIVERS[request.param]), place], check=True)
    place.chmod(0o755)
    return ["--driver", request.param]


def runs_for_nobody(program):
    try:
        return subprocess.run([program], **NOBODY).returncode == 0
    except PermissionError:
        return False


def put_program(folder):
    program = folder / "setuid"
    program.write_bytes(open("/bin/true", "rb").read())
    program.chmod(0o4755)
    return program


def fill(varve, point):
    """A committed snapshot with a program in it, which everybody can run where it is mounted."""
    point.mkdir()
    varve("snapshot", "prepare", "active", "--mount", point)
    point.chmod(0o755)
    assert runs_for_nobody(put_program(point))
    varve("snapshot", "umount", point)
    varve("snapshot", "commit", "committed", "active")
    varve("snapshot", "prepare", "active", "committed", "--mount", point)
    assert runs_for_nobody(point / "setuid")


def programs(place):
    found = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
    return [path for path in found if os.path.basename(path) == "setuid"]


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def check(place, settings):
    """None is reached, and all drivers but zfs, whose files have no path, do have some to reach."""
    beside = put_program(place)
    assert runs_for_nobody(beside), "the test cannot tell: nobody is kept out elsewhere"
    found = [path for path in programs(place) if path != str(beside)]
    assert found or "zfs" in settings
    assert [path for path in found if runs_for_nobody(path)] == []


def test_a_pool_beneath_the_root(varve, place, settings, tempdir):
    varve = varve.at(place / "root")
    varve("pool", "create", "default", *settings)
    fill(varve, tempdir / "mnt")
    check(place, settings)
    assert mode(place / "root") == 0o711
    assert mode(place / "root/pools") == mode(place / "root/pools/default") == 0o700


def test_a_pool_with_a_path(varve, place, settings, tempdir):
    varve("pool", "create", "default", *settings, "--set", f"path={place}/deep/pool")
    fill(varve, tempdir / "mnt")
    check(place, settings)
    assert mode(place / "deep/pool") == 0o700


def test_a_root_of_an_earlier_version(varve, place, settings, tempdir):
    """It is closed when it is opened, by a command that only looks too."""
    varve = varve.at(place / "root")
    varve("pool", "create", "default", *settings)
    fill(varve, tempdir / "mnt")
    for path in [place / "root/pools", place / "root/pools/default"]:
        path.chmod(0o711)
    varve("snapshot", "ls")
    check(place, settings)
    assert mode(place / "root/pools") == 0o700


def test_a_path_that_was_there_keeps_its_mode(varve, place):
    (place / "pool").mkdir(mode=0o750)
    varve("pool", "create", "default", "--driver", "native", "--set", f"path={place}/pool")
    assert mode(place / "pool") == 0o750
