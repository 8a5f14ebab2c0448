# SPDX-License-Identifier: Apache-2.0
"""Registries for tests, all on loopback and gone after the test.

    Distribution(directory, users=..., token=..., tls=..., client_ca=...)
                        Debian's docker-registry:       .host
    TokenServer(authority, users, public)
                        gives tokens for one of these:  .realm, .asked
    Scripted(handle)    a server that does what handle(request) says, to misbehave:
                        .host, .requests (what was asked: .command, .path, .headers, .authorization)
    Authority(directory)
                        a CA: .certificate(name), .path
    Wire(host)          between a client and a server: counts bytes, holds and cuts connections
    Simple()            a registry in memory that takes and gives anything

All are context managers.
"""

import base64
import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import types
import urllib.parse
from pathlib import Path

from patience import TIMEOUT

# --- certificates ---------------------------------------------------------------------------------


class Authority:
    """A CA in a directory. certificate(name, *hosts) makes NAME.crt and NAME.key, and returns them."""

    def __init__(self, directory, name="ca"):
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.path, self.key = self.make(name, f"CA {directory.name}", None, ())

    def certificate(self, name, *hosts):
        return self.make(name, name, (self.path, self.key), hosts or ("127.0.0.1", "localhost"))

    def make(self, name, subject, issuer, hosts):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
        signer, issuer_name = key, own
        if issuer:
            parent = x509.load_pem_x509_certificate(issuer[0].read_bytes())
            signer = serialization.load_pem_private_key(issuer[1].read_bytes(), None)
            issuer_name = parent.subject
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(own)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(not issuer, None), critical=True)
        )
        if hosts:
            names = []
            for host in hosts:
                try:
                    names.append(x509.IPAddress(ipaddress.ip_address(host)))
                except ValueError:
                    names.append(x509.DNSName(host))
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


def der(path):
    """The certificate of a PEM file as the base64 of DER."""
    return "".join(re.findall(r"^[A-Za-z0-9+/=]+$", path.read_text(), re.M))


# --- docker-registry ------------------------------------------------------------------------------


def htpasswd(path, users):
    import bcrypt

    lines = [f"{u}:{bcrypt.hashpw(p.encode(), bcrypt.gensalt(4)).decode()}\n" for u, p in users]
    path.write_text("".join(lines))


