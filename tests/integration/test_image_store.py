# SPDX-License-Identifier: Apache-2.0
"""Images in and out, with the tools that others make and read them with. SPEC rows L6 and L7.

umoci makes an image, skopeo copies it between the forms that it comes in; what Varve takes in and
gives out must be the same to the byte, and readable by skopeo.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from conftest import TIMEOUT, VARVE

NAME = "example.org/app:1"


def run(*args, **kwargs):
    options = dict(check=True, capture_output=True, text=True, timeout=TIMEOUT) | kwargs
    return subprocess.run(args, **options)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"needs {program}")


@pytest.fixture
def layout(tempdir):
    """An OCI layout made by umoci: the image "app" of two layers, with a config."""
    need("umoci", "skopeo")
    path = tempdir / "layout"
    image = f"{path}:app"
    run("umoci", "init", "--layout", path)
    run("umoci", "new", "--image", image)
    for number, size in enumerate((3_000_000, 1000)):
        bundle = tempdir / f"bundle-{number}"
        run("umoci", "unpack", "--image", image, bundle)
        (bundle / "rootfs" / f"file-{number}").write_bytes(os.urandom(size))
        run("umoci", "repack", "--image", image, bundle)
    run("umoci", "config", "--image", image, "--config.cmd", "sh", "--config.env", "A=b c",
        "--config.workingdir", "/srv", "--config.label", "k=v", "--architecture", "amd64")  # fmt: skip
    run("umoci", "gc", "--layout", path)
    return path


def blobs(place):
    """Content by digest of a layout or of a root's content store; each checked."""
    found = {}
    for file in (place / "blobs/sha256").iterdir():
        found[file.name] = file.read_bytes()
        assert hashlib.sha256(found[file.name]).hexdigest() == file.name
    return found


def manifest_of(layout):
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return entry["digest"]


def store(varve):
    return varve.root / "content"


def begun(varve):
    return list((store(varve) / "ingest").iterdir())


# --- in -------------------------------------------------------------------------------------------


def test_layout_directory(varve, layout):
    assert varve("image", "import", layout, "--name", "example.org/app").stdout == "example.org/app:app\n"
    assert blobs(store(varve)) == blobs(layout)
    (image,) = varve.json("image", "ls")
    assert image["digest"] == manifest_of(layout)
    assert image["platforms"] == ["linux/amd64"] and image["complete"]
    details = varve.json("image", "inspect", "example.org/app:app", "--platform", "linux/amd64")
    config = details["config"]
    assert config["cmd"] == ["sh"] and config["working_dir"] == "/srv"
    assert "A=b c" in config["env"] and config["labels"] == {"k": "v"}
    assert len(details["layers"]) == len(config["diff_ids"]) == 2
    chain = config["diff_ids"][0]
    chain = "sha256:" + hashlib.sha256(f"{chain} {config['diff_ids'][1]}".encode()).hexdigest()
    assert details["chain_id"] == chain


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
def test_oci_archive(varve, layout, tempdir, compress):
    archive = tempdir / "app.tar"
    run("skopeo", "copy", f"oci:{layout}:app", f"oci-archive:{archive}:{NAME}")
    if compress:
        need(compress)
        run(compress, archive)
        (archive,) = tempdir.glob("app.tar.*")
    assert varve("image", "import", archive).stdout == f"{NAME}\n"
    assert blobs(store(varve)) == blobs(layout)


def test_standard_input(varve, layout, tempdir):
    archive = tempdir / "app.tar"
    run("skopeo", "copy", f"oci:{layout}:app", f"oci-archive:{archive}:{NAME}")
    cat = subprocess.Popen(["cat", archive], stdout=subprocess.PIPE)
    assert varve("image", "import", "-", stdin=cat.stdout).stdout == f"{NAME}\n"
    cat.stdout.close()
    assert cat.wait(timeout=TIMEOUT) == 0


def test_docker_archive(varve, layout, tempdir):
    """skopeo writes what Docker up to 24 did: uncompressed layers, links to them, legacy files."""
    archive = tempdir / "app.tar"
    run("skopeo", "copy", f"oci:{layout}:app", f"docker-archive:{archive}:{NAME}")
    with tarfile.open(archive) as tar:
        (saved,) = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(saved["Config"]))
        assert any(entry.issym() for entry in tar)
    assert varve("image", "import", archive).stdout == f"{NAME}\n"
    details = varve.json("image", "inspect", NAME, "--platform", "linux/amd64")
    assert details["config"]["diff_ids"] == config["rootfs"]["diff_ids"]
    assert [layer["digest"] for layer in details["layers"]] == config["rootfs"]["diff_ids"]
    assert f"{details['config_blob']['digest'][7:]}.json" == saved["Config"]
    again = varve.at(varve.root.with_name("again"))
    again("image", "import", archive)
    assert again.json("image", "ls")[0]["digest"] == details["digest"]


def test_layout_on_the_same_file_system_is_shared(varve, layout, btrfs):
    """No block of a layer is written again where the file system can share it."""
    need("filefrag")
    shutil.copytree(layout, btrfs / "layout")
    near = varve.at(btrfs / "root")
    near("image", "import", btrfs / "layout", "--name", NAME)
    assert blobs(store(near)) == blobs(layout)
    large = max((store(near) / "blobs/sha256").iterdir(), key=lambda file: file.stat().st_size)
    assert "shared" in run("filefrag", "-v", large).stdout


# --- out ------------------------------------------------------------------------------------------


@pytest.fixture
def imported(varve, layout):
    varve("image", "import", layout, "--name", NAME)
    return varve


