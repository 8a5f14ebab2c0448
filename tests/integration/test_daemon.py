# SPDX-License-Identifier: Apache-2.0
"""varved's life: its socket, its signals, and what systemd tells it."""

import os
import re
import shutil
import signal
import socket
import stat
import struct

import pytest
import wire
from conftest import TIMEOUT, VARVED, wait_until

HAS_SYSTEMD = VARVED.exists() and b"sd_listen_fds" in VARVED.read_bytes()
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="varved was built without libsystemd")


def listen(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def add_snapshots(daemon, n=1):
    for i in range(n):
        assert wire.call(daemon.socket, "Prepare", {1: "", 2: f"key-{i}"})[0] == wire.OK


# --- the socket -----------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o077])
def test_socket_is_roots_alone(varved, umask):
    daemon = varved(umask=umask)
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


@pytest.mark.parametrize("group", ["daemon", "1"])
def test_socket_group(varved, group):
    daemon = varved(config=f"[varved]\nsocket-group = {group}\n")
    info = daemon.socket.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o660, 0, 1)


def test_unknown_group(varved):
    daemon = varved(config="[varved]\nsocket-group = nobodies\n", wait=False)
    assert daemon.wait() == 4
    assert "there is no group 'nobodies'" in daemon.log()
    assert not daemon.socket.exists()


