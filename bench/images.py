# SPDX-License-Identifier: Apache-2.0
"""Makes the images that bench/unpack and bench/package measure with: OCI layouts under build/bench/images, made once.

    debian   a Debian root with a toolchain and headers: 1 GB in 30,000 files
    node     what npm installs for a web application: tens of thousands of small files
    files    a few large files, which gzip makes a third smaller

A tree is cut into layers of about the same size, in the order of the paths, so that their entries are
those of an image that was built by so many steps; no layer replaces what another one has.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import shutil
import stat
import subprocess
import zlib

SUITE = "bookworm"
DEBIAN = ["build-essential", "clang", "git", "libboost-dev", "linux-headers-amd64", "python3"]
NODE = ["next", "react-scripts", "typescript", "webpack-cli", "eslint"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, **options)


def make_debian(tree):
    run("debootstrap", "--variant=minbase", f"--include={','.join(DEBIAN)}", SUITE, tree)
    run("chroot", tree, "apt-get", "clean")


def make_node(tree):
    tree.mkdir()
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", f"{tree}.cache",
        *NODE, cwd=tree, stderr=subprocess.DEVNULL)
    shutil.rmtree(f"{tree}.cache")


def make_files(tree):
    tree.mkdir()
    chance = random.Random(1)
    words = [chance.randbytes(9) for _ in range(5000)]
    for i in range(6):
        with open(tree / f"file-{i}", "wb") as file:
            for _ in range(64):
                file.write(b"".join(chance.choices(words, k=60_000)))  # 540 KB each
                file.write(chance.randbytes(1 << 20))


TREES = {"debian": make_debian, "node": make_node, "files": make_files}


def paths_of(tree):
    """(path, size) of everything, a directory before what is in it."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        here = os.path.relpath(folder, tree)
        yield here, 0
        for name in sorted(files) + [name for name in folders if os.path.islink(f"{folder}/{name}")]:
            entry = os.lstat(f"{folder}/{name}")
            yield os.path.normpath(f"{here}/{name}"), entry.st_size if stat.S_ISREG(entry.st_mode) else 0


def cut(tree, n):
    """Lists of paths, each with the directories that lead to them."""
    paths = list(paths_of(tree))
    share = sum(size + 512 for _, size in paths) / n
    layers, filled = [[]], 0
    for path, size in paths:
        if filled > share * len(layers) and len(layers) < n:
            layers.append([])
        layers[-1].append(path)
        filled += size + 512
    for layer in layers:
        parents = {str(parent) for path in layer for parent in pathlib.PurePath(path).parents}
        yield sorted(parents - set(layer)) + layer


def write_blob(layout, write):
    """write(add) gives the bytes. Returns digest and size."""
    temporary = layout / f"blob.{id(write)}"
    digester, size = hashlib.sha256(), 0
    with open(temporary, "wb") as file:

        def add(data):
            nonlocal size
            digester.update(data)
            file.write(data)
            size += len(data)

        write(add)
    temporary.rename(layout / "blobs/sha256" / digester.hexdigest())
    return f"sha256:{digester.hexdigest()}", size


def compressor(kind):
    if kind == "gzip":
        return zlib.compressobj(6, wbits=31)
    return None


def write_layer(layout, tree, paths, kind):
    """Returns descriptor and DiffID."""
    plain = hashlib.sha256()

    def write(add):
        tar = subprocess.Popen(["tar", "-c", "--format=pax", "--xattrs", "--numeric-owner",
                                "--pax-option=delete=atime,delete=ctime", "--no-recursion", "--null",
                                "-C", tree, "-T", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        zstd = subprocess.Popen(["zstd", "-q", "-T1"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE) if kind == "zstd" else None
        packer = compressor(kind)
        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            threads.submit(lambda: (tar.stdin.write(b"\0".join(map(os.fsencode, paths))),
                                    tar.stdin.close()))
            if zstd is not None:
                reader = threads.submit(lambda: [add(data) for data in
                                                 iter(lambda: zstd.stdout.read(1 << 20), b"")])
            for data in iter(lambda: tar.stdout.read(1 << 20), b""):
                plain.update(data)
                if zstd is not None:
                    zstd.stdin.write(data)
                else:
                    add(packer.compress(data))
            if zstd is not None:
                zstd.stdin.close()
                reader.result()
            else:
                add(packer.flush())
        if tar.wait() or (zstd is not None and zstd.wait()):
            raise RuntimeError("making a layer failed")

    digest, size = write_blob(layout, write)
    media_type = f"application/vnd.oci.image.layer.v1.tar+{kind}"
    return {"mediaType": media_type, "digest": digest, "size": size}, f"sha256:{plain.hexdigest()}"


def write_layout(layout, tree, n, kind):
    (layout / "blobs/sha256").mkdir(parents=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        layers = list(threads.map(lambda paths: write_layer(layout, tree, paths, kind), cut(tree, n)))

    def document(kind_, content):
        digest, size = write_blob(layout, lambda add: add(json.dumps(content).encode()))
        return {"mediaType": f"application/vnd.oci.image.{kind_}.v1+json", "digest": digest,
                "size": size}

    config = document("config", {
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine), "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}})
    manifest = document("manifest", {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [descriptor for descriptor, _ in layers]})
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def layout_of(cache, tree_name, n, kind, say):
    """The layout of a tree in n layers; made if it is not there yet."""
    layout = cache / f"{tree_name}-{n}-{kind}"
    if layout.exists():
        return layout
    tree = cache / tree_name
    if not tree.exists():
        say(f"making the tree {tree_name}")
        begun = cache / f"{tree_name}.begun"
        if begun.exists():
            shutil.rmtree(begun)
        cache.mkdir(parents=True, exist_ok=True)
        TREES[tree_name](begun)
        begun.rename(tree)
    say(f"making the image {layout.name}")
    begun = cache / f"{layout.name}.begun"
    if begun.exists():
        shutil.rmtree(begun)
    write_layout(begun, tree, n, kind)
    begun.rename(layout)
    return layout


def layers_of(layout):
    """The files of its layers, the lowest first, and how they are compressed."""
    def blob(descriptor):
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    return [(blob(layer), layer["mediaType"].rpartition("+")[2]) for layer in manifest["layers"]]
