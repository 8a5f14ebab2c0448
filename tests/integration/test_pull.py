# SPDX-License-Identifier: Apache-2.0
"""varve image pull and push (L6, L7), with Debian's docker-registry, skopeo and buildah on the other
side, and over connections that are cut."""

import base64
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios

import pytest
from conftest import SANITIZER, TIMEOUT, VARVE, wait_until
from oci import ARCHITECTURE, write_image
from oci import Layer as Tar
from registries import (
    Authority,
    Distribution,
    Layout,
    Scripted,
    Simple,
    TokenServer,
    Wire,
    blobs_of,
    digest,
    noise,
)

MIB = 1024 * 1024
SLACK = 64 * 1024  # manifests, headers
INVALID, NOT_FOUND, PRECONDITION, UNAVAILABLE, PERMISSION, NO_SPACE, CORRUPT = 3, 4, 6, 7, 9, 10, 12
OTHER = "arm64" if ARCHITECTURE != "arm64" else "amd64"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch, tempdir):
    """None of this machine's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tempdir / "no-config"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def large(tempdir):
    """One with one layer of 8 MiB."""
    layout = Layout(tempdir / "large")
    layout.digest = layout.finish(layout.manifest([noise(8 * MIB, 2)]))
    return layout


@pytest.fixture
def multi(tempdir):
    """An index for this machine's platform, another one, and what a builder says of the first."""
    layout = Layout(tempdir / "multi")
    layout.parts = {}
    entries = []
    for number, architecture in enumerate((ARCHITECTURE, OTHER, "s390x")):
        part = layout.manifest([noise(100_000, number), noise(50_000, "shared")], architecture)
        layout.parts[architecture] = part["digest"]
        entries.append(part | {"platform": {"os": "linux", "architecture": architecture}})
    said = layout.manifest([b"attestation"], "unknown")
    entries.append(said | {"platform": {"os": "unknown", "architecture": "unknown"}})
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    layout.digest = layout.finish(layout.blob("index.v1+json", index))
    return layout


def skopeo(*args):
    command = ["skopeo", "--insecure-policy", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo_push(layout, name, *args):
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", *args,
           f"oci:{layout.path}", f"docker://{name}")  # fmt: skip


def skopeo_pull(name, path, *args):
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", *args,
           f"docker://{name}", f"oci:{path}")  # fmt: skip
    return blobs_of(path)


def content(varve):
    return blobs_of(varve.root / "content")


def begun(varve):
    return list((varve.root / "content/ingest").iterdir())


def names(varve):
    return {image["name"]: image["digest"] for image in varve.json("image", "ls")}


def fresh(varve, name):
    return varve.at(varve.root.with_name(name))


def assert_nothing_left(varve):
    """No name, and after prune no blob and no beginning of one."""
    assert names(varve) == {}
    varve("image", "prune")
    assert content(varve) == {} and begun(varve) == []


@contextlib.contextmanager
def running(varve, *args, **kwargs):
    """The command in the background, which has ended after it."""
    process = subprocess.Popen([VARVE, "--root", varve.root, *args], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, **kwargs)  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT)


# --- with other programs --------------------------------------------------------------------------


def test_pull_what_skopeo_pushed(varve, registry, image):
    name = f"{registry.host}/some/image:one"
    skopeo_push(image, name)
    done = varve("image", "pull", name)
    assert done.stdout == f"{name}\n" and done.stderr == ""
    assert names(varve) == {name: image.digest}
    assert content(varve) == blobs_of(image.path)
    varve("image", "prune")
    assert content(varve) == blobs_of(image.path)


def test_skopeo_reads_what_was_pushed(varve, registry, image, tempdir):
    varve("image", "import", image.path, "--name", "app:1")
    name = f"{registry.host}/a/b:tag"
    done = varve("image", "push", "app:1", name)
    assert done.stdout == f"{registry.host}/a/b@{image.digest}\n" and done.stderr == ""
    assert skopeo_pull(name, tempdir / "back") == blobs_of(image.path)
    by_digest = done.stdout.strip()
    assert skopeo_pull(by_digest, tempdir / "by-digest") == blobs_of(image.path)


def test_only_what_is_missing_is_sent(varve, registry, image):
    varve("image", "import", image.path, "--name", "app:1")
    first = varve.json("image", "push", "app:1", f"{registry.host}/a:1")
    assert (first["moved"], first["present"], first["items"]) == (5, 0, 5)
    assert first["bytes"] == sum(map(len, blobs_of(image.path).values()))
    again = varve.json("image", "push", "app:1", f"{registry.host}/a:1")
    assert (again["moved"], again["present"], again["bytes"]) == (0, 5, 0)
    uploads = registry.requests('"POST /v2/a/blobs/uploads/')
    other_tag = varve.json("image", "push", "app:1", f"{registry.host}/a:2")
    assert other_tag["present"] == 4 and other_tag["digest"] == image.digest
    assert registry.requests('"POST /v2/a/blobs/uploads/') == uploads == 4


