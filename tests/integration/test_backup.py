# SPDX-License-Identifier: Apache-2.0
"""Volumes in registries: varve volume push, pull and backups, with Debian's docker-registry and others
on the other side."""

import contextlib
import json
import os
import random
import shutil
import subprocess

import pytest
from conftest import CLEAN, TIMEOUT, VARVE, wait_until
from registries import Authority, Distribution, Simple, TokenServer, Wire, digest, noise
from test_pull import no_credentials  # noqa: F401: a fixture
from test_stream import assert_same, fill, see
from test_volume import Volumes
from trees import MIB, Changes, holes

KINDS = {"overlay": "ext4", "native": "xfs", "btrfs": "btrfs"}
INVALID, MISSING, TAKEN, STATE, UNAVAILABLE, DENIED, SPACE, CORRUPT = 3, 4, 5, 6, 7, 9, 10, 12
SLACK = 64 * 1024  # manifests, headers
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Host(Volumes):
    """A root with a pool of a driver, on a file system of its own."""

    def take(self, name, change=lambda root: None, of="db"):
        """A snapshot of a volume, after a change."""
        change(self.path(of))
        self("snapshot", of, name)

    def backups(self, name, *args):
        return self.json("backups", name, *args)


@pytest.fixture
def host(make_fs, varve):
    """host(driver, size) makes one."""

    def make(driver, size="1G"):
        point = make_fs(KINDS[driver], size)
        one = varve.at(point / "root")
        one("pool", "create", "p", "--driver", driver)
        return Host(one, driver)

    return make


@pytest.fixture
def db(host):
    """A volume on btrfs with three snapshots."""
    one = host("btrfs")
    one("create", "db", "--meta", "app=shop", "--meta", "empty=", "--type", "disk")
    fill(one.path("db"))
    one.take("mon")
    one.take("tue", lambda root: Changes(root, 1).change(30))
    one.take("wed", lambda root: (root / "large").write_bytes(noise(3 * MIB)))
    return one


def chain(backup):
    """{id: the id of its base} of a backup."""
    ids = {snapshot["uuid"]: snapshot["id"] for snapshot in backup["snapshots"]}
    return {s["id"]: ids.get(s.get("base")) for s in backup["snapshots"]}


def assert_restored(there, here, *names, of="db"):
    """Snapshots are the same there as here."""
    for name in names:
        assert_same(see(there.path(name)), see(here.path(name)), name)
        info, was = there.json("inspect", name), here.json("inspect", name)
        for field in ("uuid", "type", "meta", "snapshot"):
            assert info[field] == was[field], (name, field)
        assert info["of"] == of


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
def test_restore_on_any_driver(host, db, registry, target):
    name = f"{registry.host}/backup/db:latest"
    for day in ("punched", "sparse"):
        with open(db.path("db") / day, "xb") as file:
            file.seek(12 * MIB)
            file.write(noise(MIB))
            file.truncate(32 * MIB)
    db.take("thu")
    pushed = db("push", "db@thu", name)
    backup, = db.backups(name)
    assert pushed.stdout == f"{registry.host}/backup/db@{backup['digest']}\n"
    assert chain(backup) == {"mon": None, "tue": "mon", "wed": "tue", "thu": "wed"}
    assert (backup["volume"], backup["type"]) == ("db", "disk")
    assert backup["meta"] == {"app": "shop", "empty": ""}

    there = host(target)
    assert there("pull", name).stdout == "db\n"
    assert_restored(there, db, "mon", "tue", "wed", "thu")
    assert_same(see(there.path("db")), see(db.path("db")))
    assert_same(holes(there.path("thu")), holes(db.path("thu")))
    info = there.json("inspect", "db")
    assert info["meta"] == {"app": "shop", "empty": ""} and info["type"] == "disk"
    assert not info["snapshot"] and info["mounted"] and info["parent"] == "volume/thu"
    (there.path("db") / "new").write_text("it is a volume")

    # And on, from there, to the same tag.
    there.take("fri")
    there("push", "db@fri", name)
    assert chain(db.backups(name)[0])["fri"] == "thu"
    db("pull", name, "db-2")
    assert_restored(db, there, "fri", of="db-2")
    assert db.json("inspect", "db-2")["parent"] == "volume/fri"
    assert there.varve.json("system", "cleanup") == CLEAN == db.varve.json("system", "cleanup")


