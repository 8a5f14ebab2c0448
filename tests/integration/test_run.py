# SPDX-License-Identifier: Apache-2.0
"""Containers, run by the real runc: SPEC row L2."""

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

import pytest
from conftest import SANITIZER, TIMEOUT, VARVE, mounts_below, wait_until
from oci import Layer, digest, write_image

IMAGE = "example.org/app:1"
APPLETS = "sh cat id ls env sleep pwd kill true stty head hostname rm mount readlink wc dd unshare mkdir".split()

pytestmark = pytest.mark.skipif(not shutil.which("runc"), reason="needs runc")


def busybox_layer():
    layer = Layer().dir("bin").dir("etc").dir("tmp", mode=0o1777)
    layer.file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    for name in APPLETS:
        layer.symlink(f"bin/{name}", "busybox")
    return layer


def system_layer():
    return (
        busybox_layer()
        .file("etc/passwd", "root:x:0:0:r:/root:/bin/sh\nada:x:1000:100:A:/home/ada:/bin/sh\n"
              "12:x:2000:2000::/:/bin/sh\nbroken\n:x:1:1:::\n")
        .file("etc/group", "root:x:0:\nusers:x:100:\nwheel:x:10:root,ada\nboat:x:55:ada\nx:y\n")
        .file("etc/plain", "no program").file("bin/wrong", "\0\0", mode=0o755)
        .dir("srv/data").symlink("srv/link", "data").symlink("up", "../../../../../../../..")
    )  # fmt: skip


def import_image(varve, layers, name=IMAGE, **config):
    """Imports an image with that config beside the command, which is sh."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        archive = Path(folder) / "image.tar"
        write_image(archive, "1", layers)
        if config:
            archive = configured(archive, Path(folder) / "layout", config)
        varve("image", "import", archive, "--name", name)


def configured(archive, layout, config):
    """The image with another config, as a layout."""
    layout.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)
    blobs = layout / "blobs/sha256"

    def put(content):
        data = json.dumps(content).encode()
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    old = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    old["config"].update(config)
    manifest["config"].update(put(old))
    index["manifests"][0].update(put(manifest))
    (layout / "index.json").write_text(json.dumps(index))
    return layout


@pytest.fixture
def pool(pool):
    """With an image."""
    import_image(pool, [system_layer()])
    with contained(pool):
        yield pool


@pytest.fixture
def app(varve):
    """Varve with a pool of directories, and an image: for what has nothing to do with the driver."""
    varve("pool", "create", "default", "--driver", "overlay")
    import_image(varve, [system_layer()])
    with contained(varve):
        yield varve


@contextlib.contextmanager
def contained(varve):
    """No container of the root's outlives the test."""
    try:
        yield
    finally:
        left = [info["id"] for info in varve.json("container", "ls")]
        if left:
            varve("container", "rm", "--force", *left)


def run(varve, *args, **kwargs):
    return varve("run", "--rm", *args, **kwargs)


def sh(varve, script, *options, **kwargs):
    """What a shell in a container prints."""
    return run(varve, *options, IMAGE, "sh", "-c", script, **kwargs).stdout


def begin(varve, *args, **kwargs):
    """A run that goes on. It has started the container when it prints something."""
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([VARVE, "--root", varve.root, "run", *args], **(options | kwargs))


def end(process, timeout=TIMEOUT):
    out, err = process.communicate(timeout=timeout)
    assert not SANITIZER.search(err or ""), err
    return process.returncode, out


def left(varve):
    """All that a container may leave."""
    snapshots = [i["name"] for i in varve.json("snapshot", "ls") if i["kind"] != "committed"]
    folders = [path.name for path in varve.root.glob("containers/*")]
    mounts = [p for p in mounts_below(varve.root) if "containers" in p]
    return snapshots, folders, mounts


NOTHING = ([], [], [])

# Says that it is there, then waits for SIGTERM.
WAITER = "trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; trap 'echo int; exit 4' INT; echo up; while :; do sleep 0.05; done"


# --- what comes out -------------------------------------------------------------------------------