def test_blobs_are_mounted_from_another_repository(varve, registry, image):
    varve("image", "import", image.path, "--name", f"{registry.host}/a:1")
    varve("image", "push", f"{registry.host}/a:1")
    varve("image", "tag", f"{registry.host}/a:1", f"{registry.host}/team/b:1")
    done = varve.json("image", "push", f"{registry.host}/team/b:1")
    assert (done["mounted"], done["moved"]) == (4, 1)
    fresh(varve, "other")("image", "pull", f"{registry.host}/team/b:1")
    assert content(fresh(varve, "other")) == blobs_of(image.path)


def test_mounting_what_is_not_there_uploads_it(varve, registry, image):
    """A name of ours in that registry that it has never seen."""
    varve("image", "import", image.path, "--name", f"{registry.host}/never/pushed:1")
    done = varve.json("image", "push", f"{registry.host}/never/pushed:1", f"{registry.host}/b:1")
    assert (done["mounted"], done["moved"]) == (0, 5)


@pytest.fixture
def real(tempdir):
    """An OCI archive whose layers are tars, to unpack."""
    layers = [
        Tar().dir("etc").file("etc/one", "1" * 5000),
        Tar().file("etc/two", "2").whiteout("etc/one"),
    ]
    path = tempdir / "real.tar"
    write_image(path, "real", layers)
    return path


@pytest.mark.parametrize("form", ["oci", "v2s2", "zstd"])
def test_forms_of_images(varve, registry, real, tempdir, form):
    """OCI with gzip, Docker's schema 2, layers compressed with zstd: taken as they are, unpacked."""
    name = f"{registry.host}/real:{form}"
    options = {
        "oci": [],
        "v2s2": ["--format", "v2s2"],
        "zstd": ["--dest-compress-format", "zstd", "--format", "oci", "--dest-compress"],
    }[form]
    source = f"oci-archive:{real}"
    if form == "zstd":  # what is compressed already is left as it is
        skopeo("copy", "--dest-decompress", source, f"dir:{tempdir / 'plain'}")
        source = f"dir:{tempdir / 'plain'}"
    skopeo("copy", "--dest-tls-verify=false", *options, source, f"docker://{name}")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert {"oci": "tar+gzip", "v2s2": "diff.tar.gzip", "zstd": "tar+zstd"}[form] in raw
    varve("image", "pull", name)
    assert names(varve) == {name: digest(raw.encode())}
    assert varve("image", "inspect", name, "--raw").stdout == raw
    varve("pool", "create", "default", "--driver", "native")
    snapshot = varve("image", "unpack", name).stdout.strip()
    varve("snapshot", "prepare", "top", snapshot, "--mount", make_dir(tempdir / "mnt"))
    assert sorted(os.listdir(tempdir / "mnt/etc")) == ["two"]


def make_dir(path):
    path.mkdir()
    return path


def test_pull_what_buildah_pushed(varve, registry, tempdir):
    if not shutil.which("buildah"):
        pytest.skip("needs buildah")
    (tempdir / "motd").write_text("hello")
    places = ["--root", tempdir / "storage", "--runroot", tempdir / "run"]

    def buildah(*args):
        command = ["buildah", *places, "--storage-driver", "vfs", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    make_dir(tempdir / "no-config")
    (tempdir / "no-config/config.json").write_text("{}")  # which buildah insists on
    container = buildah("from", "scratch")
    buildah("copy", container, tempdir / "motd", "/etc/motd")
    buildah("config", "--cmd", "/bin/true", container)
    built = buildah("commit", "--format", "docker", container)
    name = f"{registry.host}/built:1"
    buildah("push", "--tls-verify=false", built, f"docker://{name}")
    varve("image", "pull", name)
    details = varve.json("image", "inspect", name)
    assert details["config"]["cmd"] == ["/bin/true"]
    assert details["config_blob"]["digest"] == f"sha256:{built}"
    varve("image", "push", name, f"{registry.host}/again:1")
    again = buildah("pull", "--tls-verify=false", f"docker://{registry.host}/again:1")
    assert again == built


def test_sixty_layers(varve, registry, tempdir):
    layout = Layout(tempdir / "many")
    layout.finish(layout.manifest([noise(20_000, i) for i in range(60)]))
    varve("image", "import", layout.path, "--name", f"{registry.host}/many:1")
    assert varve.json("image", "push", f"{registry.host}/many:1", "-j", "8")["moved"] == 62
    other = fresh(varve, "other")
    other("image", "pull", f"{registry.host}/many:1", "--jobs", "8")
    assert content(other) == blobs_of(layout.path)


@pytest.mark.parametrize("make", [Simple, None])
def test_artifact(varve, tempdir, registry, make):
    """What is no image is kept as it is."""
    layout = Layout(tempdir / "artifact")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.blob("config.v1+json", {}) | {"mediaType": "application/vnd.x.config"},
        "layers": [layout.blob("layer.v1.tar", b"notes") | {"mediaType": "text/plain"}],
        "annotations": {"note": "kept"},
    }
    top = layout.finish(layout.blob("manifest.v1+json", manifest))
    with make() if make else contextlib.nullcontext(registry) as there:
        name = f"{there.host}/artifact:1"
        varve("image", "import", layout.path, "--name", name)
        varve("image", "push", name)
        other = fresh(varve, "other")
        other("image", "pull", name)
        assert names(other) == {name: top} and content(other) == blobs_of(layout.path)


