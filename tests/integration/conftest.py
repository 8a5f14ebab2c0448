# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the integration tests: the real binaries on real file systems.

    varve     the command, on a fresh root:  varve("snapshot", "ls")  varve.json("pool", "ls")
    varved    starts a daemon:               d = varved(config="[pool fast]\\ndriver = native\\n")
    ext4, btrfs, xfs
              a Path: a freshly made file system of 1 GiB, loop-mounted, over memory.
              make_fs(kind, size, *mkfs_options) makes other ones
    make_zpool(size)
              the name of a new zpool in a sparse file; skips where there is no zfs
    pool      the varve command with a pool of each driver in turn, which is the default one
    registry  Debian's docker-registry, running
    image     the layout of an image to push to it
    tempdir   a Path: an empty directory (on the file system of $TMPDIR)
    alone     libvarve.so without its modules, and the environment that has it used

Everything a test starts, mounts or makes below its tempdir is gone after it. A daemon that did not
exit with 0 by then, or that a sanitizer complained about, fails its test.

The binaries come from $VARVE_BUILD, else ./build. Needs root; run with: python3 -m pytest
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

import pytest
import wire
from patience import TIMEOUT

BUILD = Path(os.environ.get("VARVE_BUILD", Path(__file__).parents[2] / "build")).resolve()
VARVE = BUILD / "src/cli/varve"
VARVED = BUILD / "src/daemon/varved"
SANITIZER = re.compile(r"(Address|Leak|Thread)Sanitizer|runtime error:")
# Of a command in the background a shell has SIGINT ignored, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Each driver, and the file system that a pool of it is made on.
DRIVERS = {"overlay": "ext4", "native": "ext4", "btrfs": "btrfs", "zfs": None}

# What `varve --json system cleanup` says when there was nothing to do.
CLEAN = {"orphans": 0, "removed": 0, "containers": 0, "failed": 0}


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("the integration tests mount file systems: run them as root", 2)


def driver_of(value):
    """The driver that a test's parameter stands for, if it does: its name, or that and more."""
    name = value[0] if isinstance(value, tuple) and value else value
    return name if isinstance(name, str) and name in DRIVERS else None


def same_but_for_drivers(item):
    parameters = item.callspec.params.items() if hasattr(item, "callspec") else ()
    return (item.path, item.originalname,
            *sorted((name, repr(value)) for name, value in parameters if not driver_of(value)))


def is_for_zfs(item):
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return any(driver_of(value) == "zfs" for value in parameters)


def pytest_collection_modifyitems(config, items):
    """$VARVE_TEST_ONE_DRIVER: of the same test over several drivers, one; which, changes from test to
    test, so that each driver has its share."""
    if not os.environ.get("VARVE_TEST_ONE_DRIVER"):
        return
    groups = {}
    for item in items:
        groups.setdefault(same_but_for_drivers(item), []).append(item)
    kept = set()
    for group in groups.values():
        group = [item for item in group if not is_for_zfs(item)] or group
        kept.add(group[zlib.crc32(group[0].originalname.encode()) % len(group)])
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def wait_until(condition, what, timeout=TIMEOUT):
    """Polls until condition() is true and returns what it returned."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.005)
    return result


# --- places ---------------------------------------------------------------------------------------


def mounts_below(path):
    """Mount points at or below path, the one mounted last first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
        if point == str(path) or point.startswith(f"{path}/"):
            found.append(point)
    return found[::-1]


def unmount_all(path):
    """A loop device lets go of its file some time after its file system was unmounted."""
    for point in mounts_below(path):
        command = ["umount", point]
        wait_until(lambda: subprocess.run(command, timeout=TIMEOUT).returncode == 0, f"{command}")


@pytest.fixture
def tempdir():
    path = Path(tempfile.mkdtemp(prefix="varve-"))
    yield path
    unmount_all(path)
    shutil.rmtree(path)


