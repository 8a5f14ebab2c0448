# SPDX-License-Identifier: Apache-2.0
"""The registry client (L6, L7) against Debian's docker-registry, skopeo, and servers that
misbehave."""

import base64
import json
import os
import re
import subprocess
import time

import pytest
from conftest import BUILD, SANITIZER
from registries import (
    Authority,
    Distribution,
    Layout,
    Scripted,
    TokenServer,
    blobs_of,
    digest,
    noise,
)

TOOL = BUILD / "tests/integration/registry-tool"
TIMEOUT = 120
PERMISSION_DENIED, NOT_FOUND, CORRUPT, CANCELLED = 9, 4, 12, 13
INVALID, PRECONDITION, UNAVAILABLE = 3, 6, 7
MIB = 1024 * 1024


@pytest.fixture
def tool(tempdir):
    """tool(*args, status=0, env={}) runs registry-tool without credentials or certificates of this
    machine's, hurried, and returns its CompletedProcess. status: one or several that are right."""

    def run(*args, status=0, env={}, **kwargs):
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        clean |= {"DOCKER_CONFIG": str(tempdir / "no-config"), **env}
        options = ["--delay", "20", "--certs-dir", str(tempdir / "certs.d")]
        done = subprocess.run(
            [TOOL, *options, *map(str, args)],
            capture_output=True, text=True, timeout=TIMEOUT, env=clean, **kwargs,
        )  # fmt: skip
        assert not SANITIZER.search(done.stderr), done.stderr
        expected = status if isinstance(status, tuple) else (status,)
        assert done.returncode in expected, f"exit {done.returncode}\n{done.stderr}"
        return done

    return run


def skopeo(*args):
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *map(str, args)],
        capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def pushed(done):
    """{digest: how} of what `push` printed."""
    return dict(line.split() for line in done.stdout.splitlines())


def config_file(path, content):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(content))
    return {"DOCKER_CONFIG": str(path)}


