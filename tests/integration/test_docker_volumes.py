# SPDX-License-Identifier: Apache-2.0
"""Docker's protocol for volume plugins: by Debian's podman, and call by call."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess

import pytest
from conftest import TIMEOUT, mounts_below, wait_until
from test_http import Answer, Listener, UnixConnection

BUSY, UNKNOWN = 11, 4  # exit statuses
MOUNTER = "c" * 64


class Plugin:
    """varved with the plugin's socket, over a pool "p"."""

    def __init__(self, varved, varve, directory, pool):
        self.socket = directory / "plugins/varve.sock"
        self.daemon = varved(config=f"[docker]\nsocket = {self.socket}\n[pool p]\n{pool}")
        self.varve = varve

    def __call__(self, call, body=None, status=200):
        connection = UnixConnection(self.socket)
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request("POST", f"/{call}", data)
        answer = Answer(connection.getresponse())
        connection.close()
        assert answer.status == status, answer.body
        return answer.json

    def refuses(self, call, body):
        return self(call, body, 500)["Err"]

    def volume(self, *args, **kwargs):
        return self.varve("volume", *args, **kwargs)

    def inspect(self, name):
        return self.varve.json("volume", "inspect", name)

    def restart(self, number):
        self.daemon.stop(number)
        self.daemon.start()


@pytest.fixture
def plugin(varved, varve, tempdir, btrfs):
    varve.root = btrfs / "root"
    return Plugin(varved, varve, tempdir, "driver = btrfs\n")


# --- call by call ---------------------------------------------------------------------------------


def test_activate(plugin):
    assert plugin("Plugin.Activate") == {"Implements": ["VolumeDriver"]}
    assert plugin("VolumeDriver.Capabilities") == {"Capabilities": {"Scope": "local"}}
    assert stat.S_IMODE(plugin.socket.stat().st_mode) == 0o600
    plugin("VolumeDriver.Fly", status=404)
    plugin("storage/providers/p/volumes", status=404)  # the API's routes are not to be had here


def test_off_unless_told(varved, tempdir):
    assert "plugin" not in varved().log()


def test_life(plugin):
    opts = {"type": "disk", "meta.app": "shop", "provider": "p"}
    assert plugin("VolumeDriver.Create", {"Name": "db", "Opts": opts}) == {"Err": ""}
    info = plugin.inspect("db")
    assert (info["type"], info["meta"], info["provider"]) == ("disk", {"app": "shop"}, "p")

    got = plugin("VolumeDriver.Get", {"Name": "db"})["Volume"]
    assert got["Name"] == "db" and got["Mountpoint"] == info["path"]
    assert got["Status"]["meta"] == {"app": "shop"} and got["CreatedAt"].endswith("Z")
    assert plugin("VolumeDriver.Path", {"Name": "db"})["Mountpoint"] == info["path"]
    assert plugin("VolumeDriver.List", {})["Volumes"] == [got]
    assert plugin("VolumeDriver.Remove", {"Name": "db"}) == {"Err": ""}
    assert plugin("VolumeDriver.List")["Volumes"] == []


def test_what_is_there_is_adopted(plugin):
    plugin.volume("create", "db", "--meta", "app=shop")
    plugin("VolumeDriver.Create", {"Name": "db", "Opts": None})
    plugin("VolumeDriver.Create", {"Name": "db"})
    assert plugin.inspect("db")["meta"] == {"app": "shop"}
    told = plugin.refuses("VolumeDriver.Create", {"Name": "db", "Opts": {"type": "x"}})
    assert "there is a volume 'db' already" in told


def test_fork(plugin):
    plugin.volume("create", "db")
    (plugin.varve.root / "volumes/db/file").write_text("monday")
    plugin.volume("snapshot", "db", "monday")
    plugin("VolumeDriver.Create", {"Name": "test", "Opts": {"from": "monday"}})
    assert (plugin.varve.root / "volumes/test/file").read_text() == "monday"


