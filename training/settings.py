"""Everything that decides a run besides the data and the spec. No torch here: the command line reads the defaults."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from typing import Any, ClassVar

from swinunet.errors import InputError

_MACHINE = frozenset({"device", "workers", "recompute", "compile", "save_every"})
FREE_ON_RESUME = _MACHINE | {"patience", "precision"}
_AUGMENT = "augment_"


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from, uniformly, for each slice on its own.

    probability: of each family (rotation, scale, shift, contrast, brightness, gamma, noise).
    mirror_probability: of a mirror image of the patient, left for right, which turns a left organ into a right one;
        0 in a run whose labels name sides.
    flip_probability: of a flip upside down, and of one from left to right, in the plane. Off by default: slices reach
        the network in anatomical orientation, so a head that stands on its neck is nothing it will meet, and where
        left and right are two classes a flip contradicts its label.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    probability: float = 0.5
    mirror_probability: float = 0.5
    flip_probability: float = 0.0
    rotation_degrees: float = 20.0
    scale: float = 0.2  # natural logarithm
    shift: float = 0.08  # of the field of view
    contrast: float = 0.3  # natural logarithm
    brightness: float = 0.3  # z-score units
    gamma: float = 0.4  # natural logarithm
    noise: float = 0.15  # z-score units

    def __post_init__(self) -> None:
        for name in ("probability", "mirror_probability", "flip_probability"):
            _require(name, getattr(self, name), low=0, high=1)


@dataclass(frozen=True)
class TrainSettings:
    """How a run goes; stored in its folder, so that `--resume` needs no option twice.

    weights: path of a checkpoint whose weights the network starts from; empty starts at random.
    init: of weights that start at random, see training/initialise.py.
    batch_size: slices of one step over all processes together.
    empty_share: of the slices without any label, how many an epoch draws.
    group_by: a regular expression, as `training.groups` reads it: cases of one group, as the slices of one patient,
        fall on one side of the split. Empty: each case is a group.
    split: path of the split.json of an earlier run, whose validation cases are held out again, whatever the seed
        (training/given_split.py); empty: drawn with the seed.
    patience: epochs without a better validation Dice after which the run stops; 0 goes on to the last.
    accumulate: micro-batches of a step, for small cards. Soft Dice is then that of a micro-batch.
    recompute: keep no activations within a Swin stage, compute them again for the gradient (arXiv 1604.06174).
    precision: fp32, bf16, fp16 (with a gradient scaler; CUDA only) or auto: bf16 where the device multiplies it
        natively, else fp16 on a GPU and fp32 on a CPU.
    workers: threads that gather batches ahead; None is 4 on a GPU, and 0, in the loop itself, on a CPU.
    augment_volumes: augmentation of whole volumes before slices are made of them, by name
        (training/volume_augmentation.py); empty: none.
    save_every: steps between saves of the state within an epoch; 0 saves at the end of each epoch only.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    recipe: str = "small"
    weights: str = ""
    init: str = "normal"
    epochs: int = 200
    batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warmup_fraction: float = 0.05
    gradient_clip: float = 1.0
    loss: str = "dice-ce"
    boundary_weight: float = 0.01
    deep_supervision: bool = False
    empty_share: float = 0.3
    ema_decay: float = 0.999
    validation_fraction: float = 0.2
    group_by: str = ""
    split: str = ""
    validate_every: int = 2
    patience: int = 40
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    recompute: bool = False
    compile: bool = False
    workers: int | None = None
    save_every: int = 0
    augment_volumes: str = ""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every", "accumulate"):
            _require(name, getattr(self, name), low=1)
        for name in ("learning_rate", "weight_decay", "boundary_weight", "patience", "save_every"):
            _require(name, getattr(self, name), low=0)
        for name in ("warmup_fraction", "empty_share", "ema_decay", "validation_fraction"):
            _require(name, getattr(self, name), low=0, high=1)
        if self.gradient_clip <= 0:
            raise InputError(f"gradient_clip must be above 0, found {self.gradient_clip}")

    def changed(self, asked: dict[str, Any]) -> TrainSettings:
        """A copy with `asked` values, by name; those of the augmentation begin with `augment_`."""
        own = {entry.name for entry in dataclasses.fields(self)}
        outer = {name: value for name, value in asked.items() if name in own or not name.startswith(_AUGMENT)}
        inner = {name.removeprefix(_AUGMENT): value for name, value in asked.items() if name not in outer}
        return dataclasses.replace(self, augmentation=dataclasses.replace(self.augmentation, **inner), **outer)

    def as_options(self) -> list[str]:
        """The command line's options that make these settings, those of the machine left out."""
        options = [f"--{name} {getattr(self, name)}" for name in ("recipe", "epochs", "seed")]
        named = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        named |= {
            _AUGMENT + f.name: (getattr(self.augmentation, f.name), f.default) for f in dataclasses.fields(Augmentation)
        }
        for name in named.keys() - _MACHINE - {"recipe", "epochs", "seed", "augmentation"}:
            value, default = named[name]
            if value != default:
                flag = "--" + name.replace("_", "-")
                options.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
        return options[:3] + sorted(options[3:])

    def differences(self, other: TrainSettings) -> list[str]:
        """What of the settings that decide the result is not the same: `name (ours, theirs)` each."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [
            f"{name} ({mine[name]}, {theirs[name]})"
            for name in mine
            if mine[name] != theirs[name] and name not in FREE_ON_RESUME
        ]


def _require(name: str, value: float, low: float, high: float = float("inf")) -> None:
    if not low <= value <= high:
        allowed = f"at least {low}" if high == float("inf") else f"{low} to {high}"
        raise InputError(f"{name} must be {allowed}, found {value}")
