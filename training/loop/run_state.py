"""Where a run stands, in one file that appears whole or not at all: `state.safetensors`.

Tensors: the weights, their average, the optimiser's moments. JSON in the file's metadata: epoch, step, best Dice, and
what the run is (network, spec, split, number of slices), so that it is not resumed as another. No random state: the
order of an epoch, and the augmentation and stochastic depth of a step, are seeded by (seed, epoch, step, process), so
they do not depend on how the run came there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from swinunet.foundation.errors import CheckpointError
from swinunet.foundation.files import write_whole
from swinunet.imaging import ModelSpec
from swinunet.training.loop.optimisation import Learner
from swinunet.training.network.swin_unet import SwinUNetConfig

STATE_FILE = "state.safetensors"
POSITION_KEY, IDENTITY_KEY, SCALER_KEY = "position", "identity", "scaler"


@dataclass
class Position:
    """How far a run has come. epoch: finished ones; step: of the one under way; `best` is -1 before a validation."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0  # of the epoch under way
    best: float = -1.0
    best_epoch: int = 0
    stopped: bool = False  # early


@dataclass(frozen=True)
class Identity:
    """What a run is. Each field must be the same when it is resumed; its name says in a message what is not."""

    network: str
    spec: str
    training_cases: str
    validation_cases: str
    slices: str

    @staticmethod
    def of(
        config: SwinUNetConfig, spec: ModelSpec, training: list[str], validation: list[str], slices: int
    ) -> Identity:
        """training, validation: names of cases; slices: of the training cases together."""
        network = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(config).items())
        # The path of the data, which may move, stands in the provenance.
        plain = dataclasses.replace(spec, provenance=type(spec.provenance)())
        return Identity(network, plain.to_json(), _brief(training), _brief(validation), str(slices))


def save_state(run: Path, learner: Learner, position: Position, identity: Identity) -> None:
    """Write `run/state.safetensors`. Raises OutputError, and leaves the one before, if it cannot be written."""
    tensors = {f"trained/{name}": tensor for name, tensor in learner.trained.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in learner.average.state_dict().items()}
    for index, moments in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in moments.items()}
    metadata = {
        POSITION_KEY: json.dumps(dataclasses.asdict(position) | {"steps": learner.steps}),
        IDENTITY_KEY: json.dumps(dataclasses.asdict(identity)),
        SCALER_KEY: json.dumps(learner.scaler.state_dict()),
    }
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    write_whole(run / STATE_FILE, content)


def load_state(run: Path, learner: Learner, identity: Identity) -> Position:
    """Put `learner` where the run stood and return its position; the start where the run has not saved one yet.

    Raises CheckpointError if the file is broken or of another run: another network, spec, split or data.
    """
    path = run / STATE_FILE
    if not path.exists():
        return Position()
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        stored = {key: json.loads(metadata[key]) for key in (POSITION_KEY, IDENTITY_KEY, SCALER_KEY)}
        steps = int(stored[POSITION_KEY].pop("steps"))
        position = TypeAdapter(Position).validate_python(stored[POSITION_KEY])
        found = TypeAdapter(Identity).validate_python(stored[IDENTITY_KEY])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(f"{path}: not the state of a run ({error}); start a new run") from None
    _require_same(path, found, identity)
    _fill(path, learner, tensors)
    learner.steps = steps
    if learner.scaler.is_enabled() and stored[SCALER_KEY]:
        learner.scaler.load_state_dict(stored[SCALER_KEY])
    return position


def _require_same(path: Path, found: Identity, identity: Identity) -> None:
    for field in dataclasses.fields(Identity):
        then, now = getattr(found, field.name), getattr(identity, field.name)
        if then != now:
            ours, theirs = _where_they_differ(then, now)
            raise CheckpointError(
                f"{path}: the run was started with another {field.name.replace('_', ' ')} ({ours}; now {theirs}); "
                "give it what it was started with, or start a new run"
            )


def _where_they_differ(then: str, now: str) -> tuple[str, str]:
    """The first words, or 40 letters of a long one, that are not the same."""
    ours, theirs = then.split(" "), now.split(" ")
    at = next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)) - 1
    )
    a, b = " ".join(ours[at : at + 3]), " ".join(theirs[at : at + 3])
    start = max(next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0) - 20, 0)
    return a[start : start + 40], b[start : start + 40]


def _fill(path: Path, learner: Learner, tensors: dict[str, Tensor]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer/").items():
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = tensor
    try:
        learner.trained.load_state_dict(part("trained/"))
        learner.average.load_state_dict(part("average/"))
        groups = learner.optimizer.state_dict()["param_groups"]
        learner.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tensors do not fit the network ({error}); start a new run") from None


def _brief(names: list[str]) -> str:
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    return f"{len(names)} cases, SHA-256 of the names {digest}"
