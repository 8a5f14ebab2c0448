# SPDX-License-Identifier: Apache-2.0
"""varved's HTTP API: rows V1 to V7 and V10, as clients see them. What it answers is checked against
docs/openapi.json."""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
from conftest import TIMEOUT, wait_until
from layouts import packed, write_layout
from oci import Layer
from pki import make_authority, make_certificate

OPENAPI = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text())
TOKEN = "correct-horse-battery-staple"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("varve", timeout=TIMEOUT)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status, self.headers = response.status, response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


def http_socket(daemon):
    return daemon.socket.with_name("varved-http.sock")


def operation_for(method, path):
    """The document's pattern and operation for a path."""
    found = []
    for pattern, operations in OPENAPI["paths"].items():
        regex = re.sub(r"\{[^}]*\}", "[^/]+", pattern)
        if re.fullmatch(regex, path) and method.lower() in operations:
            found.append((pattern, operations[method.lower()]))
    assert found, f"docs/openapi.json has no {method} {path}"
    return min(found, key=lambda item: item[0].count("{"))


def validate(method, path, answer):
    """What was answered must be what the document says."""
    pattern, operation = operation_for(method, path.split("?")[0])
    responses = operation["responses"]
    response = responses.get(str(answer.status), responses.get("default"))
    assert response, f"{method} {pattern} is not said to answer {answer.status}"
    content = response.get("content", {})
    kind = answer.headers.get("Content-Type")
    if not content:
        assert answer.body == b""
        return
    assert kind in content, f"{kind} is not one of {list(content)}"
    if kind == "application/json":
        schema = dict(content[kind]["schema"], components=OPENAPI["components"])
        jsonschema.Draft202012Validator(schema).validate(answer.json)


class Api:
    def __init__(self, daemon):
        self.daemon = daemon

    def __call__(self, method, path, body=None, status=200, headers={}, check=True):
        connection = UnixConnection(http_socket(self.daemon))
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        connection.request(method, path, data, headers)
        answer = Answer(connection.getresponse())
        connection.close()
        assert answer.status == status, answer.body
        if check:
            validate(method, path, answer)
        if status >= 400:
            assert set(answer.json) >= {"code", "message", "retry"}
        return answer

    def code(self, method, path, body=None, status=400, **kwargs):
        return self(method, path, body, status, **kwargs).json["code"]


@pytest.fixture
def api(varved):
    daemon = varved(config="[pool n]\ndriver = native\n")
    return Api(daemon)


def test_document_is_whole():
    """Every reference leads somewhere, and every schema is one."""
    text = json.dumps(OPENAPI)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        place = OPENAPI
        for part in reference.split("/"):
            place = place[part]
    for schema in OPENAPI["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_document_has_every_route():
    """What varved serves and what the document tells are the same."""
    served = set()
    for source in (Path(__file__).parents[2] / "src/daemon").glob("http-*.c"):
        for method, pattern in re.findall(r'\{"([A-Z]+)", "(/[^"]*)"', source.read_text()):
            served.add((method, re.sub(r":(\w+)", r"{\1}", pattern)))
    told = {(m.upper(), p) for p, methods in OPENAPI["paths"].items() for m in methods}
    assert served == told


# --- sockets --------------------------------------------------------------------------------------


def test_socket_is_roots_alone(varved):
    daemon = varved(umask=0)
    path = http_socket(daemon)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert daemon.stop() == 0
    assert not path.exists()


def test_no_socket(varved):
    assert not http_socket(varved(config="[http]\nsocket = none\n")).exists()


def test_killed_daemon_leaves_nothing_in_the_way(varved, api):
    api("POST", "/storage/providers/n/volumes", {"id": "v", "meta": {"a": "b"}})
    before = api("GET", "/storage/volumes/v").json
    api.daemon.stop(signal.SIGKILL)
    api.daemon.start()
    wait_until(http_socket(api.daemon).exists, "the socket")
    after = api("GET", "/storage/volumes/v").json
    assert after == before  # V2, V8


# --- the system -----------------------------------------------------------------------------------


def test_system(api):
    assert api("GET", "/healthz").json == {"status": "ok"}
    info = api("GET", "/system/info").json
    assert info["root"] == str(api.daemon.root)
    assert {d["name"] for d in info["drivers"]} >= {"native", "overlay", "btrfs"}


def test_metrics(api):
    api("GET", "/storage/volumes/none", status=404)
    text = api("GET", "/metrics").body.decode()
    assert 'route="/storage/volumes/:id",status="4xx"} 1' in text
    assert 'varve_http_errors_total{code="not-found"} 1' in text
    assert re.search(r'varve_pool_free_bytes\{pool="n",driver="native"\} [1-9]', text)
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) .*|[a-z_]+(\{[^}]*\})? [0-9.]+", line), line


