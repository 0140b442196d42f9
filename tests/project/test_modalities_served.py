"""Two modalities all the way: trained, exported, served by a real Triton, segmented from one NIfTI of four axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_folders import make_cases, write_msd

from swinunet.client import TritonModel, load_input, parse_roi, segment_volume
from swinunet.export.pipeline import GateOptions, export_checkpoint
from swinunet.imaging.spec import Plane
from swinunet.serving import TritonServer
from swinunet.training.data.cases import load_case
from swinunet.training.data.folders import DataFolder
from swinunet.training.data.spec_overrides import SpecOverrides
from swinunet.training.loop.trainer import TrainSettings, predict_labels, train
from swinunet.training.network.checkpoint import load_checkpoint

SETTINGS = TrainSettings(recipe="tiny", epochs=4, batch_size=4, learning_rate=5e-3, ema_decay=0.9, precision="fp32")


@pytest.mark.parametrize("planes", [("axial",), ("axial", "sagittal")], ids=str)
def test_two_modalities_from_training_to_the_client(
    tritonserver: object, tmp_path: Path, planes: tuple[Plane, ...]
) -> None:
    """The served answer is the checkpoint's own, but for ties that half precision breaks otherwise."""
    root = write_msd(tmp_path / "data", make_cases(6, modalities=2), {"0": "T1", "1": "T2"})
    overrides = SpecOverrides(name="two", planes=planes, context=3)
    checkpoint = train(root, tmp_path / "run", None, SETTINGS, overrides)
    export_checkpoint(checkpoint, tmp_path / "repository", None, root / "imagesTr", GateOptions(serve=False))
    network, spec = load_checkpoint(checkpoint)
    assert spec is not None
    case = load_case(DataFolder.open(root).cases[0], spec)
    with TritonServer(tmp_path / "repository") as server, TritonModel(server.url) as model:
        assert model.spec.modalities == ("T1", "T2")
        loaded = load_input(root / "imagesTr" / "case_0.nii.gz", model.spec)
        mask = segment_volume(loaded.study, model).mask
        boxed = segment_volume(loaded.study, model, (parse_roi("0,20,0,20,0,5"),)).mask
    expected = predict_labels(network, case)
    assert expected.any()
    assert (mask == expected).mean() > 0.99
    np.testing.assert_array_equal(boxed[21:], 0)