class Distribution(contextlib.AbstractContextManager):
    """users: [(name, password)] for basic authentication. token: a TokenServer. tls: (certificate,
    key). client_ca: who must have signed a client's certificate."""

    def __init__(self, directory, users=None, token=None, tls=None, client_ca=None):
        directory.mkdir()
        self.directory, self.log = directory, directory / "log"
        config = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
            "http": {"addr": "127.0.0.1:0", "secret": "for tests"},
        }
        if users:
            htpasswd(directory / "htpasswd", users)
            config["auth"] = {"htpasswd": {"realm": "t", "path": str(directory / "htpasswd")}}
        if token:
            config["auth"] = {
                "token": {
                    "realm": token.realm,
                    "service": token.service,
                    "issuer": token.issuer,
                    "rootcertbundle": str(token.authority.path),
                }
            }
        if tls:
            config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
            if client_ca:
                config["http"]["tls"]["clientcas"] = [str(client_ca)]
        path = directory / "config.yml"
        path.write_text(json.dumps(config))  # which YAML is a superset of
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.host = f"127.0.0.1:{self.wait_port()}"

    def wait_port(self):
        deadline = time.monotonic() + TIMEOUT
        while not (found := re.search(r"listening on [^\s\"]*:(\d+)", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return int(found[1])

    def requests(self, text):
        """How many lines of its log have the text."""
        return sum(text in line for line in self.log.read_text().splitlines())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(TIMEOUT)


# --- servers of our own ---------------------------------------------------------------------------


SEEN = ("command", "path", "place", "query", "headers", "authorization")


class Request(http.server.BaseHTTPRequestHandler):
    """What handle() gets. Beside http.server's members: .query (a dict of lists), .place (the path
    without it), .body(), .reply(status, body, **headers with _ for -), .raw(bytes)."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT

    def log_message(self, *_):
        pass

    def handle_any(self):
        self.place, _, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        self.taken = None
        # The object itself serves all requests of its connection.
        seen = types.SimpleNamespace(**{k: getattr(self, k) for k in SEEN})
        self.server.owner.requests.append(seen)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.server.owner.handle_request(self)
        if self.taken is None and int(self.headers.get("Content-Length", 0)) > 0:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_CONNECT = handle_any

    def handle(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            super().handle()

    def body(self):
        if self.taken is None:
            self.taken = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self.taken

    def reply(self, status, body=b"", length=None, **headers):
        body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", len(body) if length is None else length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def raw(self, data):
        self.wfile.write(data)
        self.wfile.flush()

    def cut(self):
        """Ends the connection."""
        self.close_connection = True

    def wait_for_end(self):
        """Says nothing until the client has gone, or the test is over."""
        self.server.owner.over.wait(TIMEOUT)
        self.close_connection = True

    @property
    def authorization(self):
        return self.headers.get("Authorization")


class Scripted(contextlib.AbstractContextManager):
    def __init__(self, handle, tls=None):
        self.handle_request, self.requests = handle, []
        self.over = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.server.owner, self.server.daemon_threads = self, True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(TIMEOUT)


class TokenServer(Scripted):
    """Gives tokens. users: {name: (password, [repository prefixes that may be pushed to])}; what
    begins with public may be pulled by anybody. refresh: {refresh token: user}."""

    service, issuer = "test registry", "test issuer"

    def __init__(self, authority, users, public="public/", refresh={}):
        super().__init__(self.give)
        self.authority, self.users, self.public = authority, users, public
        self.refresh, self.realm = refresh, f"{self.url}/token"
        self.certificate, self.key = authority.certificate("token")
        self.asked = []  # (user or None, scopes)

    def user_of(self, request, form):
        if "refresh_token" in form:
            return self.refresh.get(form["refresh_token"][0], False)
        if not request.authorization:
            return None
        user, _, password = (
            base64.b64decode(request.authorization.split()[1]).decode().partition(":")
        )
        return user if self.users.get(user, ("",))[0] == password else False

    def grant(self, user, scope):
        kind, name, actions = scope.split(":")
        mine = self.users[user][1] if user else ()
        allowed = {"pull"} if name.startswith(self.public) or user else set()
        allowed |= {"push"} if any(name.startswith(prefix) for prefix in mine) else set()
        granted = sorted(allowed & set(actions.split(",")))
        return {"type": kind, "name": name, "actions": granted}

    def give(self, request):
        import jwt

        form = request.query
        if request.command == "POST":
            form = urllib.parse.parse_qs(request.body().decode())
        user = self.user_of(request, form)
        scopes = [s for text in form.get("scope", []) for s in text.split()]
        self.asked.append((user, scopes))
        if user is False or form.get("service") != [self.service]:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]}
            request.reply(401, error)
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": self.service, "sub": user or "", "jti": str(len(self.asked)),
            "iat": now, "nbf": now - 10, "exp": now + 300,
            "access": [self.grant(user, scope) for scope in scopes],
        }  # fmt: skip
        token = jwt.encode(
            claims, self.key.read_text(), algorithm="ES256", headers={"x5c": [der(self.certificate)]}
        )
        request.reply(200, {"token": token, "access_token": token, "expires_in": 300})


# --- content --------------------------------------------------------------------------------------


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def noise(size, seed=0):
    """Bytes that look random and are the same each time."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


class Layout:
    """An OCI layout directory under construction."""

    def __init__(self, path):
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, media_type, data):
        data = json.dumps(data).encode() if isinstance(data, dict) else data
        (self.path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        kind = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def manifest(self, layers, architecture="amd64"):
        """An image whose layers are of those bytes (no tars)."""
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
        return self.blob(
            "manifest.v1+json",
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": self.blob("config.v1+json", config),
                "layers": [self.blob("layer.v1.tar", layer) for layer in layers],
            },
        )

    def index(self, *manifests):
        return self.blob(
            "index.v1+json",
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [
                    m | {"platform": {"os": "linux", "architecture": f"arch{i}"}}
                    for i, m in enumerate(manifests)
                ],
            },
        )

    def finish(self, top):
        index = {"schemaVersion": 2, "manifests": [top]}
        (self.path / "index.json").write_text(json.dumps(index))
        return top["digest"]


