# SPDX-License-Identifier: Apache-2.0
"""The least of a gRPC client: bytes by hand, so that tests can also send wrong ones, hold answers
back, and need no library. One call per connection.

HTTP/2 frames are those of RFC 9113, headers are literals without Huffman (RFC 7541). Of the headers
of an answer nothing is decoded but grpc-status, whose one or two digits stand there as they are.
"""

import re
import socket
import struct

from patience import TIMEOUT

SERVICE = "/containerd.services.snapshots.v1.Snapshots/"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4

OK, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS = 0, 3, 5, 6
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL = 8, 9, 12, 13


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def setting(number, value):
    return frame(SETTINGS, payload=struct.pack(">HI", number, value))


def header(name, value):
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def headers(path, method="POST"):
    fields = {":method": method, ":scheme": "http", ":path": path, ":authority": "varve",
              "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    return b"".join(header(*field) for field in fields.items())


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def message(fields):
    """A protobuf message of strings (or bytes): {number: value or list of values}."""
    out = b""
    for number, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def prefixed(body):
    return struct.pack(">BI", 0, len(body)) + body


class Call:
    """One call on a connection of its own. window=0 lets the server send nothing of its answer
    until open_window()."""

    def __init__(self, path, window=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        self.data, self.trailers = b"", b""
        self.send(PREFACE + (setting(4, window) if window is not None else frame(SETTINGS)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def start(self, method, body, path=SERVICE):
        self.send(frame(HEADERS, END_HEADERS, 1, headers(path + method)))
        self.send(frame(DATA, END_STREAM, 1, prefixed(body)))

    def open_window(self, size=1 << 24):
        self.send(frame(WINDOW_UPDATE, stream=0, payload=struct.pack(">I", size)))
        self.send(frame(WINDOW_UPDATE, stream=1, payload=struct.pack(">I", size)))

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data

    def read_frame(self):
        """kind, flags, stream and payload of the next frame."""
        head = self.read(9)
        size = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        return kind, flags, stream, self.read(size)

    def wait_for(self, wanted):
        while (got := self.read_frame())[0] != wanted:
            pass
        return got

    def finish(self):
        """Reads to the end of the call and returns its grpc-status; the messages are in .data."""
        while True:
            kind, flags, stream, payload = self.read_frame()
            if kind == RST_STREAM:
                raise ConnectionError("the server reset the stream")
            if stream == 1 and kind == DATA:
                self.data += payload
            if stream == 1 and kind == HEADERS and flags & END_STREAM:
                self.trailers = payload
                return self.status()

    def status(self):
        # Strings of two bytes at most are never shorter in Huffman's code, so they are plain; the
        # name before them is never plain digits.
        found = re.search(rb"\x01([0-9])(?![0-9])|\x02(1[0-9])", self.trailers)
        assert found, f"no grpc-status in {self.trailers!r}"
        return int(found[1] or found[2])


def call(path, method, fields, **kwargs):
    """Makes one call; returns its grpc-status and the answer's bytes."""
    with Call(path) as self:
        self.start(method, message(fields), **kwargs)
        return self.finish(), self.data


def listens(path):
    """Whether one can connect: a socket's file is there a little earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def serves(path, pool="default"):
    """Whether the daemon answers a simple call."""
    return call(path, "List", {1: pool})[0] == OK