@pytest.mark.parametrize(
    "call, body, why",
    [
        ("Create", "{", "the JSON is not valid"),
        ("Create", {}, "Name: is missing"),
        ("Create", {"Name": 7}, "Name: must be a string"),
        ("Create", {"Name": "../x"}, "the id of a volume is"),
        ("Create", {"Name": "x", "Opts": {"sise": "1g"}}, "unknown option 'sise': there are"),
        ("Create", {"Name": "x", "Opts": {"size": "much"}}, "option 'size': 'much' is not a size"),
        ("Create", {"Name": "x", "Opts": {"size": 7}}, "must be a string"),
        ("Create", {"Name": "x", "Opts": {"provider": "no"}}, "'no'"),
        ("Create", {"Name": "x", "Opts": {"from": "no"}}, "there is no volume 'no'"),
        ("Create", {"Name": "x", "Opts": {"from": "db"}}, "only a snapshot can be forked"),
        ("Create", {"Name": "x", "Opts": {"from": "db", "provider": "p"}}, "where its snapshot is"),
        ("Create", {"Name": "x", "Opts": {"type": "A B"}}, "a volume's type"),
        ("Create", {"Name": "x", "Opts": {"meta.": "v"}}, "a key is empty"),
        ("Remove", {"Name": "no"}, "there is no volume 'no'"),
        ("Get", {"Name": "no"}, "there is no volume 'no'"),
        ("Path", {"Name": "no"}, "there is no volume 'no'"),
        ("Mount", {"Name": "no", "ID": "c"}, "there is no volume 'no'"),
        ("Mount", {"Name": "db"}, "ID: is missing"),
        ("Mount", {"Name": "db", "ID": "a b"}, "the id of who holds it"),
        ("Mount", {"Name": "db", "ID": "a" * 129}, "at most 128"),
        ("Unmount", {"Name": "no", "ID": "c"}, "there is no volume 'no'"),
    ],
)
def test_refusals(plugin, call, body, why):
    plugin.volume("create", "db")
    assert why in plugin.refuses(f"VolumeDriver.{call}", body)
    assert plugin.volume("ls", "-q").stdout == "db\n" and plugin.inspect("db")["holders"] == []


def test_mounts_are_counted_by_id(plugin):
    plugin.volume("create", "db")
    place = {"Mountpoint": str(plugin.varve.root / "volumes/db"), "Err": ""}
    for holder in "one", "two", "one":
        assert plugin("VolumeDriver.Mount", {"Name": "db", "ID": holder}) == place
    assert plugin.inspect("db")["holders"] == ["one", "two"]
    assert "for one, two" in plugin.refuses("VolumeDriver.Remove", {"Name": "db"})
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "one"})
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "never"})
    assert "for two" in plugin.refuses("VolumeDriver.Remove", {"Name": "db"})
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "two"})
    assert mounts_below(place["Mountpoint"])
    plugin("VolumeDriver.Remove", {"Name": "db"})


def test_mounted_for_its_holders_only(plugin):
    plugin.volume("create", "db", "--no-mount")
    path = plugin.varve.root / "volumes/db"
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": "one"})
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": "two"})
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "one"})
    assert mounts_below(path)
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "two"})
    assert not mounts_below(path) and plugin("VolumeDriver.Path", {"Name": "db"})["Mountpoint"] == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_in_use_beyond_a_restart(plugin, number):
    """What an engine was told to be mounted stays so, though no container has it yet."""
    path = plugin.varve.root / "volumes/db"
    plugin.volume("create", "db")
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": MOUNTER})
    plugin.restart(number)
    assert plugin.inspect("db")["holders"] == [MOUNTER] and len(mounts_below(path)) == 1
    refused = plugin.volume("rm", "db", status=BUSY).stderr
    assert MOUNTER in refused and "varve volume release db" in refused
    assert MOUNTER in plugin.volume("umount", "db", status=BUSY).stderr
    plugin.volume("release", "db", "another")
    plugin.volume("rm", "db", status=BUSY)
    plugin.volume("release", "db", MOUNTER)
    plugin.volume("rm", "db")


def test_notes_of_a_former_boot_do_not_count(plugin):
    plugin.volume("create", "db")
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": "old"})
    label = "varve.volume.held.old"
    plugin.varve("snapshot", "label", "volume/db", f"{label}=0f0f0f0f-0000-4000-8000-000000000000")
    assert plugin.inspect("db")["holders"] == []
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": "new"})
    assert label not in plugin.varve.json("snapshot", "stat", "volume/db")["labels"]
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "new"})
    plugin("VolumeDriver.Remove", {"Name": "db"})


def test_overlay_is_not_unmounted_under_a_holder(varved, varve, tempdir, ext4):
    varve.root = ext4 / "root"
    plugin = Plugin(varved, varve, tempdir, "driver = overlay\n")
    plugin.volume("create", "db")
    plugin("VolumeDriver.Mount", {"Name": "db", "ID": "one"})
    assert "for one" in plugin.volume("snapshot", "db", "s", status=BUSY).stderr
    plugin("VolumeDriver.Unmount", {"Name": "db", "ID": "one"})
    plugin.volume("snapshot", "db", "s")


def test_events_tell_of_it(plugin):
    listener = Listener(plugin.daemon)
    plugin("VolumeDriver.Create", {"Name": "db"})
    plugin("VolumeDriver.Remove", {"Name": "db"})
    told = [listener.next()[1] for _ in range(2)]
    assert [(event["type"], event["volume"]["id"]) for event in told] == [
        ("create", "db"),
        ("destroy", "db"),
    ]