def test_life_of_a_container(pool):
    done = pool("run", "--name", "web", IMAGE, "sh", "-c",
                "cat /etc/plain; echo oops >&2; echo new >/srv/new; rm /etc/group; exit 7", status=7)  # fmt: skip
    assert (done.stdout, done.stderr) == ("no program", "oops\n")
    [info] = pool.json("container", "ls")
    assert (info["id"], info["state"], info["exit_status"]) == ("web", "exited", 7)
    assert info["image"] == IMAGE and info["command"][:2] == ["sh", "-c"]
    changed = {c["path"]: c["kind"] for c in pool.json("snapshot", "diff", info["snapshot"])}
    assert changed["/srv/new"] == "added" and changed["/etc/group"] == "deleted"
    pool("run", "--name", "web", IMAGE, "true", status=125)  # the name is taken
    pool("container", "rm", "web")
    assert left(pool) == NOTHING
    assert sh(pool, "ls /srv; cat /etc/group | head -n1") == "data\nlink\nroot:x:0:\n"
    assert left(pool) == NOTHING


def test_kept_by_a_killed_run(pool):
    process = begin(pool, "--name", "kept", IMAGE, "sh", "-c", f"echo kept >/srv/file; {WAITER}")
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait(TIMEOUT)
    # runc's start may end a moment later than its effect is seen.
    wait_until(lambda: pool.json("container", "ls")[0]["state"] == "running", "the start's end")
    [info] = pool.json("container", "ls")
    assert not info["attended"]
    assert "running" in pool("container", "rm", "kept", status=6).stderr
    assert pool.json("container", "prune")["removed"] == 0
    assert run(pool, IMAGE, "true").returncode == 0  # touches it not
    os.kill(info["pid"], signal.SIGKILL)
    wait_until(lambda: pool.json("container", "ls")[0]["state"] == "exited", "the container's end")
    paths = [c["path"] for c in pool.json("snapshot", "diff", "container/kept")]
    assert "/srv/file" in paths
    assert pool.json("container", "prune")["removed"] == 1
    assert left(pool) == NOTHING


@pytest.mark.parametrize("by", ["run", "cleanup"])
def test_killed_run_with_rm_is_cleared_up(pool, by):
    process = begin(pool, "--rm", "--name", "gone", IMAGE, "sh", "-c", WAITER)
    assert process.stdout.readline() == "up\n"
    [info] = pool.json("container", "ls")
    process.kill()
    process.wait(TIMEOUT)
    if by == "run":
        assert run(pool, IMAGE, "true").returncode == 0
    else:
        pool("system", "cleanup")
    assert left(pool) == NOTHING
    assert not os.path.exists(f"/proc/{info['pid']}") or is_zombie(info["pid"])


def is_zombie(pid):
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_two_at_once(pool):
    first, second = (begin(pool, "--rm", IMAGE, "sh", "-c", "echo up; cat >/srv/x; cat /srv/x; id") for _ in "ab")  # fmt: skip
    for process in first, second:
        assert process.stdout.readline() == "up\n"
    running = lambda: [i["state"] for i in pool.json("container", "ls")] == ["running"] * 2  # noqa: E731
    wait_until(running, "both to be started")
    for text, process in ("one\n", first), ("two\n", second):
        out, _ = process.communicate(text, timeout=TIMEOUT)
        assert out.startswith(text) and process.returncode == 0
    assert left(pool) == NOTHING


def test_image_is_unpacked_once(pool):
    run(pool, IMAGE, "true")
    before = pool.json("snapshot", "ls")
    run(pool, IMAGE, "true")
    assert pool.json("snapshot", "ls") == before and len(before) == 1


# --- status ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command, status",
    [
        (["nosuch"], 127),
        (["/no/such"], 127),
        (["/etc/plain"], 126),
        (["/srv"], 126),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
    ],
)
def test_status(app, command, status):
    run(app, IMAGE, *command, status=status)
    assert left(app) == NOTHING