def test_only_what_is_new_is_sent(db, registry):
    with Wire(registry.host) as wire:
        name = f"{wire.host}/db:latest"
        first = db.json("push", "db@wed", name)
        assert (first["snapshots"], first["moved"], first["present"]) == (3, 3, 0)
        assert first["begun"] and 3 * MIB < first["bytes"] < wire.sent
        uploads = registry.requests('"POST /v2/db/blobs/uploads/')
        wire.reset()
        again = db.json("push", "db@wed", name)
        assert (again["moved"], again["present"], again["bytes"]) == (0, 3, 0)
        assert again["digest"] == first["digest"] and not again["begun"]
        assert wire.sent < 4096
        db.take("thu", lambda root: (root / "small").write_bytes(noise(100_000, 2)))
        wire.reset()
        more = db.json("push", "thu", name)
        assert (more["snapshots"], more["moved"], more["begun"]) == (4, 1, False)
        assert 100_000 < wire.sent < 100_000 + SLACK
        assert registry.requests('"POST /v2/db/blobs/uploads/') == uploads + 1
        older = db.json("push", "db@mon", name)
        assert older["moved"] == 0 and older["digest"] == more["digest"]


def test_only_what_is_missing_is_fetched(host, db, registry):
    with Wire(registry.host) as wire:
        name = f"{wire.host}/db:latest"
        db("push", "db@wed", name)
        there = host("overlay")
        first = there.json("pull", name, "--to", "mon")
        assert (first["snapshots"], first["moved"], first["id"]) == (1, 1, "db")
        wire.reset()
        more = there.json("pull", name, "other")
        assert (more["snapshots"], more["moved"]) == (2, 2)
        assert 3 * MIB < wire.received < 4 * MIB
        wire.reset()
        assert there.json("pull", name, "again", "--to", "tue")["moved"] == 0
        assert wire.received < SLACK
        assert_restored(there, db, "mon")
        assert_restored(there, db, "tue", "wed", of="other")
        assert_same(see(there.path("again")), see(db.path("tue")))


def test_streams_are_the_same_each_time(db, registry):
    """So what two hosts push is one blob."""
    for tag in ("one", "two"):
        db("push", "db@wed", f"{registry.host}/db:{tag}")
    one, two = db.backups(f"{registry.host}/db")
    assert [s["digest"] for s in one["snapshots"]] == [s["digest"] for s in two["snapshots"]]
    assert {one["name"], two["name"]} == {f"{registry.host}/db:{tag}" for tag in ("one", "two")}


def test_after_snapshots_were_pruned(host, db, registry):
    name = f"{registry.host}/db:latest"
    db("push", "db@tue", name)
    db("rm", "--only", "tue")
    db("push", "db@wed", name)  # tue is there, and stays; wed stands on mon here
    assert chain(db.backups(name)[0]) == {"mon": None, "tue": "mon", "wed": "mon"}
    db("rm", "--only", "mon", "wed")
    db.take("thu", lambda root: (root / "late").write_text("thursday"))
    done = db("push", "db@thu", name)
    assert "begins with a snapshot in full" in done.stderr
    assert chain(db.backups(name)[0]) == {"mon": None, "tue": "mon", "wed": "mon", "thu": None}
    there = host("native")
    there("pull", name)
    assert_restored(there, db, "thu")
    assert there.ids("--snapshots") == ["thu"]
    there("pull", name, "--to", "wed", "--no-volume")
    assert sorted(there.ids("--snapshots")) == ["mon", "thu", "wed"]


def test_a_full_one_begins_anew(host, db, registry):
    name = f"{registry.host}/db:latest"
    db("push", "db@tue", name)
    done = db.json("push", "db@wed", name, "--full")
    assert (done["snapshots"], done["moved"], done["begun"]) == (1, 1, True)
    assert chain(db.backups(name)[0]) == {"wed": None}
    there = host("overlay")
    there("pull", name)
    assert_restored(there, db, "wed")