def blobs_of(path):
    """{digest: bytes} of an OCI layout, all of them verified."""
    found = {}
    for file in (Path(path) / "blobs/sha256").iterdir():
        data = file.read_bytes()
        assert digest(data) == f"sha256:{file.name}"
        found[digest(data)] = data
    return found


# --- connections ----------------------------------------------------------------------------------


class Wire(contextlib.AbstractContextManager):
    """Passes connections on to a server, byte by byte, counts them, and can fail:

        .host           where to connect to instead
        .received       how many bytes went to clients; .sent: how many came from them
        .hold_at        when that many went to a client over one connection, no more do there:
                        the others' small answers come through; None: never
        .cut_at         when that many went either way, all connections end, once; None: never
    """

    PIECE = 16384

    def __init__(self, host):
        self.target = ("127.0.0.1", int(host.rpartition(":")[2]))
        self.received, self.sent, self.hold_at, self.cut_at = 0, 0, None, None
        self.lock, self.over, self.sockets = threading.Lock(), threading.Event(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
                with self.lock:
                    self.sockets += [client, server]
                for run, source, sink in (self.send, client, server), (self.receive, server, client):
                    threading.Thread(target=run, args=(source, sink), daemon=True).start()

    @staticmethod
    def end(*sockets):
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def send(self, client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(self.PIECE):
                server.sendall(data)
                self.count(0, len(data))
        self.end(client, server)

    def receive(self, server, client):
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(self.PIECE):
                while self.hold_at is not None and passed >= self.hold_at:
                    if self.over.wait(0.01):
                        break
                client.sendall(data)
                passed += len(data)
                self.count(len(data), 0)
        self.end(client, server)

    def count(self, received, sent):
        with self.lock:
            self.received += received
            self.sent += sent
            if self.cut_at is not None and max(self.received, self.sent) >= self.cut_at:
                self.cut_at = None
                self.end(*self.sockets)

    def reset(self):
        """Fails no more, and counts anew."""
        with self.lock:
            self.received, self.sent, self.hold_at, self.cut_at = 0, 0, None, None

    def __exit__(self, *_):
        self.over.set()
        self.end(self.listener, *self.sockets)


class Simple(Scripted):
    """A registry in memory that takes and gives anything: .blobs (by digest), .manifests (by
    REPOSITORY/REFERENCE: (type, bytes)). change(request, data): what it gives instead of data."""

    def __init__(self, change=lambda request, data: data):
        super().__init__(self.answer)
        self.blobs, self.manifests, self.change = {}, {}, change

    def answer(self, request):
        repository, kind, what = re.fullmatch(
            r"/v2/(.+)/(manifests|blobs)/(.+)", request.place
        ).groups()
        getattr(self, f"{request.command.lower()}_{kind}")(request, repository, what)

    def post_blobs(self, request, repository, _):
        request.reply(202, Location=f"/v2/{repository}/blobs/upload")

    def put_blobs(self, request, *_):
        self.blobs[request.query["digest"][0]] = request.body()
        request.reply(201)

    def get_blobs(self, request, _, what):
        if what not in self.blobs:
            return request.reply(404)
        return request.reply(200, self.change(request, self.blobs[what]))

    head_blobs = get_blobs

    def put_manifests(self, request, repository, what):
        body, kind = request.body(), request.headers["Content-Type"]
        for reference in what, digest(body):
            self.manifests[f"{repository}/{reference}"] = (kind, body)
        request.reply(201)

    def get_manifests(self, request, repository, what):
        if f"{repository}/{what}" not in self.manifests:
            return request.reply(404)
        kind, body = self.manifests[f"{repository}/{what}"]
        body = self.change(request, body)
        return request.reply(200, body, Content_Type=kind, Docker_Content_Digest=digest(body))

    head_manifests = get_manifests