@pytest.mark.parametrize(
    "options, image, wanted",
    [
        (["--pull", "never"], "example.org/none:1", "varve image import"),
        (["--pull", "often"], IMAGE, "missing, always or never"),
        (["--runtime", "/no/runtime"], IMAGE, "/no/runtime"),
        (["--runtime", "no-such-runtime"], IMAGE, "no-such-runtime is not installed"),
        (["--runtime", "/bin/false"], IMAGE, "the runtime"),
        (["--name", "../up"], IMAGE, "no name of a container"),
        (["--name", "x" * 65], IMAGE, "no name of a container"),
        (["--user", "nobody"], IMAGE, "has no user 'nobody'"),
        (["--user", "ada:nobody"], IMAGE, "has no group 'nobody'"),
        (["--user", "ada:"], IMAGE, "USER[:GROUP]"),
        (["--user", "4294967295"], IMAGE, "has no user"),
        (["--volume", "/no/such:/srv"], IMAGE, "looking at /no/such"),
        (["--volume", "srv:/srv"], IMAGE, "SOURCE:DESTINATION"),
        (["--volume", "/srv:/srv:rx"], IMAGE, "SOURCE:DESTINATION"),
        (["--volume", "/srv:/"], IMAGE, "would hide"),
        (["--env", "=x"], IMAGE, "KEY=VALUE"),
        (["--workdir", "srv"], IMAGE, "absolute"),
        (["--cap-add", "FLY"], IMAGE, "no capability 'FLY'"),
        (["--memory", "lots"], IMAGE, "no size"),
        (["--network", "mesh"], IMAGE, "none or host"),
        (["--tty"], IMAGE, "terminal"),
        (["--frob"], IMAGE, "--frob"),
    ],
)
def test_what_cannot_be_run(app, options, image, wanted):
    done = run(app, *options, image, "true", status=125, stdin=subprocess.DEVNULL)
    assert wanted in done.stderr and done.stdout == ""
    assert left(app) == NOTHING


def test_json_of_errors(app):
    done = app("--json", "run", "--pull", "never", "example.org/none:1", status=125)
    assert json.loads(done.stderr)["error"]["code"] == "not-found"
    # What stands after the image is the container's.
    assert run(app, IMAGE, "sh", "-c", 'echo "$@"', "sh", "--json", "--rm", "--", "-h").stdout == "--json --rm -- -h\n"  # fmt: skip


# --- what the process is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user, wanted",
    [
        (None, "uid=0(root) gid=0(root) groups=10(wheel)"),
        ("ada", "uid=1000(ada) gid=100(users) groups=10(wheel),55(boat)"),
        ("1000", "uid=1000(ada) gid=100(users) groups=10(wheel),55(boat)"),
        ("ada:wheel", "uid=1000(ada) gid=10(wheel)"),
        ("12", "uid=2000(12) gid=2000"),  # a name first, then a number
        ("4711:55", "uid=4711 gid=55(boat)"),
        ("4711", "uid=4711 gid=0(root)"),
    ],
)
def test_user(app, user, wanted):
    options = ["--user", user] if user else []
    assert sh(app, "id", *options).strip() == wanted
    import_image(app, [system_layer()], "example.org/other:1", User=user or "")
    assert run(app, "example.org/other:1", "id").stdout.strip() == wanted


def test_user_has_no_capabilities(app):
    script = "cat /proc/self/status | while read k v; do case $k in Cap*|NoNew*) echo $k $v;; esac; done"
    root = dict(line.split() for line in sh(app, script).splitlines())
    ada = dict(line.split() for line in sh(app, script, "--user", "ada").splitlines())
    bare = dict(line.split() for line in sh(app, script, "--cap-drop", "all").splitlines())
    more = dict(line.split() for line in sh(app, script, "--cap-drop", "all", "--cap-add", "sys_admin").splitlines())  # fmt: skip
    assert int(root["CapEff:"], 16) == 0xA80425FB and root["CapInh:"] == root["CapAmb:"] == "0" * 16
    assert ada["CapEff:"] == ada["CapPrm:"] == "0" * 16 and ada["CapBnd:"] == root["CapBnd:"]
    assert bare["CapBnd:"] == bare["CapEff:"] == "0" * 16
    assert int(more["CapEff:"], 16) == 1 << 21
    assert root["NoNewPrivs:"] == "1"
    assert "NoNewPrivs: 0" in sh(app, script, "--new-privileges")


def test_environment(app, tempdir, monkeypatch):
    import_image(app, [system_layer()], "example.org/env:1",
                 Env=["A=image", "B=image", "no-variable", "=none", "A=again"])  # fmt: skip
    file = tempdir / "env"
    file.write_text("# a comment\n\nF=file\nB=file\nHERE\nNOT_HERE\n")
    monkeypatch.setenv("HERE", "of the caller")
    monkeypatch.setenv("SECRET", "not passed on")
    monkeypatch.delenv("NOT_HERE", raising=False)
    options = ["--env", "C=a=b c", "--env", "HERE", "--env", "NOT_HERE", "--env-file", file, "-u", "ada"]
    lines = run(app, *options, "--hostname", "box", "example.org/env:1", "env").stdout.splitlines()
    assert dict(line.split("=", 1) for line in lines) == {
        "A": "again", "B": "file", "F": "file", "C": "a=b c", "HERE": "of the caller",
        "HOME": "/home/ada", "HOSTNAME": "box",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }  # fmt: skip
    assert sh(app, "hostname", "--hostname", "box") == "box\n"


