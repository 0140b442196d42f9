"""Is what is about to be served what was exported? A flipped bit may pass the canary and still change volumes.

gate.json, written by `swinunet export` beside the files, has their SHA-256 under `sha256`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.foundation.files import sha256_of_file

PROOF_FILE = "gate.json"
SERVED_SUFFIXES = (".onnx", ".xml", ".bin", ".py", ".npz")  # graphs and weights, model.py, the canary
_VERSION_POLICY = re.compile(r"version_policy\s*\{\s*specific\s*\{\s*versions:\s*\[([\d,\s]+)\]")


def served_version_folders(repository: Path, config_name: str | None) -> Iterator[Path]:
    """The version folders that Triton would load: those that the chosen config names, or else the latest."""
    for model in sorted(entry for entry in repository.iterdir() if entry.is_dir()):
        config = chosen_config(model, config_name)
        named = _VERSION_POLICY.search(config.read_text(errors="replace")) if config.is_file() else None
        numbers = sorted((entry.name for entry in model.iterdir() if entry.name.isdecimal()), key=int)
        chosen = [number.strip() for number in named[1].split(",")] if named else numbers[-1:]
        yield from (model / number for number in chosen if number in numbers)


def chosen_config(model: Path, config_name: str | None) -> Path:
    """The config that is read of a model: `configs/<name>.pbtxt`, or config.pbtxt where there is none.

    A model that is not tuned is served as on any CPU beside one that is.
    """
    names = [config_name, "cpu"] if config_name == "tuned" else [config_name] if config_name else []
    found = (model / "configs" / f"{name}.pbtxt" for name in names)
    return next((config for config in found if config.is_file()), model / "config.pbtxt")


def sha256_of_served_files(folder: Path) -> dict[str, str]:
    """What gate.json holds of a version folder: the SHA-256 of each file that can be served, by name."""
    return {path.name: sha256_of_file(path) for path in sorted(folder.iterdir()) if path.suffix in SERVED_SUFFIXES}


def check_files(folder: Path) -> bool:
    """Check every served file of a version folder. Returns False if its gate.json has no checksums, or there is none.

    A model from before there were checksums is served, with a warning. Raises ServingError, naming the file, for one
    that is not what was exported.
    """
    try:
        expected = json.loads((folder / PROOF_FILE).read_text())["sha256"]
        recorded = {str(name): str(digest) for name, digest in expected.items()}
    except FileNotFoundError:
        return False
    except KeyError:
        return False
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ServingError(
            f"{folder / PROOF_FILE} cannot be read ({type(error).__name__}); export the model again"
        ) from None
    for name, digest in sorted(recorded.items()):
        path = folder / name
        if path.suffix in SERVED_SUFFIXES and path.is_file() and sha256_of_file(path) != digest:
            raise ServingError(
                f"{path} is damaged or was changed after its export (its SHA-256 is not the one in {PROOF_FILE}); "
                "restore it, or export the model again"
            )
    return True
