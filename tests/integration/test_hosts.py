# SPDX-License-Identifier: Apache-2.0
"""Volumes between hosts: rows V6 and V10. Two varveds in two network namespaces, which a cable joins
that can be slow, and be cut."""

import itertools
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import TIMEOUT, Varve, wait_until
from pki import make_authority, make_certificate
from test_http import Answer, UnixConnection, http_socket, validate
from test_unpack import tree

PORT = 7443
TOKEN = "correct-horse-battery-staple"
PATIENCE = 2 + TIMEOUT // 60  # seconds of silence after which each side takes the other for gone
numbers = itertools.count()


def run(*command, check=True):
    return subprocess.run(
        [str(part) for part in command], check=check, capture_output=True, text=True, timeout=TIMEOUT
    )


class Cable:
    """Two namespaces, named a and b, and what joins them."""

    def __init__(self):
        number = f"{os.getpid()}{next(numbers)}"
        self.names = {side: f"varve-{side}{number}" for side in "ab"}
        self.addresses = {"a": "10.77.0.1", "b": "10.77.0.2"}

    def ip(self, side, *args):
        run("ip", "-n", self.names[side], *args)

    def lay(self):
        for side in "ab":
            run("ip", "netns", "add", self.names[side])
            self.ip(side, "link", "set", "lo", "up")
        self.ip("a", "link", "add", "wire", "type", "veth", "peer", "name", "wire",
                "netns", self.names["b"])  # fmt: skip
        for side in "ab":
            self.ip(side, "addr", "add", f"{self.addresses[side]}/24", "dev", "wire")
            self.ip(side, "link", "set", "wire", "up")

    def slow_down(self, after):
        """Once so many bytes went over it, a megabyte a second does."""
        for side in "ab":
            run("tc", "-n", self.names[side], "qdisc", "replace", "dev", "wire", "root", "tbf",
                "rate", "8mbit", "burst", after, "limit", "128kb")  # fmt: skip

    def full_speed(self):
        for side in "ab":
            run("tc", "-n", self.names[side], "qdisc", "del", "dev", "wire", "root", check=False)

    def cut(self):
        self.ip("a", "link", "set", "wire", "down")

    def mend(self):
        self.ip("a", "link", "set", "wire", "up")
        for side in "ab":
            self.ip(side, "neigh", "flush", "dev", "wire")
            state = lambda: run("ip", "-n", self.names[side], "-j", "link", "show", "wire").stdout
            wait_until(lambda: json.loads(state())[0]["operstate"] == "UP", "the link")

    def carried(self, side):
        told = json.loads(run("ip", "-n", self.names[side], "-s", "-j", "link", "show", "wire").stdout)
        return told[0]["stats64"]["tx"]["bytes"]

    def inside(self, side):
        return ["nsenter", f"--net=/run/netns/{self.names[side]}"]

    def remove(self):
        for name in self.names.values():
            run("ip", "netns", "del", name, check=False)


@pytest.fixture
def cable():
    cable = Cable()
    try:
        cable.lay()
        yield cable
    finally:
        cable.remove()


@pytest.fixture
def pki(tempdir, cable):
    pki = tempdir / "pki"
    pki.mkdir()
    make_authority(pki, "ca")
    make_authority(pki, "strangers")
    for side in "ab":
        make_certificate(pki, "ca", side, usage="serverAuth", address=cable.addresses[side])
    make_certificate(pki, "ca", "client")
    make_certificate(pki, "ca", "expired", days=-1)
    make_certificate(pki, "strangers", "stranger")
    for name, text in (("tokens", TOKEN), ("token", TOKEN), ("wrong-token", "x" * 20)):
        (pki / name).touch(0o600)
        (pki / name).write_text(text + "\n")
    return pki


