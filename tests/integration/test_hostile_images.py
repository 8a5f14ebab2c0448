# SPDX-License-Identifier: Apache-2.0
"""Archives, layouts and configs that are made to lead out: SPEC row L8. What layers try is in
test_hostile.py. Each case names what it is taken from."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile

import pytest
from conftest import TIMEOUT, VARVE
from layouts import packed, write_layout
from oci import Layer, digest
from test_bombs import LIMIT, SANITIZED, WATCHER
from test_run import app, busybox_layer, import_image, left, run, NOTHING  # noqa: F401 (app is a fixture)

NAME = "example.org/evil:1"


def tar_of(path, *entries):
    """A tar of (name, bytes), or (name, tarfile type, target)."""
    with tarfile.open(path, "w") as archive:
        for name, what, *target in entries:
            entry = tarfile.TarInfo(name)
            if target:
                entry.type, entry.linkname = what, target[0]
                archive.addfile(entry)
            else:
                entry.size = len(what)
                archive.addfile(entry, io.BytesIO(what))
    return path


def imported_watched(varve, *args):
    """Imports under a watch: (status, error, kilobytes)."""
    command = [sys.executable, "-S", "-c", WATCHER, VARVE, "--root", varve.root, "image", "import", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stderr, int(done.stdout.split()[-1])


def blobs(varve):
    return [path.name for path in (varve.root / "content").glob("*/**/*") if path.is_file()]


# --- docker save -------------------------------------------------------------------------------------

LAYER = Layer().file("f", "x").tar()
CONFIG = json.dumps({"architecture": "amd64", "os": "linux",
                     "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]}}).encode()  # fmt: skip


def saved(config="c.json", layers=("l/layer.tar",), tags=(NAME,)):
    return json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": list(layers)}]).encode()


# name: the entries of the archive, with {victim} for a file of the host that layers and configs may be
SAVES = {
    # CVE-2014-9358 (Docker): ids of images that are paths
    "layer-path-out": [("c.json", CONFIG), ("manifest.json", saved(layers=["../../../..{victim}"]))],
    "layer-path-absolute": [("c.json", CONFIG), ("manifest.json", saved(layers=["{victim}"]))],
    "config-path-out": [("l/layer.tar", LAYER), ("manifest.json", saved(config="../../../..{victim}"))],
    # CVE-2014-9356 (Docker), and what docker save itself once wrote for layers that are there twice
    "layer-is-a-link-out": [("c.json", CONFIG), ("l/layer.tar", tarfile.SYMTYPE, "{victim}"),
                            ("manifest.json", saved())],
    "layer-is-a-relative-link-out": [("c.json", CONFIG), ("manifest.json", saved()),
                                     ("l/layer.tar", tarfile.SYMTYPE, "../../../../../../../..{victim}")],
    "layer-is-a-hard-link-out": [("c.json", CONFIG), ("l/layer.tar", tarfile.LNKTYPE, "{victim}"),
                                 ("manifest.json", saved())],
    "layer-is-a-link-to-itself": [("c.json", CONFIG), ("l/layer.tar", tarfile.SYMTYPE, "layer.tar"),
                                  ("manifest.json", saved())],
    "manifest-is-a-link-out": [("manifest.json", tarfile.SYMTYPE, "{victim}")],
    "layer-is-a-device": [("c.json", CONFIG), ("l/layer.tar", tarfile.CHRTYPE, ""), ("manifest.json", saved())],
}  # fmt: skip


@pytest.mark.parametrize("name", SAVES)
def test_docker_archive(varve, tempdir, name):
    """The file of the host is the very layer that is asked for, so to read it would succeed."""
    victim = tempdir / "victim"
    victim.write_bytes(CONFIG if name.startswith("config") else LAYER)

    def put(text):
        return text.replace(b"{victim}" if isinstance(text, bytes) else "{victim}",
                            os.fsencode(victim) if isinstance(text, bytes) else str(victim))  # fmt: skip

    entries = [(path, put(what), *map(put, rest)) if not rest else (path, what, *map(put, rest))
               for path, what, *rest in SAVES[name]]  # fmt: skip
    done = varve("image", "import", tar_of(tempdir / "a.tar", *entries), status=None)
    assert done.returncode > 0 and done.stderr, "it was taken"
    assert varve.json("image", "ls") == []


def test_docker_archive_names_do_not_become_paths(varve, tempdir):
    """CVE-2014-9358 (Docker): tags that are paths are refused, or names like any other."""
    varve("image", "import", tar_of(tempdir / "ok.tar", ("c.json", CONFIG), ("l/layer.tar", LAYER),
                                    ("manifest.json", saved())))  # fmt: skip
    before = sorted(blobs(varve))
    for tag in "../../evil:1", "/etc/passwd:1", "a/../../b:1", "x" * 5000 + ":1", "a\nb:1", "a:../b":
        entries = [("c.json", CONFIG), ("l/layer.tar", LAYER), ("manifest.json", saved(tags=[tag]))]
        assert varve("image", "import", tar_of(tempdir / "a.tar", *entries), status=None).returncode > 0, tag
    assert [info["name"] for info in varve.json("image", "ls")] == [NAME]
    assert sorted(blobs(varve)) == before


# --- documents that are too large ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["index.json", "manifest", "config", "oci-layout"])
def test_huge_document(varve, tempdir, what):
    """CVE-2023-25153 (containerd): a large one is not read into memory."""
    layout = tempdir / "layout"

    def huge(config, manifest):
        if what in ("config", "manifest"):
            (config if what == "config" else manifest)["filler"] = "x" * (80 << 20)

    write_layout(layout, [packed(LAYER)], huge)
    if what in ("index.json", "oci-layout"):
        with open(layout / what, "r+b") as file:
            file.truncate(1 << 30)  # zeros behind it, which are no JSON
    status, error, peak = imported_watched(varve, layout, "--name", NAME)
    if status == 0:  # a config is looked at only when it is needed
        assert what == "config"
        varve("pool", "create", "default", "--driver", "native")
        assert varve("image", "unpack", NAME, status=None).returncode > 0
    else:
        assert re.search("more than|at most|large", error), error
        assert varve.json("image", "ls") == []
    assert SANITIZED or peak < LIMIT, f"{peak} KiB of memory"


def test_deep_json(varve, tempdir):
    """Brackets without end do not exhaust the stack."""
    write_layout(tempdir / "layout", [packed(LAYER)])
    (tempdir / "layout/index.json").write_bytes(b"[" * (1 << 20))
    done = varve("image", "import", tempdir / "layout", "--name", NAME, status=None)
    assert done.returncode > 0 and "index.json" in done.stderr


def test_index_that_holds_itself(varve, tempdir):
    """As deep as indexes can be within each other, and one index a thousand times."""
    layout = write_layout(tempdir / "layout", [packed(LAYER)])
    index = json.loads((layout / "index.json").read_text())
    entry = index["manifests"][0]
    kind = "application/vnd.oci.image.index.v1+json"
    for _ in range(200):
        data = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry] * 1000}).encode()
        (layout / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        entry = {"mediaType": kind, "digest": digest(data), "size": len(data)}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    done = varve("image", "import", layout, "--name", NAME, status=None)
    assert done.returncode > 0 and varve.json("image", "ls") == []


# --- layouts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["index.json", "blobs", "blobs/sha256", "blob"])
def test_layout_with_links_out(varve, tempdir, what):
    """What is behind a link is not of the layout, whatever it holds."""
    layout = write_layout(tempdir / "layout", [packed(LAYER)])
    place = layout / what if what != "blob" else sorted((layout / "blobs/sha256").iterdir())[0]
    place.rename(tempdir / "elsewhere")
    place.symlink_to(tempdir / "elsewhere")
    done = varve("image", "import", layout, "--name", NAME, status=None)
    assert done.returncode > 0 and varve.json("image", "ls") == [], f"{what} was followed"


# --- configs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/../../../../../../../..{victim}", "{victim}", "up{victim}", "/up{victim}"])
def test_volumes_of_an_image(app, tempdir, path):
    """CVE-2022-23648 (containerd): what is at an image's volume on the host does not get into it."""
    victim = tempdir / "victim"
    victim.mkdir()
    (victim / "secret").write_text("secret")
    layer = busybox_layer().symlink("up", "../../../../../../../..")
    import_image(app, [layer], NAME, Volumes={path.format(victim=victim): {}})
    script = f"cat {victim}/secret /up{victim}/secret 2>/dev/null; echo end; echo x >{victim}/new 2>/dev/null"
    assert run(app, NAME, "sh", "-c", script, status=None).stdout == "end\n"
    assert os.listdir(victim) == ["secret"] and left(app) == NOTHING


@pytest.mark.parametrize("path", [f"/proc/self/fd/{number}" for number in (3, 5, 7, 8, 9, 10)])
def test_working_directory_of_a_descriptor(app, path):
    """CVE-2024-21626 (runc): nothing that the engine has open is the host's, seen from a container."""
    import_image(app, [busybox_layer().dir("marked")], NAME, WorkingDir=path)
    done = run(app, NAME, "sh", "-c", "cd ../../../../../../../../..; pwd; ls -d marked", status=None)
    assert done.returncode > 0 or done.stdout.endswith("marked\n"), done.stdout
    assert left(app) == NOTHING