@pytest.fixture
def make_fs(tempdir):
    """make_fs(kind, size="1G", *mkfs options) makes and mounts a file system, returns its Path."""
    images = []

    def make(kind, size="1G", *options):
        handle, image = tempfile.mkstemp(prefix="varve-", suffix=f".{kind}", dir="/dev/shm")
        os.close(handle)
        images.append(image)
        point = tempdir / f"{kind}-{len(images)}"
        point.mkdir()
        quiet = "-f" if kind in ("btrfs", "xfs") else "-F"
        subprocess.run(["truncate", "-s", size, image], check=True)
        subprocess.run([f"mkfs.{kind}", "-q", quiet, *options, image], check=True, timeout=TIMEOUT)
        subprocess.run(["mount", "-o", "loop", image, point], check=True, timeout=TIMEOUT)
        return point

    yield make
    unmount_all(tempdir)
    for image in images:
        os.unlink(image)


@pytest.fixture
def ext4(make_fs):
    return make_fs("ext4")


@pytest.fixture
def btrfs(make_fs):
    return make_fs("btrfs")


@pytest.fixture
def xfs(make_fs):
    return make_fs("xfs")


def need_zfs():
    if not os.path.exists("/dev/zfs"):
        pytest.skip("needs the kernel's zfs module: there is no /dev/zfs")
    if not (BUILD / "src/libvarve-zfs.so").exists():
        pytest.skip("the zfs driver was not built: libzfs_core was not there")


@pytest.fixture
def make_zpool(make_fs):
    """make_zpool(size="1G", place="/dev/shm") makes a zpool in a file and returns its name. It is
    gone before file systems are unmounted."""
    made = {}

    def make(size="1G", place="/dev/shm"):
        need_zfs()
        file = tempfile.mktemp(prefix="varve-zpool-", dir=place)
        name = os.path.basename(file)
        subprocess.run(["truncate", "-s", size, file], check=True)
        made[name] = file
        command = ["zpool", "create", "-o", "cachefile=none", "-O", "mountpoint=none", name, file]
        subprocess.run(command, check=True, timeout=TIMEOUT)
        return name

    yield make
    for name, file in made.items():
        unmount_of(name)
        wait_until(lambda: destroyed(name), f"the zpool {name} to be free of users")
        os.unlink(file)


def export(zpool):
    """A mount namespace that another process made meanwhile has what is mounted there mounted too."""
    command = ["zpool", "export", zpool]
    wait_until(lambda: subprocess.run(command, timeout=TIMEOUT).returncode == 0, f"{command}")


def destroyed(zpool):
    return subprocess.run(["zpool", "destroy", "-f", zpool], timeout=TIMEOUT).returncode == 0


def unmount_of(zpool):
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, point = line.split()[:2]
        if source.split("/")[0] == zpool:
            subprocess.run(["umount", point], check=True, timeout=TIMEOUT)


# --- the command ----------------------------------------------------------------------------------


class Varve:
    """The command on one root. Calling it runs `varve --root ROOT ARGS...` and returns the
    CompletedProcess, with text in stdout and stderr. Any exit status but the expected one fails;
    status=None takes all. More keywords go to subprocess.run. runner: a command to run it with."""

    def __init__(self, root, runner=()):
        self.root, self.runner = root, runner

    def command(self, *args):
        return [*self.runner, VARVE, "--root", self.root, *args]

    def __call__(self, *args, status=0, **kwargs):
        command = self.command(*args)
        options = dict(capture_output=True, text=True, timeout=TIMEOUT) | kwargs
        done = subprocess.run(command, **options)
        told = done.stderr or ""
        told = told.decode(errors="replace") if isinstance(told, bytes) else told
        assert not SANITIZER.search(told), told
        if status is not None:
            assert done.returncode == status, f"{args}: exit {done.returncode}\n{done.stderr}"
        return done

    def json(self, *args, **kwargs):
        """The answer of `varve --json ARGS...`, decoded."""
        return json.loads(self("--json", *args, **kwargs).stdout)

    def at(self, root):
        """The same command on another root."""
        return Varve(root)


@pytest.fixture
def alone(tempdir):
    """libvarve.so in a folder of its own, without its modules: (the folder, the environment that has
    it used)."""
    folder = tempdir / "lib"
    folder.mkdir()
    for library in (BUILD / "src").glob("libvarve.so*"):
        if library.is_file():
            shutil.copy2(library, folder / library.name, follow_symlinks=False)
    return folder, dict(os.environ, LD_LIBRARY_PATH=str(folder))