# --- platforms ------------------------------------------------------------------------------------


def test_one_platform_of_an_index(varve, registry, multi):
    name = f"{registry.host}/multi:1"
    skopeo_push(multi, name)
    varve("image", "pull", name)
    (here,) = varve.json("image", "ls")
    assert here["digest"] == multi.digest
    assert here["platforms"] == [f"linux/{ARCHITECTURE}"] and here["complete"]
    everything = blobs_of(multi.path)
    assert set(content(varve)) < set(everything)
    assert len(content(varve)) == 5  # the index, a manifest, a config and two layers

    varve("image", "pull", name, "--platform", f"linux/{OTHER}", "--platform", "s390x")
    (here,) = varve.json("image", "ls")
    assert here["digest"] == multi.digest
    assert sorted(here["platforms"]) == sorted(f"linux/{a}" for a in (ARCHITECTURE, OTHER, "s390x"))
    assert set(content(varve)) < set(everything)

    varve("image", "pull", name, "--all-platforms")
    assert content(varve) == everything


def test_platform_that_is_not_there(varve, registry, multi, tempdir):
    name = f"{registry.host}/multi:1"
    skopeo_push(multi, name)
    done = varve("image", "pull", name, "--platform", "linux/riscv64", status=NOT_FOUND)
    assert f"it is not for linux/riscv64, only for linux/{ARCHITECTURE}, linux/{OTHER}" in done.stderr
    assert_nothing_left(varve)

    # Without an index it is the config that tells, before any layer is fetched.
    varve("image", "import", multi.path, "--name", "multi:1")
    varve("image", "push", "multi:1", f"{registry.host}/single:1", "--platform", "s390x")
    other = fresh(varve, "other")
    single = f"{registry.host}/single:1"
    done = other("image", "pull", single, "--platform", OTHER, status=NOT_FOUND)
    assert f"it is not for linux/{OTHER}, only for linux/s390x" in done.stderr
    assert len(content(other)) == 2
    other("image", "pull", single)  # the only one that there is
    assert names(other) == {single: multi.parts["s390x"]}


def test_push_an_index(varve, registry, multi, tempdir):
    varve("image", "import", multi.path, "--name", "multi:1")
    varve("image", "push", "multi:1", f"{registry.host}/multi:1")
    assert skopeo_pull(f"{registry.host}/multi:1", tempdir / "back") == blobs_of(multi.path)


def test_push_what_is_not_here_whole(varve, registry, multi):
    name = f"{registry.host}/multi:1"
    skopeo_push(multi, name)
    varve("image", "pull", name)
    done = varve("image", "push", name, f"{registry.host}/copy:1", status=PRECONDITION)
    assert f"manifest {multi.parts[OTHER]} for linux/{OTHER} is not here" in done.stderr
    assert registry.requests('"POST /v2/copy') == 0
    varve("image", "push", name, f"{registry.host}/copy:1", "--platform", ARCHITECTURE)
    other = fresh(varve, "other")
    other("image", "pull", f"{registry.host}/copy:1")
    assert names(other) == {f"{registry.host}/copy:1": multi.parts[ARCHITECTURE]}


# --- names ----------------------------------------------------------------------------------------


def test_by_digest_and_under_another_name(varve, registry, image):
    skopeo_push(image, f"{registry.host}/a:1")
    by_digest = f"{registry.host}/a@{image.digest}"
    assert varve("image", "pull", by_digest).stdout == f"{by_digest}\n"
    assert varve("image", "pull", by_digest, "--name", "mine").stdout == "docker.io/library/mine:latest\n"
    assert set(names(varve).values()) == {image.digest} and len(names(varve)) == 2
    varve("image", "rm", by_digest)
    varve("image", "inspect", "mine")
    done = varve("image", "pull", by_digest, "-n", f"x@{image.digest}", status=INVALID)
    assert "names a digest" in done.stderr