class Host:
    """One side: its daemon, its API, and the command that runs on it."""

    def __init__(self, daemon, cable, side):
        self.daemon, self.cable, self.side = daemon, cable, side
        self.varve = Varve(daemon.root, cable.inside(side))

    def api(self, method, path, body=None, status=200):
        connection = UnixConnection(http_socket(self.daemon))
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = Answer(connection.getresponse())
        connection.close()
        assert answer.status == status, answer.body
        validate(method, path, answer)
        return answer.json if answer.body else None

    def sent(self):
        """Bytes that went over the cable from here."""
        return self.cable.carried(self.side)

    def metric(self, pattern):
        connection = UnixConnection(http_socket(self.daemon))
        connection.request("GET", "/metrics")
        text = Answer(connection.getresponse()).body.decode()
        connection.close()
        found = re.search(rf"^varve_http_{pattern} (\d+)$", text, re.M)
        return int(found[1]) if found else 0

    def kept(self):
        """Bytes that came to here of what is under way."""
        return sum(kept["bytes"] for kept in self.varve.json("snapshot", "transfers"))

    def streams(self):
        """How many were asked of this side."""
        return self.metric(r'requests_total.*"/storage/volumes/:id/send",status="2xx"}')

    def idle(self):
        return self.metric("active_requests") == 1  # which is this one

    def command(self, *args, **kwargs):
        return self.varve(*args, "--config", self.daemon.config, **kwargs)

    def start_command(self, *args):
        return subprocess.Popen(
            self.varve.command(*args, "--config", self.daemon.config),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip

    def create(self, id="v"):
        return Path(self.api("POST", "/storage/providers/p/volumes", {"id": id})["path"])

    def snapshot(self, volume, id):
        return self.api("PUT", f"/storage/volumes/{volume}/snapshot", {"id": id})

    def path(self, id):
        return Path(self.api("GET", f"/storage/volumes/{id}")["path"])

    def ids(self):
        return sorted(volume["id"] for volume in self.api("GET", "/storage/volumes"))

    def restart(self):
        self.daemon.start(runner=self.varve.runner)
        wait_until(http_socket(self.daemon).exists, "the socket")


def host_section(pki, name, address, **settings):
    told = dict(address=f"https://{address}:{PORT}", ca=pki / "ca.pem", timeout=PATIENCE,
                certificate=pki / "client.pem", key=pki / "client.key") | settings  # fmt: skip
    lines = [f"{key.replace('_', '-')} = {value}" for key, value in told.items() if value]
    return "\n".join([f"[host {name}]", *lines, ""])


@pytest.fixture
def hosts(cable, pki, varved, make_fs, tempdir):
    """hosts(driver, driver): the sides a and b, each of which knows the other by its name."""

    def start(*drivers):
        sides = []
        for side, driver in zip("ab", drivers):
            other = "ba"["ab".index(side)]
            place = make_fs("btrfs" if driver == "btrfs" else "ext4")
            config = (
                f"[http]\nlisten = {cable.addresses[side]}:{PORT}\ncertificate = {pki}/{side}.pem\n"
                f"key = {pki}/{side}.key\nclient-ca = {pki}/ca.pem\ntokens = {pki}/tokens\n"
                f"timeout = {PATIENCE}\n[pool p]\ndriver = {driver}\npath = {place}/pool\n"
                + host_section(pki, other, cable.addresses[other])
            )
            runner = cable.inside(side)
            daemon = varved(root=tempdir / f"root-{side}", config=config, runner=runner)
            wait_until(http_socket(daemon).exists, "the socket")
            sides.append(Host(daemon, cable, side))
        return sides

    return start


def write_tree(path, size=0):
    (path / "directory").mkdir()
    (path / "directory/file").write_text("one\n")
    os.symlink("file", path / "directory/link")
    os.setxattr(path / "directory/file", "user.colour", b"blue")
    if size:
        (path / "big").write_bytes(os.urandom(size))


def pull(host, snapshot, volume="v", status=200, other="a"):
    body = {"host_id": other, "snapshot_id": snapshot}
    return host.api("POST", f"/storage/volumes/{volume}/pull_snapshot", body, status)


def same(one, other):
    assert tree(one) == tree(other)


# --- pulling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "drivers", [("btrfs", "btrfs"), ("overlay", "btrfs"), ("btrfs", "overlay"), ("native", "native")]
)
def test_pull(hosts, drivers):
    """The first in full, the next as the difference; the volume holds what the snapshot does."""
    a, b = hosts(*drivers)
    volume = a.create()
    write_tree(volume, 2 << 20)
    a.snapshot("v", "s1")
    made = pull(b, "s1")
    assert (made["id"], made["snapshot"], made["of"]) == ("s1", True, "v")
    assert made["uuid"] == a.api("GET", "/storage/volumes/s1")["uuid"]
    same(b.path("v"), a.path("s1"))

    (volume / "directory/file").write_text("two\n")
    (volume / "more").write_text("more")
    a.snapshot("v", "s2")
    (b.path("v") / "stray").write_text("what the volume held is gone then")
    before = a.sent()
    assert pull(b, "s2")["id"] == "s2"
    assert a.sent() - before < 1 << 20  # V6
    same(b.path("v"), a.path("s2"))
    same(b.path("s1"), a.path("s1"))
    assert b.ids() == ["s1", "s2", "v"]
    assert pull(b, "s2")["id"] == "s2"  # is there already
    assert a.streams() == 2