def auth(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


# --- docker-registry and skopeo -------------------------------------------------------------------


def test_pull_what_skopeo_pushed(tool, registry, image, tempdir):
    target = f"docker://{registry.host}/some/image:one"
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{image.path}", target)
    done = tool("pull", f"{registry.host}/some/image:one", tempdir / "out")
    assert done.stdout.strip() == image.digest
    assert blobs_of(tempdir / "out") == blobs_of(image.path)


def test_push_for_skopeo(tool, registry, image, tempdir):
    how = pushed(tool("push", image.path, f"{registry.host}/a/b:tag"))
    assert how.pop(image.digest) == "manifest"
    assert set(how.values()) == {"uploaded"} and len(how) == 4
    source = f"docker://{registry.host}/a/b:tag"
    skopeo("copy", "--preserve-digests", "--src-tls-verify=false", source, f"oci:{tempdir / 'back'}")
    assert blobs_of(tempdir / "back") == blobs_of(image.path)

    again = pushed(tool("push", image.path, f"{registry.host}/a/b:other"))
    assert set(again.values()) == {"was-there", "manifest"}
    mounted = pushed(tool("--from", "a/b", "push", image.path, f"{registry.host}/c:tag"))
    assert set(mounted.values()) == {"mounted", "manifest"}
    tool("pull", f"{registry.host}/c:tag", tempdir / "mounted")
    assert blobs_of(tempdir / "mounted") == blobs_of(image.path)


def test_index_of_several_platforms(tool, registry, tempdir):
    layout = Layout(tempdir / "index")
    parts = [layout.manifest([noise(1000, i)], f"arch{i}") for i in range(3)]
    top = layout.finish(layout.index(*parts))
    tool("push", layout.path, f"{registry.host}/multi:1")
    tool("pull", f"{registry.host}/multi:1", tempdir / "out")
    assert blobs_of(tempdir / "out") == blobs_of(layout.path)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/multi:1")
    assert digest(raw.encode()) == top


def test_chunked_push(tool, registry, tempdir):
    data = noise(5 * MIB + 17)
    (tempdir / "file").write_bytes(data)
    tool("--chunk", MIB, "put-blob", tempdir / "file", f"{registry.host}/chunks")
    assert registry.requests('"PATCH /v2/chunks/') == 6
    tool("blob", f"{registry.host}/chunks", digest(data), len(data), tempdir / "back")
    assert (tempdir / "back").read_bytes() == data


def test_resolve_tags_and_has(tool, registry, image, tempdir):
    for tag in ("b", "a", "c"):
        tool("push", image.path, f"{registry.host}/r:{tag}")
    size = (image.path / "blobs/sha256" / image.digest[7:]).stat().st_size
    line = f"{image.digest} {size} application/vnd.oci.image.manifest.v1+json\n"
    assert tool("resolve", f"{registry.host}/r:a").stdout == line
    assert tool("resolve", f"{registry.host}/r@{image.digest}").stdout == line
    assert sorted(tool("tags", f"{registry.host}/r").stdout.split()) == ["a", "b", "c"]
    assert tool("has", f"{registry.host}/r", digest(b"")).stdout == "yes\n"
    assert tool("has", f"{registry.host}/r", digest(b"other")).stdout == "no\n"

    done = tool("resolve", f"{registry.host}/r:missing", status=NOT_FOUND)
    assert f"{registry.host}/r:missing" in done.stderr and "answered 404" in done.stderr
    done = tool("pull", f"{registry.host}/none:1", tempdir / "none", status=NOT_FOUND)
    assert "MANIFEST_UNKNOWN" in done.stderr
    done = tool("tags", f"{registry.host}/none", status=NOT_FOUND)
    assert "NAME_UNKNOWN" in done.stderr


def test_many_at_once(tool, registry, tempdir):
    layout = Layout(tempdir / "many")
    layout.finish(layout.manifest([noise(200_000, i) for i in range(40)]))
    tool("--jobs", 8, "push", layout.path, f"{registry.host}/many:1")
    tool("--jobs", 8, "pull", f"{registry.host}/many:1", tempdir / "out")
    assert blobs_of(tempdir / "out") == blobs_of(layout.path)


# --- logging in -----------------------------------------------------------------------------------


SECRET = "pässword:with:colons"


def helper(directory, name, script):
    directory.mkdir(exist_ok=True)
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def test_basic(tool, image, tempdir):
    with Distribution(tempdir / "registry", users=[("alice", SECRET)]) as registry:
        name = f"{registry.host}/x:1"
        done = tool("push", image.path, name, status=PERMISSION_DENIED)
        assert f"{registry.host} answered 401" in done.stderr
        assert f"there are none for '{registry.host}' in {tempdir}/no-config" in done.stderr

        good = config_file(tempdir / "good", {"auths": {registry.host: auth("alice", SECRET)}})
        tool("push", image.path, name, env=good)
        assert registry.requests('"POST /v2/x/blobs/uploads/') > 0
        tool("--user", f"alice:{SECRET}", "pull", name, tempdir / "out")
        assert blobs_of(tempdir / "out") == blobs_of(image.path)

        bad = config_file(tempdir / "bad", {"auths": {registry.host: auth("alice", "guess")}})
        done = tool("resolve", name, env=bad, status=PERMISSION_DENIED)
        assert "user 'alice' of" in done.stderr and "bad/config.json" in done.stderr
        assert "guess" not in done.stderr and auth("alice", "guess")["auth"] not in done.stderr


def test_credential_helpers(tool, image, tempdir):
    with Distribution(tempdir / "registry", users=[("bob", SECRET)]) as registry:
        name = f"{registry.host}/x:1"
        answer = json.dumps({"ServerURL": registry.host, "Username": "bob", "Secret": SECRET})
        path = helper(
            tempdir / "bin", "good",
            f'[ "$1" = get ] && [ "$(cat)" = {registry.host} ] && printf "%s" \'{answer}\'',
        )  # fmt: skip
        helper(tempdir / "bin", "none", "echo credentials not found in native keychain; exit 1")
        helper(tempdir / "bin", "broken", "echo the vault is locked; exit 1")
        helper(tempdir / "bin", "odd", "echo not json")

        def env(config):
            return path | config_file(tempdir / "config", config)

        tool("push", image.path, name, env=env({"credHelpers": {registry.host: "good"}}))
        both = {"credsStore": "good", "credHelpers": {"other.example": "broken"}}
        assert tool("resolve", name, env=env(both)).stdout.startswith(image.digest)

        none = tool("resolve", name, env=env({"credsStore": "none"}), status=PERMISSION_DENIED)
        assert "credentials used: none" in none.stderr
        broken = tool("resolve", name, env=env({"credsStore": "broken"}), status=PRECONDITION)
        assert "docker-credential-broken" in broken.stderr and "vault is locked" in broken.stderr
        tool("resolve", name, env=env({"credsStore": "odd"}), status=INVALID)
        missing = tool("resolve", name, env=env({"credsStore": "absent"}), status=PRECONDITION)
        assert "docker-credential-absent" in missing.stderr
        evil = tool("resolve", name, env=env({"credsStore": "../../x"}), status=INVALID)
        assert "config/config.json" in evil.stderr


def test_tokens(tool, image, tempdir):
    users = {"carol": (SECRET, ["public/", "private/"]), "dave": ("pw", [])}
    with TokenServer(Authority(tempdir / "ca"), users, refresh={"r-token": "carol"}) as tokens:
        with Distribution(tempdir / "registry", token=tokens) as registry:
            carol = ["--user", f"carol:{SECRET}"]
            tool(*carol, "push", image.path, f"{registry.host}/public/x:1")
            assert tokens.asked == [("carol", ["repository:public/x:pull,push"])]

            # Anybody may pull what is public, and one token does for all blobs.
            tokens.asked.clear()
            tool("pull", f"{registry.host}/public/x:1", tempdir / "out")
            assert blobs_of(tempdir / "out") == blobs_of(image.path)
            assert tokens.asked == [(None, ["repository:public/x:pull"])]

            done = tool("push", image.path, f"{registry.host}/public/y:1", status=PERMISSION_DENIED)
            assert "credentials used: none" in done.stderr
            wrong = ["--user", "dave:wrong", "resolve", f"{registry.host}/public/x:1"]
            done = tool(*wrong, status=PERMISSION_DENIED)
            assert "wrong user or password" in done.stderr and "user 'dave'" in done.stderr
            assert tokens.host in done.stderr

            # A mount needs to read the other repository, too.
            tokens.asked.clear()
            mount = [*carol, "--from", "public/x", "push", image.path]
            how = pushed(tool(*mount, f"{registry.host}/private/x:1"))
            assert set(how.values()) == {"mounted", "manifest"}
            assert (
                "carol", ["repository:private/x:pull,push", "repository:public/x:pull"]
            ) in tokens.asked  # fmt: skip

            # An identity token is exchanged by POST.
            entry = auth("00000000-0000-0000-0000-000000000000", "") | {"identitytoken": "r-token"}
            env = config_file(tempdir / "identity", {"auths": {registry.host: entry}})
            tokens.requests.clear()
            tool("resolve", f"{registry.host}/private/x:1", env=env)
            assert [r.command for r in tokens.requests] == ["POST"]
            tool("resolve", f"{registry.host}/private/x:1", status=PERMISSION_DENIED)


def test_token_that_expired(tool, tempdir):
    """The registry takes each token once: every further request begins with a 401."""
    data, used, given = noise(1000), set(), []

    def handle(request):
        if request.place == "/token":
            given.append(f"token-{len(given)}")
            return request.reply(200, {"token": given[-1], "expires_in": 3600})
        token = (request.authorization or "").removeprefix("Bearer ")
        if token not in given or token in used:
            return request.reply(401, WWW_Authenticate=f'Bearer realm="{server.url}/token"')
        used.add(token)
        return request.reply(200, data)

    with Scripted(handle) as server:
        for i in range(2):
            arguments = ["blob", f"{server.host}/x", digest(data), len(data), tempdir / "file"]
            tool("--repeat", 2, *arguments)
        assert len(used) == 4


def test_wider_scope(tool):
    """A registry may ask for more than we thought of; that is asked for at once from then on."""
    asked = []

    def handle(request):
        if request.place == "/token":
            asked.append(request.query["scope"])
            return request.reply(200, {"token": "+".join(asked[-1])})
        if "other:thing:read" not in (request.authorization or ""):
            challenge = 'realm="%s/token",scope="repository:x:pull other:thing:read"' % server.url
            return request.reply(401, WWW_Authenticate=f"Bearer {challenge}")
        return request.reply(200, {"tags": ["t"]})

    with Scripted(handle) as server:
        assert tool("tags", f"{server.host}/x").stdout == "t\n"
        assert asked == [["repository:x:pull", "other:thing:read"]]


# --- TLS ------------------------------------------------------------------------------------------


def test_own_authority(tool, image, tempdir):
    ca = Authority(tempdir / "ca")
    with Distribution(tempdir / "registry", tls=ca.certificate("server")) as registry:
        name = f"{registry.host}/x:1"
        done = tool("push", image.path, name, status=PRECONDITION)
        assert f"{tempdir}/certs.d/{registry.host}/ca.crt" in done.stderr
        tool("--ca", ca.path, "push", image.path, name)

        directory = tempdir / "certs.d" / registry.host
        directory.mkdir(parents=True)
        (directory / "any.crt").write_bytes(ca.path.read_bytes())
        tool("pull", name, tempdir / "out")
        assert blobs_of(tempdir / "out") == blobs_of(image.path)
        assert registry.requests("HTTP/2.0") > 0

        other = Authority(tempdir / "other")
        (directory / "any.crt").write_bytes(other.path.read_bytes())
        tool("resolve", name, status=PRECONDITION)


def test_client_certificate(tool, image, tempdir):
    ca = Authority(tempdir / "ca")
    server = ca.certificate("server")
    with Distribution(tempdir / "registry", tls=server, client_ca=ca.path) as registry:
        name = f"{registry.host}/x:1"
        done = tool("--ca", ca.path, "--retries", 0, "push", image.path, name, status=UNAVAILABLE)
        assert registry.host in done.stderr
        certificate, key = ca.certificate("me")
        mine = ["--ca", ca.path, "--cert", certificate, "--key", key]
        tool(*mine, "push", image.path, name)


def test_wrong_name_in_certificate(tool, tempdir):
    ca = Authority(tempdir / "ca")
    with Scripted(lambda r: r.reply(200), tls=ca.certificate("s", "other.example")) as server:
        tool("--ca", ca.path, "resolve", f"{server.host}/x", status=PRECONDITION)
        assert server.requests == []


# --- servers that misbehave -----------------------------------------------------------------------


DATA = noise(3 * MIB)
CHALLENGE = {"WWW_Authenticate": 'Basic realm="x"'}


def ranged(request, data=DATA):
    """What a good server does with a range."""
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if not match:
        return request.reply(200, data)
    first = int(match[1])
    content = f"bytes {first}-{len(data) - 1}/{len(data)}"
    return request.reply(206, data[first:], Content_Range=content)


@pytest.fixture
def fetch(tool, tempdir):
    """fetch(server, *options) fetches DATA as a blob; with status=0 it must then be there, else not.
    have: what is there of it before."""

    def run(server, *options, status=0, have=b"", data=DATA, **kwargs):
        path, part = tempdir / "blob", tempdir / "blob.part"
        part.write_bytes(have)
        path.unlink(missing_ok=True)
        arguments = ["blob", f"{server.host}/x", digest(data), len(data), path]
        done = tool(*options, *arguments, status=status, **kwargs)
        assert path.exists() == (status == 0)
        if status == 0:
            assert path.read_bytes() == data
        return done

    return run


def ranges(server):
    return [r.headers.get("Range") for r in server.requests]


def test_cut_in_the_middle(fetch):
    def handle(request):
        if len(server.requests) == 1:
            request.reply(200, DATA[:1_000_000], length=len(DATA))
            return request.cut()
        if len(server.requests) == 2:
            content = f"bytes 1000000-{len(DATA) - 1}/{len(DATA)}"
            rest = len(DATA) - 1_000_000
            request.reply(206, DATA[1_000_000:2_500_000], length=rest, Content_Range=content)
            return request.cut()
        return ranged(request)

    with Scripted(handle) as server:
        fetch(server)
        assert ranges(server) == [None, "bytes=1000000-", "bytes=2500000-"]


def test_resume_of_an_earlier_call(fetch):
    with Scripted(ranged) as server:
        fetch(server, have=DATA[:12345])
        assert ranges(server) == ["bytes=12345-"]
        fetch(server, have=DATA)
        assert len(server.requests) == 1


def test_range_ignored(fetch):
    with Scripted(lambda request: request.reply(200, DATA)) as server:
        fetch(server, have=DATA[:12345])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content", ["bytes 0-99/100", "bytes 12346-3145727/3145728", "bytes 12345-3145727/9", "x", None]
)
def test_wrong_content_range(fetch, content):
    def handle(request):
        if "Range" in request.headers:
            headers = {"Content_Range": content} if content else {}
            return request.reply(206, b"wrong" * 100, **headers)
        return request.reply(200, DATA)

    with Scripted(handle) as server:
        fetch(server, have=DATA[:12345])
        assert ranges(server) == ["bytes=12345-", None]