def test_ids_that_are_taken(host, db, registry):
    name = f"{registry.host}/db:latest"
    db("push", "db@wed", name)
    there = host("native")
    there("create", "tue")
    (there.path("tue") / "mine").write_text("x")
    there("create", "db")
    before = there.varve.json("snapshot", "ls")
    done = there("pull", name, status=TAKEN)
    assert "there is a volume 'db' already" in done.stderr and "another id" in done.stderr
    assert there.varve.json("snapshot", "ls") == before  # before anything is fetched
    there("pull", name, "copy")
    assert os.listdir(there.path("tue")) == ["mine"]
    assert_same(see(there.path("copy")), see(db.path("wed")))
    snapshots = {info["uuid"]: info for info in there.json("ls", "--snapshots")}
    for day in ("mon", "tue", "wed"):
        info = snapshots[db.json("inspect", day)["uuid"]]
        assert info["of"] == "copy" and (info["id"] == day) == (day != "tue")
        assert_same(see(there.path(info["id"])), see(db.path(day)))


def test_snapshots_alone_and_pins(host, db, registry):
    name = f"{registry.host}/db:latest"
    pinned = db("push", "db@tue", name).stdout.strip()
    db("push", "db@wed", name)
    there = host("btrfs")
    assert there("pull", pinned, "--no-volume", "--no-mount").stdout == "tue\n"
    assert there.ids() == ["mon", "tue"] and not there.mounted("tue")
    assert "no snapshot 'wed'" in there("pull", pinned, "--to", "wed", status=MISSING).stderr
    uuid = db.json("inspect", "mon")["uuid"]
    assert there("pull", pinned, "old", "--to", uuid).stdout == "old\n"
    assert_same(see(there.path("old")), see(db.path("mon")))
    wrong = pinned[:-1] + ("0" if pinned[-1] != "0" else "1")
    there("pull", wrong, "never", status=MISSING)


def test_backups_are_listed(db, registry, image):
    base = f"{registry.host}/many"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "-q",
                    f"oci:{image.path}", f"docker://{base}:image"], check=True)  # fmt: skip
    db("push", "db@mon", f"{base}:a")
    db("push", "db@wed", f"{base}:b")
    listed = {backup["name"]: backup for backup in db.backups(base)}
    assert {name: len(b["snapshots"]) for name, b in listed.items()} == {f"{base}:a": 1, f"{base}:b": 3}
    wed = listed[f"{base}:b"]["snapshots"][-1]
    info = db.json("inspect", "wed")
    assert wed["created_at"][:26] == info["created_at"][:26] and wed["uuid"] == info["uuid"]
    assert wed["bytes"] > 3 * MIB < wed["payload"]
    rows = [line.split() for line in db("backups", f"{base}:b", "--full").stdout.splitlines()]
    assert rows[0] == ["TAG", "SNAPSHOT", "OF", "SINCE", "CREATED", "SIZE"]
    assert [row[:4] for row in rows[1:]] == [
        ["b", "mon", "db", "-"], ["b", "tue", "db", "mon"], ["b", "wed", "db", "tue"]
    ]  # fmt: skip
    assert db("backups", base, "-q").stdout.split() == sorted(listed)
    db("backups", f"{base}:none", status=MISSING)
    db("backups", f"{base}:image", status=STATE)


# --- what is in the way ---------------------------------------------------------------------------


def test_an_image_stays(db, varve, registry, image):
    name = f"{registry.host}/app:1"
    varve("image", "import", image.path, "--name", name)
    varve("image", "push", name)
    done = db("push", "db@mon", name, status=STATE)
    assert "it is an image, no volume's backup" in done.stderr and "--force" in done.stderr
    assert db("pull", name, status=STATE).stderr.count("it is an image") == 1
    assert varve.json("image", "push", name)["moved"] == 0  # as it was
    db("push", "db@tue", name, "--force")
    assert chain(db.backups(name)[0]) == {"mon": None, "tue": "mon"}


def test_another_volumes_backup_stays(db, registry):
    name = f"{registry.host}/db:latest"
    db("push", "db@wed", name)
    db("create", "web")
    db.take("web-1", of="web")
    done = db("push", "web@web-1", name, status=STATE)
    assert "the volume 'db'" in done.stderr
    assert len(chain(db.backups(name)[0])) == 3
    db("fork", "tue", "fork")
    db.take("fork-1", of="fork")
    db("push", "fork-1", name)  # stands on what is there
    assert chain(db.backups(name)[0])["fork-1"] == "tue"
    db("push", "web@web-1", name, "--force")
    assert chain(db.backups(name)[0]) == {"web-1": None}