def test_tag_that_moves(varve, registry, image, large):
    name = f"{registry.host}/a:1"
    skopeo_push(image, name)
    varve("image", "pull", name)
    skopeo_push(large, name)
    varve("image", "pull", name)
    assert names(varve) == {name: large.digest}
    varve("image", "prune")
    assert content(varve) == blobs_of(large.path)


def test_pull_of_what_is_here_asks_once(varve, registry, image):
    name = f"{registry.host}/a:1"
    skopeo_push(image, name)
    varve("image", "pull", name)
    before = registry.requests('"GET /v2/a/')
    varve("image", "pull", name)
    assert registry.requests('"GET /v2/a/') == before


def test_unknown_names(varve, registry, image):
    for name in "a:none", "none:1", f"a@{digest(b'none')}":
        skopeo_push(image, f"{registry.host}/a:1")
        whole = f"{registry.host}/{name}"
        done = varve("image", "pull", whole, status=NOT_FOUND)
        assert done.stderr.startswith(f"varve: pulling image '{whole}': ") and "404" in done.stderr
    assert_nothing_left(varve)
    assert "lower case" in varve("image", "pull", "Debian", status=INVALID).stderr
    assert "there is no image" in varve("image", "push", "none", status=NOT_FOUND).stderr


# --- logging in -----------------------------------------------------------------------------------


SECRET = "pässword:with:colons"


def test_basic(varve, image, tempdir):
    varve("image", "import", image.path, "--name", "app:1")
    with Distribution(tempdir / "registry", users=[("alice", SECRET)]) as registry:
        name = f"{registry.host}/x:1"
        done = varve("image", "push", "app:1", name, status=PERMISSION)
        assert "answered 401" in done.stderr and "hint: --creds says who to be" in done.stderr
        varve("image", "push", "app:1", name, "--creds", f"alice:{SECRET}")

        other = fresh(varve, "other")
        wrong = other("image", "pull", name, "--creds", "alice:guess", status=PERMISSION)
        assert "guess" not in wrong.stderr
        assert_nothing_left(other)

        (tempdir / "password").write_text(f"{SECRET}\nanother line\n")
        file = ["--creds", "alice", "--password-file", tempdir / "password"]
        other("image", "pull", name, *file)
        assert names(other) == {name: image.digest}
        stdin = ["--creds", "alice", "--password-file", "-"]
        fresh(varve, "third")("image", "pull", name, *stdin, input=f"{SECRET}\n")

        entry = {"auth": base64.b64encode(f"alice:{SECRET}".encode()).decode()}
        (tempdir / "auth.json").write_text(json.dumps({"auths": {registry.host: entry}}))
        fresh(varve, "fourth")("image", "pull", name, "--auth-file", tempdir / "auth.json")


def test_wrong_usage(varve):
    for options, wanted in (
        (["--creds", "alice"], "--password-file says where it is"),
        (["--creds", "alice:x", "--password-file", "-"], "and so has --password-file"),
        (["--password-file", "-"], "needs --creds USER"),
        (["--creds", "alice", "--password-file", "/none"], "cannot be opened: No such file"),
        (["--creds", "alice", "--password-file", "/dev/null"], "has no password in its first line"),
        (["--jobs", "65"], "--jobs is a number from 1 to 64"),
        (["--platform", "amd64", "--all-platforms"], "exclude each other"),
    ):
        assert wanted in varve("image", "pull", "x", *options, status=2).stderr


def test_tokens(varve, image, tempdir):
    varve("image", "import", image.path, "--name", "app:1")
    users = {"carol": ("secret", ["public/", "private/"])}
    carol = ["--creds", "carol:secret"]
    with TokenServer(Authority(tempdir / "ca"), users) as tokens:
        with Distribution(tempdir / "registry", token=tokens) as registry:
            name = f"{registry.host}/public/x:1"
            varve("image", "push", "app:1", name, *carol)
            other = fresh(varve, "other")
            other("image", "pull", name)
            assert content(other) == blobs_of(image.path)
            varve("image", "push", "app:1", f"{registry.host}/public/y:1", status=PERMISSION)

            # A mount needs to read the other repository, too.
            varve("image", "tag", "app:1", name)
            tokens.asked.clear()
            done = varve.json("image", "push", name, f"{registry.host}/private/x:1", *carol)
            assert done["mounted"] == 4
            private = ["repository:private/x:pull,push", "repository:public/x:pull"]
            assert ("carol", private) in tokens.asked