def test_range_refused(fetch):
    def handle(request):
        return request.reply(416) if "Range" in request.headers else request.reply(200, DATA)

    with Scripted(handle) as server:
        fetch(server, have=DATA[:12345])
        assert ranges(server) == ["bytes=12345-", None]


def test_wrong_beginning(fetch):
    """What was there is wrong: found at the end, and fetched once more from the beginning."""
    with Scripted(ranged) as server:
        fetch(server, have=b"x" * 1000)
        assert ranges(server) == ["bytes=1000-", None]
        done = fetch(server, "--no-restart", have=b"x" * 1000, status=CORRUPT)
        assert digest(DATA) in done.stderr


def test_wrong_digest(fetch):
    with Scripted(lambda request: request.reply(200, b"y" * len(DATA))) as server:
        done = fetch(server, status=CORRUPT)
        assert digest(DATA) in done.stderr and digest(b"y" * len(DATA)) in done.stderr
        assert f"{server.host}/x" in done.stderr
        assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_endless_body(fetch, headers):
    def handle(request):
        request.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + headers + b"\r\n")
        piece = DATA + b"!" * 1000
        while True:
            request.raw(b"%x\r\n%s\r\n" % (len(piece), piece) if headers else piece)

    with Scripted(handle) as server:
        done = fetch(server, status=CORRUPT)
        assert "more than" in done.stderr
        assert len(server.requests) == 1


