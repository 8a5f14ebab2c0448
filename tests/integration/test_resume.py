# SPDX-License-Identifier: Apache-2.0
"""Transfers that broke off, and go on: SPEC rows V6 and V7."""

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest
from conftest import CLEAN, TIMEOUT, VARVE, wait_until
from test_stream import ALREADY_EXISTS, CORRUPT, FAILED_PRECONDITION, HEAD, PREAMBLE
from test_stream import Side, assert_same, fill, frames, maker, native
from trees import Changes

INVALID, MISSING, BUSY = 3, 4, 11  # exit statuses
RESUMPTION = 64
# From, to, and whether the driver's own format is sent.
WAYS = [("overlay", "overlay", False), ("native", "native", False), ("btrfs", "btrfs", False),
        ("btrfs", "btrfs", True), ("zfs", "zfs", True)]  # fmt: skip
NAMES = ["overlay", "native", "btrfs-portable", "btrfs-native", "zfs-native"]


class End(Side):
    """A pool that sends, or that keeps what comes."""

    def kept(self):
        return self.varve.json("snapshot", "transfers")

    def token(self, uuid):
        return self("transfers", "--token", uuid).stdout.strip()

    def break_off(self, stream):
        """Receives what is no whole stream; returns the token that it tells, if any."""
        told = self.receive(stream, "--keep", status=CORRUPT).stderr
        found = re.search(r"--resume (\S+)", told)
        return found[1] if found else None

    def folder(self):
        folder = self.varve.root / "transfers"
        return sorted(os.listdir(folder)) if folder.exists() else []

    def is_clean(self):
        return self.folder() == [] and self.varve.json("system", "cleanup") == CLEAN


@pytest.fixture
def ends(make_fs, make_zpool, varve, tempdir):
    return maker(End, make_fs, make_zpool, varve, tempdir)


def small(root):
    """Some frames, most of which cannot be compressed, and all that a tree can have."""
    fill(root)
    (root / "large").write_bytes(random.Random(1).randbytes(3 << 20))
    (root / "zeros").write_bytes(bytes(2 << 20))