@pytest.mark.parametrize(
    "entrypoint, cmd, options, command, wanted",
    [
        ([], ["echo", "cmd"], [], [], "cmd"),
        (["echo", "entry"], ["cmd"], [], [], "entry cmd"),
        (["echo", "entry"], ["cmd"], [], ["own"], "entry own"),
        (["echo", "entry"], ["cmd"], ["--entrypoint", "echo"], [], ""),
        (["echo", "entry"], ["cmd"], ["--entrypoint", "echo"], ["own"], "own"),
        (["echo", "entry"], ["cmd"], ["--entrypoint", ""], ["echo", "own"], "own"),
    ],
)
def test_entrypoint(app, entrypoint, cmd, options, command, wanted):
    layer = system_layer().symlink("bin/echo", "busybox")
    import_image(app, [layer], "example.org/entry:1", Entrypoint=entrypoint, Cmd=cmd)
    assert run(app, *options, "example.org/entry:1", *command).stdout == wanted + "\n"


def test_nothing_to_run(app):
    import_image(app, [system_layer()], "example.org/still:1", Cmd=None)
    assert "what to run" in run(app, "example.org/still:1", status=125).stderr


@pytest.mark.parametrize(
    "path, wanted",
    [("/srv", "/srv"), ("/srv/link", "/srv/data"), ("/made/here", "/made/here"),
     ("/up/made", "/made"), ("/../../srv", "/srv"), ("relative", "/relative")],
)  # fmt: skip
def test_working_directory(app, tempdir, path, wanted):
    import_image(app, [system_layer()], "example.org/there:1", WorkingDir=path)
    assert run(app, "example.org/there:1", "readlink", "/proc/self/cwd").stdout == wanted + "\n"
    if path.startswith("/"):
        assert sh(app, "readlink /proc/self/cwd", "--workdir", path) == wanted + "\n"
    assert not os.path.exists("/made") and not os.path.exists("/relative")


def test_isolation(app):
    script = "echo $$; ls /sys/class/net; hostname; readlink /proc/self/ns/net; cat /proc/1/comm"
    pid, *rest = sh(app, script, "--hostname", "inside").splitlines()
    assert pid == "1" and rest[0] == "lo" and "inside" in rest
    own = os.readlink("/proc/self/ns/net")
    assert own not in rest and sh(app, "readlink /proc/self/ns/net", "--network", "host").strip() == own
    for path in "/proc/sysrq-trigger", "/sys/kernel/x", "/proc/sys/kernel/hostname":
        assert sh(app, f"echo x 2>/dev/null >{path} && echo wrote || echo refused") == "refused\n"
    assert sh(app, "cat /proc/kcore | wc -c") == "0\n"


def calls(app, *options):
    """What a process that has no right to it may do: a namespace of users gives it all rights."""
    done = run(app, *options, IMAGE, "unshare", "-U", "true", status=None)
    return done.returncode == 0


def test_system_calls(app, tempdir):
    assert sh(app, "while read a b; do case $a in Seccomp:) echo $b;; esac; done </proc/self/status") == "2\n"
    assert calls(app, "--seccomp", "unconfined"), "the host does not allow it, either"
    assert not calls(app) and calls(app, "--cap-add", "SYS_ADMIN")
    profile = tempdir / "own.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}))  # fmt: skip
    done = run(app, "--seccomp", profile, IMAGE, "mkdir", "/new", status=1)
    assert "No space left" in done.stderr
    for text in "", "[]", "{}", '{"defaultAction": 1}', '{"defaultAction": "SCMP_ACT_ALLOW"':
        profile.write_text(text)
        assert str(profile) in run(app, "--seccomp", profile, IMAGE, "true", status=125).stderr
    assert "seccomp" in run(app, "--seccomp", tempdir / "none", IMAGE, "true", status=125).stderr
    assert left(app) == NOTHING