@pytest.mark.parametrize("length", [len(DATA) - 1, len(DATA) + 1, 2**63, "1e3", "-5"])
def test_lying_length(fetch, length):
    def handle(request):
        request.reply(200, DATA, length=length)
        request.cut()

    with Scripted(handle) as server:
        fetch(server, "--retries", 1, status=(CORRUPT, UNAVAILABLE))


def test_body_that_ends_early(fetch):
    """Without a length, the end of the connection is the end of the body."""

    def handle(request):
        first = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        if first == 0:
            request.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA[:777])
            return request.cut()
        return ranged(request)

    with Scripted(handle) as server:
        fetch(server)
        assert ranges(server) == [None, "bytes=777-"]


def test_server_errors_pass(fetch):
    def handle(request):
        return request.reply(500) if len(server.requests) <= 2 else request.reply(200, DATA)

    with Scripted(handle) as server:
        fetch(server)
        assert len(server.requests) == 3


def test_server_errors_stay(fetch):
    body = {"errors": [{"code": "UNKNOWN", "message": "the disk\u001b[31m is full"}]}
    with Scripted(lambda request: request.reply(503, body)) as server:
        done = fetch(server, "--retries", 3, status=UNAVAILABLE)
        assert len(server.requests) == 4
        assert "answered 503 (UNKNOWN: the disk [31m is full)" in done.stderr
        assert "tried 4 times" in done.stderr