def test_what_cannot_be_pushed(db, registry):
    name = f"{registry.host}/db:latest"
    assert "take a snapshot" in db("push", "db", name, status=STATE).stderr
    assert "no volume 'none'" in db("push", "none", name, status=MISSING).stderr
    assert "no snapshot of 'web'" in db("push", "web@mon", name, status=INVALID).stderr
    assert "to a tag" in db("push", "db@mon", f"{registry.host}/db", status=INVALID).stderr
    db("push", "db@mon", "127.0.0.1:1/db:latest", "--retries", "0", status=UNAVAILABLE)
    assert registry.requests('"PUT') == 0


def test_meta_that_no_manifest_can_hold(host, registry):
    one, name = host("native"), f"{registry.host}/db:latest"
    one("create", "odd", "--meta", b"note=\xff")
    one.take("odd-1", of="odd")
    assert "'note' is not valid UTF-8" in one("push", "odd-1", name, status=STATE).stderr
    one("create", "much", *(word for i in range(5000) for word in ("--meta", f"{i}=x")))
    one.take("much-1", of="much")
    assert "does not fit into a manifest" in one("push", "much-1", name, status=STATE).stderr
    assert registry.requests('"PUT /v2/db/manifests/') == 0


def test_hosts_and_registries_are_told_apart(host, registry):
    """By the tag or digest, which no volume's id can have."""
    there = host("native")
    for name, option in (("backup/db", "--no-volume"), (f"{registry.host}/db:1", "--snapshot")):
        assert " for " in there("pull", name, option, status=2).stderr
    assert "HOST/VOLUME nor REGISTRY" in there("pull", "db", status=2).stderr
    there("pull", f"{registry.host}/a/db:1", status=MISSING)
    (there.root / "hosts").write_text("")
    done = there("pull", "backup/db", "--config", there.root / "hosts", status=MISSING)
    assert "'backup'" in done.stderr and registry.host not in done.stderr


def test_credentials(db, host, tempdir):
    with Distribution(tempdir / "basic", users=[("ada", "secret")]) as basic:
        name = f"{basic.host}/db:latest"
        db("push", "db@wed", name, status=DENIED)
        db("push", "db@wed", name, "--creds", "ada:wrong", status=DENIED)
        (tempdir / "password").write_text("secret\n")
        db("push", "db@wed", name, "--creds", "ada", "--password-file", tempdir / "password")
        there = host("overlay")
        there("pull", name, status=DENIED)
        assert there.ids() == []
        there("pull", name, "--creds", "ada:secret")
        assert_restored(there, db, "wed")


def test_tokens(db, host, tempdir):
    authority = Authority(tempdir / "ca")
    users = {"ada": ("secret", ["team/"])}
    with TokenServer(authority, users) as tokens:
        with Distribution(tempdir / "tokens", token=tokens) as there:
            creds = ["--creds", "ada:secret"]
            db("push", "db@mon", f"{there.host}/other/db:1", *creds, status=DENIED)
            db("push", "db@mon", f"{there.host}/team/db:1", *creds)
            assert chain(db.backups(f"{there.host}/team/db:1", *creds)[0]) == {"mon": None}


def test_image_commands_leave_it_whole(db, host, registry, varve):
    """varve image takes it for an artifact, as any: it can be copied, and is no image."""
    name = f"{registry.host}/db:latest"
    db("push", "db@wed", name)
    varve("image", "pull", name)
    varve("pool", "create", "p", "--driver", "native")
    done = varve("image", "unpack", name, status=None)
    assert done.returncode in (INVALID, STATE, MISSING), done.stderr
    copy = f"{registry.host}/copy/db:1"
    varve("image", "push", name, copy)
    there = host("native")
    there("pull", copy)
    assert_restored(there, db, "mon", "tue", "wed")


