# SPDX-License-Identifier: Apache-2.0
"""`varve snapshot diff`: what it prints of changes, on every driver that can be had here.

Which changes a driver tells is the unit tests' business (test-changes.c); here are the words. Row D7.
"""

import base64
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import TIMEOUT, VARVE

DRIVERS = {"overlay": "ext4", "native": "ext4", "btrfs": "btrfs"}
OLD = 1_000_000_000  # a time that nothing here is written at
LETTERS = {"added": "A", "modified": "M", "deleted": "D", "replaced": "T", "renamed": "R"}


@pytest.fixture
def place(make_fs, varve, tempdir):
    """place(driver) makes a pool there and returns the command and a mount point."""

    def make(driver):
        command = varve.at(make_fs(DRIVERS[driver]) / "root")
        command("pool", "create", "p", "--driver", driver)
        target = tempdir / "mnt"
        target.mkdir()
        return command, target

    return make


class Mounted:
    """with Mounted(varve, target, "prepare", KEY, PARENT): the snapshot is mounted on target."""

    def __init__(self, varve, target, *words):
        self.varve, self.target, self.words = varve, target, words

    def __enter__(self):
        self.varve("snapshot", *self.words, "--mount", self.target)
        return self.target

    def __exit__(self, *_):
        self.varve("snapshot", "umount", self.target)


def age(root):
    """Sets all times below root back, so that what is done later shows."""
    for directory, names, files in os.walk(root, topdown=False):
        for name in files + names:
            os.utime(os.path.join(directory, name), (OLD, OLD), follow_symlinks=False)
    os.utime(root, (OLD, OLD))


def fill(root):
    (root / "etc").mkdir()
    for name in ("passwd", "motd", "mode", "same"):
        (root / "etc" / name).write_text(f"{name}\n")
    (root / "run").symlink_to("etc")
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/file").write_text("x")
    age(root)


def change(root):
    (root / "etc/passwd").write_text("changed\n")
    (root / "etc/motd").unlink()
    (root / "etc/mode").chmod(0o600)
    os.chown(root / "etc/mode", 7, 8)
    os.setxattr(root / "etc/mode", "user.note", b"x")
    os.close(os.open(root / "etc/same", os.O_RDWR))
    (root / "run").unlink()
    (root / "run").mkdir()
    (root / "run/lock").write_text("")
    subprocess.run(["rm", "-r", root / "deep"], check=True)


@pytest.fixture
def changed(place):
    """changed(driver) is the command on a pool with base and, on it, the active snapshot web."""

    def make(driver):
        varve, target = place(driver)
        with Mounted(varve, target, "prepare", "fill"):
            fill(target)
        varve("snapshot", "commit", "base", "fill")
        with Mounted(varve, target, "prepare", "web", "base"):
            change(target)
        return varve

    return make


WANTED = [
    ("modified", "/", "directory", ["time"]),
    ("deleted", "/deep", "directory", []),
    ("modified", "/etc", "directory", ["time"]),
    ("modified", "/etc/mode", "file", ["mode", "owner", "xattrs"]),
    ("deleted", "/etc/motd", "file", []),
    ("modified", "/etc/passwd", "file", ["content", "time"]),
    ("replaced", "/run", "directory", []),
    ("added", "/run/lock", "file", []),
]


def as_line(kind, path, type_, what):
    column = "".join(name[0] if name in what else "-" for name in ("content", "mode", "owner"))
    column += "".join(c if name in what else "-" for name, c in (("xattrs", "x"), ("time", "t")))
    slash = "/" if type_ == "directory" and path != "/" else ""
    return f"{LETTERS[kind]} {column if kind == 'modified' else '     '} {path}{slash}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_lines(changed, driver):
    varve = changed(driver)
    lines = [as_line(*row) for row in WANTED]
    assert varve("snapshot", "diff", "web").stdout.splitlines() == lines
    varve("snapshot", "commit", "layer", "web")
    assert varve("snapshot", "diff", "layer").stdout.splitlines() == lines