def test_error_that_is_final(fetch):
    with Scripted(lambda request: request.reply(400, b"no", Content_Type="text/plain")) as server:
        done = fetch(server, status=INVALID)
        assert "answered 400 (no)" in done.stderr
        assert len(server.requests) == 1


def test_retry_after(fetch):
    times = []

    def handle(request):
        times.append(time.monotonic())
        return request.reply(429, Retry_After="1") if len(times) == 1 else request.reply(200, DATA)

    with Scripted(handle) as server:
        fetch(server)
        assert times[1] - times[0] >= 1


def test_retry_after_for_too_long(fetch):
    with Scripted(lambda request: request.reply(503, Retry_After="3600")) as server:
        done = fetch(server, status=UNAVAILABLE)
        assert "come back in 3600 s" in done.stderr
        assert len(server.requests) == 1


def test_rate_limit(fetch):
    def handle(request):
        limits = {"RateLimit_Limit": "100;w=21600", "RateLimit_Remaining": "0;w=21600"}
        body = {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}
        return request.reply(429, body, Docker_RateLimit_Source="192.0.2.7", **limits)

    with Scripted(handle) as server:
        done = fetch(server, status=UNAVAILABLE)
        assert "TOOMANYREQUESTS: slow down" in done.stderr
        assert "100 requests in 21600 s, of which 0 are left, counted for 192.0.2.7" in done.stderr
        assert len(server.requests) == 1


def test_stall_in_the_body(fetch):
    def handle(request):
        if len(server.requests) == 1:
            request.reply(200, DATA[:5000], length=len(DATA))
            return request.wait_for_end()
        return ranged(request)

    with Scripted(handle) as server:
        fetch(server, "--stall", 400)
        assert ranges(server) == [None, "bytes=5000-"]


def test_stall_in_the_headers(fetch):
    def handle(request):
        request.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not server.over.wait(0.05):
            request.raw(b"x")

    with Scripted(handle) as server:
        done = fetch(server, "--stall", 400, "--retries", 0, status=UNAVAILABLE)
        assert "nothing more came for 0.4 s" in done.stderr


def test_huge_headers(fetch):
    def handle(request):
        request.reply(200, DATA, **{f"X_{i}": "x" * 1000 for i in range(80)})

    with Scripted(handle) as server:
        done = fetch(server, status=CORRUPT)
        assert "64 KiB of headers" in done.stderr


def test_endless_error(tool):
    def handle(request):
        request.raw(b"HTTP/1.1 404 No\r\nConnection: close\r\n\r\n")
        while True:
            request.raw(b"x" * 65536)

    with Scripted(handle) as server:
        done = tool("tags", f"{server.host}/x", status=NOT_FOUND)
        assert "answered 404" in done.stderr


def test_large_manifest(tool, tempdir):
    with Scripted(lambda request: request.reply(200, b" " * (4 * MIB + 1))) as server:
        done = tool("pull", f"{server.host}/x", tempdir / "out", status=CORRUPT)
        assert "4096 KiB" in done.stderr


def test_not_http(fetch):
    with Scripted(lambda request: (request.raw(b"SSH-2.0-x\r\n"), request.cut())) as server:
        fetch(server, "--retries", 0, status=CORRUPT)


def test_cancelled(tool, tempdir):
    def handle(request):
        request.reply(200, DATA[:5000], length=len(DATA))
        request.wait_for_end()

    with Scripted(handle) as server:
        blob = ["blob", f"{server.host}/x", digest(DATA), len(DATA), tempdir / "blob"]
        tool("--cancel-at", 5000, *blob, status=CANCELLED)
        assert (tempdir / "blob.part").stat().st_size == 5000


def test_cancelled_while_waiting(tool):
    with Scripted(lambda request: request.reply(503, Retry_After="50")) as server:
        tool("--cancel-after", 300, "tags", f"{server.host}/x", status=CANCELLED)


def test_nobody_there(tool, tempdir):
    with Scripted(lambda request: request.reply(200)) as server:
        host = server.host
    done = tool("resolve", f"{host}/x", status=UNAVAILABLE)
    assert host in done.stderr and "tried 3 times" in done.stderr


def test_progress(fetch):
    with Scripted(ranged) as server:
        done = fetch(server, "--progress", have=DATA[:1000])
        steps = [int(n) for n in re.findall(rf"progress (\d+)/{len(DATA)}\n", done.stderr)]
        assert steps[-1] == len(DATA) and steps == sorted(steps) and steps[0] > 1000


