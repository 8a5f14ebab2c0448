# SPDX-License-Identifier: Apache-2.0
"""The command's help, its answer to wrong usage, and its completion: they all know the same verbs.

None of these needs a store.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import TIMEOUT, VARVE

NOUNS = {
    "pool": "create ls inspect rm drivers",
    "snapshot": "prepare view commit capture mounts mount umount stat ls tree diff package send receive haves transfers usage label rm",
    "image": "ls inspect history import pull push unpack commit export tag rm prune",
    "container": "ls rm prune",
    "volume": "create ls inspect snapshot fork set release import haves send receive pull replicate push backups mount umount rm",
    "system": "info cleanup",
}
COMMANDS = ["run"]  # nouns without verbs
VERBS = [(noun, verb) for noun, verbs in NOUNS.items() for verb in verbs.split()]
COMPLETION = Path(__file__).parents[2] / "dist/completion/varve.bash"
MAN = Path(__file__).parents[2] / "man"


def test_version(varve):
    assert re.fullmatch(r"varve \d+\.\d+\.\d+\n", varve("--version").stdout)
    assert not varve.root.exists()


def test_help_names_every_verb(varve):
    text = varve("--help").stdout
    assert re.findall(r"^  (\w+) (\w+)  ", text, re.M) == VERBS
    assert re.findall(r"^  (\w+)   ", text, re.M) == COMMANDS


@pytest.mark.parametrize("noun", NOUNS)
def test_noun_help(varve, noun):
    text = varve(noun, "--help").stdout
    verbs = text.split("Verbs:\n")[1].split("\n\n")[0]
    assert re.findall(r"^  (\w+)  ", verbs, re.M) == NOUNS[noun].split()
    assert "Example:\n" in text


@pytest.mark.parametrize("noun, verb", VERBS)
def test_verb_help(varve, noun, verb):
    text = varve(noun, verb, "--help").stdout
    assert text.startswith(f"Usage: varve [OPTION]... {noun} {verb}")
    assert re.search(rf"Example:\n(  .*\n)*  .*varve .*{noun} {verb}", text)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert varve("help", noun, verb).stdout == text
    assert not varve.root.exists()


@pytest.mark.parametrize("noun, verb", VERBS)
def test_manual_has_verb_and_its_options(varve, noun, verb):
    manual = (MAN / f"varve-{noun}.1").read_text()
    assert re.search(rf"^\.Cm {noun} {verb}$", manual, re.M)  # in the synopsis
    assert re.search(rf"^\.It Cm {verb}\b", manual, re.M)
    own = varve(noun, verb, "--help").stdout.split("Options of every command")[0]
    for option in re.findall(r"^  (?:-\w, )?--([\w-]+)", own, re.M):
        assert re.search(rf"^\.It Fl (\w , )?-{option}\b", manual, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_without_a_verb(varve, command):
    text = varve(command, "--help").stdout
    assert text.startswith(f"Usage: varve [OPTION]... {command} [OPTION]... ")
    assert re.search(rf"Example:\n(  .*\n)*  .*varve {command} ", text)
    assert varve("help", command).stdout == text
    assert not varve.root.exists()
    manual = (MAN / f"varve-{command}.1").read_text()
    assert re.search(rf"^\.Cm {command}$", manual, re.M)
    own = text.split("Options of every command")[0]
    options = re.findall(r"^  (?:-\w, )?--([\w-]+)", own, re.M)
    for option in options:
        assert re.search(rf"^\.It Fl (\w , )?-{option}\b", manual, re.M), option
    offered = complete(f"varve {command} --", VARVE, varve.root)
    everywhere = {"--root", "--pool", "--json", "--help"}
    assert set(offered) == {f"--{option}" for option in options} | everywhere


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("", "no command given"),
        ("snapshots ls", "did you mean 'varve snapshot'?"),
        ("ls", "did you mean 'varve snapshot ls'?"),
        ("snapshot list", "did you mean 'varve snapshot ls'?"),
        ("snapshot remove x", "did you mean 'varve snapshot rm'?"),
        ("snapshot comit x y", "did you mean 'varve snapshot commit'?"),
        ("xyzzy", "there is no noun 'xyzzy'\n"),
        ("snapshot", "no verb given for 'snapshot'"),
        ("snapshot commit x", "too few arguments: varve snapshot commit NAME KEY"),
        ("snapshot stat x y", "too many arguments: varve snapshot stat KEY"),
        ("snapshot ls --frob", "Unknown option --frob"),
        ("snapshot ls --pool", "Missing argument for --pool"),
        ("snapshot prepare x --label y", "--label 'y' is not of the form KEY=VALUE"),
        ("pool create x --set =y", "--set '=y' is not of the form KEY=VALUE"),
        ("rn image", "did you mean 'varve run'?"),
    ],
)
def test_wrong_usage(varve, line, wanted):
    done = varve(*line.split(), status=2)
    assert done.stderr.startswith("varve: ") and wanted in done.stderr
    assert "\nhint: try 'varve" in done.stderr
    assert done.stdout == ""
    assert not varve.root.exists()


def test_wrong_usage_of_run(varve):
    """Exit status 2 may be the container's, so varve's own is another."""
    for line, wanted in ("run", "too few arguments: varve run [OPTION]"), ("run --frob x", "--frob"):
        done = varve(*line.split(), status=125)
        assert wanted in done.stderr and "try 'varve run --help'" in done.stderr
        assert not varve.root.exists()


def test_wrong_usage_as_json(varve):
    for words in ("--json", "snapshot", "lss"), ("snapshot", "lss", "--json"):
        error = json.loads(varve(*words, status=2).stderr)["error"]
        assert error["code"] == "usage" and "'lss'" in error["message"]


def test_global_options_stand_anywhere(varve, tempdir):
    varve("pool", "create", "--json", "a", "--driver", "native")
    root = ["--root", varve.root]
    elsewhere = varve.at(tempdir / "elsewhere")
    for line in (
        [*root, "--json", "pool", "ls"],
        ["--json", "pool", *root, "ls"],
        ["pool", "ls", "--json", f"--root={varve.root}"],
    ):
        assert [pool["name"] for pool in elsewhere.json(*line)] == ["a"]


def complete(line, program, root):
    """What bash would offer after line."""
    script = f"""source {COMPLETION}
