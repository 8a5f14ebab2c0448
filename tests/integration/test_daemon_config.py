# SPDX-License-Identifier: Apache-2.0
"""varved's configuration: what is refused, what takes effect when."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
import wire
from conftest import TIMEOUT, VARVED

REPO = Path(__file__).parents[2]


def run_varved(*args):
    return subprocess.run([VARVED, *args], capture_output=True, text=True, timeout=TIMEOUT)


REFUSED = {
    "unknown-setting": ("[varved]\nlog-levl = info\n", 2, "did you mean 'log-level'?"),
    "unknown-section": ("\n\n[pols x]\n", 3, "unknown section [pols x]"),
    "no-section": ("root = /x\n", 1, "before any section"),
    "no-setting": ("[varved]\nroot\n", 2, "neither a [section] nor a 'setting = value'"),
    "relative-path": ("[varved]\nroot = x\n", 2, "'x' is not an absolute path"),
    "workers": ("[varved]\nworkers = many\n", 2, "'many' is not a number"),
    "log-level": ("[varved]\n# c\nlog-level = loud\n", 3, "unknown log level 'loud'"),
    "twice": ("[pool a]\ndriver=native\n[pool a]\n", 3, "already given in line 1"),
    "unknown-driver": ("[pool a]\ndriver = aufs\n", 2, "unknown driver 'aufs': there are"),
    "blank-driver": ("[pool a]\n\ndriver =\n", 3, "driver's name is empty"),
    "unknown-pool-setting": ("[pool a]\ndriver = native\nfile = /x\n", 3, "'file'"),
    "no-drivers-setting": ("[pool a]\ncolour = blue\n", 2, "'colour'"),
    "bad-choice": ("[pool a]\ndurability = often\n", 2, "strict|relaxed"),
    "bad-path": ("[pool a]\npath = here\n", 2, "'here' is not allowed"),
    "bad-size": ("[pool a]\ndriver = btrfs\nsize = big\n", 3, "'big' is not a size"),
    "nameless-pool": ("[varved]\n[pool ]\n", 2, "[pool"),
}


@pytest.mark.parametrize("text, line, reason", REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_file_and_line(varved, tempdir, text, line, reason):
    daemon = varved(config=text, wait=False)
    assert daemon.wait() != 0
    checked = run_varved("--check-config", "--config", daemon.config)
    assert checked.returncode == daemon.process.returncode
    for told in (daemon.log(), checked.stderr):
        assert f"{daemon.config}:{line}: " in told
        assert reason in told
    assert not daemon.socket.exists() and not daemon.root.exists(), "it touched something"


def test_good_one_checks_without_touching_anything(tempdir):
    config = tempdir / "x.conf"
    config.write_text(f"[varved]\nroot = {tempdir}/root\nsocket = {tempdir}/dir/s\n[pool a]\n")
    done = run_varved("--check-config", "--config", config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tempdir.iterdir()] == ["x.conf"]


def test_named_file_must_exist(tempdir):
    done = run_varved("--check-config", "--config", tempdir / "none.conf")
    assert done.returncode == 4
    assert "none.conf" in done.stderr


def test_options_win_over_the_file(varved, varve):
    text = "[varved]\nroot = /nonexistent/root\nsocket = /nonexistent/s\nlog-level = error\n"
    daemon = varved(config=text)
    assert wire.serves(daemon.socket)
    assert daemon.log() == ""
    assert varve.root.exists()
    loud = varved(config=text, args=["--log-level", "debug"])
    wire.call(loud.socket, "Stat", {1: "default", 2: "x"})
    assert "level=debug" in loud.log()


@pytest.mark.parametrize("args", [["--rot", "/x"], ["serve"], ["--root"]])
def test_wrong_usage(args):
    done = run_varved(*args)
    assert done.returncode == 2
    assert "varved --help" in done.stderr


def test_version_and_help():
    assert re.fullmatch(r"varved \d+\.\d+\.\d+\n", run_varved("--version").stdout)
    assert "--check-config" in run_varved("--help").stdout


def test_every_setting_is_documented():
    """--help-config, the example configuration and the manual page tell the same."""
    text = run_varved("--help-config").stdout
    assert (REPO / "dist/varved.conf").read_text() == text
    manual = (REPO / "man/varved.conf.5").read_text().replace("\\-", "-")
    settings = re.findall(r"^#([a-z-]+) =", text, re.M)
    assert {"root", "socket", "fallback-pool", "driver", "path", "durability"} <= set(settings)
    for setting in settings:
        assert re.search(rf"^\.BR {setting} ", manual, re.M), setting


# --- pools ----------------------------------------------------------------------------------------


def names(varve):
    return {pool["name"]: pool["driver"] for pool in varve.json("pool", "ls")}


def test_no_pool_makes_the_default_one(varved, varve):
    daemon = varved()
    assert wire.serves(daemon.socket, "default")
    assert list(names(varve)) == ["default"]


def test_pools_are_made_once_and_restored(varved, varve):
    config = "[pool one]\ndriver = native\n[pool two]\ndriver = overlay\ndurability = relaxed\n"
    daemon = varved(config=config)
    assert names(varve) == {"one": "native", "two": "overlay"}
    assert wire.call(daemon.socket, "Prepare", {1: "one", 2: "key"})[0] == wire.OK
    assert daemon.stop() == 0
    daemon.start()
    assert wire.call(daemon.socket, "Stat", {1: "one", 2: "key"})[0] == wire.OK
    assert wire.call(daemon.socket, "Stat", {1: "two", 2: "key"})[0] == wire.NOT_FOUND
    assert "made pool" not in daemon.log().split("varved ended")[1]


def test_other_driver_is_refused_and_stops_nobody_else(varved, varve):
    varve("pool", "create", "a", "--driver", "native")
    config = "[varved]\nfallback-pool = b\n[pool a]\ndriver = overlay\n[pool b]\ndriver = native\n"
    daemon = varved(config=config)
    assert f"config={daemon.config}:3" in daemon.log()
    assert "it exists with driver native" in daemon.log()
    # not even the fallback pool answers for it
    assert wire.call(daemon.socket, "List", {1: "a"})[0] == wire.FAILED_PRECONDITION
    assert wire.serves(daemon.socket, "b")


def test_driver_that_cannot_work_is_skipped(varved, xfs):
    config = f"[pool a]\ndriver = btrfs\npath = {xfs}/a\n[pool b]\ndriver = native\n"
    daemon = varved(config=config)
    assert "pool is refused" in daemon.log() and "btrfs" in daemon.log()
    assert wire.call(daemon.socket, "List", {1: "a"})[0] != wire.OK
    assert wire.serves(daemon.socket, "b")


def test_other_setting_is_told(varved, varve):
    varve("pool", "create", "a", "--driver", "native")
    daemon = varved(config="[pool a]\ndriver = native\ndurability = relaxed\n")
    told = r"level=warning .*setting=durability value=strict configured=relaxed"
    assert re.search(told, daemon.log())
    assert wire.serves(daemon.socket, "a")
    daemon.stop()
    same = varved(config="[pool a]\ndriver = native\ndurability = strict\n")
    assert "level=warning" not in same.log()


def test_unknown_snapshotter(varved):
    config = "[pool a]\ndriver = native\n[pool b]\ndriver = native\n"
    daemon = varved(config=config, args=["--log-level", "debug"])
    assert wire.call(daemon.socket, "List", {1: "c"})[0] == wire.NOT_FOUND
    assert "there is no pool 'c' for this snapshotter, and no fallback pool" in daemon.log()
    assert "there are: a, b" in daemon.log()
    fallback = varved(config=config + "[varved]\nfallback-pool = b\n")
    assert wire.call(fallback.socket, "Prepare", {1: "c", 2: "key"})[0] == wire.OK
    assert wire.call(fallback.socket, "Stat", {1: "b", 2: "key"})[0] == wire.OK
    assert wire.call(fallback.socket, "Stat", {1: "", 2: "key"})[0] == wire.OK


# --- reload ---------------------------------------------------------------------------------------


def reload(daemon, text, wanted="configuration reloaded"):
    seen = daemon.log().count(wanted)
    daemon.config.write_text(text)
    daemon.ask(signal.SIGHUP)
    daemon.wait_log(wanted, times=seen + 1)


def test_reload(varved):
    before = "[pool a]\ndriver = native\n"
    daemon = varved(config=before)
    assert wire.call(daemon.socket, "List", {1: "x"})[0] == wire.NOT_FOUND
    assert "level=debug" not in daemon.log()

    now = "[varved]\nlog-level = debug\nfallback-pool = b\n[pool b]\ndriver = native\n"
    reload(daemon, before + now)
    assert wire.serves(daemon.socket, "b")
    assert wire.serves(daemon.socket, "x")
    assert wire.call(daemon.socket, "Stat", {1: "a", 2: "none"})[0] == wire.NOT_FOUND
    assert "level=debug" in daemon.log()

    reload(daemon, before)
    assert wire.call(daemon.socket, "List", {1: "x"})[0] == wire.NOT_FOUND
    assert wire.serves(daemon.socket, "b"), "a pool that left the file stays in the store"


def test_bad_reload_changes_nothing(varved):
    before = "[varved]\nfallback-pool = a\n[pool a]\ndriver = native\n"
    daemon = varved(config=before)
    reload(daemon, "[varved]\nfallback-pool = b\nlog-lvl = debug\n", "configuration is refused")
    assert f"{daemon.config}:3: unknown setting 'log-lvl'" in daemon.log()
    assert wire.serves(daemon.socket, "anything")
    daemon.config.unlink()
    daemon.ask(signal.SIGHUP)
    daemon.wait_log("configuration is refused", times=2)
    assert wire.serves(daemon.socket, "anything")


def test_reload_tells_what_needs_a_restart(varved):
    daemon = varved()
    reload(daemon, "[varved]\nworkers = 3\nsocket-group = 0\n")
    for setting in ("workers", "socket-group"):
        assert re.search(rf"after a restart\" setting={setting} ", daemon.log())
    assert "setting=root" not in daemon.log()