# --- redirects ------------------------------------------------------------------------------------


def test_redirect_loop(fetch):
    with Scripted(lambda request: request.reply(302, Location=request.path + "a")) as server:
        done = fetch(server, "--retries", 0, status=UNAVAILABLE)
        assert "redirects more than 8 times" in done.stderr


def test_redirect_keeps_secrets(fetch):
    """The object store gets the range, not the password; a 401 of its own is no login."""
    refuse = []

    def store(request):
        return request.reply(401, **CHALLENGE) if refuse else ranged(request)

    def handle(request):
        if not request.authorization:
            return request.reply(401, **CHALLENGE)
        return request.reply(307, Location=f"{other.url}/object?signature=1")

    with Scripted(store) as other, Scripted(handle) as server:
        fetch(server, "--user", "eve:secret", have=DATA[:777])
        assert [(r.path, r.headers["Range"]) for r in other.requests] == [
            ("/object?signature=1", "bytes=777-")
        ]
        assert other.requests[0].authorization is None
        assert server.requests[-1].authorization.startswith("Basic ")

        refuse.append(True)
        done = fetch(server, "--user", "eve:secret", status=PERMISSION_DENIED)
        assert other.host in done.stderr and "not the registry's own host" in done.stderr
        assert all(r.authorization is None for r in other.requests)


def test_redirect_within_the_registry(fetch):
    def handle(request):
        if not request.authorization:
            return request.reply(401, **CHALLENGE)
        if request.place != "/elsewhere":
            return request.reply(307, Location="/elsewhere")
        return ranged(request)

    with Scripted(handle) as server:
        fetch(server, "--user", "eve:secret")
        assert server.requests[-1].authorization.startswith("Basic ")


def test_redirect_out_of_tls(fetch, tempdir):
    ca = Authority(tempdir / "ca")

    def handle(request):
        return request.reply(302, Location=f"{plain.url}/x")

    with Scripted(ranged) as plain, Scripted(handle, tls=ca.certificate("s")) as server:
        done = fetch(server, "--ca", ca.path, status=PERMISSION_DENIED)
        assert "no TLS" in done.stderr and plain.requests == []


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://a:b@c/", ""])
def test_redirect_to_nonsense(fetch, target):
    with Scripted(lambda request: request.reply(302, Location=target)) as server:
        done = fetch(server, "--retries", 0, status=CORRUPT)
        assert f"{server.host} leads to '{target}'" in done.stderr


def test_realm_out_of_tls(fetch, tempdir):
    """A registry with TLS cannot have the password sent without."""
    ca = Authority(tempdir / "ca")
    with Scripted(lambda request: request.reply(200, DATA), tls=ca.certificate("s")) as server:

        def handle(request):
            return request.reply(401, WWW_Authenticate='Bearer realm="http://203.0.113.1/token"')

        server.handle_request = handle
        done = fetch(server, "--ca", ca.path, "--user", "eve:secret", status=PERMISSION_DENIED)
        assert "http://203.0.113.1:80" in done.stderr and "in the clear" in done.stderr


def test_no_secrets_without_tls(tool):
    """A host that is not this machine, spoken to without TLS: reached through a proxy here."""

    def handle(request):
        return request.reply(401, **CHALLENGE)

    with Scripted(handle) as proxy:
        env = {"http_proxy": proxy.url, "https_proxy": "http://127.0.0.1:1"}
        arguments = ["--retries", 0, "--user", "eve:secret", "tags", "192.0.2.1:5000/x"]
        done = tool("--plain", *arguments, env=env, status=PERMISSION_DENIED)
        assert [r.path.split("?")[0] for r in proxy.requests] == [
            "http://192.0.2.1:5000/v2/x/tags/list"
        ]
        assert proxy.requests[0].authorization is None
        assert "not sent without TLS" in done.stderr and "secret" not in done.stderr

        proxy.requests.clear()
        tool(*arguments, env=env, status=UNAVAILABLE)  # not without --plain
        assert proxy.requests == []


# --- mirrors --------------------------------------------------------------------------------------


def test_mirror_first(tool, registry, image, tempdir):
    tool("push", image.path, f"{registry.host}/x:1")
    with Scripted(lambda request: request.reply(500)) as origin:
        mirror = ["--mirror", f"http://{registry.host}"]
        tool(*mirror, "pull", f"{origin.host}/x:1", tempdir / "out")
        assert origin.requests == []
        assert blobs_of(tempdir / "out") == blobs_of(image.path)


