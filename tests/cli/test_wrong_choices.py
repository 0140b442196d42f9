"""An option that names one of several things refuses other names at once: before PyTorch is imported, in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import typer

from swinunet.cli import app
from swinunet.client.dicom.verdict import ALLOWANCES

HEAVY = {"torch", "onnx", "onnxruntime", "openvino"}
PROGRAM = """
import sys
from swinunet.cli import main
sys.argv[0] = "swinunet"
try:
    main()
except SystemExit as ended:
    print("STATUS", ended.code or 0, *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""

# Options that take text and name one of several things: a command with a wrong name, and what is answered.
CHOICES = {
    ("batch", "outputs"): ("--tree . -o ../out --outputs foo", "foo"),
    ("batch", "timeout"): ("--tree . -o ../out --timeout foo=3", "foo"),
    ("benchmark", "what"): ("everything", "there is no benchmark of 'everything'"),
    ("benchmark", "engines"): ("--engines foo", "there is no engine 'foo'"),
    ("benchmark", "recipe"): ("--recipe foo", "no recipe is named 'foo'"),
    ("benchmark", "recipes"): ("training --recipes tiny,foo", "no recipe is named 'foo'"),
    ("export", "engine"): ("CHECKPOINT --engine foo", "no engine is named 'foo'"),
    ("export", "serve_with"): ("CHECKPOINT --serve-with foo", "the CPU config cannot serve 'foo'"),
    ("gateway", "action"): ("foo", "there is no action 'foo'"),
    ("import", "plane"): ("W -o O --labels a --plane foo", "plane 'foo'; expected one of sagittal"),
    ("import", "spacing"): ("W -o O --labels a --spacing foo", "spacing 'foo'; expected"),
    ("import", "window"): ("W -o O --labels a --window foo", "window 'foo'; expected"),
    ("import", "scaled_to"): ("W -o O --labels a --scaled-to foo", "scaled-to 'foo'; expected"),
    ("models", "timeout"): ("--url 127.0.0.1:1 --timeout foo=3", "foo"),
    ("segment", "outputs"): ("IN -o out --outputs foo", "foo"),
    ("segment", "timeout"): ("IN -o out --timeout foo=3", "foo"),
    ("serve", "config"): ("--config foo", "has the config 'foo'"),
    ("train", "recipe"): ("DATA -o RUN --recipe foo", "no recipe is named 'foo'"),
    ("train", "init"): ("DATA -o RUN --init foo", "no init is named 'foo'"),
    ("train", "loss"): ("DATA -o RUN --loss foo", "no loss is named 'foo'"),
    ("train", "device"): ("DATA -o RUN --device foo", "device 'foo'; expected cpu"),
    ("train", "precision"): ("DATA -o RUN --precision foo", "precision 'foo'; expected auto"),
    ("train", "augment_volumes"): ("DATA -o RUN --augment-volumes foo", "no augmentation of volumes is named 'foo'"),
    ("train", "plane"): ("DATA -o RUN --plane foo", "plane 'foo'; expected one of sagittal"),
    ("train", "spacing"): ("DATA -o RUN --spacing foo", "spacing 'foo'; expected"),
    ("train", "window"): ("DATA -o RUN --window foo", "window 'foo'; expected"),
    ("train", "scaled_to"): ("DATA -o RUN --scaled-to foo", "scaled-to 'foo'; expected"),
}
FURTHER = {
    "benchmark engines among known ones": ("benchmark --engines openvino-f32,foo", "there is no engine 'foo'"),
    "no checkpoint": ("export CHECKPOINT", "CHECKPOINT: no such file; expected a checkpoint (.safetensors)"),
    "check": ("export CHECKPOINT --check --engine foo", "no engine is named 'foo'"),
    "no GPU": ("export CHECKPOINT --engine tensorrt-fp16", "nvidia-smi finds none here"),
    "boundary": ("train DATA -o RUN --loss dice-ce+foo", "no loss is named 'dice-ce+foo'"),
    "a GPU's number": ("train DATA -o RUN --device cuda:x", "device 'cuda:x'; expected"),
}
# Options whose text is the user's own: a name, numbers, an address, a path that is also a name.
FREE = {
    "address", "batches", "body_part", "calling_ae", "cases", "checkpoint", "depths", "group_by", "header", "labels",
    "modality", "model", "name", "roi", "series", "shard", "source", "split", "study", "subject", "traces", "tree",
    "tune", "url", "weights",
}  # fmt: skip


def options() -> Iterator[tuple[str, str, object]]:
    """Every option and argument: the verb, its name, the type of its values."""
    group = typer.main.get_command(app)
    for verb in group.list_commands(None):  # type: ignore[attr-defined,arg-type]
        for each in group.get_command(None, verb).params:  # type: ignore[attr-defined,arg-type,union-attr]
            kind = each.type_descriptor.annotation
            yield verb, each.name, get_args(kind)[0] if get_origin(kind) is list else kind


def test_every_option_that_takes_text_is_classified() -> None:
    """A new one goes into CHOICES with a wrong name, or into FREE."""
    text = {(verb, name) for verb, name, kind in options() if kind is str}
    assert len(text) > 30
    assert {(verb, name) for verb, name in text if name not in FREE} == CHOICES.keys()


def test_the_command_line_itself_refuses_what_a_type_lists() -> None:
    listed = {(verb, name) for verb, name, kind in options() if get_origin(kind) is Literal or is_enum(kind)}
    assert {("segment", "seg_type"), ("evaluate", "part")} <= listed
    allow = {verb: set(kind) for verb, name, kind in options() if name == "allow"}
    assert allow == {verb: set(ALLOWANCES) for verb in ("batch", "convert", "inspect", "segment")}


def is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


@pytest.mark.parametrize(
    ("command", "says"),
    [(f"{verb} {wrong}", says) for (verb, _), (wrong, says) in CHOICES.items()] + list(FURTHER.values()),
    ids=[f"{verb} {name}" for verb, name in CHOICES] + list(FURTHER),
)
def test_a_wrong_name_is_refused_before_pytorch_is_imported(
    command: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi, on whatever machine
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    message, _, rest = done.stderr.partition("STATUS ")
    status, *imported = rest.split()
    assert status == "1", done.stderr
    assert says in message
    assert message.count("\n") == 1
    assert not HEAVY & set(imported)
    assert (done.stdout, list(tmp_path.iterdir())) == ("", [])
