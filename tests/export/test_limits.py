"""Every limit of the gate rejects on its own: an engine that breaks no other is not promoted."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_folders import make_cases, write_plain
from shipped_model import shipped_version
from tiny_version import SPEC
from torch import Tensor, nn

from swinunet.export.engines import registry
from swinunet.export.engines.loaded_engine import LoadedEngine, Outputs
from swinunet.export.engines.registry import Engine, Library, register
from swinunet.export.gate.evidence import Evidence, gather_evidence
from swinunet.export.gate.judge import judge
from swinunet.export.gate.masks import MaskFigures, StructureFigures
from swinunet.export.gate.options import GateOptions
from swinunet.export.gate.report import GateError, Verdict
from swinunet.export.gate.tensors import BatchFigures
from swinunet.export.repository.served_configs import make_configs
from swinunet.export.tolerances import MAX_DICE_DROP, MAX_LOGIT_ERROR, MAX_VOLUME_CHANGE, TOLERANCES
from swinunet.training.metrics.statistics import Estimate

CASES = 6  # the tensors are compared on slices of the first four
Answer = Callable[[np.ndarray], np.ndarray]


class Thresholds(nn.Module):
    """Labels by brightness, each one pixel too large along one axis: a checkpoint that is good, not perfect."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))  # says on which device the network is

    def forward(self, image: Tensor) -> Tensor:
        """image: float32 [B, C, H, W]. Returns logits [B, 3, H, W]."""
        return torch.from_numpy(logits(image.numpy()))