@pytest.mark.parametrize("kind", ["missing", "broken", "wrong", "short", "gone", "denied"])
def test_mirror_of_no_use(fetch, kind):
    def handle(request):
        replies = {
            "missing": lambda: request.reply(404),
            "broken": lambda: request.reply(500),
            "wrong": lambda: request.reply(200, b"z" * len(DATA)),
            "short": lambda: (request.reply(200, b"z" * 100, length=len(DATA)), request.cut()),
            "denied": lambda: request.reply(401, WWW_Authenticate="Negotiate"),
        }
        return replies[kind]()

    with Scripted(ranged) as origin, Scripted(handle) as mirror:
        if kind == "gone":
            mirror.__exit__()
        fetch(origin, "--mirror", f"{mirror.host}/some/path", "--user", "eve:secret")
        assert all(r.authorization is None for r in mirror.requests)
        assert all(r.path.startswith("/some/path/v2/x/blobs/") for r in mirror.requests)


def test_mirror_and_registry_fail(fetch):
    with Scripted(lambda request: request.reply(404)) as origin:
        with Scripted(lambda request: request.reply(403)) as mirror:
            done = fetch(origin, "--mirror", mirror.host, status=NOT_FOUND)
            assert f"{origin.host} answered 404" in done.stderr
            assert f"its mirror {mirror.host} answered 403" in done.stderr


# --- manifests and tags ---------------------------------------------------------------------------


MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "a/b"}).encode()


def test_manifest_digests(tool, tempdir):
    headers = {}
    with Scripted(lambda request: request.reply(200, MANIFEST, **headers)) as server:
        assert tool("pull", f"{server.host}/x", tempdir / "o").stdout.strip() == digest(MANIFEST)
        line = f"{digest(MANIFEST)} {len(MANIFEST)} a/b\n"
        assert tool("resolve", f"{server.host}/x").stdout == line
        headers["Docker_Content_Digest"] = digest(b"other")
        tool("pull", f"{server.host}/x", tempdir / "o", status=CORRUPT)
        other = f"{server.host}/x@{digest(b'more')}"
        tool("pull", other, tempdir / "o", status=CORRUPT)


def test_resolve_without_head(tool):
    def handle(request):
        return request.reply(405) if request.command == "HEAD" else request.reply(200, MANIFEST)

    with Scripted(handle) as server:
        assert tool("resolve", f"{server.host}/x").stdout.startswith(digest(MANIFEST))
        assert "application/vnd.oci.image.index.v1+json" in server.requests[0].headers["Accept"]


def test_pages_of_tags(tool):
    def handle(request):
        last = int(request.query.get("last", ["0"])[0])
        tags = {"name": "x", "tags": [f"t{i}" for i in range(last, min(last + 10, 35))]}
        link = {"Link": f'</v2/x/tags/list?n=10&last={last + 10}>; rel="next"'}
        return request.reply(200, tags, **(link if last + 10 < 35 else {}))

    with Scripted(handle) as server:
        assert tool("tags", f"{server.host}/x").stdout.split() == [f"t{i}" for i in range(35)]


def test_tags_without_end(tool):
    def handle(request):
        return request.reply(200, {"tags": ["a"]}, Link=f"<{request.path}>; rel=next")

    with Scripted(handle) as server:
        tool("tags", f"{server.host}/x", status=CORRUPT)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": 5}', b'{"tags": ["a b"]}', b"\xff"])
def test_tags_that_are_none(tool, body):
    with Scripted(lambda request: request.reply(200, body)) as server:
        assert tool("tags", f"{server.host}/x", status=CORRUPT).stdout == ""


def test_no_tags(tool):
    with Scripted(lambda request: request.reply(200, {"name": "x", "tags": None})) as server:
        assert tool("tags", f"{server.host}/x").stdout == ""


# --- pushing --------------------------------------------------------------------------------------


class Uploads:
    """A registry that takes uploads, and can be told how to fail."""

    def __init__(self, **hooks):
        self.blobs, self.sessions, self.hooks, self.server = {}, {}, hooks, None

    def location(self, session):
        return f"/upload/{session}?at={len(self.sessions[session])}"

    def __call__(self, request):
        hook = self.hooks.get(request.command)
        if hook and hook(self, request):
            return None
        return getattr(self, request.command.lower())(request)

    def head(self, request):
        request.reply(200 if request.place.rpartition("/")[2] in self.blobs else 404)

    def post(self, request):
        session = str(len(self.sessions))
        self.sessions[session] = b""
        request.reply(202, Location=self.location(session), Range="0-0", **self.hooks.get("extra", {}))

    def session(self, request):
        return request.place.rpartition("/")[2]

    def get(self, request):
        session = self.session(request)
        if session not in self.sessions:
            return request.reply(404)
        size = max(len(self.sessions[session]) - 1, 0)
        return request.reply(204, Location=self.location(session), Range=f"0-{size}")

    def patch(self, request):
        session = self.session(request)
        first, last = map(int, request.headers["Content-Range"].split("-"))
        if first != len(self.sessions[session]):
            return request.reply(416)
        self.sessions[session] += request.body()
        assert len(self.sessions[session]) == last + 1
        return request.reply(202, Location=self.location(session), Range=f"0-{last}")

    def put(self, request):
        data = self.sessions[self.session(request)] + request.body()
        wanted = request.query["digest"][0]
        if digest(data) != wanted:
            return request.reply(400, {"errors": [{"code": "DIGEST_INVALID", "message": "no"}]})
        self.blobs[wanted] = data
        return request.reply(201, Docker_Content_Digest=wanted)


