# SPDX-License-Identifier: Apache-2.0
"""Streams between two pools of one driver, through the command line as somebody would use it, beside
what people use where there are none: tar for a whole tree, rsync for a difference. They are portable
ones; for the difference the driver's own are measured too, where it has some.

A difference is of two kinds: files that were written anew, and blocks that were written inside of
files. Of the first kind tar copies just the files that changed too, which no program can know: what
remains when nothing has to be found, and no snapshot is made.

The peers copy from where Varve's snapshot is mounted into a plain directory of the file system that
Varve receives into. All end with what was received on disk, and with cold caches they begin."""

import dataclasses
import functools
import json
import statistics
import subprocess
import time

from common import drop_caches, rotated, run

FILE_SYSTEMS = {"btrfs": "btrfs", "overlay": "ext4", "native": "ext4"}
NATIVE = ["btrfs"]
FULL_BOUND = 0.8      # of tar's rate
PART_BOUND = 0.03     # of the time that the whole takes
WIRE_BOUND = 1.1      # times the bytes that changed
RSYNC_BOUND = 5       # times as fast


@dataclasses.dataclass
class Changed:
    """paths: of files, in the tree; size: how many bytes of them are others now."""
    paths: list
    size: int
    whole_files: bool


class Side:
    """A root with one pool on a file system of its own, and a plain directory beside it."""

    def __init__(self, build, driver, place):
        self.place = place
        self.varve = [build / "src/cli/varve", "--root", place / "root"]
        self.plain = place / "plain"
        self.view = place / "view"
        self.floor = place / "floor"
        for directory in (self.plain, self.view, self.floor):
            directory.mkdir()
        run(*self.varve, "pool", "create", "p", "--driver", driver)

    def make(self, name, parent, work):
        mount = self.place / "work"
        mount.mkdir(exist_ok=True)
        run(*self.varve, "snapshot", "prepare", "work", *parent, "--mount", mount)
        work(mount)
        run(*self.varve, "snapshot", "umount", mount)
        run(*self.varve, "snapshot", "commit", name, "work")

    def show(self, name):
        """Mounts a snapshot, for the peers to read."""
        run(*self.varve, "snapshot", "view", f"view-{name}", name, "--mount", self.view)

    def hide(self, name):
        run(*self.varve, "snapshot", "umount", self.view)
        run(*self.varve, "snapshot", "rm", f"view-{name}")