def test_own_authority(varve, image, tempdir):
    varve("image", "import", image.path, "--name", "app:1")
    ca = Authority(tempdir / "ca")
    with Distribution(tempdir / "registry", tls=ca.certificate("server")) as registry:
        name = f"{registry.host}/x:1"
        certs = make_dir(tempdir / "certs.d")
        varve("image", "push", "app:1", name, "--certs", certs, status=PRECONDITION)
        varve("image", "push", "app:1", name, "--certs", certs, "--ca", ca.path)
        (make_dir(certs / registry.host) / "ca.crt").write_bytes(ca.path.read_bytes())
        other = fresh(varve, "other")
        other("image", "pull", name, "--certs", certs)
        assert content(other) == blobs_of(image.path)


# --- interrupted ----------------------------------------------------------------------------------


def hold_pull(varve, wire, name, at):
    """A pull in the background that gets no more than so many bytes, and has them on the disk but
    for what it gathers for a write."""
    wire.hold_at = at
    context = running(varve, "image", "pull", name, "--retries", "0")

    def size(file):
        try:
            return file.stat().st_size
        except FileNotFoundError:  # it has become a blob
            return 0

    def there():
        folder = varve.root / "content/ingest"
        return folder.exists() and any(size(file) >= at - 2 * MIB for file in begun(varve))

    return context, there


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_in_the_middle(varve, registry, large, number):
    """The next process goes on where it ended."""
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        context, there = hold_pull(varve, wire, name, 6 * MIB)
        with context as process:
            wait_until(there, "the beginning of the layer")
            process.send_signal(number)
            _, told = process.communicate(timeout=TIMEOUT)
            assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
            assert number == signal.SIGKILL or "hint: what was fetched is kept" in told
        assert names(varve) == {}
        wire.reset()
        varve("image", "pull", name)
        assert content(varve) == blobs_of(large.path)
        assert wire.received <= 4 * MIB + SLACK
        assert begun(varve) == []


def test_killed_and_not_wanted_any_more(varve, registry, large):
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire:
        context, there = hold_pull(varve, wire, f"{wire.host}/a:1", 6 * MIB)
        with context as process:
            wait_until(there, "the beginning of the layer")
            process.kill()
            process.wait(TIMEOUT)
    assert digest(noise(8 * MIB, 2))[7:] in [file.name for file in begun(varve)]
    assert_nothing_left(varve)


def test_cut_connection(varve, registry, large):
    """It is tried again, from where it was cut; and a second pull goes on if it is not."""
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        wire.cut_at = 5 * MIB
        varve("image", "pull", name)
        assert content(varve) == blobs_of(large.path)
        assert 8 * MIB <= wire.received <= 8 * MIB + 4 * SLACK

        other = fresh(varve, "other")
        wire.reset()
        wire.cut_at = 5 * MIB
        done = other("image", "pull", name, "--retries", "0", status=UNAVAILABLE)
        assert "hint: what was fetched is kept" in done.stderr and names(other) == {}
        first = wire.received
        wire.reset()
        other("image", "pull", name)
        assert content(other) == blobs_of(large.path)
        assert wire.received <= 8 * MIB - first + 2 * MIB  # but for what was on the way


def test_beginning_that_is_wrong(varve, registry, large):
    """What an earlier pull left is not the beginning of the blob: found out at the end, and then
    the blob is fetched whole."""
    name = f"{registry.host}/a:1"
    skopeo_push(large, name)
    varve("pool", "create", "default", "--driver", "native")
    varve("image", "prune")  # makes the folders
    layer = noise(8 * MIB, 2)
    (varve.root / "content/ingest" / digest(layer)[7:]).write_bytes(b"?" + layer[1 : 5 * MIB])
    varve("image", "pull", name)
    assert content(varve) == blobs_of(large.path) and begun(varve) == []
    assert registry.requests(f'"GET /v2/a/blobs/{digest(layer)}') == 2


def test_push_over_a_connection_that_is_cut(varve, registry, large, tempdir):
    varve("image", "import", large.path, "--name", "app:1")
    with Wire(registry.host) as wire:
        wire.cut_at = 3 * MIB
        varve("image", "push", "app:1", f"{wire.host}/a:1")
        assert wire.cut_at is None
        assert skopeo_pull(f"{registry.host}/a:1", tempdir / "back") == blobs_of(large.path)

        wire.reset()
        wire.cut_at = 3 * MIB
        done = varve("image", "push", "app:1", f"{wire.host}/b:1", "--retries", "0", status=UNAVAILABLE)
        assert "pushing image" in done.stderr
        assert registry.requests('"PUT /v2/b/manifests/') == 0
        varve("image", "push", "app:1", f"{wire.host}/b:1")
    assert skopeo_pull(f"{registry.host}/b:1", tempdir / "again") == blobs_of(large.path)


