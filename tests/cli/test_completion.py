"""Completion in the shells themselves: the script that the command shows completes verbs, options and choices."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SHELLS = ("bash", "zsh", "fish")
PATIENCE_S = 300
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\r|\x07")
_BASH = """source "$1"; COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$(complete -p swinunet | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" swinunet; printf '%s\\n' "${COMPREPLY[@]}" """
_FISH = "source $argv[1]; complete --do-complete $argv[2]"
_ZSH = "autoload -Uz compinit; compinit -u -D; source {script}; PS1='rea''dy> '\n"  # the echo is no prompt


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose PATH has this project's command, as an installation has it, and no personal settings."""
    home = tmp_path_factory.mktemp("home")
    command = home / "swinunet"
    command.write_text(f"#!{sys.executable} -P\nimport sys\nfrom swinunet.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    return {"PATH": f"{home}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module", params=SHELLS)
def script(request: pytest.FixtureRequest, environment: dict[str, str]) -> tuple[str, Path]:
    """A shell, and the file with what the command shows for it."""
    environment = {**environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = ["swinunet", "--show-completion", request.param]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    path = Path(environment["HOME"]) / f"completion.{request.param}"
    path.write_text(shown.stdout)
    return request.param, path


def completions(script: tuple[str, Path], line: str, environment: dict[str, str]) -> str:
    """What the shell offers at the end of a line, or the line that it makes of it."""
    shell, path = script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}; on Debian: make debian")
    if shell == "zsh":
        return completed_by_zsh(program, path, line, environment)
    command = [program, "--norc", "-c", _BASH, "bash"] if shell == "bash" else [program, "--no-config", "-c", _FISH]
    asked = [*command, str(path), line]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout


def completed_by_zsh(program: str, script: Path, line: str, environment: dict[str, str]) -> str:
    """The line after Tab on a terminal: zsh completes nowhere else."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(program, [program, "-f", "-i"], environment)
    try:
        os.write(terminal, _ZSH.format(script=script).encode())
        said = read_until(terminal, lambda text: text.rstrip(" ").endswith("ready>"))
        os.write(terminal, f"{line}\t".encode())
        said = read_until(terminal, lambda text: text.partition(line)[2].strip() != "")
        return line + said.rpartition(line)[2]
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    """What is written to a terminal, without escape codes, until it is `enough`."""
    said, end = b"", time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 4096)
        if enough(text := _ESCAPES.sub("", said.decode(errors="replace"))):
            return text
    raise AssertionError(f"the shell said no more than {said!r}")


def test_a_verb_is_completed(script: tuple[str, Path], environment: dict[str, str]) -> None:
    found = completions(script, "swinunet segm", environment)
    assert "segment" in found
    assert "serve" not in found


def test_an_option_of_a_verb_is_completed(script: tuple[str, Path], environment: dict[str, str]) -> None:
    found = completions(script, "swinunet segment --shared-m", environment)
    assert "--shared-memory" in found
    assert "--series" not in found


def test_a_choice_is_completed(script: tuple[str, Path], environment: dict[str, str]) -> None:
    assert "labelmap" in completions(script, "swinunet segment --seg-type label", environment)


def test_an_eager_option_before_it_says_nothing(script: tuple[str, Path], environment: dict[str, str]) -> None:
    for eager in ("--version", "segment --help-all"):
        found = completions(script, f"swinunet {eager} --hel", environment)
        assert "--help" in found
        assert "Usage" not in found
        assert "swinunet 0" not in found