def test_unknown_places(api):
    assert api.code("GET", "/nothing", status=404, check=False) == "not_found"
    answer = api("DELETE", "/images", status=405, check=False)
    assert answer.headers["Allow"] == "GET"
    assert api.code("GET", "/storage/volumes/%zz", status=400, check=False) == "validation_error"
    assert api.code("GET", "/storage/volumes?type=%ff", status=400) == "validation_error"
    assert api.code("GET", "/images/a%2Fb", status=404) == "object_not_found"


def test_keep_alive(api):
    connection = UnixConnection(http_socket(api.daemon))
    for _ in range(3):
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        assert response.status == 200 and response.read()
    connection.close()


# --- providers ------------------------------------------------------------------------------------


def test_providers(api):
    made = api("POST", "/storage/providers", {"id": "p", "kind": "native", "config": {}}).json
    assert (made["id"], made["kind"], made["config"]) == ("p", "native", {})
    assert [p["id"] for p in api("GET", "/storage/providers").json] == ["n", "p"]
    assert api("GET", "/storage/providers/p").json["id"] == "p"
    named = api("POST", "/storage/providers", {"kind": "native"}).json
    assert re.fullmatch(r"[0-9a-f-]{36}", named["id"])


@pytest.mark.parametrize(
    "body, status, code",
    [
        ({"id": "n", "kind": "native"}, 409, "object_exists"),
        ({"id": "q", "kind": "ntfs"}, 400, "validation_error"),
        ({"id": "q", "kind": ""}, 400, "validation_error"),
        ({"id": "q"}, 400, "validation_error"),
        ({"id": "q", "kind": "native", "config": {"colour": "red"}}, 400, "validation_error"),
        ({"id": "q", "kind": "native", "config": []}, 400, "validation_error"),
        ({"id": 7, "kind": "native"}, 400, "validation_error"),
        ('{"id": "q", "id": "r", "kind": "native"}', 400, "syntax_error"),
        ("{", 400, "syntax_error"),
        ("[]", 400, "syntax_error"),
        ("[" * 1000, 400, "syntax_error"),
    ],
)
def test_refused_providers(api, body, status, code):
    assert api.code("POST", "/storage/providers", body, status) == code
    assert [p["id"] for p in api("GET", "/storage/providers").json] == ["n"]


def test_no_provider(api):
    assert api.code("GET", "/storage/providers/x", status=404) == "object_not_found"
    assert api.code("POST", "/storage/providers/x/volumes", {}, 404) == "object_not_found"


# --- volumes --------------------------------------------------------------------------------------