def test_directory_is_made(varved, tempdir):
    path = tempdir / "a" / "b" / "s.sock"
    daemon = varved(args=["--socket", path], wait=False)
    wait_until(lambda: wire.listens(path), "the socket")
    assert wire.serves(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o022 == 0
    assert daemon.stop() == 0
    assert not path.exists()


def test_taken_socket(varved):
    first = varved()
    second = varved(args=["--socket", first.socket], wait=False)
    assert second.wait() == 5
    assert f"socket '{first.socket}': it is taken by a running process" in second.log()
    assert wire.serves(first.socket)


def test_taken_by_a_process_that_does_not_accept(varved, tempdir):
    path = tempdir / "full.sock"
    with listen(path) as server:
        server.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(str(path))
        assert varved(args=["--socket", path], wait=False).wait() == 5
        for client in waiting:
            client.close()


def test_stale_socket_is_replaced(varved):
    daemon = varved()
    daemon.stop(signal.SIGKILL)
    assert daemon.socket.exists()
    daemon.start()
    assert wire.serves(daemon.socket)


@pytest.mark.parametrize("make", ["file", "directory", "link", "fifo"])
def test_what_is_no_socket_is_left_alone(varved, tempdir, make):
    path, victim = tempdir / "place", tempdir / "victim"
    makers = {
        "file": lambda: path.write_text("precious"),
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(victim),
        "fifo": lambda: os.mkfifo(path),
    }
    makers[make]()
    before = path.lstat()
    daemon = varved(args=["--socket", path], wait=False)
    assert daemon.wait() == 6
    assert "is left alone" in daemon.log()
    assert path.lstat() == before and not victim.exists()


def test_path_too_long(varved, tempdir):
    path = tempdir / ("x" * 100)
    daemon = varved(args=["--socket", path], wait=False)
    assert daemon.wait() == 3
    assert "a unix socket's can have 107 at most" in daemon.log()


def test_one_of_many_starters_gets_the_socket(varved, tempdir):
    path = tempdir / "one.sock"
    path.touch()
    path.unlink()
    listen(path).close()  # stale, so that all of them want to replace it
    daemons = [varved(args=["--socket", path], wait=False) for _ in range(6)]
    wait_until(lambda: sum(d.process.poll() is not None for d in daemons) == 5, "five to give up")
    assert sorted(d.process.poll() or 0 for d in daemons) == [0, 5, 5, 5, 5, 5]
    assert wire.serves(path)
    for daemon in daemons:
        daemon.stop()


def test_a_strangers_socket_survives(varved, tempdir):
    daemon = varved()
    daemon.socket.rename(tempdir / "moved")
    with listen(daemon.socket):
        assert daemon.stop() == 0
        assert daemon.socket.exists()


# --- signals --------------------------------------------------------------------------------------


def held_call(daemon):
    """A List whose answer cannot leave until its window is opened."""
    held = wire.Call(daemon.socket, window=0)
    held.start("List", wire.message({1: "", 2: []}))
    while held.read_frame()[0] != wire.HEADERS:  # so the daemon has the call
        pass
    return held


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_finished(varved, number):
    daemon = varved()
    add_snapshots(daemon, 3)
    with held_call(daemon) as held:
        daemon.ask(number)
        daemon.wait_log("finishing the calls in flight")
        held.wait_for(wire.GOAWAY)
        wait_until(lambda: not daemon.socket.exists(), "the socket to go")
        assert daemon.process.poll() is None
        held.open_window()
        assert held.finish() == wire.OK
        assert all(f"key-{i}".encode() in held.data for i in range(3))
        assert daemon.wait() == 0
    assert "varved ended" in daemon.log()


def test_second_signal_ends_at_once(varved):
    daemon = varved()
    add_snapshots(daemon)
    with held_call(daemon):
        daemon.ask(signal.SIGTERM)
        daemon.wait_log("finishing the calls in flight")
        assert daemon.stop() == 0
    daemon.start()
    assert wire.call(daemon.socket, "Stat", {1: "", 2: "key-0"})[0] == wire.OK


def test_idle_connections_do_not_hold_it_up(varved):
    daemon = varved()
    with wire.Call(daemon.socket) as greeted, socket.socket(socket.AF_UNIX) as silent:
        greeted.wait_for(wire.SETTINGS)
        silent.connect(str(daemon.socket))
        assert daemon.stop() == 0


def test_clients_that_go_away(varved):
    daemon = varved()
    add_snapshots(daemon, 3)
    for _ in range(20):
        held_call(daemon).__exit__()
    assert wire.serves(daemon.socket)


def test_successor_takes_over_while_it_finishes(varved, varve):
    daemon = varved()
    add_snapshots(daemon)
    with held_call(daemon) as held:
        daemon.ask(signal.SIGTERM)
        wait_until(lambda: not daemon.socket.exists(), "the socket to go")
        varved(args=["--socket", daemon.socket], wait=False)
        wait_until(lambda: wire.listens(daemon.socket), "the successor's socket")
        held.open_window()
        assert held.finish() == wire.OK
        assert daemon.wait() == 0
        assert wire.serves(daemon.socket)


# --- log ------------------------------------------------------------------------------------------


def test_log_lines_hold_hostile_keys(varved):
    daemon = varved(args=["--log-level", "debug"])
    key = 'a "quoted" = \\ \n\x1b[31m time=0 ä'
    assert wire.call(daemon.socket, "Stat", {1: "default", 2: key})[0] == wire.NOT_FOUND
    daemon.wait_log("method=Stat")
    line = next(line for line in daemon.log().splitlines() if "method=Stat" in line)
    assert r'key="a \"quoted\" = \\ \n\x1b[31m time=0 ä"' in line
    start = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=[a-z]+ msg="
    for line in daemon.log().split("\n")[:-1]:
        assert re.match(start, line), line


# --- systemd --------------------------------------------------------------------------------------


@needs_systemd
def test_readiness(varved, tempdir):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tempdir / "notify"))
        manager.settimeout(TIMEOUT)
        daemon = varved(env=dict(os.environ, NOTIFY_SOCKET=str(tempdir / "notify")))
        assert manager.recv(1000) == b"READY=1"
        daemon.ask(signal.SIGHUP)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", manager.recv(1000))
        assert manager.recv(1000) == b"READY=1"
        assert daemon.stop() == 0
        assert manager.recv(1000) == b"STOPPING=1"


@needs_systemd
@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is missing")
def test_socket_activation(varved, tempdir):
    path = tempdir / "handed.sock"
    kept = [f"--setenv={name}" for name in os.environ if re.match(r"G_|[A-Z]+SAN_", name)]
    daemon = varved(wait=False, runner=["systemd-socket-activate", *kept, "-l", path])
    wait_until(lambda: wire.listens(path), "the socket")
    assert wire.serves(path)
    assert "handed over by systemd" in daemon.log()
    assert not daemon.socket.exists()
    assert daemon.stop() == 0
    assert path.exists(), "it is not varved's to remove"


@needs_systemd
def test_handed_over_something_else(varved):
    """A descriptor that is no listening socket."""
    shell = 'exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
    daemon = varved(wait=False, runner=["sh", "-c", shell, "sh"])
    assert daemon.wait() == 3
    assert "is not a listening unix stream socket" in daemon.log()