def test_host_network_files(app):
    assert sh(app, "cat /etc/resolv.conf /etc/hosts", "--network", "host") == "".join(
        Path(f"/etc/{name}").read_text() for name in ("resolv.conf", "hosts"))  # fmt: skip
    assert sh(app, "cat /etc/hostname", "--network", "host", "--hostname", "box") == "box\n"


def test_read_only_root(app, tempdir):
    script = "echo x >/srv/file 2>/dev/null || echo refused; echo x >/data/file && cat /data/file"
    assert sh(app, script, "--read-only", "-v", f"{tempdir}:/data") == "refused\nx\n"


def test_limits(app):
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("looks for the limits where cgroups of version 1 have them")
    files = "memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max".split()
    script = "; ".join(f"cat /sys/fs/cgroup/{file}" for file in files)
    shown = sh(app, script, "-m", "64m", "--cpus", "1.5", "--pids-limit", "20").split()
    assert shown == [str(64 << 20), "150000", "20"]


# --- volumes --------------------------------------------------------------------------------------


def test_volumes(pool, tempdir):
    (tempdir / "rw").mkdir()
    (tempdir / "ro").mkdir()
    (tempdir / "ro/old").write_text("old")
    script = "cat /ro/old; echo new >/new/rw/file; echo x 2>/dev/null >/ro/file || echo refused; cat /one"
    out = sh(pool, script, "-v", f"{tempdir}/rw:/new/rw", "-v", f"{tempdir}/ro:/ro:ro",
             "-v", f"{tempdir}/ro/old:/one")  # fmt: skip
    assert out == "oldrefused\nold"
    assert (tempdir / "rw/file").read_text() == "new\n" and os.listdir(tempdir / "ro") == ["old"]
    assert left(pool) == NOTHING


def test_volume_behind_a_link_stays_inside(app, tempdir):
    """/up leads out of the root, as it seems to the image."""
    (tempdir / "volume").mkdir()
    (tempdir / "volume/file").write_text("inside")
    victim = tempdir / "victim"
    out = sh(app, f"cat {victim}/file", "-v", f"{tempdir}/volume:/up{victim}")
    assert out == "inside" and not victim.exists()


# --- hostile images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil, user, wanted",
    [
        (lambda l: l.symlink("etc/passwd", "/../../../../../etc/passwd"), "daemon", 125),
        (lambda l: l.symlink("etc/passwd", "passwd"), "root", 125),
        (lambda l: l.fifo("etc/passwd"), "root", 125),
        (lambda l: l.device("etc/passwd", 1, 5), "root", 125),
        (lambda l: l.file("etc/passwd", b"x:" * (1 << 20)), "root", 125),
        (lambda l: l.dir("etc/passwd"), "0", 125),
        (lambda l: l.fifo("etc/group"), "root", 125),
        (lambda l: l.symlink("etc/passwd", "/../real").file("real", "root:x:7:8::/:\n"), "root", 0),
        (lambda l: l.file("etc/passwd", b"\xff\0\n" * 99 + b"root:x:7:8::\xff:\n"), "root", 0),
        (lambda l: l.whiteout("etc/passwd"), "7", 0),
        (lambda l: l, "root\nx", 125),
        (lambda l: l, "-1", 125),
    ],
)
def test_hostile_accounts(app, spoil, user, wanted):
    import_image(app, [spoil(busybox_layer())], "example.org/evil:1", User=user)
    done = run(app, "example.org/evil:1", "id", status=wanted)
    assert wanted != 0 or done.stdout.startswith("uid=7")
    assert left(app) == NOTHING


def test_long_lines(app):
    import_image(app, [system_layer()], "example.org/long:1",
                 Entrypoint=["sh", "-c", 'echo ${#1} $#'], Cmd=["sh", "x" * 100_000] + ["y"] * 10_000)  # fmt: skip
    assert run(app, "example.org/long:1").stdout == "100000 10001\n"
    import_image(app, [system_layer()], "example.org/huge:1", Cmd=["true", "x" * 1_000_000])
    run(app, "example.org/huge:1", status=None)  # more than one argument may be
    assert left(app) == NOTHING


def test_arguments_that_json_cannot_have(app):
    assert "UTF-8" in run(app, IMAGE, b"\xff", status=125).stderr
    assert run(app, IMAGE, "cat", "/proc/self/cmdline", "é\t\\", status=1).stdout.split("\0")[2] == "é\t\\"


# --- standard descriptors -------------------------------------------------------------------------


