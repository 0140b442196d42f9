"""What the command imports before it answers: help, version and refusals do not wait for libraries they do not use."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "numpy",
    "scipy",
    "matplotlib",
    "pydicom",
    "tritonclient",
    "onnx",
    "onnxruntime",
    "openvino",
    "nibabel",
    "pyarrow",
    "ray",
    "fsspec",
}
PROGRAM = """
import sys
from swinunet.cli import main
sys.argv[0] = "swinunet"
try:
    main()
except SystemExit as ended:
    print("\\nSTATUS", ended.code or 0, *sorted({name.partition(".")[0] for name in sys.modules}))
    print("\\nVERBS", *sorted(name for name in sys.modules if name.startswith("swinunet.cli.verbs.")))
"""


def run(*arguments: str) -> tuple[int, str, set[str], set[str]]:
    """Exit status, both outputs, and what was imported: top-level packages, and modules of verbs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=600, check=True
    )
    out, _, rest = done.stdout.partition("\nSTATUS ")
    packages, _, verbs = rest.partition("\nVERBS")
    status, *names = packages.split()
    return int(status), out + done.stderr, set(names), {name.rpartition(".")[2] for name in verbs.split()}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_verb_and_imports_no_library(flag: str) -> None:
    status, out, imported, verbs = run(flag)
    assert status == 0
    assert not imported & HEAVY
    listed = {
        line.split()[1]
        for line in out.partition("Commands")[2].splitlines()
        if line.startswith("│ ") and line[2] != " "
    }
    assert listed == {name.rstrip("_") for name in verbs}
    assert {"train", "export", "serve", "segment", "import"} <= listed


@pytest.mark.parametrize(
    "verb", ["train", "export", "segment", "serve", "inspect", "convert", "evaluate", "import", "benchmark", "batch"]
)
def test_help_of_a_verb_imports_no_library_and_no_other_verb(verb: str) -> None:
    status, out, imported, verbs = run(verb, "-h")
    assert status == 0
    assert f"Usage: swinunet {verb}" in out
    assert not imported & HEAVY
    assert {name.rstrip("_") for name in verbs} == {verb}


def test_help_of_train_says_how_large_the_recipes_are() -> None:
    _, out, _, _ = run("train", "--help-all")
    assert "27.17 M parameters, 12.20 GFLOP" in " ".join(out.split())


def test_version() -> None:
    status, out, imported, verbs = run("--version")
    assert (status, out.strip()) == (0, f"swinunet {importlib.metadata.version('swinunet')}")
    assert not imported & HEAVY
    assert not verbs


def test_completion_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    status, out, _, _ = run("--show-completion", "bash")
    assert status == 0
    assert "complete -o default -F _swinunet_completion swinunet" in out


def test_an_unknown_verb_is_refused_with_the_one_that_was_meant() -> None:
    status, out, _, _ = run("trian")
    assert status == 2
    assert "Did you mean 'train'?" in out