@pytest.mark.parametrize("driver", DRIVERS)
def test_json(changed, driver):
    varve = changed(driver)
    wanted = [{"kind": k, "path": p, "type": t, "what": w} for k, p, t, w in WANTED]
    assert varve.json("snapshot", "diff", "web") == wanted
    sums = {"added": 1, "modified": 4, "deleted": 2, "replaced": 1, "renamed": 0}
    assert varve.json("snapshot", "diff", "web", "--summary") == sums
    rows = varve("snapshot", "diff", "web", "-s").stdout.split()
    assert dict(zip(rows[::2], map(int, rows[1::2]))) == sums


@pytest.mark.parametrize("driver", DRIVERS)
def test_bare_paths(changed, driver):
    varve = changed(driver)
    paths = [row[1] for row in WANTED]
    assert varve("snapshot", "diff", "web", "-q").stdout == "".join(f"{p}\n" for p in paths)
    assert varve("snapshot", "diff", "web", "-0").stdout == "".join(f"{p}\0" for p in paths)


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_a_parent_all_is_added(changed, driver):
    varve = changed(driver)
    told = varve.json("snapshot", "diff", "base")
    assert {row["kind"] for row in told} == {"added"}
    assert [row["path"] for row in told] == [
        "/", "/deep", "/deep/er", "/deep/er/file", "/etc", "/etc/mode", "/etc/motd", "/etc/passwd",
        "/etc/same", "/run",
    ]  # fmt: skip


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_to_tell(changed, driver):
    varve = changed(driver)
    varve("snapshot", "prepare", "fresh", "base")
    varve("snapshot", "view", "look", "base")
    for key in "fresh", "look":
        assert varve("snapshot", "diff", key).stdout == ""
        assert varve.json("snapshot", "diff", key) == []


@pytest.mark.parametrize("driver", ["overlay", "btrfs"])
def test_renamed(place, driver):
    varve, target = place(driver)
    with Mounted(varve, target, "prepare", "fill"):
        fill(target)
    varve("snapshot", "commit", "base", "fill")
    with Mounted(varve, target, "prepare", "web", "base"):
        (target / "deep").rename(target / "a moved one")
        (target / "a moved one/er/file").unlink()
        age(target)
    assert varve("snapshot", "diff", "web").stdout.splitlines() == [
        "R ----- /deep/ -> /a moved one/",
        "D       /deep/er/file",
    ]
    renamed = varve.json("snapshot", "diff", "web")[0]
    assert renamed == {
        "kind": "renamed", "path": "/a moved one", "from": "/deep", "type": "directory", "what": [],
    }  # fmt: skip


def test_names_cannot_harm_a_terminal(place):
    varve, target = place("native")
    name = b"caf\xe9\n\x1b[31m\\"
    with Mounted(varve, target, "prepare", "web"):
        Path(os.fsdecode(os.path.join(os.fsencode(target), name))).write_text("")
    last = varve("snapshot", "diff", "web").stdout.splitlines()[-1]
    assert last == r"A       /caf\xe9\n\u001b[31m\\"
    row = varve.json("snapshot", "diff", "web")[-1]
    assert base64.b64decode(row["path_base64"]) == b"/" + name
    done = varve("snapshot", "diff", "web", "-0", text=False, encoding=None)
    assert done.stdout == b"/\0/" + name + b"\0"


def test_unknown_key(place):
    varve, _ = place("native")
    done = varve("snapshot", "diff", "nothing", status=None)
    assert done.returncode != 0 and done.stdout == ""
    assert "'nothing'" in done.stderr and "snapshot ls" in done.stderr


def test_interrupt(place):
    varve, target = place("native")
    with Mounted(varve, target, "prepare", "web"):
        for i in range(20000):  # megabytes of output, far more than a pipe holds
            (target / f"{i:0200}").touch()
    command = [VARVE, "--root", varve.root, "snapshot", "diff", "web"]
    lines = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as diff:
        assert diff.stdout.readline() == b"A       /\n"  # it has begun, and waits for us to read
        diff.send_signal(signal.SIGINT)
        while out := diff.stdout.read(1 << 16):
            lines += out.count(b"\n")
            time.sleep(0.02)  # however busy the machine is, the signal comes before the end
        assert diff.wait(TIMEOUT) == 128 + signal.SIGINT
        assert lines < 20000 and b"interrupted" in diff.stderr.read()