def test_a_taken_socket(varved, tempdir):
    path = tempdir / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        daemon = varved(config=f"[docker]\nsocket = {path}\n", wait=False)
        assert daemon.wait() != 0 and "section [docker]: socket" in daemon.log()


# --- podman ---------------------------------------------------------------------------------------

CONTAINERS_CONF = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[engine.volume_plugins]
varve = "{socket}"
[containers]
log_driver = "none"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


class Podman:
    """Debian's podman with its storage in a directory, and the image "busy"."""

    def __init__(self, directory, plugin):
        self.directory = directory / "podman"
        tree = self.directory / "tree/bin"
        tree.mkdir(parents=True)
        shutil.copy("/bin/busybox", tree / "busybox")
        (tree / "sh").symlink_to("busybox")
        config = self.directory / "containers.conf"
        config.write_text(CONTAINERS_CONF.format(socket=plugin.socket))
        self.environment = dict(os.environ, CONTAINERS_CONF=str(config))
        archive = self.directory / "tree.tar"
        subprocess.run(["tar", "-C", self.directory / "tree", "-cf", archive, "."], check=True)
        self("import", archive, "busy")

    def __call__(self, *args, status=0):
        places = [f"--{key}={self.directory / key}" for key in ("root", "runroot", "tmpdir")]
        command = ["podman", *places, "--storage-driver=vfs", *args]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == status, f"{args}: {done.stderr}"
        return done

    def run(self, *args, **kwargs):
        return self("run", "--network=none", *args, **kwargs).stdout


@pytest.fixture
def podman(tempdir, plugin):
    if not shutil.which("podman"):
        pytest.skip("needs podman")
    one = Podman(tempdir, plugin)
    yield one
    one("rm", "--all", "--force", "--time=0")


WRITER = """
put() { echo $i > /data/new; busybox mv /data/new /data/$1; }
i=0; while :; do i=$((i+1)); put count; put again; done
"""


def test_podman(podman, plugin):
    data = plugin.varve.root / "volumes/db"
    podman("volume", "create", "--driver=varve", "--opt=meta.app=shop", "db")
    assert podman("volume", "ls", "--format={{.Driver}} {{.Name}}").stdout == "varve db\n"
    podman.run("--rm", "--volume=db:/data", "busy", "sh", "-c", "echo monday > /data/file")
    assert (data / "file").read_text() == "monday\n"
    assert plugin.inspect("db")["meta"] == {"app": "shop"}
    assert plugin.inspect("db")["holders"] == []

    podman.run("--detach", "--name=w", "--volume=db:/data", "busy", "sh", "-c", WRITER)
    wait_until((data / "again").exists, "the container to write")
    plugin.volume("snapshot", "db", "s")
    count, again = (int((data.parent / "s" / name).read_text()) for name in ("count", "again"))
    assert count - again in (0, 1)  # of one moment

    # In use: by what podman says, by what the kernel says, and after varved was killed.
    assert "is being used" in podman("volume", "rm", "db", status=2).stderr
    plugin.volume("rm", "db", status=BUSY)
    plugin.restart(signal.SIGKILL)
    assert plugin.volume("rm", "db", status=BUSY) and len(mounts_below(data)) == 1
    plugin.volume("release", "db")
    assert "is mounted on /data" in plugin.volume("rm", "db", status=BUSY).stderr
    before = int((data / "count").read_text())
    wait_until(lambda: int((data / "again").read_text()) > before, "the container to go on")
    podman("rm", "--force", "--time=0", "w")

    listed = json.loads(podman("volume", "inspect", "db").stdout)[0]
    assert listed["Driver"] == "varve" and listed["Status"]["driver"] == "btrfs"
    podman("volume", "create", "--driver=varve", "s")  # what is there already
    assert podman.run("--rm", "--volume=s:/data:ro", "busy", "busybox", "cat", "/data/file") == "monday\n"
    podman("volume", "rm", "db")
    podman("volume", "rm", "s")
    assert plugin.volume("ls", "-q").stdout == "" and podman("volume", "ls", "-q").stdout == ""


def test_podman_is_told_why(podman, plugin):
    said = podman("volume", "create", "--driver=varve", "--opt=colour=red", "db", status=125).stderr
    assert "unknown option 'colour': there are provider, size" in said
    plugin.volume("create", "db")
    plugin.volume("snapshot", "db", "s")
    podman("volume", "create", "--driver=varve", "s")
    assert "'db' stands on it" in podman("volume", "rm", "s", status=125).stderr
