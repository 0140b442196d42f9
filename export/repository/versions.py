"""A model repository: versions are written aside and renamed into place, never overwritten, and can be taken out.

<repository>/<name>/config.pbtxt            for NVIDIA's container, with a GPU and without; see triton_config.py
<repository>/<name>/configs/*.pbtxt         others, by the name that picks them: cpu, tensorrt, openvino, tuned
<repository>/<name>/<version>/model.onnx    the graph; model_fp16.onnx is made from it, and model.plan on a GPU
<repository>/<name>/<version>/model.py      what the CPU config runs
<repository>/<name>/<version>/canary.npz    an input whose labels are known; a server that answers otherwise is not up
<repository>/<name>/<version>/gate.json     the proof, with GATE.md
<repository>/<name>/<version>/checkpoint.safetensors, MODEL_CARD.md, split.json (if the run folder has it)
<repository>/<name>/.withdrawn-<version>    a version that `--rollback` took out

Each config names the version it serves, so a version folder beside it changes nothing until the config is replaced:
whenever an export is killed, Triton serves what it served. Triton takes every folder at the top of a repository for a
model, and stops at one without a config; so a model's first version is written beside the repository, with its configs
(inside it where the repository is a volume of its own: there, do not start Triton while the first export is at work).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from swinunet.export.file_names import CHECKPOINT_FILE, GRAPH_FILE
from swinunet.export.repository.served_configs import CPU_CONFIG, Configs, make_configs, recorded_choice
from swinunet.foundation.errors import InputError, OutputError
from swinunet.foundation.files import sha256_of_file
from swinunet.foundation.nearest import did_you_mean
from swinunet.imaging import ModelSpec

_ASIDE = re.compile(r"\.\d+\.[\w.]+")  # .<version>.<random> of a version, .<process>.<name> of a config
_SUFFIX = ".export"


@dataclass(frozen=True)
class Withdrawn:
    """A version that was taken out: its number, where it is kept, and the version that serves now."""

    model: str
    version: int
    kept: Path
    serving: int


@contextmanager
def locked(repository: Path) -> Iterator[None]:
    """Have `repository`, which is made if need be, for oneself, and clear away what killed exports left in it.

    Raises OutputError if it cannot be written, or while another export has it.
    """
    try:
        repository.mkdir(parents=True, exist_ok=True)
        handle = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _cannot_write(repository, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(f"{repository}: another export is at work in it; try again when it is done") from None
        for path in _left_behind(repository):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def version_folder(repository: Path, spec: ModelSpec) -> Path:
    """Where this model version lives. Raises OutputError if it exists already."""
    target = repository / spec.name / str(spec.version)
    if target.exists():
        raise OutputError(
            f"{target}: version {spec.version} of {spec.name} exists and is never overwritten; "
            f"export as a new one (--version {max(versions(target.parent), default=spec.version) + 1})"
        )
    return target


def versions(model: Path) -> list[int]:
    """Version numbers in a model's folder, ascending."""
    numbered = (path for path in model.iterdir() if path.is_dir() and path.name.isdecimal())
    return sorted(int(path.name) for path in numbered if not _is_hollow(path))


def _is_hollow(version: Path) -> bool:
    """Whether the version's files are gone: git leaves Python's cache of its model.py behind."""
    return all(path.name == "__pycache__" for path in version.iterdir())


@contextmanager
def staged_version(repository: Path, spec: ModelSpec, configs: Configs) -> Iterator[Path]:
    """A folder to fill, which is served when the block ends well and is gone when it does not. Wants `locked`."""
    target = version_folder(repository, spec)
    model = target.parent
    whole = not model.is_dir() and _can_rename_from_beside(repository)
    try:
        aside = _made_beside(repository) if whole else _made_inside(model, spec.version)
    except OSError as error:
        raise _cannot_write(repository, error) from None
    try:
        folder = aside / target.name if whole else aside
        folder.mkdir(exist_ok=True)
        yield folder
        folder.chmod(0o755)
        if whole:
            configs.write(aside)
            aside.chmod(0o755)
            aside.rename(model)
        else:
            aside.rename(target)
            configs.write(model)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):
            model.rmdir()  # only an empty one goes: Triton would stop at it