def logits(image: np.ndarray, grown: bool = True) -> np.ndarray:
    middle = image[:, image.shape[1] // 2].astype(np.float32)
    bright, dark = middle - 1.5, -1.5 - middle
    if grown:
        bright, dark = (np.maximum(each, np.roll(each, 1, axis=GROWS)) for each in (bright, dark))
    return 20 * np.stack([0 * middle, bright, dark], axis=1)


def labels(image: np.ndarray, grown: bool = True) -> np.ndarray:
    return logits(image, grown).argmax(axis=1).astype(np.uint8)


GROWS = 2  # the axis of [B, H, W] along which the boxes of `make_cases` have ends


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    data = write_plain(tmp_path_factory.mktemp("cases") / "blob", make_cases(CASES))
    return gather_evidence(SPEC, data, data / "no split.json")


@pytest.fixture
def judged(evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Verdict]:
    """Judges an engine in int8 that answers as the checkpoint on four cases, and as it is told on the rest."""

    def judge_answer(answer: Answer) -> Verdict:
        later = {image.tobytes() for case in list(evidence.cases())[4:] for image in case.images}

        def run(image: np.ndarray) -> Outputs:
            found = labels(image)
            for index, each in enumerate(image):
                if each.tobytes() in later:
                    found[index] = answer(each[None])[0]
            probabilities = torch.from_numpy(logits(image)).softmax(dim=1).half().numpy()
            return Outputs(found, probabilities)

        module = types.ModuleType("swinunet.export.engines.told")
        module.load = lambda path, precision, threads: LoadedEngine(run, lambda: "told")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(registry, "ENGINES", dict(registry.ENGINES))
        register(Engine(Library("told", "Told", "told:load", "export", "CPU"), "int8", "told.txt", judged=True))
        (tmp_path / "told.txt").touch()
        options = GateOptions(engines=("told",), serve=False)
        report = judge(tmp_path, Thresholds(), SPEC, evidence, make_configs(SPEC), options)  # type: ignore[arg-type]
        verdict = report.verdicts[0]
        if verdict.status == "failed":
            with pytest.raises(GateError):
                report.require("it stays")
        else:
            report.require("it stays")
        return verdict

    return judge_answer


def test_an_engine_that_answers_as_the_checkpoint_passes(judged: Callable[[Answer], Verdict]) -> None:
    verdict = judged(labels)
    assert (verdict.status, verdict.reasons) == ("passed", ())
    assert verdict.masks is not None
    assert all(each.dice is not None and 0.9 < each.dice < 1 for each in verdict.masks.structures)


def test_a_loss_of_dice_alone_is_rejected(judged: Callable[[Answer], Verdict]) -> None:
    """The masks are one pixel further off: every volume is as before."""
    verdict = judged(lambda image: np.roll(labels(image), 1, axis=GROWS))
    assert verdict.status == "failed"
    assert len(verdict.reasons) == 2
    for reason, name in zip(verdict.reasons, ("above 0.5", "above 1.5"), strict=True):
        assert reason.startswith(f"Dice of {name} down 0.0")
        assert reason.endswith("(allowed 0.002)")
    assert verdict.masks is not None
    assert all(each.volume_change == 0 for each in verdict.masks.structures)


def test_a_change_of_volume_alone_is_rejected(judged: Callable[[Answer], Verdict]) -> None:
    """The masks are smaller, and better for it: Dice has grown."""
    verdict = judged(lambda image: labels(image, grown=False))
    assert verdict.status == "failed"
    assert len(verdict.reasons) == 2
    for reason, name in zip(verdict.reasons, ("above 0.5", "above 1.5"), strict=True):
        assert reason.startswith(f"volume of {name} changed by ")
        assert reason.endswith("(allowed 1%)")
    assert verdict.masks is not None
    assert all((each.dice_change.mean or 0) > 0 for each in verdict.masks.structures)


def structure(**changed: object) -> StructureFigures:
    same = StructureFigures("organ", 0.9, Estimate(0.0), 1.0, 0.0, 1.0, 0.0, 100.0, 0.0)
    return dataclasses.replace(same, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labelled", "changed", "says"),
    [
        (True, {"dice_change": Estimate(-MAX_DICE_DROP)}, None),
        (True, {"dice_change": Estimate(-MAX_DICE_DROP - 1e-6)}, "Dice of organ down 0.0020"),
        (True, {"dice_change": Estimate(math.nan)}, "Dice of organ down nan"),
        (True, {"dice_change": Estimate(None), "dice": None}, None),
        (True, {"dice_with_checkpoint": 0.5}, None),  # the labels are there to judge by
        (False, {"dice_with_checkpoint": 1 - MAX_DICE_DROP + 1e-6}, None),
        (False, {"dice_with_checkpoint": 1 - MAX_DICE_DROP - 1e-6}, "Dice of organ with the checkpoint's mask 0.9980"),
        (False, {"dice_with_checkpoint": math.nan}, "Dice of organ with the checkpoint's mask nan"),
        (False, {"dice_change": Estimate(-0.5)}, None),
        (True, {"volume_change_ml": 100 * MAX_VOLUME_CHANGE}, None),
        (True, {"volume_change_ml": 100 * MAX_VOLUME_CHANGE + 1e-6}, "volume of organ changed by 1.00%"),
        (True, {"volume_change_ml": math.nan}, "volume of organ changed by nan%"),
        (True, {"volume_ml": 0.0}, None),
        (True, {"volume_ml": 0.0, "volume_change_ml": 1.0}, "volume of organ changed by inf%"),
    ],
)
def test_a_mask_is_within_its_limits_or_the_figure_is_named(
    labelled: bool, changed: dict[str, object], says: str | None
) -> None:
    found = MaskFigures(1, labelled, 0.0, (structure(**changed),)).failures()
    assert len(found) == (0 if says is None else 1)
    assert all(each.startswith(str(says)) for each in found)


SAME = BatchFigures(3, 0.0, 0.0, None, 1000, 0, 0)


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(
    ("field", "limit", "says"),
    [
        ("max_probability_error", "max_probability", "largest probability error"),
        ("mean_probability_error", "mean_probability", "mean probability error"),
        ("max_logit_error", None, "largest logit error"),
    ],
)
def test_a_tensor_error_beyond_its_limit_or_not_a_number_is_named(
    precision: str, field: str, limit: str | None, says: str
) -> None:
    allowed = TOLERANCES[precision]
    most = MAX_LOGIT_ERROR if limit is None else getattr(allowed, limit)
    assert not dataclasses.replace(SAME, **{field: most}).failures(allowed)
    for value in (most * 1.001, math.nan, math.inf):
        (found,) = dataclasses.replace(SAME, **{field: value}).failures(allowed)
        assert found == f"{says} {value:.2g} at batch 3 (allowed {most:g})"


def test_labels_that_differ_are_counted_beyond_ties_or_as_a_share() -> None:
    differing = dataclasses.replace(SAME, differing_labels=1, beyond_ties=0)
    assert not differing.failures(TOLERANCES["fp32"])
    assert dataclasses.replace(differing, beyond_ties=1).failures(TOLERANCES["fp32"]) == [
        "labels that differ and are no ties 1 at batch 3 (allowed 0)"
    ]
    assert not differing.failures(TOLERANCES["bf16"])
    assert dataclasses.replace(differing, differing_labels=2).failures(TOLERANCES["bf16"]) == [
        "share of labels that differ 0.002 at batch 3 (allowed 0.001)"
    ]


def test_gate_json_has_the_limits_that_were_applied(repository: Path) -> None:
    limits = json.loads((shipped_version(repository) / "gate.json").read_text())["limits"]
    assert limits["tensors"] == {name: dataclasses.asdict(each) for name, each in TOLERANCES.items()}
    assert (limits["dice_drop"], limits["volume_change"]) == (MAX_DICE_DROP, MAX_VOLUME_CHANGE)
    assert limits["logit_error_fp32"] == MAX_LOGIT_ERROR