def test_what_was_fetched_before_is_not_fetched_again(varve, registry, multi):
    """Also of another image, and of one that failed."""
    skopeo_push(multi, f"{registry.host}/multi:1")
    varve("image", "pull", f"{registry.host}/multi:1")
    done = varve("image", "pull", f"{registry.host}/multi:1", "--all-platforms", "--progress")
    assert f"layer {digest(noise(50_000, 'shared'))}: present" in done.stderr
    assert registry.requests(f'"GET /v2/multi/blobs/{digest(noise(50_000, "shared"))}') == 1


# --- what goes wrong ------------------------------------------------------------------------------


def test_registry_down(varve):
    with Scripted(lambda request: request.reply(200)) as server:
        host = server.host
    done = varve("image", "pull", f"{host}/x", "--retries", "0", status=UNAVAILABLE)
    assert f"pulling image '{host}/x'" in done.stderr
    assert_nothing_left(varve)


@pytest.mark.parametrize("what", ["manifests", "blobs"])
def test_wrong_content(varve, image, what):
    def change(request, data):
        wrong = changes and request.command == "GET" and f"/{what}/" in request.place
        return data[:-1] + b"?" if wrong and data else data

    changes = []
    with Simple(change) as there:
        name = f"{there.host}/x:1"
        varve("image", "import", image.path, "--name", "app:1")
        varve("image", "push", "app:1", name)
        other = fresh(varve, "other")
        changes.append(True)
        done = other("--json", "image", "pull", name, "--progress", "-j", "1", status=CORRUPT)
        told = [json.loads(line) for line in done.stderr.splitlines()]
        assert "sha256:" in told[-1]["error"]["message"]
        failed = [t["progress"]["kind"] for t in told[:-1] if t["progress"]["stage"] == "failed"]
        assert failed == {"manifests": ["manifest"], "blobs": ["config"]}[what]
        assert_nothing_left(other)
        changes.clear()
        other("image", "pull", name)
        changes.append(True)
        other("image", "pull", name)  # from what is here
        assert content(other) == blobs_of(image.path)


def test_no_name_is_changed_by_a_failure(varve, registry, image, large):
    name = f"{registry.host}/a:1"
    skopeo_push(image, name)
    varve("image", "pull", name)
    skopeo_push(large, name)
    layer = digest(noise(8 * MIB, 2))[7:]
    (data,) = (registry.directory / "data").rglob(f"{layer}/data")
    os.truncate(data, 5 * MIB)
    varve("image", "pull", name, "--retries", "0", status=None)
    assert names(varve) == {name: image.digest}
    varve("image", "prune")
    assert content(varve) == blobs_of(image.path) and begun(varve) == []


def test_full_disk(varve, registry, large, make_fs):
    skopeo_push(large, f"{registry.host}/a:1")
    root = make_fs("ext4", "24M")
    small = varve.at(root / "root")
    small("pool", "create", "default", "--driver", "native")
    free = os.statvfs(root).f_bfree * os.statvfs(root).f_frsize
    filler = root / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - 4 * MIB, 4096))
    done = small("image", "pull", f"{registry.host}/a:1", status=NO_SPACE)
    assert "No space left on device" in done.stderr and "varve image prune" in done.stderr
    assert_nothing_left(small)
    filler.unlink()
    small("image", "pull", f"{registry.host}/a:1")
    assert content(small) == blobs_of(large.path)


def test_layers_that_are_not_to_be_given_on(varve, image, tempdir):
    """They are not pushed, and may be missing where they are pulled from."""
    layout = Layout(tempdir / "foreign")
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    foreign = {"mediaType": kind, "digest": digest(b"far"), "size": 3, "urls": ["http://x.example/"]}
    top = layout.manifest([b"near"])
    manifest = json.loads((layout.path / "blobs/sha256" / top["digest"][7:]).read_text())
    manifest["layers"].append(foreign)
    layout.finish(layout.blob("manifest.v1+json", manifest))
    varve("image", "import", layout.path, "--name", "app:1")
    with Simple() as there:
        name = f"{there.host}/x:1"
        assert varve.json("image", "push", "app:1", name)["skipped"] == 1
        other = fresh(varve, "other")
        done = other("image", "pull", name, "--progress")
        assert f"layer {digest(b'far')}: skipped" in done.stderr
        assert other.json("image", "ls")[0]["complete"]
        there.blobs[digest(b"far")] = b"far"  # some registries have them
        other("image", "pull", name)
        assert content(other)[digest(b"far")] == b"far"


# --- several at once ------------------------------------------------------------------------------