def roll_back(repository: Path, name: str | None) -> Withdrawn:
    """Take the last version of a model out; the one before it serves. name: None takes the only model.

    The version is kept beside the others under a name that Triton passes over. Raises InputError for a model that is
    not there or has one version only, OutputError if the repository cannot be written.
    """
    from swinunet.export.repository.version_files import read_checkpoint  # PyTorch, which configs alone do not need

    model = _model(repository, name)
    found = versions(model)
    if len(found) < 2:
        raise InputError(f"{model}: version {found[0]} is its only one, nothing would be left to serve; it stays")
    last, before = found[-1], found[-2]
    with locked(repository):
        _, spec = read_checkpoint(model / str(before) / CHECKPOINT_FILE, before)
        make_configs(spec, recorded_choice(model / str(before))).write(model)
        kept = _free(model / f".withdrawn-{last}")
        try:
            (model / str(last)).rename(kept)
        except OSError as error:
            raise _cannot_write(model, error) from None
    return Withdrawn(model.name, last, kept, before)


def find_version(path: Path, repository: Path) -> Path:
    """The version folder that `path` names: itself, or the newest in `repository` exported from this checkpoint.

    Raises InputError if there is none.
    """
    if path.is_dir():
        if not (path / CHECKPOINT_FILE).is_file() or not (path / GRAPH_FILE).is_file():
            raise InputError(
                f"{path}: no model version; expected a folder with {GRAPH_FILE} and {CHECKPOINT_FILE} in it"
            )
        return path
    sha256 = sha256_of_file(path)
    found = [file.parent for file in repository.glob(f"*/*/{CHECKPOINT_FILE}") if file.parent.name.isdecimal()]
    same = [folder for folder in found if sha256_of_file(folder / CHECKPOINT_FILE) == sha256]
    if not same:
        raise InputError(f"{path}: no version in {repository} was exported from this checkpoint; export it first")
    return max(same, key=lambda folder: int(folder.name))


def _model(repository: Path, name: str | None) -> Path:
    models = {path.parent.parent.name: path.parent.parent for path in sorted(repository.glob(f"*/{CPU_CONFIG}"))}
    if not models:
        raise InputError(f"{repository}: no model repository; expected <model>/{CPU_CONFIG} in it")
    listed = ", ".join(models)
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None or name not in models:
        asked = f"no model {name!r}" if name else "no single model"
        raise InputError(
            f"{repository} has {asked} (there is: {listed}); name one of them{did_you_mean(name or '', models)}"
        )
    return models[name]


def _left_behind(repository: Path) -> list[Path]:
    """What killed exports left: version folders and configs that were written aside, models beside the repository.

    And version folders without a version in them, whoever left them.
    """
    inside = [path for pattern in ("*/.*", "*/configs/.*") for path in repository.glob(pattern)]
    beside = repository.resolve().parent.glob(f".{repository.resolve().name}.*{_SUFFIX}")
    numbered = [path for path in repository.glob("*/*") if path.name.isdecimal() and path.is_dir()]
    hollow = [path for path in numbered if _is_hollow(path)]
    return [path for path in inside if _ASIDE.fullmatch(path.name)] + list(beside) + hollow


def _can_rename_from_beside(repository: Path) -> bool:
    """Whether a folder beside the repository can be made and renamed into it: not so where it is a mounted volume."""
    place = repository.resolve()
    return os.access(place.parent, os.W_OK) and place.parent.stat().st_dev == place.stat().st_dev


def _made_beside(repository: Path) -> Path:
    """A folder that becomes a model by one rename."""
    place = repository.resolve()
    tempfile.TemporaryFile(dir=place).close()  # find out now whether the rename at the end will be allowed
    return Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=_SUFFIX, dir=place.parent))


def _made_inside(model: Path, version: int) -> Path:
    """A folder that becomes a version by one rename."""
    model.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{version}.", dir=model))


def _free(path: Path) -> Path:
    """`path`, or with a number behind it where there is such a folder already."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in range(2, 1000))
    return path if not path.exists() else next(each for each in numbered if not each.exists())


def _cannot_write(repository: Path, error: OSError) -> OutputError:
    return OutputError(f"{repository}: cannot write ({os.strerror(error.errno or 0)}); choose another one")