def test_skopeo_copies_it(db, host, registry, tempdir):
    db("push", "db@wed", f"{registry.host}/db:latest")
    with Distribution(tempdir / "second") as second:
        name = f"{second.host}/moved/db:1"
        command = ["skopeo", "--insecure-policy", "copy", "--preserve-digests", "-q",
                   "--src-tls-verify=false", "--dest-tls-verify=false",
                   f"docker://{registry.host}/db:latest", f"docker://{name}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        there = host("overlay")
        there("pull", name)
        assert_restored(there, db, "mon", "tue", "wed")


# --- large ones, and connections that fail --------------------------------------------------------


@pytest.fixture
def large(host):
    """A volume on native with snapshots of 40 and 2 MiB, of which little can be compressed."""
    one = host("native")
    one("create", "db")
    one.take("mon", lambda root: (root / "a").write_bytes(noise(40 * MIB)))
    one.take("tue", lambda root: (root / "b").write_bytes(noise(2 * MIB, 1)))
    return one


def test_in_parts(large, host, registry):
    """What is larger than a part goes in several, with one part in memory and nothing on disk."""
    name = f"{registry.host}/db:latest"
    used = shutil.disk_usage(large.root).used
    command = ["/usr/bin/time", "-f", "%M", VARVE, "--root", large.root, "volume", "push", "db@tue", name]
    if os.path.exists(command[0]) and "ASAN_OPTIONS" not in os.environ:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        assert int(done.stderr.splitlines()[-1]) < 120 * 1024
    else:
        large("push", "db@tue", name)
    assert registry.requests('"PATCH /v2/db/blobs/uploads/') >= 5
    assert shutil.disk_usage(large.root).used - used < MIB
    there = host("btrfs")
    there("pull", name)
    assert_restored(there, large, "mon", "tue")


@pytest.mark.parametrize("at", [3 * MIB, 9 * MIB, 20 * MIB, 39 * MIB])
def test_upload_is_cut(large, host, registry, at):
    """Debian's registry forgets an upload that was cut: then the stream is made once more. A download
    goes on where it was."""
    with Wire(registry.host) as wire:
        name = f"{wire.host}/db:latest"
        wire.cut_at = at
        large("push", "db@mon", name)
        assert wire.cut_at is None and wire.sent < at + 41 * MIB
        there = host("overlay")
        wire.reset()
        wire.cut_at = at
        there("pull", name)
        assert wire.cut_at is None and wire.received < 41 * MIB
        assert_restored(there, large, "mon")


class Forgetful(Simple):
    """Takes parts of uploads, and forgets one when it has some."""

    def __init__(self, times):
        super().__init__()
        self.parts, self.times, self.begun = None, times, 0

    def get_blobs(self, request, repository, what):
        if not what.startswith("upload/"):
            return super().get_blobs(request, repository, what)
        return request.reply(204, Location=f"/v2/{repository}/blobs/{what}",
                             Range=f"0-{len(self.parts) - 1}")  # fmt: skip

    def post_blobs(self, request, repository, _):
        self.parts, self.begun = b"", self.begun + 1
        request.reply(202, Location=f"/v2/{repository}/blobs/upload/{self.begun}")

    def patch_blobs(self, request, repository, what):
        if what != f"upload/{self.begun}" or (self.times > 0 and len(self.parts) > 9 * MIB):
            self.times -= 1
            self.parts = b""
            return request.reply(404)
        self.parts += request.body()
        return request.reply(202, Location=f"/v2/{repository}/blobs/{what}",
                             Range=f"0-{len(self.parts) - 1}")  # fmt: skip

    def put_blobs(self, request, *_):
        body = request.body()
        whole = self.parts + body
        if digest(whole) != request.query["digest"][0]:
            return request.reply(400)
        self.blobs[digest(whole)] = whole
        return request.reply(201)


@pytest.mark.parametrize("times, status", [(1, 0), (2, 0), (5, None)])
def test_the_registry_forgets_an_upload(large, times, status):
    """The stream is made again, some times."""
    with Forgetful(times) as there:
        done = large("push", "db@mon", f"{there.host}/db:latest", "--retries", "1", status=status)
        if status == 0:
            large("pull", f"{there.host}/db:latest", "copy")
        else:
            assert done.returncode in (MISSING, UNAVAILABLE) and there.manifests == {}


class Cutting(Forgetful):
    """Cuts connections in the middle of parts, and keeps what came."""

    def __init__(self, places):
        super().__init__(0)
        self.places, self.taken = places, 0

    def patch_blobs(self, request, repository, what):
        size = int(request.headers["Content-Length"])
        if self.places and len(self.parts) + size > self.places[0]:
            size = max(self.places.pop(0) - len(self.parts), 1)
            self.parts += request.rfile.read(size)
            self.taken += size
            return request.cut()
        self.taken += size
        return super().patch_blobs(request, repository, what)


def test_an_upload_goes_on(large):
    """Where the registry knows how far it was, nothing is sent twice."""
    with Cutting([5, MIB, 9 * MIB, 9 * MIB + 1, 30 * MIB]) as there:
        done = large.json("push", "db@mon", f"{there.host}/db:latest")
        assert there.begun == 2 and there.places == []  # one of them the config
        assert there.taken <= done["bytes"] < 41 * MIB
        large("pull", f"{there.host}/db:latest", "copy")


def running(volumes, *args):
    return subprocess.Popen([VARVE, "--root", volumes.root, "volume", *args],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip


def kill_after(process, seconds):
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.communicate(timeout=TIMEOUT)
    return process.returncode == 0


def test_killed_pushes(large, host, registry):
    """At any moment the tag leads to nothing or to something whole, and the next push goes on."""
    name, dice = f"{registry.host}/db:latest", random.Random(5)
    for i in range(6):
        large.take(f"s{i}", lambda root: (root / f"f{i}").write_bytes(noise(MIB, i)))
    there, done, seen = host("overlay"), False, 0
    for _ in range(40):
        done = kill_after(running(large, "push", "db@s5", name), dice.uniform(0.02, 0.5))
        listed = large("backups", name, "-q", status=None)
        if listed.returncode == 0:
            ids = list(chain(large.backups(name)[0]))
            assert ids == ["mon", "tue", *(f"s{i}" for i in range(6))][: len(ids)]
            assert len(ids) >= seen
            seen = len(ids)
        if done:
            break
    large("push", "db@s5", name)
    there("pull", name)
    assert_restored(there, large, "mon", "tue", *(f"s{i}" for i in range(6)))
    assert large.varve.json("system", "cleanup") == CLEAN


def test_killed_pulls(large, host, registry):
    """What was received stays; nothing else does."""
    name, dice = f"{registry.host}/db:latest", random.Random(6)
    for i in range(6):
        large.take(f"s{i}", lambda root: (root / f"f{i}").write_bytes(noise(MIB, i)))
    large("push", "db@s5", name)
    there, seen = host("btrfs"), 0
    for _ in range(40):
        if kill_after(running(there, "pull", name), dice.uniform(0.02, 0.5)):
            break
        snapshots = there.ids("--snapshots")
        assert sorted(snapshots) == sorted(["mon", "tue", *(f"s{i}" for i in range(6))][: len(snapshots)])
        assert len(snapshots) >= seen
        seen = len(snapshots)
    if "db" not in there.ids():
        there("pull", name)
    there("mount", "--all")  # one may have been killed before it mounted what it had made
    assert_restored(there, large, "mon", "tue", *(f"s{i}" for i in range(6)))
    assert_same(see(there.path("db")), see(large.path("s5")))
    there.varve("system", "cleanup")
    assert there.varve.json("system", "cleanup") == CLEAN


def test_two_pushes_at_once(large, registry):
    """Neither loses what the other has added."""
    name = f"{registry.host}/db:latest"
    large("push", "db@mon", name)
    for i in range(4):
        large("fork", "mon", f"fork{i}")
        (large.path(f"fork{i}") / "own").write_bytes(noise(500_000, i))
        large("snapshot", f"fork{i}", f"fork{i}-1")
    pushes = [running(large, "push", f"fork{i}-1", name) for i in range(4)]
    for push in pushes:
        _, told = push.communicate(timeout=TIMEOUT)
        assert push.returncode == 0, told
    found = chain(large.backups(name)[0])
    # Between a last look and the manifest's going there another one may still be lost: then the
    # same push, which finds that out, adds it again.
    for i in range(4):
        if f"fork{i}-1" not in found:
            large("push", f"fork{i}-1", name)
    assert chain(large.backups(name)[0]) == {"mon": None} | {f"fork{i}-1": "mon" for i in range(4)}


def test_two_pulls_at_once(large, host, registry):
    name = f"{registry.host}/db:latest"
    large("push", "db@tue", name)
    there = host("overlay")
    pulls = [running(there, "pull", name, f"copy{i}") for i in range(3)]
    for pull in pulls:
        _, told = pull.communicate(timeout=TIMEOUT)
        assert pull.returncode == 0, told
    for i in range(3):
        assert_same(see(there.path(f"copy{i}")), see(large.path("tue")))
    uuids = [info["uuid"] for info in there.json("ls", "--snapshots")]
    assert len(uuids) == len(set(uuids)) == 2


def test_full_disk(large, host, registry):
    name = f"{registry.host}/db:latest"
    large("push", "db@tue", name)
    there = host("overlay", "64M")
    there("create", "other")
    (there.path("other") / "fill").write_bytes(noise(12 * MIB, 9))
    done = there("pull", name, status=SPACE)
    assert "receiving snapshot 'mon'" in done.stderr
    assert there.ids() == ["other"]
    there("rm", "other")
    there.varve("system", "cleanup")
    there("pull", name)
    assert_restored(there, large, "mon", "tue")


def test_interrupted_by_the_user(large, registry):
    with Wire(registry.host) as wire:
        name = f"{wire.host}/db:latest"
        wire.hold_at = 0
        push = running(large, "push", "db@mon", name)
        wait_until(lambda: wire.sent > 0, "the first request")
        push.send_signal(2)
        _, told = push.communicate(timeout=TIMEOUT)
        assert push.returncode == 130, told
        assert "interrupted" in told.lower() or "cancel" in told.lower()


# --- hostile ones ---------------------------------------------------------------------------------


class Hostile:
    """A backup in a registry that gives what it likes."""

    def __init__(self, db, there):
        self.there, self.name = there, f"{there.host}/db:latest"
        db("push", "db@wed", self.name)
        self.manifest = json.loads(there.manifests["db/latest"][1])
        self.blobs = dict(there.blobs)

    def put(self, manifest):
        self.there.manifests["db/latest"] = (MANIFEST, json.dumps(manifest).encode())

    def blob(self, i):
        return self.blobs[self.manifest["layers"][i]["digest"]]


@pytest.fixture
def hostile(db):
    with Simple() as there:
        yield Hostile(db, there)


def assert_refused(there, name, statuses, text=""):
    done = there("pull", name, "--retries", "1", status=None)
    assert done.returncode in statuses and text in done.stderr, (done.returncode, done.stderr)
    assert there.ids() == [] and there.varve.json("snapshot", "ls") == []
    assert there.varve.json("system", "cleanup") == CLEAN


BLOBS = {
    "flipped": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "flipped at its end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "short": lambda data: data[:-1],
    "cut": lambda data: data[: len(data) // 2],
    "long": lambda data: data + b"x",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("wrong", BLOBS)
def test_wrong_blobs(host, hostile, wrong):
    """The registry gives others than the manifest says; also where the manifest says so."""
    there, first = host("overlay"), hostile.manifest["layers"][0]["digest"]
    change = BLOBS[wrong]
    hostile.there.change = lambda request, data: change(data) if first in request.path else data
    assert_refused(there, hostile.name, {CORRUPT, UNAVAILABLE})
    hostile.there.change = lambda request, data: data
    bad = change(hostile.blob(0))
    hostile.there.blobs[digest(bad)] = bad
    manifest = json.loads(json.dumps(hostile.manifest))
    manifest["layers"][0] |= {"digest": digest(bad), "size": len(bad)}
    hostile.put(manifest)
    assert_refused(there, hostile.name, {CORRUPT})
    hostile.put(hostile.manifest)
    there("pull", hostile.name)


def test_what_came_before_a_wrong_blob_stays(host, db, hostile):
    there, last = host("native"), hostile.manifest["layers"][2]["digest"]
    hostile.there.change = lambda request, data: data[:-9] if last in request.path else data
    there("pull", hostile.name, "--retries", "0", status=None)
    assert sorted(there.ids()) == ["mon", "tue"]
    hostile.there.change = lambda request, data: data
    assert there.json("pull", hostile.name)["moved"] == 1
    assert_restored(there, db, "mon", "tue", "wed")


def annotated(i, key, value):
    def change(manifest):
        if value is None:
            del manifest["layers"][i]["annotations"][key]
        else:
            manifest["layers"][i]["annotations"][key] = value

    return change


def layered(i, **fields):
    return lambda manifest: manifest["layers"][i].update(fields)


def swapped(manifest):
    layers = manifest["layers"]
    layers[0]["digest"], layers[1]["digest"] = layers[1]["digest"], layers[0]["digest"]
    layers[0]["size"], layers[1]["size"] = layers[1]["size"], layers[0]["size"]


def itself(manifest):
    notes = manifest["layers"][0]["annotations"]
    notes["varve.snapshot.base"] = notes["varve.snapshot.uuid"]


def cycle(manifest):
    notes = [layer["annotations"] for layer in manifest["layers"]]
    notes[0]["varve.snapshot.base"] = notes[2]["varve.snapshot.uuid"]


def twice(manifest):
    manifest["layers"].append(manifest["layers"][0])


def many(manifest):
    manifest["layers"] = [manifest["layers"][0]] * 4097


def huge(manifest):
    manifest["layers"] = [{}] * 1_000_000


def skipping(manifest):
    """wed says that it is the difference to mon, and is that to tue."""
    notes = [layer["annotations"] for layer in manifest["layers"]]
    notes[2]["varve.snapshot.base"] = notes[0]["varve.snapshot.uuid"]
    del manifest["layers"][1]


def of_volume(key, value):
    return lambda manifest: manifest["annotations"].update({key: value})


OTHER_UUID = "01234567-89ab-4cde-8f01-23456789abcd"
MANIFESTS = {
    "sizes that lie": (layered(0, size=7), {CORRUPT, UNAVAILABLE}),
    "giant sizes": (layered(0, size=2**62), {CORRUPT, UNAVAILABLE}),
    "negative sizes": (layered(0, size=-1), {INVALID}),
    "digests that lie": (swapped, {CORRUPT}),
    "digests that are none": (layered(0, digest="sha256:../../etc/passwd"), {INVALID}),
    "an id that lies": (annotated(2, "varve.snapshot.uuid", OTHER_UUID), {CORRUPT}),
    "an id that is none": (annotated(2, "varve.snapshot.uuid", "A" * 36), {INVALID}),
    "no id": (annotated(2, "varve.snapshot.uuid", None), {INVALID}),
    "a name that is a path": (annotated(0, "varve.snapshot.id", "../../etc"), {INVALID}),
    "a name that is long": (annotated(0, "varve.snapshot.id", "a" * 129), {INVALID}),
    "an owner that is a path": (annotated(0, "varve.snapshot.of", "a/b"), {INVALID}),
    "a time that is none": (annotated(0, "org.opencontainers.image.created", "soon"), {INVALID}),
    "a size that is none": (annotated(0, "varve.snapshot.payload", "-1"), {INVALID}),
    "an unknown base": (annotated(1, "varve.snapshot.base", OTHER_UUID), {INVALID}),
    "a base that lies": (skipping, {CORRUPT}),
    "a full one that is none": (annotated(1, "varve.snapshot.base", None), {CORRUPT, STATE}),
    "itself for its base": (itself, {INVALID}),
    "a cycle": (cycle, {INVALID}),
    "one twice": (twice, {INVALID}),
    "too many": (many, {INVALID}),
    "far too many": (huge, {INVALID}),
    "none": (lambda manifest: manifest["layers"].clear(), {INVALID}),
    "other layers": (layered(1, mediaType="application/x"), {INVALID}),
    "another artifact": (lambda manifest: manifest.update(artifactType="application/x"), {STATE}),
    "a volume that is a path": (of_volume("varve.volume.id", ".."), {INVALID}),
    "a volume's type that is none": (of_volume("varve.volume.type", ""), {INVALID}),
    "meta that is long": (of_volume("varve.volume.meta.x", "x" * 5000), {INVALID}),
    "meta without a key": (of_volume("varve.volume.meta.", "x"), {INVALID}),
    "two things at once": (lambda manifest: manifest.update(manifests=[]), {INVALID}),
}


@pytest.mark.parametrize("wrong", MANIFESTS)
def test_wrong_manifests(host, hostile, wrong):
    there, (change, statuses) = host("overlay"), MANIFESTS[wrong]
    manifest = json.loads(json.dumps(hostile.manifest))
    change(manifest)
    hostile.put(manifest)
    done = there("pull", hostile.name, "--retries", "1", status=None)
    assert done.returncode in statuses, (done.returncode, done.stderr)
    # What was right before the one that was not may have been received.
    assert set(there.ids()) <= {"mon", "tue"}
    if INVALID in statuses:
        assert there.ids() == []
    assert len(done.stderr) < 2000
    assert there.varve.json("system", "cleanup") == CLEAN


def test_a_tag_that_cannot_be_read_is_not_added_to(db, hostile):
    manifest = hostile.manifest | {"layers": []}
    hostile.put(manifest)
    done = db("push", "db@wed", hostile.name, status=INVALID)
    assert "which stays" in done.stderr
    assert json.loads(hostile.there.manifests["db/latest"][1])["layers"] == []
    db("push", "db@wed", hostile.name, "--force")
    assert list(chain(db.backups(hostile.name)[0])) == ["mon", "tue", "wed"]