def test_two_pulls_at_once_share(varve, registry, large):
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        context, there = hold_pull(varve, wire, name, 4 * MIB)
        with context as first:
            wait_until(there, "the beginning of the layer")
            with Wire(registry.host) as direct:
                other = f"{direct.host}/a:1"
                with running(varve, "image", "pull", other, "--progress") as second:
                    lines = iter(second.stderr.readline, "")
                    assert any(": waiting, 8.0 MiB" in line for line in lines)
                    wire.hold_at = None
                    assert second.wait(TIMEOUT) == 0 and first.wait(TIMEOUT) == 0
                    assert f"layer {digest(noise(8 * MIB, 2))}: present" in second.stderr.read()
                assert direct.received < SLACK
    assert names(varve) == {name: large.digest, other: large.digest}
    assert content(varve) == blobs_of(large.path)


def test_the_second_takes_over_when_the_first_dies(varve, registry, large):
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire, Wire(registry.host) as direct:
        context, there = hold_pull(varve, wire, f"{wire.host}/a:1", 6 * MIB)
        with context as first:
            wait_until(there, "the beginning of the layer")
            with running(varve, "image", "pull", f"{direct.host}/a:1", "--progress") as second:
                lines = iter(second.stderr.readline, "")
                assert any(": waiting, 8.0 MiB" in line for line in lines)
                first.kill()
                assert second.wait(TIMEOUT) == 0
        assert content(varve) == blobs_of(large.path)
        assert direct.received <= 4 * MIB + SLACK


def test_prune_spares_what_a_pull_found(varve, registry, large):
    """The manifest and config that a killed pull left, which the next one has found and not named."""
    skopeo_push(large, f"{registry.host}/a:1")
    with Wire(registry.host) as wire:
        name = f"{wire.host}/a:1"
        context, there = hold_pull(varve, wire, name, 6 * MIB)
        with context as process:
            wait_until(lambda: there() and len(content(varve)) == 2, "all but the layer")
            process.kill()
        wire.reset()
        wire.hold_at = MIB
        with running(varve, "image", "pull", name, "--progress") as process:
            lines = iter(process.stderr.readline, "")
            assert any(re.match("layer .*: fetching", line) for line in lines)
            pruned = varve.json("image", "prune")
            assert (pruned["blobs"], pruned["begun"], pruned["in_use"]) == (0, 0, 2)
            wire.hold_at = None
            assert process.wait(TIMEOUT) == 0
    assert names(varve) == {name: large.digest} and content(varve) == blobs_of(large.path)


def test_pull_beside_prune(varve, registry, multi):
    """Nothing that a pull relies on goes, whatever is removed and pruned meanwhile."""
    name = f"{registry.host}/multi:1"
    skopeo_push(multi, name)
    varve("pool", "create", "default", "--driver", "native")
    prunings = []
    for _ in range(6):
        with running(varve, "image", "pull", name, "--all-platforms") as process:
            while process.poll() is None:
                prunings.append(varve.json("image", "prune"))
            assert process.returncode == 0, process.stderr.read()
        varve("image", "prune")
        assert content(varve) == blobs_of(multi.path)
        varve("image", "rm", name)
    assert sum(pruning["blobs"] for pruning in prunings) > 0  # those of the pull before
    assert len(prunings) > 6


# --- mirrors --------------------------------------------------------------------------------------


def test_mirror(varve, registry, image, tempdir):
    """Tried first, and passed over when it has not got it or is not there."""
    with Distribution(tempdir / "mirror") as mirror:
        skopeo_push(image, f"{mirror.host}/a:1")
        varve("image", "pull", f"{registry.host}/a:1", "--mirror", f"http://{mirror.host}")
        assert names(varve) == {f"{registry.host}/a:1": image.digest}
        assert registry.requests('"GET /v2/a') == 0
        skopeo_push(image, f"{registry.host}/b:1")
        varve("image", "pull", f"{registry.host}/b:1", "--mirror", mirror.host)
        assert registry.requests('"HEAD /v2/b') > 0
        gone = mirror.host
    other = fresh(varve, "other")
    other("image", "pull", f"{registry.host}/b:1", "--mirror", gone)
    assert content(other) == blobs_of(image.path)


def test_mirror_that_lies(varve, registry, image):
    skopeo_push(image, f"{registry.host}/a:1")
    with Simple(lambda request, data: data[::-1] if "/blobs/" in request.place else data) as mirror:
        varve("image", "import", image.path, "--name", "app:1")
        varve("image", "push", "app:1", f"{mirror.host}/a:1")
        mirror.requests.clear()
        other = fresh(varve, "other")
        other("image", "pull", f"{registry.host}/a:1", "--mirror", mirror.host)
        assert sum("/blobs/" in request.path for request in mirror.requests) > 0
    assert content(other) == blobs_of(image.path)