def test_pull_tells_events(hosts):
    a, b = hosts("native", "native")
    a.create()
    a.snapshot("v", "s")
    from test_http import Listener

    listener = Listener(b.daemon)
    pull(b, "s")
    seen = [listener.next()[1] for _ in range(2)]
    assert [(e["type"], e["volume"]["id"]) for e in seen] == [("create", "v"), ("create", "s")]


def test_pull_refusals(hosts):
    a, b = hosts("native", "native")
    a.create()
    a.snapshot("v", "s")
    assert "there is no host 'nobody'" in pull(b, "s", status=404, other="nobody")["message"]
    address = {"host_id": "https://10.77.0.1:7443", "snapshot_id": "s"}
    b.api("POST", "/storage/volumes/v/pull_snapshot", address, 404)  # a name, never an address
    assert "no volume 'nothing'" in pull(b, "nothing", status=404)["message"]
    assert "a snapshot must be taken" in pull(b, "v", status=412)["message"]
    for body in ({}, {"host_id": "a"}, {"snapshot_id": "s"}, {"host_id": 1, "snapshot_id": "s"}):
        b.api("POST", "/storage/volumes/v/pull_snapshot", body, 400)
    assert b.ids() == []


def test_pull_command(hosts):
    a, b = hosts("btrfs", "btrfs")
    volume = a.create("db")
    write_tree(volume)
    refused = b.command("volume", "pull", "a/db", status=6)
    assert "no snapshot yet" in refused.stderr and "--snapshot" in refused.stderr
    made = b.command("volume", "pull", "a/db", "--snapshot")
    assert "in full" in made.stderr
    same(b.path("db"), volume)
    assert b.api("GET", f"/storage/volumes/{made.stdout.strip()}")["snapshot"]
    again = b.command("volume", "pull", "a/db")
    assert again.stdout == made.stdout and "there already" in again.stderr
    (volume / "new").write_text("x")
    told = json.loads(b.command("--json", "volume", "pull", "a/db", "--snapshot").stdout)
    assert told["of"] == "db"
    b.command("volume", "pull", f"a/{told['id']}", "copy", status=5)  # it is there, in another
    b.command("volume", "pull", "nobody/db", status=4)
    b.command("volume", "pull", "a", status=2)
    b.varve("volume", "pull", "a/db", "--config", "/nonexistent", status=4)


def test_hosts_are_read_again(hosts, pki, cable):
    """At SIGHUP: the new one is there, the removed one is not, and nothing was restarted."""
    a, b = hosts("native", "native")
    write_tree(a.create())
    a.snapshot("v", "s")
    config = b.daemon.config
    config.write_text(config.read_text().replace("[host a]", "[host other]"))
    b.daemon.ask(signal.SIGHUP)
    b.daemon.wait_log("configuration reloaded")
    assert "there is no host 'a'" in pull(b, "s", status=404)["message"]
    assert pull(b, "s", other="other")["id"] == "s"
    same(b.path("v"), a.path("s"))


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, reason",
    [
        (dict(certificate="", key=""), "lets us in neither by certificate nor by token"),
        (dict(certificate="expired.pem", key="expired.key"), "certificate"),
        (dict(certificate="stranger.pem", key="stranger.key"), "certificate"),
        (dict(certificate="", key="", token_file="wrong-token"), "neither by certificate"),
        (dict(ca="strangers.pem"), "must be signed by what the setting ca names"),
    ],
)
def test_not_let_in(hosts, pki, cable, tempdir, settings, reason):
    a, b = hosts("native", "native")
    a.create()
    a.snapshot("v", "s")
    config = tempdir / "other.conf"
    settings = {key: value and pki / value for key, value in settings.items()}
    config.write_text(host_section(pki, "a", cable.addresses["a"], **settings))
    refused = b.varve("volume", "pull", "a/v", "--config", config, status=None)
    assert refused.returncode in (6, 9) and reason in refused.stderr
    assert b.ids() == []