def test_volume_life(api):
    volume = api("POST", "/storage/providers/n/volumes", {"id": "v", "meta": {"k": "ü"}}).json
    assert (volume["id"], volume["type"], volume["meta"]) == ("v", "data", {"k": "ü"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", volume["created_at"])
    assert api("GET", "/storage/volumes/v").json == volume
    (Path(volume["path"]) / "file").write_text("one")

    snapshot = api("PUT", "/storage/volumes/v/snapshot", {"id": "s"}).json
    assert snapshot["snapshot"] and snapshot["of"] == "v"
    (Path(volume["path"]) / "file").write_text("two")
    assert (Path(snapshot["path"]) / "file").read_text() == "one"
    assert [s["id"] for s in api("GET", "/storage/volumes/v/snapshots").json] == ["s"]
    assert [h["id"] for h in api("GET", "/storage/volumes/v/haves").json] == ["s"]

    fork = api("PUT", "/storage/volumes/s/fork").json
    assert (Path(fork["path"]) / "file").read_text() == "one"
    assert api.code("PUT", "/storage/volumes/v/fork", status=412) == "precondition_failed"  # V5
    assert {v["id"] for v in api("GET", "/storage/volumes").json} == {"v", "s", fork["id"]}

    refused = api("DELETE", "/storage/volumes/s", status=412).json
    assert refused["code"] == "precondition_failed" and fork["id"] in refused["message"]
    assert api("DELETE", f"/storage/volumes/{fork['id']}").body == b""
    api("DELETE", "/storage/volumes/s?recursive=true")
    assert api("GET", "/storage/volumes").json == []


def test_meta(api):
    before = api("POST", "/storage/providers/n/volumes", {"id": "v", "meta": {"a": "1", "b": "2"}}).json
    path = "/storage/volumes/v/meta"
    after = api("PATCH", path, {"b": None, "c": "3"}).json
    assert after["meta"] == {"a": "1", "c": "3"}
    assert api("GET", "/storage/volumes/v").json == after == before | {"meta": after["meta"]}
    assert api("PUT", path, {"d": ""}).json["meta"] == {"d": ""}
    assert "meta" not in api("PUT", path, {}).json
    assert api.code("PATCH", path, {"a": 7}) == "validation_error"
    assert api.code("PATCH", path, {"a": "x" * 4077}) == "validation_error"
    assert api.code("PUT", "/storage/volumes/no/meta", {}, 404) == "object_not_found"
    assert "meta" not in api("GET", "/storage/volumes/v").json


def test_list_by_provider(api):
    api("POST", "/storage/providers", {"id": "o", "kind": "native"})
    api("POST", "/storage/providers/o/volumes", {"id": "a"})
    api("POST", "/storage/providers/n/volumes", {"id": "b"})
    assert [v["id"] for v in api("GET", "/storage/volumes?provider=o").json] == ["a"]
    assert api.code("GET", "/storage/volumes?provider=x", status=404) == "object_not_found"


@pytest.mark.parametrize(
    "body, status, code",
    [
        ({"id": "v"}, 409, "object_exists"),
        ({"id": "../x"}, 400, "validation_error"),
        ({"meta": {"a": 1}}, 400, "validation_error"),
        ({"size": -1}, 400, "validation_error"),
        ("nonsense", 400, "syntax_error"),
    ],
)
def test_refused_volumes(api, body, status, code):
    api("POST", "/storage/providers/n/volumes", {"id": "v"})
    assert api.code("POST", "/storage/providers/n/volumes", body, status) == code
    assert len(api("GET", "/storage/volumes").json) == 1


@pytest.mark.parametrize(
    "method, rest",
    [
        ("GET", ""),
        ("DELETE", ""),
        ("PUT", "/snapshot"),
        ("PUT", "/fork"),
        ("GET", "/snapshots"),
        ("GET", "/haves"),
        ("GET", "/send"),
    ],
)
def test_no_volume(api, method, rest):
    assert api.code(method, f"/storage/volumes/x{rest}", status=404) == "object_not_found"


# --- streams --------------------------------------------------------------------------------------


def test_send(api, varve):
    volume = api("POST", "/storage/providers/n/volumes", {"id": "v"}).json
    content = os.urandom(3 << 20)
    (Path(volume["path"]) / "big").write_bytes(content)
    api("PUT", "/storage/volumes/v/snapshot", {"id": "s1"})
    (Path(volume["path"]) / "small").write_text("more")
    api("PUT", "/storage/volumes/v/snapshot", {"id": "s2"})

    full = api("GET", "/storage/volumes/s1/send").body
    assert len(full) > len(content)
    haves = api("GET", "/storage/volumes/s1/haves").json
    difference = api("GET", "/storage/volumes/s2/send", haves).body  # V6
    assert len(difference) < 1 << 20
    there = varve.at(api.daemon.root.with_name("there"))
    for stream in (full, difference):
        there("snapshot", "receive", input=stream, text=False)
    keys = [s["name"] for s in there.json("snapshot", "ls")]
    assert sorted(keys) == ["volume/s1", "volume/s2"]


def test_send_refusals(api):
    api("POST", "/storage/providers/n/volumes", {"id": "v"})
    api("PUT", "/storage/volumes/v/snapshot", {"id": "s"})
    assert api.code("GET", "/storage/volumes/v/send", status=412) == "precondition_failed"
    assert api.code("GET", "/storage/volumes/s/send", [1], 400) == "validation_error"
    assert api.code("GET", "/storage/volumes/s/send", ["x"], 400) == "validation_error"
    assert api.code("GET", "/storage/volumes/s/send", "{", 400) == "syntax_error"
    assert api.code("GET", "/storage/volumes/s/send", {"haves": 1}, 400) == "validation_error"
    assert api.code("GET", "/storage/volumes/s/send", {"formats": [1]}, 400) == "validation_error"


def two_snapshots(api):
    """The streams of a snapshot and of the difference to the next; their volume is gone."""
    volume = Path(api("POST", "/storage/providers/n/volumes", {"id": "v"}).json["path"])
    (volume / "big").write_bytes(os.urandom(3 << 20))
    one = api("PUT", "/storage/volumes/v/snapshot", {"id": "s1"}).json
    (volume / "small").write_text("more")
    api("PUT", "/storage/volumes/v/snapshot", {"id": "s2"})
    streams = [
        api("GET", "/storage/volumes/s1/send").body,
        api("GET", "/storage/volumes/s2/send", {"haves": [one["uuid"]]}).body,
    ]
    api("DELETE", "/storage/volumes/s1?recursive=true")
    return one["uuid"], streams


def test_receive(api):
    uuid, (full, difference) = two_snapshots(api)
    listener = Listener(api.daemon)
    assert api("GET", "/storage/volumes/w/receive").json["haves"] == []
    made = api("POST", "/storage/volumes/w/receive?name=first", full).json
    assert (made["id"], made["of"], made["uuid"]) == ("first", "w", uuid)
    assert [listener.next()[1]["volume"]["id"] for _ in range(2)] == ["w", "first"]
    assert api("GET", "/storage/volumes/w/receive").json["haves"] == [uuid]
    assert api("POST", "/storage/volumes/w/receive?provider=n", difference).json["id"] == "s2"
    path = Path(api("GET", "/storage/volumes/w").json["path"])
    assert (path / "small").read_text() == "more" and (path / "big").stat().st_size == 3 << 20
    assert listener.next()[1]["volume"]["id"] == "s2"


def test_receive_refusals(api):
    uuid, (full, difference) = two_snapshots(api)
    receive = "/storage/volumes/w/receive"
    assert api.code("POST", receive, difference, 412) == "precondition_failed"  # to what?
    assert api.code("POST", receive, full[:-10], 422) == "corrupt"
    assert api.code("POST", receive, b"nonsense" * 1000, 422) == "corrupt"
    assert api.code("POST", f"{receive}?provider=x", full, 404) == "object_not_found"
    assert api.code("POST", f"{receive}?name=..", full, 400) == "validation_error"
    assert api.code("GET", f"{receive}?provider=x", status=404) == "object_not_found"
    assert api("GET", "/storage/volumes").json == []
    api("POST", receive, full)
    assert api.code("POST", receive, full, 409) == "object_exists"
    assert api.code("DELETE", "/storage/volumes/w?only=true&recursive=true") == "validation_error"


def test_receive_goes_on(api):
    """What came of a stream that broke off is kept when that is asked for, and not sent again."""
    volume = Path(api("POST", "/storage/providers/n/volumes", {"id": "v"}).json["path"])
    (volume / "big").write_bytes(os.urandom(6 << 20))
    uuid = api("PUT", "/storage/volumes/v/snapshot", {"id": "s"}).json["uuid"]
    api("POST", "/storage/providers", {"id": "o", "kind": "native"})
    full = api("GET", "/storage/volumes/s/send").body
    receive = "/storage/volumes/w/receive?provider=o&name=t"
    offer = lambda: api("GET", f"{receive}&uuid={uuid}").json
    assert offer()["resume"] is None and offer()["kept"] == 0
    api("POST", receive, full[: 4 << 20], 422)
    assert offer()["resume"] is None
    api("POST", f"{receive}&keep=true", full[: 4 << 20], 422)
    assert offer()["kept"] > 2 << 20
    rest = api("GET", "/storage/volumes/s/send", {"resume": offer()["resume"]}).body
    assert len(rest) < 4 << 20
    made = api("POST", f"{receive}&keep=true", rest).json
    assert (Path(made["path"]) / "big").read_bytes() == (volume / "big").read_bytes()
    assert offer()["resume"] is None
    assert api.code("GET", "/storage/volumes/s/send", {"resume": "x"}, 400) == "validation_error"


def test_reader_that_goes_away(api):
    """A sender does not wait for one that is gone: varved ends in time, as the fixture judges."""
    volume = api("POST", "/storage/providers/n/volumes", {"id": "v"}).json
    (Path(volume["path"]) / "big").write_bytes(os.urandom(8 << 20))
    api("PUT", "/storage/volumes/v/snapshot", {"id": "s"})
    connection = UnixConnection(http_socket(api.daemon))
    connection.request("GET", "/storage/volumes/s/send")
    assert connection.getresponse().read(1000)
    connection.sock.close()
    connection.close()
    assert api("GET", "/healthz").json == {"status": "ok"}
    assert api.daemon.stop() == 0


def ext4_image(directory):
    content, image = directory / "content", directory / "image"
    content.mkdir()
    (content / "file").write_text("from an image")
    command = ["mkfs.ext4", "-q", "-d", content, image, "8M"]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    return image.read_bytes()


def test_import(api, tempdir):
    image = ext4_image(tempdir)
    made = api("POST", "/storage/providers/n/import?id=i", image).json
    assert (made["id"], made["snapshot"], made["type"]) == ("i", True, "ext4")
    assert (Path(made["path"]) / "file").read_text() == "from an image"
    code = api.code("POST", "/storage/providers/n/import?id=j", b"no image" * 1000, 400)
    assert code == "validation_error"
    assert api.code("POST", "/storage/providers/n/import?id=i", image, 409) == "object_exists"
    assert [v["id"] for v in api("GET", "/storage/volumes").json] == ["i"]


def test_import_that_breaks_off(api, tempdir):
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(http_socket(api.daemon)))
    head = "POST /storage/providers/n/import?id=i HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"
    client.sendall(head.encode() + b"x" * 100000)
    client.close()
    active = lambda: b"varve_http_active_requests 1\n" in api("GET", "/metrics").body
    wait_until(active, "the broken request to end")
    assert api("GET", "/storage/volumes").json == []


# --- events ---------------------------------------------------------------------------------------


class Listener:
    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(http_socket(daemon)))
        self.socket.sendall(
            b"GET /storage/volumes HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n"
        )
        self.file = self.socket.makefile("rb")
        assert b"200" in self.file.readline()
        while self.file.readline().strip():
            pass

    def next(self):
        """The next event: its name and data."""
        name = "message"
        for line in self.file:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                return name, json.loads(value)
        return None