COMP_LINE=$1 COMP_POINT=${{#1}}; read -ra COMP_WORDS <<<"$1"; COMP_WORDS[0]=$2
_varve; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(
        ["bash", "-c", script, "bash", line, program],
        env={"VARVE_ROOT": str(root), "PATH": "/usr/bin:/bin"},
        check=True, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stderr == ""
    return [word.removesuffix(" ") for word in done.stdout.splitlines()]


def test_completion_knows_the_verbs(varve):
    assert complete("varve ", VARVE, varve.root) == [*COMMANDS, *NOUNS, "help"]
    for noun, verbs in NOUNS.items():
        assert complete(f"varve {noun} ", VARVE, varve.root) == verbs.split()


@pytest.mark.parametrize("noun, verb", VERBS)
def test_completion_knows_the_options(varve, noun, verb):
    text = varve(noun, verb, "--help").stdout
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.M)
    offered = complete(f"varve {noun} {verb} --", VARVE, varve.root)
    assert set(offered) == set(options) - {"--version"}


def test_completion_of_names(varve, tempdir):
    varve("pool", "create", "one", "--driver", "native")
    trap = tempdir / "trap"
    names = ["web", "sha256:aa", "sha256:bb", f"$(touch {trap})", "two words"]
    for name in names:
        varve("snapshot", "prepare", name)
    assert complete("varve --pool ", VARVE, varve.root) == ["one"]
    assert complete("varve snapshot rm w", VARVE, varve.root) == ["web"]
    assert complete("varve snapshot stat sha256:", VARVE, varve.root) == ["aa", "bb"]
    assert complete("varve snapshot stat t", VARVE, varve.root) == [r"two\ words"]
    assert len(complete("varve snapshot rm ", VARVE, varve.root)) == len(names)
    assert not trap.exists()