@pytest.mark.parametrize("source, target, own", WAYS, ids=NAMES)
def test_every_frame(ends, source, target, own):
    """Cut after each frame, and in the middle of each: it goes on, with what is missing only."""
    here, there = ends(source, target)
    options = ("--format", "native" if own else "portable")
    if own:
        native(here, there)
    here.make("0", fill=small)
    whole, uuid = here.send("0", *options), here.uuid("0")
    looks = here.look("0")
    begins = frames(whole)
    assert len(begins) > 5
    for begin, end in itertools.pairwise(begins):
        for cut in (begin, begin + 7, (begin + HEAD + end) // 2):
            told = there.break_off(whole[:cut])
            if begin == PREAMBLE:  # not even the header came
                assert told is None and there.kept() == [] and there.folder() == []
                continue
            assert there.token(uuid) == told
            (kept,) = there.kept()
            assert (kept["uuid"], kept["name"], kept["bytes"]) == (uuid, "0", begin)
            rest = here.send("0", "--resume", told)
            assert rest[RESUMPTION:] == whole[begin:]
            # And it breaks off once more.
            again = there.break_off(rest[: RESUMPTION + 9])
            assert again == told
            done = there.varve("--json", "snapshot", "receive", "--keep", input=rest, text=False)
            result = json.loads(done.stdout)
            assert (result["resumed"], result["bytes"]) == (begin, len(whole))
            assert_same(there.look("0"), looks, cut)
            assert there.kept() == [] and there.folder() == []
            there("rm", "0")
    assert there.is_clean()


@pytest.mark.parametrize("source, target, own", WAYS, ids=NAMES)
def test_differences(ends, source, target, own):
    """A difference goes on as the difference to what it was, though a newer base came."""
    here, there = ends(source, target)
    options = ("--format", "native" if own else "portable", "--compression", "none")
    here.make("0", fill=small)
    there.receive(here.send("0", *options))
    here.make("1", "0", lambda root: Changes(root, 5).change(8))

    def change(root):
        Changes(root, 6).change(8)
        (root / "new").write_bytes(random.Random(2).randbytes(2 << 20))

    here.make("2", "1", change)
    whole = here.send("2", "--base", "0", *options)
    token = there.break_off(whole[: len(whole) // 2])
    there.receive(here.send("1", "--base", "0", *options))
    rest = here.send("2", "--resume", token, "--base", "1", "--format", "auto")
    assert len(rest) < len(whole) * 0.8
    there.receive(rest)
    assert_same(there.look("2"), here.look("2"))
    assert there.varve.json("snapshot", "stat", "2")["parent"] == "0"
    assert there.is_clean()


@pytest.fixture
def broken(ends):
    """A stream, half of which came, and both ends."""
    here, there = ends("btrfs", "native")
    here.make("0", fill=small)
    there.make("kept")
    whole = here.send("0", "--compression", "none")
    begins = frames(whole)
    token = there.break_off(whole[: begins[3] + 5])
    yield here, there, whole, token
    assert there.names() == ["0", "kept"]
    assert there.is_clean()


def test_damaged_rest(broken):
    """V7: flipped, cut, reordered or replayed: refused, nothing changed; and it can go on still."""
    here, there, whole, token = broken
    rest = here.send("0", "--resume", token)
    begins = [at - len(whole) + len(rest) for at in frames(whole)[3:]]
    pieces = [rest[begin:end] for begin, end in itertools.pairwise(begins)]
    wrong = []
    for begin, end in itertools.pairwise(begins):
        for place in (begin, begin + 8, begin + 21, begin + HEAD, end - 1):
            flipped = bytearray(rest)
            flipped[place] ^= 4
            wrong.append(bytes(flipped))
    for i in range(len(pieces)):
        wrong.append(rest[:RESUMPTION] + b"".join(pieces[:i] + pieces[i + 1 :]))
        wrong.append(rest[:RESUMPTION] + b"".join(pieces[: i + 1] + pieces[i:]))
        if i + 1 < len(pieces):
            swapped = pieces[:i] + [pieces[i + 1], pieces[i]] + pieces[i + 2 :]
            wrong.append(rest[:RESUMPTION] + b"".join(swapped))
    wrong += [rest + b"x", rest + rest, rest[:RESUMPTION] + whole]
    for stream in wrong:
        assert there.receive(stream, "--keep", status=CORRUPT).stderr
        assert there.names() == ["kept"]
    for place in range(RESUMPTION):
        flipped = bytearray(rest)
        flipped[place] ^= 1
        refused = there.receive(bytes(flipped), "--keep", status=None)
        assert refused.returncode == CORRUPT, place
    token = there.token(here.uuid("0"))
    there.receive(here.send("0", "--resume", token))
    assert_same(there.look("0"), here.look("0"))


def test_not_kept_again(broken):
    """What is kept stays when it goes on without --keep and breaks off, and is gone in the end."""
    here, there, whole, token = broken
    rest = here.send("0", "--resume", token)
    refused = there.receive(rest[:-10], status=CORRUPT)
    assert "--resume" not in refused.stderr
    assert there.token(here.uuid("0")) == token
    # One that begins at its beginning, too.
    there.receive(whole[:-10], status=CORRUPT)
    assert there.token(here.uuid("0")) == token
    there.receive(whole)
    assert "begin anew" in there.receive(rest, status=FAILED_PRECONDITION).stderr


def test_damaged_file(broken):
    """What a power cut made of the file: it goes on behind the last frame that is right."""
    here, there, whole, token = broken
    uuid = here.uuid("0")
    (name,) = there.folder()
    file = there.varve.root / "transfers" / name
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    begins = frames(whole)
    content = file.read_bytes()
    file.write_bytes(content[: begins[2]] + bytes(len(content) - begins[2]))
    earlier = there.token(uuid)
    assert earlier != token
    # What was to go on behind it is refused, and what is right stays.
    refused = there.receive(here.send("0", "--resume", token), "--keep",
                            status=FAILED_PRECONDITION)  # fmt: skip
    assert "another token" in refused.stderr
    assert there.token(uuid) == earlier
    file.write_bytes(content[: begins[2]] + bytes(100))
    rest = here.send("0", "--resume", there.token(uuid))
    assert rest[RESUMPTION:] == whole[begins[2] :]
    file.write_bytes(bytes(len(content)))
    assert there.kept() == []
    there("transfers", "--token", uuid, status=MISSING)
    assert "begin anew" in there.receive(rest, status=FAILED_PRECONDITION).stderr
    there.receive(whole)


def test_another_stream_was_kept(broken):
    """A token that tells of what is not kept any more."""
    here, there, whole, token = broken
    other = here.send("0")  # compressed: other frames
    rest = here.send("0", "--resume", token)
    there.break_off(other[:-10])
    refused = there.receive(rest, status=FAILED_PRECONDITION)
    assert "begin anew" in refused.stderr
    there.receive(whole)


def test_sender_refuses(broken):
    """Before its first byte, and it says why."""
    here, there, whole, token = broken
    here.make("other", fill=fill)

    def refused(name, given, status, reason):
        done = here("send", name, "--resume", given, text=False, status=status)
        assert done.stdout == b""
        assert reason in done.stderr.decode()

    refused("other", token, FAILED_PRECONDITION, "another snapshot")
    refused("gone", token, MISSING, "no snapshot 'gone'")
    for garbage in ("", "x", "varve1.", "varve1.AAAA", token[:-1], token + "A", token[:-2] + "AA",
                    "varve1." + "A" * 5000, token.replace("varve1", "varve2")):  # fmt: skip
        refused("0", garbage, INVALID, "no token")
    here("label", "0", "owner=ada")  # which travel
    refused("0", token, FAILED_PRECONDITION, "begin anew")
    here("label", "0", "owner=")
    there.receive(here.send("0", "--resume", token))


def test_base_gone(ends):
    here, there = ends("btrfs", "native")
    here.make("0", fill=fill)
    here.make("1", "0", lambda root: (root / "large").write_bytes(os.urandom(3 << 20)))
    there.receive(here.send("0"))
    whole = here.send("1", "--base", "0")
    token = there.break_off(whole[: len(whole) // 2])
    there("rm", "0")
    refused = there.receive(here.send("1", "--resume", token), "--keep",
                            status=FAILED_PRECONDITION)  # fmt: skip
    assert "not there" in refused.stderr
    there("transfers", "--forget", here.uuid("1"))
    there("transfers", "--forget", here.uuid("1"), status=MISSING)
    assert there.is_clean()


def test_two_at_once(ends):
    """One receiver of a snapshot at a time, under whatever name: the second is told."""
    here, there = ends("native", "btrfs")
    here.make("0", fill=small)
    whole = here.send("0", "--compression", "none")
    first = subprocess.Popen([VARVE, "--root", there.varve.root, "snapshot", "receive", "--keep"],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # fmt: skip
    first.stdin.write(whole[: len(whole) // 2])
    first.stdin.flush()
    wait_until(lambda: there.kept(), "the first to begin")
    assert there.kept()[0]["busy"]
    for more in ((), ("--keep",)):
        assert "received already" in there.receive(whole, "other", *more, status=BUSY).stderr
    there("transfers", "--forget", here.uuid("0"), status=BUSY)
    there("transfers", "--token", here.uuid("0"), status=BUSY)
    first.communicate(whole[len(whole) // 2 :], TIMEOUT)
    assert first.returncode == 0 and there.names() == ["0"]
    assert "is there, as '0'" in there.receive(whole, "x", status=ALREADY_EXISTS).stderr
    assert there.is_clean()


def ends_of(here, there, sent, token):
    """A sender and a receiver, not joined yet; sent: the sender's options."""
    more = ["--resume", token] if token else sent
    sender = subprocess.Popen([VARVE, "--root", here.varve.root, "snapshot", "send", "0", *more],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    receiver = subprocess.Popen([VARVE, "--root", there.varve.root, "snapshot", "receive", "--keep"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip
    return sender, receiver


def carry(sender, receiver, size):
    """So many bytes of the stream, if it has them; whether it ended."""
    with contextlib.suppress(BrokenPipeError):
        while size > 0 and (piece := sender.stdout.read1(min(size, 1 << 16))):
            receiver.stdin.write(piece)
            receiver.stdin.flush()
            size -= len(piece)
    return size > 0


@pytest.mark.parametrize("source, target, own", WAYS, ids=NAMES)
@pytest.mark.parametrize("end", ["sender", "receiver"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed(ends, source, target, own, end, how):
    """Either end ended at random places, again and again: in the end it is there, and equal."""
    here, there = ends(source, target)
    sent = ["--format", "native" if own else "portable", "--compression", "none"]
    if own:
        native(here, there)

    def large(root):
        fill(root)
        (root / "large").write_bytes(random.Random(1).randbytes(48 << 20))

    here.make("0", fill=large)
    rng, had, ups = random.Random(7), 0, 0
    for _ in range(200):
        kept = there.kept()
        ups += sum(one["bytes"] for one in kept) > had
        had = sum(one["bytes"] for one in kept)
        sender, receiver = ends_of(here, there, sent, there.token(kept[0]["uuid"]) if kept else None)
        if not carry(sender, receiver, rng.randrange(16 << 20)):
            (receiver if end == "receiver" else sender).send_signal(how)
        sender.stdout.close()
        for process in (receiver, sender):
            process.communicate(timeout=TIMEOUT)
        if there.names() == ["0"]:
            break
    assert ups > 1, "it never had to go on"
    assert_same(there.look("0"), here.look("0"))
    there.varve("system", "cleanup")
    assert there.is_clean()


def test_stalled(ends):
    """Ctrl-C ends both ends at once, though nothing moves between them."""
    here, there = ends("native", "native")
    here.make("0", fill=lambda root: (root / "large").write_bytes(os.urandom(8 << 20)))
    sender, receiver = (
        subprocess.Popen([VARVE, "--root", side.varve.root, "snapshot", *verb], stdin=stdin,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for side, verb, stdin in ((here, ("send", "0"), None),
                                  (there, ("receive",), subprocess.PIPE))
    )  # fmt: skip
    assert sender.stdout.read(1)  # nobody takes more
    time.sleep(0.3)
    for process in (sender, receiver):
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT)
        process.communicate()
        assert process.returncode not in (0, None)


def test_full_disk(make_fs, varve, tempdir):
    """What is kept does not take the room that the snapshot needs; a full disk can be emptied."""
    here = End(varve, make_fs("ext4"), "overlay", tempdir / "here")
    here.make("0", fill=lambda root: (root / "large").write_bytes(random.Random(1).randbytes(40 << 20)))
    place = make_fs("ext4", "96M")
    there = End(varve, place, "overlay", tempdir / "there")
    whole = here.send("0")
    done = there.receive(whole, "--keep")  # twice 40 MiB have no room
    assert "not kept any more" in done.stderr
    assert there.folder() == []
    there("rm", "0")
    there.varve("system", "cleanup")
    ballast = place / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 30 << 20)
    token = None
    refused = there.receive(whole, "--keep", status=None)
    if refused.returncode != 0:
        found = re.search(r"--resume (\S+)", refused.stderr)
        token = found and found[1]
        ballast.unlink()
        there.receive(here.send("0", "--resume", token) if token else whole, "--keep")
    assert_same(there.look("0"), here.look("0"))
    assert there.is_clean()


def test_expected(ends):
    """What a snapshot takes, if it was counted, is about how much is to come."""
    here, there = ends("native", "native")
    here.make("0", fill=small)
    here.make("1", "0", lambda root: (root / "new").write_bytes(os.urandom(2 << 20)))
    there.break_off(here.send("0")[:-10])
    assert [kept["expected"] for kept in there.kept()] == [0]
    here("usage")
    there.receive(here.send("0"))
    there.break_off(here.send("1", "--base", "0")[:-10])
    (kept,) = there.kept()
    assert 2 << 20 <= kept["expected"] < 3 << 20
    token = there.token(kept["uuid"])
    there.break_off(here.send("1")[:-10])
    (full,) = there.kept()
    assert 5 << 20 <= full["expected"] < 12 << 20
    assert token != there.token(kept["uuid"])
    there.receive(here.send("1", "--base", "0"))


def test_forgotten_after_days(ends):
    here, there = ends("native", "native")
    here.make("0", fill=small)
    whole = here.send("0")
    assert there.break_off(whole[:-10])
    (name,) = there.folder()
    file = there.varve.root / "transfers" / name
    days = [6.9, 7.1]
    for day in days:
        assert there.folder() == [name]
        os.utime(file, (time.time() - day * 86400,) * 2)
        there.varve("system", "cleanup")
    assert there.folder() == []
    there.receive(whole)


def test_volume(ends):
    """A volume's transfer goes on, also when the volume was in use when all had come."""
    here, there = ends("native", "btrfs")
    here.varve("volume", "create", "db")
    Changes(here.varve.root / "volumes/db", 3).change(30)
    here.varve("volume", "snapshot", "db", "db-1")
    whole = here.varve("volume", "send", "db-1", text=False).stdout
    there.varve("volume", "create", "db")
    mounted = there.varve.root / "volumes/db"
    receiver = subprocess.Popen([VARVE, "--root", there.varve.root, "volume", "receive", "db",
                                 "--keep"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip
    receiver.stdin.write(whole[:-10])
    receiver.stdin.flush()
    wait_until(there.folder, "what is kept")  # before that it has looked whether it is in use
    with open(mounted / "in use", "w"):
        _, told = receiver.communicate(whole[-10:], TIMEOUT)
    assert receiver.returncode == BUSY
    (kept,) = there.kept()
    assert kept["name"] == "volume/db-1"
    token = re.search(r"--resume (\S+)", told.decode())[1]
    rest = here.varve("volume", "send", "db-1", "--resume", token, text=False).stdout
    assert len(rest) < 300
    made = there.varve("volume", "receive", "db", "--keep", input=rest, text=False)
    assert made.stdout == b"db-1\n"
    assert sorted(os.listdir(mounted)) == sorted(os.listdir(here.varve.root / "volumes/db"))
    assert there.is_clean()