def test_much_input_and_output(app):
    data = os.urandom(8 << 20)
    done = run(app, IMAGE, "cat", input=data, text=False)
    assert done.stdout == data
    assert sh(app, "dd if=/dev/zero bs=1M count=32 2>/dev/null | wc -c", stdin=subprocess.DEVNULL) == f"{32 << 20}\n"  # fmt: skip


# --- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, answer, status", [
    (signal.SIGTERM, "term\n", 3), (signal.SIGINT, "int\n", 4)])  # fmt: skip
def test_signals_are_passed_on(app, number, answer, status):
    process = begin(app, "--rm", IMAGE, "sh", "-c", WAITER)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "usr1\n"
    process.send_signal(number)
    assert end(process) == (status, answer)
    assert left(app) == NOTHING


def test_ignored_signals_stay_ignored(app):
    script = "trap 'echo hup; exit 9' HUP; " + WAITER
    command = ["nohup", VARVE, "--root", app.root, "run", "--rm", IMAGE, "sh", "-c", script]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (3, "term\n")


def test_killed_first_process(app):
    process = begin(app, "--name", "shot", IMAGE, "sh", "-c", WAITER)
    assert process.stdout.readline() == "up\n"
    os.kill(app.json("container", "ls")[0]["pid"], signal.SIGKILL)
    assert end(process)[0] == 137
    [info] = app.json("container", "ls")
    assert (info["state"], info["exit_status"], info["attended"]) == ("exited", 137, False)


def test_removed_by_force(app):
    process = begin(app, "--rm", "--name", "stuck", IMAGE, "sleep", "1000")
    kept = begin(app, "--name", "kept", IMAGE, "sleep", "1000")
    wait_until(lambda: [i["state"] for i in app.json("container", "ls")] == ["running"] * 2, "both")
    assert "--force" in app("container", "rm", "kept", "stuck", status=6).stderr
    app("container", "rm", "--force", "kept", "stuck")
    assert end(process)[0] == end(kept)[0] == 137
    assert left(app) == NOTHING


def test_killed_runtime(app, tempdir):
    """A runtime that dies half-way through the creation, and one that dies before it starts."""
    for verb in "create", "start":
        runtime = tempdir / f"runc-{verb}"
        runtime.write_text(f"""#!/bin/bash
for word; do [ "$word" = {verb} ] && {{ [ {verb} = start ] || runc "$@"; kill -9 $$; }}; done
exec runc "$@"
""")
        runtime.chmod(0o755)
        done = run(app, "--runtime", runtime, IMAGE, "sleep", "1000", status=125)
        assert "killed" in done.stderr.lower()
        assert left(app) == NOTHING


@pytest.mark.parametrize("moment", range(int(os.environ.get("VARVE_CRASH_ROUNDS", "16"))))
def test_killed_at_any_moment(app, tempdir, moment):
    """Whatever a run had begun, a cleanup finds: no process, cgroup or file is left."""
    mark, name = f"VARVE_TEST_MARK={tempdir.name}", f"crash-{tempdir.name}"
    begun = time.monotonic()
    run(app, IMAGE, "true")
    whole = time.monotonic() - begun
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = begin(app, "--rm", "--env", mark, "--name", name, IMAGE, "sleep", "1000", **quiet)
    time.sleep(whole * moment / 12)
    process.kill()
    process.wait(TIMEOUT)
    app("system", "cleanup")
    assert left(app) == NOTHING
    assert not [p for p in cgroups() if p.name.startswith(name)]
    wait_until(lambda: not marked(mark), "the container's processes to go")