def test_token(hosts, pki, cable, tempdir):
    a, b = hosts("native", "native")
    a.create()
    a.snapshot("v", "s")
    config = tempdir / "other.conf"
    with_token = dict(certificate="", key="", token_file=pki / "token")
    config.write_text(host_section(pki, "a", cable.addresses["a"], **with_token))
    (pki / "token").chmod(0o644)
    refused = b.varve("volume", "pull", "a/v", "--config", config, status=6)
    assert "can be read by others" in refused.stderr
    (pki / "token").chmod(0o600)
    assert b.varve("volume", "pull", "a/v", "--config", config).stdout == "s\n"


@pytest.mark.parametrize(
    "line, reason",
    [
        ("address = http://10.0.0.1:7443", "which only https:// leads to"),
        ("address = https://user@10.0.0.1", "neither https://HOST:PORT"),
        ("address = ftp://10.0.0.1", "neither https://HOST:PORT"),
        ("ca = here", "not an absolute path"),
        ("timeout = never", "not a number from 1"),
        ("colour = red", "unknown setting 'colour'"),
    ],
)
def test_refused_settings(varved, varve, tempdir, line, reason):
    daemon = varved(config=f"[host x]\n{line}\n", wait=False)
    assert daemon.wait() != 0
    assert f"{daemon.config}:2: " in daemon.log() and reason in daemon.log()
    told = varve("volume", "pull", "x/v", "--config", daemon.config, status=3)
    assert reason in told.stderr


# --- when it breaks -------------------------------------------------------------------------------

SIZE = 24 << 20