def test_events(api):
    api("POST", "/storage/providers/n/volumes", {"id": "before"})
    listener = Listener(api.daemon)
    name, event = listener.next()
    assert (event["type"], event["volume"]["id"]) == ("create", "before")
    api("POST", "/storage/providers/n/volumes", {"id": "v"})
    name, event = listener.next()
    assert (event["type"], event["volume"]["id"]) == ("create", "v")
    api("DELETE", "/storage/volumes/v")
    name, event = listener.next()
    assert (event["type"], event["volume"]["id"]) == ("destroy", "v")
    assert api.daemon.stop() == 0  # a listener is nothing that it waits for
    assert listener.next() is None


def test_200_listeners_some_asleep(api):
    awake = [Listener(api.daemon) for _ in range(150)]
    asleep = [Listener(api.daemon) for _ in range(50)]
    for number in range(3):
        api("POST", "/storage/providers/n/volumes", {"id": f"v{number}"})
    for listener in awake:
        seen = [listener.next()[1]["volume"]["id"] for _ in range(3)]
        assert seen == ["v0", "v1", "v2"]
    text = api("GET", "/metrics").body.decode()
    assert "varve_http_event_listeners 200\n" in text
    assert len(asleep) == 50


def test_sleeper_is_told_what_it_lost(api):
    """Who does not read loses events, and hears of it; the others are not held up."""
    meta = {str(i): "x" * 3000 for i in range(20)}
    sleeper = Listener(api.daemon)
    lost = lambda: re.search(rb"events_lost_total [1-9]", api("GET", "/metrics").body)
    api("POST", "/storage/providers/n/volumes", {"id": "v", "meta": meta})
    for number in range(1000):
        api("PUT", "/storage/volumes/v/snapshot", {"id": f"s{number}", "meta": meta})
        if lost():
            break
    else:
        pytest.fail("nothing was lost")
    names = []
    while "lost" not in names:
        names.append(sleeper.next()[0])
    assert names[0] == "message"


