"""Completion in the shells themselves: verbs, actions, flags and values, without starting a program at a TAB."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudaccel.cli import completion
from cloudaccel.facts import places
from tests.support import PATIENCE_S, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix shells")
SLOWEST_S = 0.25  # of work, which a person notices as a wait; a shell takes 5 to 50 ms, starting Python 300 (2026-11)
ASKED = {  # what is typed, and what the word at its end becomes
    "cloudaccel quo": "quote",
    "cloudaccel --offline quo": "quote",
    "cloudaccel quote --resid": "--residency",
    "cloudaccel quote H100-S": "H100-SXM",
    "cloudaccel quote --provider neb": "nebius",
    "cloudaccel quote H100 --region us-gov-w": "us-gov-west-1",
    "cloudaccel quote H100 --market savi": "savings-plan",
    "cloudaccel quote --output wi": "wide",
    "cloudaccel plan --policy fr-secn": "fr-secnumcloud",
    "cloudaccel plan --model mixtral-8x22": "mixtral-8x22b-v0.1",
    "cloudaccel policy expl": "explain",
    "cloudaccel policy show eu-gd": "eu-gdpr",
    "cloudaccel policy diff --accel H100-S": "H100-SXM",
    "cloudaccel refresh hypers": "hyperstack",
    "cloudaccel provision exte": "extend",
    "cloudaccel provision up A100-S": "A100-SXM",
    "cloudaccel provision selftest gc": "gcp",
    "cloudaccel alert add --country LU": "LU",
    "cloudaccel compare --html pag": "page.html",
}


Asked = Generator[Callable[[str], str]]


@contextmanager
def asked_of_bash(folder: Path) -> Asked:
    (folder / "made").write_text(run("completion", "bash").out, encoding="utf-8")
    script = (
        "source made; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$1; COMP_POINT=${#1}\n"
        "$(complete -p cloudaccel | sed 's/.*-F \\([^ ]*\\).*/\\1/') cloudaccel"
        ' "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[@]}"'
    )
    yield lambda line: subprocess.run(
        ["bash", "--norc", "-c", script, "bash", line], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@contextmanager
def asked_of_fish(folder: Path) -> Asked:
    (folder / "made").write_text(run("completion", "fish").out, encoding="utf-8")
    yield lambda line: " ".join(
        found.partition("\t")[0]
        for found in subprocess.run(
            ["fish", "--no-config", "-c", "source made; complete -C $argv[1]", line],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout.splitlines()
    )  # fmt: skip


@contextmanager
def asked_of_zsh(folder: Path) -> Asked:
    """A terminal with zsh at its other end, which completes only for a person."""
    import pty

    (folder / "_cloudaccel").write_text(run("completion", "zsh").out, encoding="utf-8")
    terminal, child = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=child, stdout=child, stderr=child, cwd=folder, env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
    )  # fmt: skip
    os.close(child)

    def said(until: str) -> str:
        seen = ""
        while until not in seen:
            assert select.select([terminal], [], [], PATIENCE_S)[0], seen
            seen += os.read(terminal, 65536).decode(errors="replace")
        return seen

    def tab(line: str) -> str:
        os.write(terminal, f"{line}\t\x18".encode())  # TAB, and the key that tells the line and forgets it
        found = said(until="]TOLD").rpartition("TOLD[")[2].partition("]TOLD")[0]
        return found.split()[-1]

    tell = 'tell() { print -rn -- "TO""LD[$BUFFER]TO""LD"; BUFFER=""; }; zle -N tell; bindkey "^X" tell'
    setup = f"unsetopt beep prompt_cr prompt_sp; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; PS1=''"
    os.write(terminal, f"{setup}; {tell}; print ready | tr a-z A-Z\n".encode())
    said(until="READY")
    try:
        yield tab
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


SHELLS = {"bash": asked_of_bash, "fish": asked_of_fish, "zsh": asked_of_zsh}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_verbs_actions_flags_and_values(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "page.html").touch()
    with SHELLS[shell](tmp_path) as ask:
        assert {line: ask(line) for line in ASKED} == ASKED


def _worked_s() -> float:
    """Seconds that processors have worked for programs which this one started and which have ended."""
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_tab_starts_no_program_and_is_not_noticed(tmp_path: Path) -> None:
    """Asking this program at each TAB would take longer than typing the word."""
    for shell in completion.SHELLS:
        assert "$(cloudaccel" not in run("completion", shell).out
    took: list[float] = []
    with asked_of_bash(tmp_path) as ask:
        for _ in range(3):
            before = _worked_s()
            ask("cloudaccel quote H100 --region us-gov-w")
            took.append(_worked_s() - before)
    assert min(took) < SLOWEST_S, took


def test_what_is_offered_is_known() -> None:
    """A name that is offered and then refused would be taken for a mistake in what was typed."""
    answer = run("explain", *completion.accelerators(), "--json")
    assert answer.code == 0, answer.err
    assert set(completion.providers()) == {places.resolve_provider(name) for name in completion.providers()}
    for region in completion.regions():
        assert places.resolve_region(region)
    for area in completion.areas():
        assert places.resolve_countries(area)
    for market in completion.markets():
        assert run("quote", "H100", "--market", market, "--limit", "1", "--offline").code in (0, 3), market


def test_a_verb_whose_packages_are_not_installed_is_completed_by_name() -> None:
    """`pip install cloudaccel` alone could complete nothing, and said to install the extra of another verb."""
    without = "import sys\nfor name in ('sqlalchemy', 'yaml', 'scipy', 'pydantic', 'jq'): sys.modules[name] = None\n"
    code = without + "from cloudaccel.cli import main\nsys.exit(main(['completion', 'bash']))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    for word in ("provision", "--residency", "nebius"):
        assert word in answer.stdout