@pytest.fixture
def varve(tempdir):
    return Varve(tempdir / "root")


@pytest.fixture(params=DRIVERS)
def pool(request, varve, make_fs, make_zpool):
    """Varve with a pool of each driver, which is the default one."""
    if request.param == "zfs":
        place = f"dataset={make_zpool()}/varve"
    else:
        place = f"path={make_fs(DRIVERS[request.param])}/pool"
    varve("pool", "create", "default", "--driver", request.param, "--set", place)
    return varve


# --- the daemon -----------------------------------------------------------------------------------


class Daemon:
    """A running varved.

        .root .socket .config   paths           .pid            of the process
        .log()                  all it logged   .ask(signal)    sends a signal
        .stop(signal)           sends one, waits, returns the exit status (negative: by a signal)
        .start(args)            starts it again with the same paths
    """

    def __init__(self, directory, root, config):
        self.root, self.socket = root, directory / "varved.sock"
        self.config, self.logfile = directory / "varved.conf", directory / "varved.log"
        self.config.write_text(config)
        self.logfile.touch()
        self.process, self.judged = None, False

    def start(self, args=(), wait=True, runner=(), **kwargs):
        command = [VARVED, "--root", self.root, "--socket", self.socket]
        command = [*runner, *command, "--config", self.config, *args]
        with open(self.logfile, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **kwargs
            )
        self.pid, self.judged = self.process.pid, False
        if wait:
            wait_until(self.answers, "varved to answer")

    def answers(self):
        assert self.process.poll() is None, f"varved ended:\n{self.log()}"
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(self.socket)) != 0:
                return False
            client.settimeout(TIMEOUT)
            client.sendall(wire.PREFACE + wire.frame(wire.SETTINGS))
            return len(client.recv(1)) == 1  # it may listen long before it answers

    def log(self):
        return self.logfile.read_text(errors="replace")

    def wait_log(self, text, times=1):
        wait_until(lambda: self.log().count(text) >= times, f"{text!r} in the log")

    def ask(self, number):
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.ask(number)
        return self.wait()

    def wait(self):
        """Waits for its end and returns the exit status, which the test then judges itself."""
        self.judged = True
        return self.process.wait(TIMEOUT)

    def finish(self):
        if self.process is None:
            return
        judged = self.judged
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert judged or status == 0, f"varved exited with {status}:\n{self.log()}"
        assert not SANITIZER.search(self.log()), self.log()


@pytest.fixture
def varved(tempdir, make_fs, varve):
    """varved(root=None, config="", args=(), wait=True) starts a daemon and returns it (a Daemon)
    when it answers; wait=False: at once, for those that shall fail (.wait() is the exit status).
    root: where the varve fixture is, unless given. args: more options. runner: a command to run it
    with. Other keywords go to Popen. Several may be started; each has its own socket, configuration
    and log."""
    with contextlib.ExitStack() as stack:

        def start(root=None, config="", args=(), wait=True, runner=(), **kwargs):
            directory = Path(tempfile.mkdtemp(prefix="varved-", dir=tempdir))
            daemon = Daemon(directory, root or varve.root, config)
            stack.callback(daemon.finish)
            daemon.start(args, wait, runner, **kwargs)
            return daemon

        yield start


# --- registries -----------------------------------------------------------------------------------


@pytest.fixture
def registry(tempdir):
    from registries import Distribution

    with Distribution(tempdir / "registry") as one:
        yield one


@pytest.fixture
def image(tempdir):
    """An OCI layout with an image of three layers, one of 3 MiB and one that is empty."""
    from registries import Layout, noise

    layout = Layout(tempdir / "image")
    layers = [noise(3 * 1024 * 1024), b"", noise(70_000, 1)]
    layout.digest = layout.finish(layout.manifest(layers))
    return layout


# --- the library ----------------------------------------------------------------------------------


@pytest.fixture
def load(tempdir, make_fs, varve):
    """load(pool) starts a process that works through the library (callers.Loaded). Those that are
    not killed by then are at the end."""
    from callers import Loaded

    with contextlib.ExitStack() as stack:

        def start(pool):
            loaded = Loaded(tempdir, varve.root, pool)
            stack.callback(loaded.kill)
            return loaded

        yield start