# --- progress -------------------------------------------------------------------------------------


FINAL = {"done", "present"}


def test_progress_as_json(varve, registry, image):
    name = f"{registry.host}/a:1"
    skopeo_push(image, name)
    done = varve("--json", "image", "pull", name, "--progress")
    assert [i["name"] for i in json.loads(done.stdout)] == [name]
    events = [json.loads(line)["progress"] for line in done.stderr.splitlines()]
    blobs = blobs_of(image.path)
    assert {event["item"] for event in events} == set(blobs)
    last = {event["item"]: event for event in events}
    for item, event in last.items():
        assert event["stage"] == "done" and event["done"] == event["total"] == len(blobs[item])
    assert sorted(event["kind"] for event in last.values()) == ["config"] + 3 * ["layer"] + ["manifest"]
    stages = [event["stage"] for event in events if event["item"] == digest(noise(3 * MIB))]
    assert stages[:2] == ["waiting", "fetching"] and stages.count("done") == 1

    push = varve("--json", "image", "push", name, f"{registry.host}/b:1", "--progress")
    last = {e["item"]: e["stage"] for e in (json.loads(x)["progress"] for x in push.stderr.splitlines())}
    assert set(last) == set(blobs) and set(last.values()) == {"mounted", "done"}


def test_error_as_json(varve, registry):
    done = varve("--json", "image", "pull", f"{registry.host}/a:1", "--progress", status=NOT_FOUND)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "not-found"


def screen(data):
    """What a terminal shows after these bytes: carriage return, cursor up, erase below."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", data):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.endswith("A") and part[0] == "\x1b":
            row -= int(part[2:-1])
            assert row >= 0
        elif part == "\x1b[J":
            lines[row] = lines[row][:column]
            del lines[row + 1 :]
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            assert part[0] != "\x1b", part
            lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return lines


def on_terminal(varve, *args, rows=24, columns=80):
    """What the command writes to stdout, and to the terminal that is its stderr."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [VARVE, "--root", varve.root, *args]
    data = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=secondary) as process:
        os.close(secondary)
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while piece := os.read(primary, 65536):
                data += piece
        stdout = process.stdout.read().decode()
        assert process.wait(TIMEOUT) == 0, data
    os.close(primary)
    assert not SANITIZER.search(data.decode()), data
    return stdout, data.decode()


@pytest.mark.parametrize("rows, columns", [(24, 80), (10, 40)])
def test_on_a_terminal(varve, registry, tempdir, rows, columns):
    layout = Layout(tempdir / "many")
    layout.finish(layout.manifest([noise(300_000, i) for i in range(12)]))
    name = f"{registry.host}/many:1"
    skopeo_push(layout, name)
    stdout, text = on_terminal(varve, "image", "pull", name, rows=rows, columns=columns)
    assert stdout == f"{name}\n"
    frames = re.split(r"\x1b\[\d+A\x1b\[J|\r\x1b\[K", text)
    assert max(frame.count("\n") for frame in frames) < rows
    assert max(len(line.strip("\r")) for frame in frames[:-1] for line in frame.split("\n")) < columns
    assert any(re.search(r"layer     [0-9a-f]{12}  fetching ", frame) for frame in frames)
    left = [line for line in screen(text) if line]
    assert len(left) == 1
    assert re.fullmatch(r"fetched 14 of 14 blobs and manifests, 3\.4 MiB in \d+\.\d s", left[0])


# --- the module -----------------------------------------------------------------------------------


def test_module_is_missing(varve, alone):
    folder, env = alone
    done = varve("image", "pull", "debian", status=PRECONDITION, env=env)
    assert "libvarve-registry, is not installed" in done.stderr
    varve("system", "info", env=env)


def test_module_of_another_release(varve, alone, tempdir):
    folder, env = alone
    source = tempdir / "old.c"
    source.write_text('const struct { const char *v; void *o; } varve_module = {"0.0.1", 0};\n')
    library = folder / "libvarve-registry.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=TIMEOUT)
    done = varve("image", "pull", "debian", status=PRECONDITION, env=env)
    assert "is of Varve 0.0.1, this is" in done.stderr


def test_other_commands_load_no_libcurl(varve):
    env = dict(os.environ, LD_DEBUG="libs")
    loaded = varve("pool", "drivers", env=env).stderr
    assert "libvarve.so" in loaded and "libcurl" not in loaded
    with Scripted(lambda request: request.reply(404)) as server:
        loaded = varve("image", "pull", f"{server.host}/x", status=NOT_FOUND, env=env).stderr
    assert "libcurl" in loaded
