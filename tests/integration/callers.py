# SPDX-License-Identifier: Apache-2.0
"""Three ways to work on the snapshots of one pool, with one face: through the daemon's socket,
through the library in a process that can be killed, and through the command, a process for each call.

    prepare(key, parent)  view(key, parent)  mounts(key)   return a Mount
    commit(name, key)     remove(key)        label(key, name, value)
    capture(name, key)                       not through the daemon: containerd has no word for it

They raise Refused when the engine answers no, and Gone when whoever was asked died before it
answered: then nobody knows whether it was done.
"""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

import wire
from conftest import BUILD, SANITIZER, TIMEOUT, VARVE, wait_until

LOAD = BUILD / "tests/integration/load"


class Refused(Exception):
    pass


class Gone(Exception):
    pass


# --- mounts ---------------------------------------------------------------------------------------

MS_RDONLY, MS_BIND, MS_REC = 1, 4096, 16384
FLAGS = {"ro": MS_RDONLY, "rw": 0, "bind": MS_BIND, "rbind": MS_BIND | MS_REC}
libc = ctypes.CDLL(None, use_errno=True)


class Mount(NamedTuple):
    type: str
    source: str
    options: list

    def at(self, target):
        """Mounts it there, as containerd does: with mount(2). For `with`: unmounts it then."""
        flags = 0
        for option in self.options:
            flags |= FLAGS.get(option, 0)
        data = ",".join(option for option in self.options if option not in FLAGS)
        words = [str(word).encode() for word in (self.source, target, self.type)]
        if libc.mount(*words, ctypes.c_ulong(flags), data.encode()) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"mounting {self}: {os.strerror(error)}")
        return Mounted(target)


class Mounted:
    def __init__(self, target):
        self.target = target

    def __enter__(self):
        return Path(self.target)

    def __exit__(self, *_):
        if libc.umount2(str(self.target).encode(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"unmounting {self.target}")


# --- the daemon -----------------------------------------------------------------------------------


def fields(data):
    """The fields of a protobuf message, all strings or messages: [(number, bytes)]."""
    found, at = [], 0

    def varint():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte, at = data[at], at + 1
            number, shift = number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    while at < len(data):
        tag = varint()
        assert tag & 7 == 2, f"not a string in {data!r}"
        size = varint()
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


class DaemonCaller:
    def __init__(self, path, pool):
        self.path, self.pool = path, pool

    def call(self, method, body):
        try:
            status, data = wire.call(self.path, method, {1: self.pool} | body)
        except OSError as error:  # no listener, or a connection that broke
            raise Gone(method) from error
        if status != wire.OK:
            raise Refused(f"{method} {body}: status {status}")
        return data[5:]

    def mount_of(self, data):
        [(_, mount)] = fields(data)
        found = fields(mount)
        text = {number: value.decode() for number, value in found}
        return Mount(text[1], text[2], [value.decode() for number, value in found if number == 4])

    def prepare(self, key, parent=""):
        return self.mount_of(self.call("Prepare", {2: key, 3: parent}))

    def view(self, key, parent):
        return self.mount_of(self.call("View", {2: key, 3: parent}))

    def mounts(self, key):
        return self.mount_of(self.call("Mounts", {2: key}))

    def commit(self, name, key):
        self.call("Commit", {2: name, 3: key})

    def remove(self, key):
        self.call("Remove", {2: key})

    def label(self, key, name, value):
        info = wire.message({1: key, 6: wire.message({1: name, 2: value})})
        self.call("Update", {2: info})


# --- the library ----------------------------------------------------------------------------------


class Loaded:
    """A process that works through the library. Its callers are threads of it."""

    def __init__(self, directory, root, pool):
        self.path = Path(directory) / f"load-{random.randrange(1 << 60):x}"
        self.log = open(f"{self.path}.log", "w+b")
        self.process = subprocess.Popen([LOAD, root, pool, self.path], stderr=self.log)
        wait_until(self.listens, "the load program to listen")

    def listens(self):
        assert self.process.poll() is None, self.read_log()
        return self.path.exists() and self.try_connect()

    def try_connect(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            return client.connect_ex(str(self.path)) == 0

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def caller(self):
        return LibraryCaller(self.path)

    def kill(self):
        """It is never ended in another way."""
        if self.log.closed:
            return
        self.process.kill()
        assert self.process.wait(TIMEOUT) == -signal.SIGKILL, self.read_log()
        assert not SANITIZER.search(self.read_log()), self.read_log()
        self.log.close()


class LibraryCaller:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(TIMEOUT)
        try:
            self.socket.connect(str(path))
        except OSError:
            pass  # it was killed already, and the first call will tell

    def call(self, *words):
        try:
            self.socket.send(b"".join(word.encode() + b"\0" for word in words))
            answer = self.socket.recv(1 << 17)
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(words) from error
        if not answer:
            raise Gone(words)
        first, *rest = answer.decode().split("\0")[:-1]
        if first != "ok":
            raise Refused(f"{words}: {rest}")
        return rest

    def prepare(self, key, parent=""):
        kind, source, *options = self.call("prepare", key, parent)
        return Mount(kind, source, options)

    def view(self, key, parent):
        kind, source, *options = self.call("view", key, parent)
        return Mount(kind, source, options)

    def mounts(self, key):
        kind, source, *options = self.call("mounts", key)
        return Mount(kind, source, options)

    def commit(self, name, key):
        self.call("commit", name, key)

    def capture(self, name, key):
        self.call("capture", name, key)

    def remove(self, key):
        self.call("remove", key)

    def label(self, key, name, value):
        self.call("label", key, name, value)


# --- the command ----------------------------------------------------------------------------------


class CommandCaller:
    """Runs the command. longest, if given: kills it after a random time of up to that many seconds,
    unless it ended before."""

    def __init__(self, root, pool, rng=None, longest=None):
        self.base = [VARVE, "--root", root, "--pool", pool, "--json", "snapshot"]
        self.rng, self.longest = rng, longest
        self.kills = 0

    def call(self, *words):
        process = subprocess.Popen(
            [*self.base, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        timer = None
        if self.longest is not None:
            timer = threading.Timer(self.rng.uniform(0, self.longest), process.kill)
            timer.start()
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
            if timer is not None:
                timer.cancel()
                timer.join()
        assert not SANITIZER.search(err), err
        if process.returncode == -signal.SIGKILL:
            self.kills += 1
            raise Gone(words)
        if process.returncode != 0:
            raise Refused(f"{words}: {err}")
        return out

    def mount_of(self, text):
        [mount] = json.loads(text)
        return Mount(mount["type"], mount["source"], mount["options"])

    def prepare(self, key, parent=""):
        return self.mount_of(self.call("prepare", key, *([parent] if parent else [])))

    def view(self, key, parent):
        return self.mount_of(self.call("view", key, parent))

    def mounts(self, key):
        return self.mount_of(self.call("mounts", key))

    def commit(self, name, key):
        self.call("commit", name, key)

    def capture(self, name, key):
        self.call("capture", name, key)

    def remove(self, key):
        self.call("rm", key)

    def label(self, key, name, value):
        self.call("label", key, f"{name}={value}")
