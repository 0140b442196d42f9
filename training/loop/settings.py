"""Everything that decides a run besides the data and the spec. No torch here: the command line reads the defaults."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from typing import Any, ClassVar

from swinunet.foundation.errors import InputError
from swinunet.training.named_choices import (
    require_device,
    require_init,
    require_loss,
    require_precision,
    require_volume_augmentation,
)
from swinunet.training.network.recipe_sizes import OF_THE_WEIGHTS

_MACHINE = frozenset({"device", "workers", "recompute", "compile", "save_every", "memory_mib"})
FREE_ON_RESUME = _MACHINE | {"patience", "precision"}
_AUGMENT = "augment_"


@dataclass(frozen=True)
class Augmentation:
    """How training slices are changed at random: each range is drawn from uniformly, for each slice on its own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    probability: float = 0.5
    """Probability of each of rotation, scale, shift, contrast, brightness, gamma, noise, bias and deformation, 0 to
    1."""
    mirror_probability: float = 0.5
    """Probability of a mirror image of the patient, left for right, 0 to 1. Always 0 where a label names a side."""
    flip_probability: float = 0.0
    """Probability of a flip upside down, and of one from left to right, within the slice, 0 to 1. Off by default,
    since slices reach the network in anatomical orientation."""
    rotation_degrees: float = 20.0
    """Largest rotation within the slice, in degrees, either way."""
    scale: float = 0.2
    """Largest change of size, as a natural logarithm: 0.2 is 0.82 to 1.22 times. Height alone changes by up to half of
    it besides."""
    shift: float = 0.08
    """Largest shift along rows and columns, as a share of the field of view."""
    contrast: float = 0.3
    """Largest change of contrast, as a natural logarithm: 0.3 is 0.74 to 1.35 times."""
    brightness: float = 0.3
    """Largest value added to all pixels, in units of the normalised image (standard deviations for z-score)."""
    gamma: float = 0.4
    """Largest change of the gamma exponent, as a natural logarithm: 0.4 is 0.67 to 1.49."""
    noise: float = 0.15
    """Largest standard deviation of the Gaussian noise, in units of the normalised image."""
    bias: float = 0.0
    """Largest gain of a smooth field over the slice, as of a surface coil, as a natural logarithm: 0.7 is 0.5 to 2
    times. Off by default."""
    elastic: float = 0.0
    """Largest displacement of a smooth random deformation, as a share of the field of view. Off by default."""

    def __post_init__(self) -> None:
        for name in ("probability", "mirror_probability", "flip_probability"):
            _require(name, getattr(self, name), low=0, high=1)


@dataclass(frozen=True)
class TrainSettings:
    """How a run goes; stored in its folder, so that `--resume` needs no option twice.

    The docstring under a field is also the help of its command-line option.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    recipe: str = "small"
    """Name of the network's recipe, which sets its size and its input in pixels. `weights`, which is the default with
    --weights, takes the network of that checkpoint."""
    weights: str = ""
    """Checkpoint whose weights the network starts from (fine-tuning). Without one it starts at random."""
    init: str = "normal"
    """How weights that start at random are drawn: normal (Swin's), or xavier, for narrow networks."""
    epochs: int = 200
    """Largest number of epochs. The learning rate falls over all of them."""
    batch_size: int = 16
    """Slices of one optimisation step, over all processes together."""
    learning_rate: float = 5e-4
    """Learning rate of AdamW after the warm-up, from where it falls to 0 along half a cosine."""
    weight_decay: float = 0.05
    """Weight decay of AdamW, on weight matrices only: not on biases, norms and position biases."""
    warmup_fraction: float = 0.05
    """Share of all steps, 0 to 1, in which the learning rate rises linearly to its full value."""
    gradient_clip: float = 1.0
    """Largest L2 norm of the gradient; a longer one is scaled down to it."""
    loss: str = "dice-ce"
    """Loss function: dice-ce, dice-bce, dice-focal, dice-balanced or slice-dice-ce, each with +boundary after it for
    the boundary loss."""
    boundary_weight: float = 0.01
    """Weight of the boundary loss, where the loss function has one."""
    deep_supervision: bool = False
    """Compute the loss at every decoder stage, not only at the last."""
    empty_share: float = 0.3
    """Share of the slices without any label that an epoch draws, 0 to 1."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights, per step, 0 to 1. The average is what is validated and kept."""
    validation_fraction: float = 0.2
    """Share of the cases held out for validation, 0 to 1; at least one case."""
    group_by: str = ""
    """Regular expression. Cases in whose names it matches the same text, as the slices of one patient, fall on one side
    of the split; '.+(?=_)' is the text before the last underscore. Without one each case is a group of its own."""
    split: str = ""
    """The split.json of an earlier run: its validation cases are held out again, whatever the seed. Without one the
    split is drawn with the seed."""
    assume_ras: bool = False
    """NIfTI without qform and sform: take its axes to run to the patient's right, front and head."""
    validate_every: int = 2
    """Epochs from one validation to the next."""
    patience: int = 40
    """Epochs without a better validation Dice after which the run stops; 0 goes on to the last epoch."""
    seed: int = 0
    """Seed of the split by case, the initial weights, the order of slices and the augmentation."""
    device: str = "auto"
    """Device to train on: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one."""
    precision: str = "auto"
    """Precision of matrix products: fp32, bf16, fp16 (GPU only, with gradient scaling), or auto: bf16 where the
    device has it natively, else fp16 on a GPU and fp32 on a CPU."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other, to save memory. Soft Dice is then that of a part."""
    recompute: bool = False
    """Compute activations a second time for the gradient instead of keeping them (gradient checkpointing, arXiv
    1604.06174): less memory for about a third more time."""
    compile: bool = False
    """Compile the network with torch.compile."""
    workers: int | None = None
    """Threads that gather batches ahead of the step. By default 4 on a GPU and 0, in the loop itself, on a CPU."""
    save_every: int = 0
    """Steps between saves of the run's state within an epoch; 0 saves at the end of each epoch only."""
    memory_mib: int = 4096
    """Memory, in MiB, for the images of the data set. What does not fit lies in a file in the run folder while the run
    lasts; the batches are the same. Several processes on one machine share that file."""
    augment_volumes: str = ""
    """Augmentation of whole volumes, before slices are made of them: head (tilted, stripped, cut, noisy). None by
    default."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random changes of the training slices; its options begin with `--augment-`."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every", "accumulate"):
            _require(name, getattr(self, name), low=1)
        for name in ("learning_rate", "weight_decay", "boundary_weight", "patience", "save_every", "memory_mib"):
            _require(name, getattr(self, name), low=0)
        for name in ("warmup_fraction", "empty_share", "ema_decay", "validation_fraction"):
            _require(name, getattr(self, name), low=0, high=1)
        if self.takes_network_of_weights and not self.weights:
            raise InputError(f"recipe {OF_THE_WEIGHTS!r} takes the network of a checkpoint; name it with --weights")
        if self.gradient_clip <= 0:
            raise InputError(f"gradient_clip must be above 0, found {self.gradient_clip}")

    def require_known_names(self) -> None:
        """Raise InputError, listing the names, for a setting that names one of several things and none that there is.

        Not for the recipe, which is of the network.
        """
        require_loss(self.loss)
        require_init(self.init)
        require_device(self.device)
        require_precision(self.precision)
        if self.augment_volumes:
            require_volume_augmentation(self.augment_volumes)

    @property
    def takes_network_of_weights(self) -> bool:
        """Whether the network is that of the checkpoint `weights`, and no recipe's."""
        return self.recipe == OF_THE_WEIGHTS

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