def wait_for_a_third(side):
    """The rest takes ten seconds and more on a cable that was slowed down after half."""
    wait_until(lambda: side.kept() > SIZE // 3, "a third of it to come")


def begin_slow_pull(a, b, cable):
    """A pull of SIZE bytes is under way, and a third of them has come."""
    volume = a.create()
    write_tree(volume, SIZE)
    a.snapshot("v", "s")
    cable.slow_down(after=SIZE // 2)
    process = b.start_command("volume", "pull", "a/v")
    wait_for_a_third(b)
    return process


def finish_pull(process, a, b):
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (0, "s\n"), err
    same(b.path("v"), a.path("s"))
    return err


def test_cut_cable(hosts, cable):
    """What had come does not travel again."""
    a, b = hosts("overlay", "overlay")
    process = begin_slow_pull(a, b, cable)
    cable.cut()
    before = a.sent()
    assert before < SIZE
    wait_until(a.idle, "the sender to notice")
    cable.full_speed()
    cable.mend()
    told = finish_pull(process, a, b)
    assert "trying again" in told and "had come before" in told
    resumed = re.search(r"of which ([\d.]+) MiB had come before", told)
    assert float(resumed[1]) > 4
    assert a.sent() - before < SIZE * 0.8


def test_cable_stays_cut(hosts, cable):
    """It is given up with an error, and the next command goes on."""
    a, b = hosts("btrfs", "btrfs")
    process = begin_slow_pull(a, b, cable)
    cable.cut()
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 7 and "host 'a'" in err
    assert b.ids() == []
    cable.full_speed()
    cable.mend()
    before = a.sent()
    again = b.command("volume", "pull", "a/v")
    assert "had come before" in again.stderr
    assert a.sent() - before < SIZE * 0.8
    same(b.path("v"), a.path("s"))


def test_sender_killed(hosts, cable):
    a, b = hosts("native", "native")
    process = begin_slow_pull(a, b, cable)
    a.daemon.stop(signal.SIGKILL)
    cable.full_speed()
    a.restart()
    assert "trying again" in finish_pull(process, a, b)


def test_receiver_killed(hosts, cable):
    """The receiving varved, in the middle; nothing half is seen, and the next pull goes on."""
    a, b = hosts("overlay", "overlay")
    write_tree(a.create(), SIZE)
    a.snapshot("v", "s")
    cable.slow_down(after=SIZE // 2)
    connection = UnixConnection(http_socket(b.daemon))
    body = json.dumps({"host_id": "a", "snapshot_id": "s"})
    connection.request("POST", "/storage/volumes/v/pull_snapshot", body)
    wait_for_a_third(b)
    b.daemon.stop(signal.SIGKILL)
    connection.close()
    cable.full_speed()
    b.restart()
    assert b.ids() == []
    before = a.sent()
    pull(b, "s")
    assert a.sent() - before < SIZE * 0.8
    same(b.path("v"), a.path("s"))


def test_interrupted_command(hosts, cable):
    a, b = hosts("native", "native")
    process = begin_slow_pull(a, b, cable)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130 and "trying again" not in err
    assert b.ids() == []
    cable.full_speed()
    assert "had come before" in b.command("volume", "pull", "a/v").stderr


# --- replicating ----------------------------------------------------------------------------------


def replicate(host, *options, **kwargs):
    return host.command("--json", "volume", "replicate", "v", "b", *options, **kwargs)


def test_replicate(hosts):
    a, b = hosts("btrfs", "btrfs")
    volume = a.create()
    write_tree(volume, 4 << 20)
    a.snapshot("v", "mine")  # which nobody else removes
    made = []
    for number in range(4):
        (volume / "number").write_text(str(number))
        told = json.loads(replicate(a, "--keep", "2").stdout)
        made.append(told["snapshot"])
        assert told["full"] == (number == 0) and told["finished"] is None
        assert told["here"]["problem"] is None and told["there"]["problem"] is None
        assert number == 0 or told["bytes"] < 1 << 20
        same(b.path("v"), a.path(made[-1]))
    assert len(set(made)) == 4 and all(re.fullmatch(r"v-\d{8}T\d{6}\.\d{3}Z", id) for id in made)
    assert a.ids() == sorted(["mine", "v", *made[2:]])
    assert set(made[2:]) | {"v"} <= set(b.ids()) and not set(made[:2]) & set(b.ids())


def test_replicate_where_nothing_can_be_removed(hosts):
    a, b = hosts("native", "overlay")
    write_tree(a.create())
    for _ in range(3):
        told = json.loads(replicate(a, "--keep", "1").stdout)
    assert told["here"] == {"removed": 1, "kept": 1, "problem": None}
    assert told["there"]["removed"] == 0 and told["there"]["kept"] == 3
    assert "overlay" in told["there"]["problem"]
    same(b.path("v"), a.path("v"))


def begin_slow_replication(a, cable):
    volume = a.create()
    write_tree(volume)
    first = json.loads(replicate(a, "--keep", "2").stdout)["snapshot"]
    (volume / "big").write_bytes(os.urandom(SIZE))
    cable.slow_down(after=SIZE // 2)
    process = a.start_command("--json", "volume", "replicate", "v", "b", "--keep", "2")
    return volume, first, process


def test_two_replications_at_once(hosts, cable):
    a, b = hosts("btrfs", "btrfs")
    volume, first, process = begin_slow_replication(a, cable)
    wait_until(lambda: len(a.ids()) == 3, "the snapshot")
    assert "already" in replicate(a, status=11).stderr
    cable.full_speed()
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert len(a.ids()) == 3
    same(b.path("v"), a.path(json.loads(out)["snapshot"]))


def test_replication_killed(hosts, cable):
    """The next one finishes what it had sent a part of, and goes on."""
    a, b = hosts("btrfs", "btrfs")
    volume, first, process = begin_slow_replication(a, cable)
    wait_for_a_third(b)
    process.kill()
    process.communicate()
    cable.full_speed()
    told = json.loads(replicate(a, "--keep", "2").stdout)
    assert told["finished"] not in (None, first) and told["resumed"] > SIZE // 8
    same(b.path("v"), a.path(told["snapshot"]))
    assert a.ids() == sorted(["v", told["finished"], told["snapshot"]])
    assert b.ids() == sorted(["v", told["finished"], told["snapshot"]])


@pytest.mark.parametrize("how", ["cable", "receiver"])
def test_replication_that_breaks_off(hosts, cable, how):
    """It goes on by itself, when the cable is mended or the other varved is there again."""
    a, b = hosts("btrfs", "native")
    volume, first, process = begin_slow_replication(a, cable)
    wait_for_a_third(b)
    if how == "cable":
        cable.cut()
        wait_until(b.idle, "the receiver to notice")
        cable.mend()
    else:
        b.daemon.stop(signal.SIGKILL)
        b.restart()
    cable.full_speed()
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0 and "trying again" in err, err
    told = json.loads(out)
    assert told["resumed"] > SIZE // 8 and told["bytes"] < SIZE * 0.8 and not told["finished"]
    same(b.path("v"), a.path(told["snapshot"]))


def test_replicate_refusals(hosts):
    a, b = hosts("native", "native")
    a.create()
    a.snapshot("v", "s")
    replicate(a, "--keep", "0", status=2)
    a.command("volume", "replicate", "none", "b", status=4)
    a.command("volume", "replicate", "s", "b", status=6)
    a.command("volume", "replicate", "v", "nobody", status=4)
    assert a.ids() == ["s", "v"] and b.ids() == []