@pytest.fixture
def upload(tool, tempdir):
    """upload(registry, *options) pushes DATA as a blob to an Uploads."""

    def run(registry, *options, **kwargs):
        (tempdir / "file").write_bytes(DATA)
        with Scripted(registry) as server:
            registry.server = server
            done = tool(*options, "put-blob", tempdir / "file", f"{server.host}/x", **kwargs)
            return done, [r.command for r in server.requests]

    return run


def test_upload_in_one(upload):
    registry = Uploads()
    _, commands = upload(registry)
    assert commands == ["HEAD", "POST", "PUT"]
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_in_chunks(upload):
    registry = Uploads(extra={"OCI_Chunk_Min_Length": str(MIB)})
    _, commands = upload(registry, "--chunk", 1000)
    assert commands == ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PUT"]
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_cut_and_resumed(upload):
    def cut(registry, request):
        if len(registry.server.requests) > 3:
            return False
        request.taken = request.rfile.read(1_000_000)
        registry.sessions[registry.session(request)] = request.taken
        request.cut()
        return True

    registry = Uploads(PUT=cut)
    _, commands = upload(registry)
    assert commands == ["HEAD", "POST", "PUT", "HEAD", "GET", "PATCH", "PUT"]
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_cut_and_forgotten(upload):
    def cut(registry, request):
        if len(registry.server.requests) > 3:
            return False
        registry.sessions["gone"] = registry.sessions.pop(registry.session(request))
        request.cut()
        return True

    registry = Uploads(PUT=cut)
    _, commands = upload(registry)
    assert commands == ["HEAD", "POST", "PUT", "HEAD", "GET", "POST", "PUT"]
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_whose_answer_was_lost(upload):
    def lose(registry, request):
        registry.blobs[digest(DATA)] = request.body()
        request.cut()
        return True

    done, commands = upload(Uploads(PUT=lose))
    assert commands == ["HEAD", "POST", "PUT", "HEAD"]
    assert done.stdout == f"{digest(DATA)} uploaded\n"


def test_upload_out_of_order(upload):
    """A registry that took less than it said."""

    def forget(registry, request):
        if len(registry.server.requests) != 4:
            return False
        session = registry.session(request)
        registry.sessions[session] = registry.sessions[session][:500_000]
        request.body()
        request.reply(416)
        return True

    registry = Uploads(PATCH=forget)
    upload(registry, "--chunk", MIB)
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_too_large(upload, tool, tempdir):
    """A proxy that takes no large body: then it goes in parts."""
    data = noise(20 * MIB)

    def refuse(registry, request):
        if int(request.headers["Content-Length"]) <= 10 * MIB:
            return False
        request.reply(413)
        request.cut()
        return True

    registry = Uploads(PUT=refuse)
    (tempdir / "large").write_bytes(data)
    with Scripted(registry) as server:
        registry.server = server
        tool("put-blob", tempdir / "large", f"{server.host}/x")
    assert registry.blobs == {digest(data): data}


def test_upload_elsewhere(tool, tempdir):
    """An upload that goes to another host goes without credentials."""
    (tempdir / "file").write_bytes(DATA)

    def handle(request):
        if not request.authorization:
            return request.reply(401, **CHALLENGE)
        if request.command == "HEAD":
            return request.reply(404)
        return request.reply(202, Location=f"{other.url}/upload/0")

    registry = Uploads()
    registry.sessions["0"] = b""
    with Scripted(registry) as other, Scripted(handle) as server:
        registry.server = other
        tool("--user", "eve:secret", "put-blob", tempdir / "file", f"{server.host}/x")
        assert [r.authorization for r in other.requests] == [None]
    assert registry.blobs == {digest(DATA): DATA}


def test_upload_stored_as_another(upload):
    def lie(registry, request):
        request.body()
        request.reply(201, Docker_Content_Digest=digest(b"other"))
        return True

    done, _ = upload(Uploads(PUT=lie), status=CORRUPT)
    assert "stored it as" in done.stderr


def test_mount_refused(upload):
    """A mount that is denied is an upload."""

    def refuse(registry, request):
        if "mount" not in request.query:
            return False
        request.reply(403)
        return True

    registry = Uploads(POST=refuse)
    done, commands = upload(registry, "--from", "private/other")
    assert commands == ["HEAD", "POST", "POST", "PUT"]
    assert registry.blobs == {digest(DATA): DATA} and "uploaded" in done.stdout


def test_upload_without_location(upload):
    def forget(registry, request):
        request.reply(202)
        return True

    done, _ = upload(Uploads(POST=forget), "--retries", 0, status=CORRUPT)
    assert "Location" in done.stderr