def marked(mark):
    """Processes with that in their environment, or that a runtime has not made anything else of."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in place.read_bytes():
                found.append(place.parent.name)
    return found


def cgroups():
    found = []
    for parent in Path("/sys/fs/cgroup").glob("*/varve"):
        found += [parent / name for name in next(os.walk(parent), (parent, (), ()))[1]]
    return found


def test_cgroups_go(app, tempdir):
    name = f"grouped-{tempdir.name}"  # other tests' containers are there too
    process = begin(app, "--rm", "--name", name, IMAGE, "sh", "-c", WAITER)
    assert process.stdout.readline() == "up\n"
    assert [p for p in cgroups() if p.name.startswith(name)]
    process.kill()
    process.wait(TIMEOUT)
    app("system", "cleanup")
    assert not [p for p in cgroups() if p.name.startswith(name)]


def test_looking_does_not_disturb(app):
    process = begin(app, "--rm", "--name", "shown", IMAGE, "sh", "-c", WAITER)
    assert process.stdout.readline() == "up\n"
    wait_until(lambda: app.json("container", "ls")[0]["state"] == "running", "the start's end")
    text = app("container", "ls").stdout.splitlines()
    assert text[0].split() == ["ID", "IMAGE", "STATE", "CREATED", "COMMAND"]
    assert text[1].split()[:3] == ["shown", "example.org/app:1", "running"]
    assert app("container", "ls", "-q").stdout == "shown\n"
    [info] = app.json("container", "ls")
    assert info["attended"] and info["remove"] and info["pid"] > 1 and "exit_status" not in info
    assert "is running" in app("container", "rm", "shown", status=6).stderr
    process.terminate()
    assert end(process)[0] == 3
    assert app.json("container", "ls") == []


def test_labels(app):
    app("run", "--name", "noted", "--label", "a=b", "--label", "c=d=e", IMAGE, "true")
    assert app.json("container", "ls")[0]["labels"] == {"a": "b", "c": "d=e"}
    labels = app.json("snapshot", "stat", "container/noted")["labels"]
    assert labels["varve.container"] == "noted" and labels["varve.image"] == IMAGE


def test_snapshot_of_that_key_is_left_alone(app):
    app("snapshot", "prepare", "container/mine")
    app("run", "--name", "mine", IMAGE, "true", status=125)
    assert app.json("container", "ls") == []
    assert app.json("snapshot", "stat", "container/mine")["kind"] == "active"


# --- terminals ------------------------------------------------------------------------------------


class Terminal:
    """A terminal with a run on it, whose shell speaks through it."""

    def __init__(self, varve, *args, rows=31, columns=97):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            self.resize(rows, columns, 0)
            os.execv(VARVE, [VARVE, "--root", str(varve.root), "run", *map(str, args)])

    def resize(self, rows, columns, fd=None):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ, size)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text):
        """Reads until it was shown; returns all up to there."""
        deadline = time.monotonic() + TIMEOUT
        while text.encode() not in self.text:
            assert select.select([self.fd], [], [], deadline - time.monotonic())[0], self.text
            self.text += os.read(self.fd, 65536)
        before, _, self.text = self.text.partition(text.encode())
        return before.decode()

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_terminal(app):
    run(app, IMAGE, "true")  # unpacks it, which is shown on a terminal
    terminal = Terminal(app, "--rm", "--tty", "--name", "tty", IMAGE, "sh", "-c",
                        "stty size; echo $TERM; trap 'echo int' INT; trap 'stty size' WINCH; echo ready; "
                        "while ! read -r line; do :; done; echo got $line; exit 5")  # fmt: skip
    assert terminal.expect("ready\r\n").split() == ["31", "97", "xterm"]
    lines = termios.tcgetattr(terminal.fd)[3]
    assert not lines & (termios.ECHO | termios.ISIG | termios.ICANON)
    terminal.type("\x03")  # goes to the container as a key, which its terminal makes a signal of
    terminal.expect("int\r\n")
    terminal.resize(40, 120)
    terminal.expect("40 120\r\n")
    terminal.type("words\r")
    terminal.expect("got words\r\n")
    assert terminal.status() == 5
    assert termios.tcgetattr(terminal.fd)[3] & (termios.ECHO | termios.ISIG | termios.ICANON)
    assert left(app) == NOTHING


def test_interrupt_without_a_terminal_of_its_own(app):
    """Ctrl-C: the terminal signals varve, which passes it on, once."""
    terminal = Terminal(app, "--rm", IMAGE, "sh", "-c",
                        "n=0; trap 'n=$((n+1)); echo int $n' INT; trap 'echo end $n; exit 6' TERM; echo ready; "
                        "while :; do sleep 0.05; done")  # fmt: skip
    terminal.expect("ready\r\n")
    terminal.type("\x03")
    terminal.expect("int 1\r\n")
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.expect("end 1\r\n")
    assert terminal.status() == 6


def test_stop_and_continue(app):
    """Ctrl-Z: container and varve stop, and go on together."""
    process = begin(app, "--rm", "--name", "still", IMAGE, "sh", "-c", WAITER, preexec_fn=os.setpgrp)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert app.json("container", "ls")[0]["state"] == "paused"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert end(process) == (3, "term\n")
    assert left(app) == NOTHING