def pipe(send, receive, on):
    """Seconds until what comes through the pipe is on disk; and what the sender said last."""
    drop_caches()
    begin = time.monotonic()
    with subprocess.Popen([str(word) for word in send], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as sender:
        with subprocess.Popen([str(word) for word in receive], stdin=sender.stdout,
                              stdout=subprocess.DEVNULL) as receiver:
            sender.stdout.close()
            said = sender.stderr.read()
        statuses = (sender.wait(), receiver.returncode)
    subprocess.run(["sync", "-f", on], check=True)
    seconds = time.monotonic() - begin
    if any(statuses):
        raise SystemExit(f"{send[0]}: ended with {statuses}: {said.decode()}")
    return seconds, said


class Case:
    def __init__(self, build, driver, places, rounds, progress):
        self.driver, self.rounds, self.progress = driver, rounds, progress
        self.from_, self.to = (Side(build, driver, place) for place in places)
        self.told = {}

    # Each gives the seconds that it took, and undoes what it did.

    def varve(self, name, base, form="portable"):
        send = [*self.from_.varve, "--json", "snapshot", "send", name, "--format", form]
        for other in base:
            send += ["--base", other]
        seconds, said = pipe(send, [*self.to.varve, "snapshot", "receive"], self.to.place)
        self.told[form] = json.loads(said.splitlines()[-1])
        run(*self.to.varve, "snapshot", "rm", name)
        return seconds

    def tar(self):
        seconds, _ = pipe(["tar", "-C", self.from_.view, "-cf", "-", "."],
                          ["tar", "-C", self.to.plain, "-xf", "-"], self.to.place)
        run("find", self.to.plain, "-mindepth", "1", "-delete")
        return seconds

    def rsync(self):
        drop_caches()
        begin = time.monotonic()
        run("rsync", "-aHAX", "--delete", f"{self.from_.view}/", f"{self.to.plain}/")
        subprocess.run(["sync", "-f", self.to.place], check=True)
        return time.monotonic() - begin

    def only(self, paths):
        """By tar, what changed."""
        drop_caches()
        words = "".join(f"{path}\n" for path in paths).encode()
        begin = time.monotonic()
        with subprocess.Popen(["tar", "-C", self.from_.view, "-cf", "-", "-T", "-"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
            sender.stdin.write(words)
            sender.stdin.close()
            run("tar", "-C", self.to.floor, "-xf", "-", stdin=sender.stdout)
        subprocess.run(["sync", "-f", self.to.place], check=True)
        seconds = time.monotonic() - begin
        run("find", self.to.floor, "-mindepth", "1", "-delete")
        return seconds

    def settle(self):
        """What is being freed would be in the way of the next turn."""
        for side in (self.from_, self.to):
            subprocess.run(["sync", "-f", side.place], check=True)
            if self.driver == "btrfs":
                run("btrfs", "filesystem", "sync", side.place)  # wakes who frees subvolumes
                run("btrfs", "subvolume", "sync", "-s", "1", side.place)

    def compare(self, what, sides):
        seconds = {name: [] for name in sides}
        for turn in range(self.rounds):
            for name in rotated(list(sides), turn):
                self.progress.say(f"{self.driver}, {what}, {name}, "
                                  f"turn {turn + 1} of {self.rounds}")
                self.settle()
                seconds[name].append(sides[name]())
        return {name: statistics.median(values) for name, values in seconds.items()}

    def row(self, what, metric, unit, varve, peer, peer_name):
        return {"case": f"{self.driver}/{what}", "metric": metric, "unit": unit, "varve": varve,
                "peer": peer, "peer_name": peer_name, "ratio": peer / varve}

    def rsync_again(self, name):
        """From the base on, each time."""
        self.from_.hide(name)
        self.from_.show("whole")
        self.rsync()
        self.from_.hide("whole")
        self.from_.show(name)
        return self.rsync()

    def measure(self, fill, changes):
        """changes: functions by name, which change a tree, and tell what they did (Changed)."""
        told = {}
        self.from_.make("whole", [], fill)
        for name, change in changes.items():
            self.from_.make(name, ["whole"],
                            lambda root, n=name, c=change: told.update({n: c(root)}))
        self.from_.show("whole")
        found = self.compare("full", {"varve": lambda: self.varve("whole", []), "tar": self.tar})
        whole = found["varve"]
        yield self.row("full/portable", "tar", "s", whole, found["tar"], "tar -c | tar -x")
        self.from_.hide("whole")
        self.progress.say(f"{self.driver}: sending the base")
        pipe([*self.from_.varve, "snapshot", "send", "whole"],
             [*self.to.varve, "snapshot", "receive"], self.to.place)
        for name, changed in told.items():
            self.from_.show(name)
            yield from self.measure_part(name, whole, changed)
            self.from_.hide(name)

    def measure_part(self, name, whole, changed):
        forms = ["portable", "native"] if self.driver in NATIVE else ["portable"]
        sides = {form: functools.partial(self.varve, name, ["whole"], form) for form in forms}
        sides["rsync"] = lambda: self.rsync_again(name)
        if changed.whole_files:
            sides["only"] = lambda: self.only(changed.paths)
        found = self.compare(name, sides)
        for form in forms:
            case, seconds = f"{name}/{form}", found[form]
            yield self.row(case, "rsync", "s", seconds, found["rsync"], "rsync -aHAX --delete")
            if "only" in found:
                yield self.row(case, "only", "s", seconds, found["only"], "tar, of just these")
            yield self.row(case, "of-full", "s", seconds, whole, "all of it, portable")
            yield self.row(case, "wire", "bytes", self.told[form]["payload"], changed.size,
                           "what changed")


def bounds(rows):
    for row in rows:
        case, metric, ratio = row["case"], row["metric"], row["ratio"]
        if metric == "tar":
            yield case, f"{ratio:.3g} times tar's rate", f"{FULL_BOUND}", ratio >= FULL_BOUND
        elif metric == "rsync":
            yield case, f"{ratio:.3g} times rsync's rate", f"{RSYNC_BOUND}", ratio >= RSYNC_BOUND
        elif metric == "of-full":
            yield (case, f"{100 / ratio:.2g}% of the whole's time", f"{100 * PART_BOUND:.0f}%",
                   1 / ratio <= PART_BOUND)
        elif metric == "wire":
            yield (case, f"{1 / ratio:.3g} times what changed", f"{WIRE_BOUND}",
                   1 / ratio <= WIRE_BOUND)
