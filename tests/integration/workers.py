# SPDX-License-Identifier: Apache-2.0
"""Workers do random operations on snapshots, keep a book of what was acknowledged, and compare it
with what is there after somebody was killed.

Each worker has names of its own, so its book is exact: at most one operation, the one that was
under way when its caller died, may have been done or not, and nothing in between.
"""

import hashlib
import threading
from dataclasses import dataclass, replace

from callers import Gone

ENOUGH = 7  # snapshots of one worker; with more it rather removes some


@dataclass(frozen=True)
class Snapshot:
    kind: str
    parent: str = ""
    label: str = ""


def content(name):
    """What the file of that name holds: up to some blocks, different for each."""
    seed = hashlib.sha256(name.encode()).hexdigest()
    return (seed * (1 + int(seed[:2], 16))).encode()


def read_files(directory):
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


class Worker:
    """number: which one it is; mountpoint: a directory that it mounts on."""

    captures = False  # whether caller and driver can capture

    def __init__(self, number, rng, mountpoint):
        self.prefix, self.rng, self.mountpoint = f"w{number}-", rng, mountpoint
        mountpoint.mkdir()
        self.count = 0
        self.book = {}  # name: Snapshot
        self.files = {}  # name: the names of the files in it
        self.inspected = set()
        self.pending = None  # the book as it will be when the operation under way is done
        self.done = 0
        self.thread = self.failure = None

    # --- working ----------------------------------------------------------------------------------

    def start(self, caller):
        self.stopping = False
        self.thread = threading.Thread(target=self.run, args=[caller])
        self.thread.start()

    def stop(self):
        self.end()
        if self.failure is not None:
            raise self.failure

    def end(self):
        self.stopping = True
        if self.thread is not None:
            self.thread.join()

    def run(self, caller):
        try:
            while not self.stopping:
                self.step(caller)
        except Gone:
            pass
        except BaseException as failure:
            self.failure = failure

    def step(self, caller):
        """One random operation."""
        operations = [self.prepare, self.prepare, self.commit, self.commit, self.remove]
        operations += [self.view, self.label, self.mounts]
        if self.captures:
            operations.append(self.capture)
        crowded = len(self.book) > ENOUGH
        self.rng.choice([self.remove] if crowded else operations)(caller)

    def new_name(self, what):
        self.count += 1
        return f"{self.prefix}{what}-{self.count}"

    def choose(self, *kinds):
        names = [name for name, snapshot in self.book.items() if snapshot.kind in kinds]
        return self.rng.choice(names) if names else ""

    def acknowledge(self, after, operation):
        """Does the operation, whose success will make the book that."""
        self.pending = after
        result = operation()
        self.book, self.pending = after, None
        self.done += 1
        return result

    def prepare(self, caller):
        key = self.new_name("key")
        parent = self.choose("committed") if self.rng.random() < 0.8 else ""
        self.files[key] = set(self.files.get(parent, ()))
        after = self.book | {key: Snapshot("active", parent)}
        mount = self.acknowledge(after, lambda: caller.prepare(key, parent))
        self.fill(key, mount)

    def view(self, caller):
        parent = self.choose("committed")
        if parent:
            key = self.new_name("view")
            self.files[key] = self.files[parent]
            after = self.book | {key: Snapshot("view", parent)}
            self.acknowledge(after, lambda: caller.view(key, parent))

    def fill(self, key, mount):
        """Adds a file, and takes one away that may be the parent's."""
        with mount.at(self.mountpoint) as directory:
            (directory / key).write_bytes(content(key))
            victim = self.rng.choice(sorted(self.files[key] | {""}))
            if victim:
                (directory / victim).unlink()
        self.files[key] = (self.files[key] | {key}) - {victim}

    def commit(self, caller):
        key = self.choose("active")
        if key:
            name = self.new_name("name")
            after = {other: s for other, s in self.book.items() if other != key}
            after[name] = replace(self.book[key], kind="committed", label="")
            self.files[name] = self.files[key]
            self.acknowledge(after, lambda: caller.commit(name, key))

    def capture(self, caller):
        key = self.choose("active")
        if key:
            name = self.new_name("name")
            made = replace(self.book[key], kind="committed", label="")
            after = self.book | {name: made, key: replace(self.book[key], parent=name)}
            self.files[name] = self.files[key]
            self.acknowledge(after, lambda: caller.capture(name, key))

    def remove(self, caller):
        parents = {snapshot.parent for snapshot in self.book.values()}
        leaves = [name for name in self.book if name not in parents]
        if leaves:
            key = self.rng.choice(leaves)
            after = {other: s for other, s in self.book.items() if other != key}
            self.acknowledge(after, lambda: caller.remove(key))

    def label(self, caller):
        key = self.choose("active", "view", "committed")
        if key:
            value = self.new_name("value")
            after = self.book | {key: replace(self.book[key], label=value)}
            self.acknowledge(after, lambda: caller.label(key, "value", value))

    def mounts(self, caller):
        key = self.choose("active", "view")
        if key:
            caller.mounts(key)

    # --- judging ----------------------------------------------------------------------------------

    def settle(self, listed):
        """Compares the book with what the engine lists, {name: Snapshot}. What is listed holds."""
        mine = {name: s for name, s in listed.items() if name.startswith(self.prefix)}
        before, after, self.pending = self.book, self.pending, None
        assert mine in (before, after), f"{mine}\nis neither\n{before}\nnor\n{after}"
        self.book = mine

    def check_files(self, name, directory):
        there = read_files(directory)
        assert set(there) == self.files[name], name
        for file, data in there.items():
            assert data == content(file), f"{file} in {name}"

    def inspect(self, caller, names):
        """Looks into those of its snapshots: each holds its files, and an active one is writable.
        They should be all that are new since the last time."""
        for name in names:
            kind = self.book[name].kind
            committed = kind == "committed"
            mount = caller.view("inspection", name) if committed else caller.mounts(name)
            with mount.at(self.mountpoint) as directory:
                self.check_files(name, directory)
                if kind == "active":
                    (directory / "probe").write_bytes(b"")
                    (directory / "probe").unlink()
            if committed:
                caller.remove("inspection")
        self.inspected = set(self.book)