# --- limits ---------------------------------------------------------------------------------------


def raw(daemon, data, timeout=TIMEOUT):
    """Sends bytes, and returns what comes until the connection ends."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(http_socket(daemon)))
        with_errors = b""
        try:
            client.sendall(data)
            while part := client.recv(65536):
                with_errors += part
        except ConnectionError:
            pass
        return with_errors


def test_body_too_long(api):
    head = b"POST /storage/providers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    announced = raw(api.daemon, head + b"Content-Length: 1048577\r\n\r\n")
    assert b" 413 " in announced and b"request_body_too_big" in announced
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    chunked = raw(api.daemon, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")
    assert b" 413 " in chunked


def test_head_too_long(api):
    answer = raw(api.daemon, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200000 + b"\r\n\r\n")
    assert answer == b"" or re.match(rb"HTTP/1.1 4(13|31|00) ", answer)
    api("GET", "/healthz")


@pytest.mark.parametrize("data", [b"\0" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" * 100])
def test_no_http(api, data):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(http_socket(api.daemon)))
        client.sendall(data)
    api("GET", "/healthz")


def test_slow_senders_are_cut(api):
    """Some bytes from time to time keep no connection: a head has its time, and so has a body."""
    heads = (
        b"GET /healthz HTTP/1.1\r\nX-Slow: ",
        b"POST /storage/providers HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
    )
    clients = []
    for head in heads:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(http_socket(api.daemon)))
        client.sendall(head)
        clients.append(client)

    def is_cut(client):
        try:
            client.sendall(b" ")
            client.setblocking(False)
            return client.recv(1000) == b""
        except BlockingIOError:
            client.setblocking(True)
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True

    for client in clients:
        wait_until(lambda: time.sleep(0.2) or is_cut(client), "a slow sender to be cut")
        client.close()
    assert b"varve_http_cut_total 2\n" in api("GET", "/metrics").body


# --- TCP ------------------------------------------------------------------------------------------


def free_port():
    """Not one of those that the kernel gives to connections meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def tls(varved, tempdir):
    """A daemon with TLS, an authority and tokens; and a function that asks it."""
    pki = tempdir / "pki"
    pki.mkdir()
    make_authority(pki, "ca")
    make_authority(pki, "strangers")
    make_certificate(pki, "ca", "server", usage="serverAuth")
    make_certificate(pki, "ca", "client")
    make_certificate(pki, "ca", "expired", days=-1)
    make_certificate(pki, "ca", "wrong-use", usage="serverAuth")
    make_certificate(pki, "strangers", "stranger")
    tokens = pki / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"# ours\n{TOKEN}\nonce-upon-a-time-token 2001-01-01T00:00:00Z\n")
    port = free_port()
    daemon = varved(
        config=f"[http]\nlisten = 127.0.0.1:{port}\ncertificate = {pki}/server.pem\n"
        f"key = {pki}/server.key\nclient-ca = {pki}/ca.pem\ntokens = {tokens}\n"
    )

    def ask(path="/system/info", certificate=None, token=None, header=None):
        context = ssl.create_default_context(cafile=pki / "ca.pem")
        if certificate:
            context.load_cert_chain(pki / f"{certificate}.pem", pki / f"{certificate}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=TIMEOUT)
        value = header or (token and f"Bearer {token}")
        connection.request("GET", path, headers={"Authorization": value} if value else {})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    ask.daemon, ask.tokens, ask.port = daemon, tokens, port
    return ask


def test_tls_lets_in(tls):
    assert tls(certificate="client").status == 200
    assert tls(token=TOKEN).status == 200
    assert tls(header=f"bearer {TOKEN}").status == 200
    assert tls("/healthz").status == 200  # which is for everybody


@pytest.mark.parametrize(
    "who",
    [
        {},
        {"certificate": "stranger"},
        {"certificate": "expired"},
        {"certificate": "wrong-use"},
        {"token": TOKEN[:-1]},
        {"token": TOKEN + "x"},
        {"token": "once-upon-a-time-token"},
        {"token": "#"},
        {"header": f"Basic {TOKEN}"},
        {"header": "Bearer "},
        {"header": TOKEN},
    ],
)
def test_tls_refuses(tls, who):
    for path in ("/system/info", "/nothing"):  # who may not enter learns nothing
        answer = tls(path, **who)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_tokens_are_read_again(tls):
    tls.tokens.write_text("another-token-of-ours\n")
    assert tls(token=TOKEN).status == 401
    assert tls(token="another-token-of-ours").status == 200
    tls.tokens.chmod(0o644)
    assert tls(token="another-token-of-ours").status == 401
    tls.daemon.wait_log("others can read it")
    tls.tokens.chmod(0o600)
    assert tls(token="another-token-of-ours").status == 200
    tls.tokens.unlink()
    assert tls(token="another-token-of-ours").status == 401


def test_plain_text_at_a_tls_port(tls):
    with socket.create_connection(("127.0.0.1", tls.port), TIMEOUT) as client:
        client.sendall(b"GET /system/info HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(TIMEOUT)
        try:
            assert b"version" not in client.recv(4096)
        except ConnectionError:
            pass
    assert tls("/healthz").status == 200


def test_tokens_without_tls(varved, tempdir):
    tokens, port = tempdir / "tokens", free_port()
    tokens.touch(0o600)
    tokens.write_text(TOKEN)
    varved(config=f"[http]\nlisten = 127.0.0.1:{port}\ntokens = {tokens}\n")
    for token, status in ((TOKEN, 200), ("x" * 20, 401)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", "/system/info", headers={"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize(
    "config, reason",
    [
        ("listen = 127.0.0.1:7443", "TCP needs a certificate"),
        ("listen = nowhere\ntokens = {t}", "is no address such as"),
        ("listen = 0.0.0.0:7443\ntokens = {t}", "as plain text"),
        ("listen = 127.0.0.1:7443\ntokens = {t}.open", "others can read it"),
        ("listen = 127.0.0.1:7443\ntokens = {t}.bad", "line 1 is no token"),
        ("listen = 127.0.0.1:7443\ncertificate = {t}\nkey = {t}\ntokens = {t}", "certificate right"),
        ("socket = x", "is not an absolute path"),
    ],
)
def test_refused_settings(varved, tempdir, config, reason):
    tokens = tempdir / "tokens"
    for name, mode, text in (("", 0o600, TOKEN), (".open", 0o644, TOKEN), (".bad", 0o600, "short")):
        path = tempdir / f"tokens{name}"
        path.touch(mode)
        path.chmod(mode)
        path.write_text(text)
    daemon = varved(config="[http]\n" + config.format(t=tokens) + "\n", wait=False)
    assert daemon.wait() != 0
    assert reason in daemon.log()


# --- images ---------------------------------------------------------------------------------------


def test_images(api, varve, tempdir):
    assert api("GET", "/images").json == []
    assert api.code("GET", "/images/none", status=404) == "object_not_found"
    write_layout(tempdir / "layout", [packed(Layer().file("a", b"b").tar())])
    varve("image", "import", tempdir / "layout", "--name", "example.org/team/app:1")
    image = api("GET", "/images/example.org%2Fteam%2Fapp:1").json
    assert image["name"] == "example.org/team/app:1" and image["complete"]
    assert api("GET", f"/images/{image['digest']}").json == image
    assert api("GET", "/images").json == [image]
