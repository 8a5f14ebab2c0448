# SPDX-License-Identifier: Apache-2.0
"""Images that are not what they say: SPEC row L7. Truncated, flipped, of another size or digest:
each is an error that says so, nothing of it stays, and the same image whole works afterwards."""

import random
import re
import shutil

import pytest
from layouts import packed, write_layout
from oci import Layer, digest

NAME = "example.org/damaged:1"
BASE = Layer().dir("etc").file("etc/base", "below").tar()


def small_layer():
    """Of each kind of entry, with content that does and does not fill its last block."""
    return (
        Layer().dir("d", xattrs={"user.x": b"y"}).file("d/file", b"x" * 700).file("d/empty", "")
        .file("d/full", bytes(512)).symlink("d/link", "file").hardlink("d/hard", "d/file")
        .whiteout("etc/base").fifo("d/fifo").file("d/" + "long" * 40, "by a pax header")
    ).tar()  # fmt: skip


@pytest.fixture
def pool(varve, make_fs):
    """Root and pool in memory, so that hundreds of attempts take seconds."""
    place = make_fs("ext4")
    varve.root = place / "root"
    varve("pool", "create", "default", "--driver", "native")
    return varve


def put(varve, tempdir, layers, edit=None, status=0):
    layout = write_layout(tempdir / "layout", layers, edit)
    done = varve("image", "import", layout, "--name", NAME, status=None)
    shutil.rmtree(layout)
    assert status is None or done.returncode == status, done.stderr
    return done


def keys(varve):
    return sorted(info["name"] for info in varve.json("snapshot", "ls"))


def refused(varve, base):
    done = varve("image", "unpack", NAME, status=None)
    assert done.returncode > 0, done
    assert "layer 2 of 2" in done.stderr
    assert keys(varve) == [base], "something of the damaged layer is there"
    return done.stderr


def test_plain_layer_truncated_at_every_block(pool, tempdir):
    """Right digests of too short an archive."""
    whole, base = small_layer(), packed(BASE)
    end = len(whole.rstrip(b"\0"))
    cuts = [*range(0, end + 512, 512), *range(100, end, 1024 + 77)]
    for cut in cuts:
        put(pool, tempdir, [base, packed(whole[:cut], "")])
        message = refused(pool, base.diff_id)
        assert "truncated" in message, f"cut at {cut}: {message}"
    put(pool, tempdir, [base, packed(whole, "")])
    assert pool.json("image", "unpack", NAME)["unpacked"] == 1


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_layer_truncated(pool, tempdir, kind):
    base, whole = packed(BASE), packed(small_layer(), kind)
    for cut in range(8, whole.size, 37):
        short = packed(whole.data[:cut], "", diff_id=whole.diff_id)
        short.kind = kind
        put(pool, tempdir, [base, short])
        assert "ends too early" in refused(pool, base.diff_id), cut
    put(pool, tempdir, [base, whole])
    assert pool.json("image", "unpack", NAME)["unpacked"] == 1


@pytest.mark.parametrize("kind", ["gzip", "zstd", ""])
def test_flipped_bytes_in_the_store(pool, tempdir, kind):
    """What the disk did to a blob after it was verified."""
    chance = random.Random(kind)
    base, whole = packed(BASE), packed(small_layer(), kind)
    put(pool, tempdir, [base, whole])
    blob = pool.root / "content/blobs/sha256" / whole.digest[7:]
    blob.chmod(0o600)
    for _ in range(25):
        at = chance.randrange(whole.size)
        damaged = bytearray(whole.data)
        damaged[at] ^= 1 << chance.randrange(8)
        blob.write_bytes(damaged)
        refused(pool, base.diff_id)
    blob.write_bytes(whole.data)
    assert pool.json("image", "unpack", NAME)["unpacked"] == 1


def test_another_layer_than_the_diff_id_says(pool, tempdir):
    """The first layer that is wrong, too: nothing at all is there then."""
    wrong = packed(small_layer(), diff_id=digest(b"another"))
    put(pool, tempdir, [wrong])
    done = pool("image", "unpack", NAME, status=None)
    assert done.returncode > 0 and digest(b"another") in done.stderr
    assert keys(pool) == []
    base = packed(BASE)
    put(pool, tempdir, [base, wrong])
    assert "decompressed" in refused(pool, base.diff_id)


def changed(**fields):
    def edit(config, manifest):
        manifest["layers"][1].update(fields)

    return edit


def other_config(**fields):
    def edit(config, manifest):
        data = b"{}"
        manifest["config"] = {"mediaType": "application/vnd.oci.image.config.v1+json",
                              "digest": digest(data), "size": len(data)} | fields  # fmt: skip

    return edit


def fewer_diff_ids(config, manifest):
    config["rootfs"]["diff_ids"].pop()


def more_diff_ids(config, manifest):
    config["rootfs"]["diff_ids"].append(digest(b"more"))


def diff_id(text):
    def edit(config, manifest):
        config["rootfs"]["diff_ids"][1] = text

    return edit


LIES = {
    "size-too-small": (changed(size=10), "10"),
    "size-too-large": (changed(size=10**9), "1000000000"),
    "size-negative": (changed(size=-1), "size"),
    "size-beyond-numbers": (changed(size=2**64), "size|number|integer|too"),
    "digest-of-nothing-here": (changed(digest=digest(b"nothing")), digest(b"nothing")),
    "digest-is-a-path": (changed(digest="sha256:../../../../../etc/passwd"), "digest"),
    "digest-too-short": (changed(digest="sha256:00"), "digest"),
    "digest-of-another-kind": (changed(digest="md5:" + "0" * 32), "digest"),
    "config-of-nothing-here": (other_config(), digest(b"{}")),
    "fewer-diff-ids": (fewer_diff_ids, "manifest has 2 layers, its config has 1"),
    "more-diff-ids": (more_diff_ids, "manifest has 2 layers, its config has 3"),
    "diff-id-is-a-path": (diff_id("../../etc"), "digest|diff"),
    "diff-id-is-no-text": (diff_id(7), "diff"),
}


@pytest.mark.parametrize("lie", LIES)
def test_documents_that_lie(pool, tempdir, lie):
    edit, message = LIES[lie]
    base, second = packed(BASE), packed(small_layer())
    done = put(pool, tempdir, [base, second], edit, status=None)
    if done.returncode == 0:
        done = pool("image", "unpack", NAME, status=None)
    assert done.returncode > 0, "nobody noticed"
    assert re.search(message, done.stderr, re.IGNORECASE), done.stderr
    assert set(keys(pool)) <= {base.diff_id}
    put(pool, tempdir, [base, second])
    assert pool.json("image", "unpack", NAME)["layers"] == 2