# --- garbage --------------------------------------------------------------------------------------

HELLO = wire.PREFACE + wire.frame(wire.SETTINGS)
OPEN = HELLO + wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.headers(wire.SERVICE + "Stat"))


def stat_with(data, flags=wire.END_STREAM):
    return OPEN + wire.frame(wire.DATA, flags, 1, data)


GARBAGE = {
    "nothing": b"",
    "http/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(100),
    "noise": bytes(range(255, -1, -1)) * 40,
    "zeros": bytes(100000),
    "half-preface": wire.PREFACE[:10],
    "preface-then-noise": wire.PREFACE + b"\xff" * 1000,
    "huge-frame": HELLO + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(1000),
    "truncated-frame": HELLO + b"\x00\x10\x00\x01\x04\x00\x00\x00\x01abc",
    "bad-hpack": HELLO + wire.frame(wire.HEADERS, 5, 1, b"\xff" * 50),
    "data-on-stream-0": HELLO + wire.frame(wire.DATA, 0, 0, b"x"),
    "data-before-headers": HELLO + wire.frame(wire.DATA, 1, 1, b"x"),
    "even-stream": HELLO + wire.frame(wire.HEADERS, 5, 2, wire.headers("/x/y")),
    "window-overflow": HELLO + 2 * wire.frame(wire.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "unknown-frames": HELLO + wire.frame(0xBE, 0xFF, 7, b"x" * 50) * 100,
    "headers-without-end": HELLO + wire.frame(wire.HEADERS, 0, 1, wire.headers("/x/y")),
    "no-message": OPEN + wire.frame(wire.DATA, 1, 1, b""),
    "half-prefix": stat_with(b"\0\0"),
    "message-of-4-gib": stat_with(b"\0\xff\xff\xff\xff" + bytes(1000), flags=0),
    "shorter-than-told": stat_with(b"\0\0\0\0\x10abc"),
    "two-messages": stat_with(wire.prefixed(b"") * 2),
    "compressed": stat_with(b"\1\0\0\0\0"),
    "not-protobuf": stat_with(wire.prefixed(b"\xff" * 50)),
    "string-beyond-its-message": stat_with(wire.prefixed(b"\x0a\xff\xff\xff\xff\x0fabc")),
    "gone-in-the-middle": OPEN,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(varved, garbage):
    daemon = varved()
    for ending in ("close", "read"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.socket))
            client.settimeout(0.3)
            try:
                client.sendall(garbage)
                while ending == "read" and client.recv(4096):
                    pass
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass  # it may hang up, or wait for more
        assert wire.serves(daemon.socket)
    assert daemon.stop() == 0


REFUSALS = {
    "unknown-method": (wire.UNIMPLEMENTED, dict(method="Frobnicate", body=b"")),
    "unknown-service": (wire.UNIMPLEMENTED, dict(method="Stat", body=b"", path="/a.b.C/")),
    "empty-key": (wire.INVALID_ARGUMENT, dict(method="Prepare", body=b"")),
    "not-protobuf": (wire.INTERNAL, dict(method="Stat", body=b"\xff" * 50)),
    "update-of-nothing": (wire.INVALID_ARGUMENT, dict(method="Update", body=b"")),
}


@pytest.mark.parametrize("status, call", REFUSALS.values(), ids=REFUSALS.keys())
def test_refused_call_gets_its_status(varved, status, call):
    daemon = varved()
    with wire.Call(daemon.socket) as client:
        client.start(**call)
        assert client.finish() == status
        assert client.data == b""
    assert wire.serves(daemon.socket)


def test_oversized_message(varved):
    daemon = varved()
    with wire.Call(daemon.socket) as client:
        fields = wire.headers(wire.SERVICE + "Stat")
        client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, fields))
        client.send(wire.frame(wire.DATA, 0, 1, struct.pack(">BI", 0, 1 << 30) + bytes(1000)))
        assert client.finish() == wire.RESOURCE_EXHAUSTED
    assert wire.serves(daemon.socket)


def test_many_connections_that_say_nothing(varved):
    daemon = varved()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(500)]
    for client in clients:
        client.connect(str(daemon.socket))
    assert wire.serves(daemon.socket)
    for client in clients:
        client.close()
    assert wire.serves(daemon.socket)