@pytest.mark.parametrize(
    "form, transport",
    [("oci", "oci-archive:{}:1"), ("dir", "oci:{}:1"), ("docker", "oci-archive:{}:1"),
     ("docker", "docker-archive:{}:example.org/app:1")],
)  # fmt: skip
def test_skopeo_reads_exports(imported, layout, tempdir, form, transport):
    out = tempdir / "out"
    imported("image", "export", NAME, "--format", form, "--output", out)
    run("skopeo", "copy", transport.format(out), f"dir:{tempdir / 'copy'}")
    if transport.startswith("oci"):
        manifest = (tempdir / "copy/manifest.json").read_bytes()
        assert "sha256:" + hashlib.sha256(manifest).hexdigest() == manifest_of(layout)
    config = json.loads(run("skopeo", "inspect", "--config", transport.format(out)).stdout)
    assert config["config"]["Cmd"] == ["sh"]


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_exports_are_the_same_to_the_byte(imported, tempdir, form):
    first, second = tempdir / "first.tar", tempdir / "second.tar"
    imported("image", "export", NAME, "--format", form, "--output", first)
    other = imported.at(tempdir / "other")
    assert other("image", "import", first).stdout == f"{NAME}\n"
    with second.open("wb") as file:
        other("image", "export", NAME, "--format", form, "--output", "-",
              stdout=file, stderr=subprocess.PIPE, capture_output=False)  # fmt: skip
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        for entry in tar:
            assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 0)


def test_export_keeps_what_is_there(imported, tempdir):
    out = tempdir / "out.tar"
    out.write_text("mine")
    done = imported("image", "export", NAME, "--output", out, status=5)
    assert "it exists already" in done.stderr and out.read_text() == "mine"


# --- interrupted ----------------------------------------------------------------------------------


def test_killed_import_leaves_no_garbage(varve, layout, tempdir):
    """Killed at many moments: what it leaves is whole blobs, begun ones, or nothing; a second try
    succeeds, and prune deletes the rest."""
    archive = tempdir / "app.tar"
    run("skopeo", "copy", f"oci:{layout}:app", f"oci-archive:{archive}:{NAME}")
    for delay in range(0, 60, 4):
        process = subprocess.Popen([VARVE, "--root", varve.root, "image", "import", archive],
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=TIMEOUT)
        if not (store(varve) / "blobs/sha256").exists():
            continue
        assert set(blobs(store(varve)).items()) <= set(blobs(layout).items())
        if not varve.json("image", "ls"):
            varve("image", "prune")
            assert blobs(store(varve)) == {} and begun(varve) == []
        varve("image", "import", archive)
        assert blobs(store(varve)) == blobs(layout)
        varve("image", "rm", NAME)
        varve("image", "prune")
        assert blobs(store(varve)) == {} and begun(varve) == []


def test_full_disk(varve, layout, make_fs):
    root = make_fs("ext4", "24M")
    small = varve.at(root / "root")
    small("pool", "create", "default", "--driver", "native")
    free = os.statvfs(root).f_bfree * os.statvfs(root).f_frsize  # root takes what is reserved, too
    filler = root / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - 2_000_000, 4096))
    done = small("image", "import", layout, "--name", NAME, status=None)
    assert done.returncode == 10 and "No space left on device" in done.stderr
    assert blobs(store(small)) == {} and begun(small) == []
    assert small.json("image", "ls") == []
    filler.unlink()
    small("image", "import", layout, "--name", NAME)
    assert blobs(store(small)) == blobs(layout)


def test_imports_at_once(varve, layout):
    """Of several processes that import the same image all succeed, and prune beside them takes
    nothing that they need."""

    command = [VARVE, "--root", varve.root, "image"]
    varve("image", "import", layout, "--name", "first:1")
    processes = [
        subprocess.Popen([*command, "import", layout, "--name", f"app:{number}"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for number in range(4)
    ]  # fmt: skip
    varve("image", "rm", "first:1")
    while any(process.poll() is None for process in processes):
        varve("image", "prune")
    assert [(p.wait(), p.stderr.read()) for p in processes] == [(0, b"")] * 4
    varve("image", "prune")
    assert blobs(store(varve)) == blobs(layout)
    assert len(varve("image", "ls", "-q").stdout.splitlines()) == 4


def test_wrong_usage_of_names(varve, imported):
    assert "lower case" in varve("image", "tag", NAME, "Debian", status=3).stderr
    assert "there is no image" in varve("image", "inspect", "none", status=4).stderr
    assert "--format is oci, dir or docker" in varve("image", "export", NAME, "-f", "x", "-o", "y",
                                                     status=2).stderr  # fmt: skip


# --- the module -----------------------------------------------------------------------------------


def test_without_the_module_of_archives(varve, imported, layout, alone, tempdir):
    """Directories need it not; archives say what is missing, and leave nothing."""
    _, env = alone
    varve("image", "import", layout, "--name", "again", env=env)
    varve("image", "export", NAME, "--format", "dir", "-o", tempdir / "dir", env=env)
    assert blobs(tempdir / "dir") == blobs(layout)
    archive = tempdir / "app.tar"
    done = varve("image", "export", NAME, "-o", archive, status=6, env=env)
    assert "libvarve-archive, is not installed" in done.stderr
    assert not archive.exists()
    varve("image", "export", NAME, "-o", archive)
    done = varve("image", "import", archive, "--name", "third", status=6, env=env)
    assert "libvarve-archive, is not installed" in done.stderr
    assert "third" not in varve("image", "ls").stdout


def test_other_commands_load_no_libarchive(varve, layout, tempdir):
    env = dict(os.environ, LD_DEBUG="libs")
    loaded = varve("image", "import", layout, "--name", NAME, env=env).stderr
    assert "libvarve.so" in loaded and "libarchive" not in loaded
    loaded = varve("image", "export", NAME, "-o", tempdir / "app.tar", env=env).stderr
    assert "libarchive" in loaded
