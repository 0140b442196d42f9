"""An intensity rule for each modality: derived from its name, kept in the spec, applied by imaging to each channel."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from labelled_folders import make_cases, put, write_index, write_msd

from swinunet.foundation.errors import SpecError
from swinunet.imaging import ModelSpec, PlaneSlices, Volume, Window, ZScore
from swinunet.training.data.cases import load_case
from swinunet.training.data.derive_spec import derive_spec
from swinunet.training.data.fingerprint import examine_folder
from swinunet.training.data.folders import DataFolder
from swinunet.training.data.spec_overrides import SpecOverrides

PET = ZScore(low_percentile=0, high_percentile=100)


def write_pet_ct(root: Path, lesion: int = 6, names: tuple[str, str] = ("CT", "PET")) -> Path:
    """nnU-Net's layout: lesions of soft tissue on CT (HU), which only PET (SUV) shows. lesion: its edge in voxels."""
    random = np.random.default_rng(0)
    for case in range(4):
        ct = np.full((32, 32, 8), -1000, np.float32)
        ct[4:28, 4:28] = random.normal(40, 12, (24, 24, 8))
        pet = random.uniform(0.2, 1.5, ct.shape).astype(np.float32)
        labels, start = np.zeros(ct.shape, np.uint8), 8 + 3 * case
        labels[start : start + lesion, 10 : 10 + lesion, 2 : 2 + min(lesion, 4)] = 1
        pet[labels > 0] = random.uniform(8, 15, int(labels.sum()))
        for channel, voxels in enumerate((ct, pet)):
            put(voxels, np.diag([4.0, 4, 5, 1]), root / f"imagesTr/c{case}_{channel:04d}.nii.gz")
        put(labels, np.diag([4.0, 4, 5, 1]), root / f"labelsTr/c{case}.nii.gz")
    write_index(root, channel_names=dict(zip("01", names, strict=True)), labels={"background": 0, "lesion": 1})
    return root


def derived(root: Path, overrides: SpecOverrides | None = None) -> ModelSpec:
    return derive_spec(examine_folder(DataFolder.open(root)), (32, 32), overrides).spec


@pytest.mark.parametrize("lesion", [6, 2])  # 2: fewer voxels than half a percent of the volume
def test_ct_has_a_window_and_pet_keeps_its_hottest_voxels(lesion: int, tmp_path: Path) -> None:
    root = write_pet_ct(tmp_path, lesion)
    spec = derived(root)
    ct, pet = spec.intensities
    assert isinstance(ct, Window)
    assert -50 < ct.low < 40 < ct.high < 130
    assert (spec.intensity, pet) == (ct, PET)
    case = load_case(DataFolder.open(root).cases[0], spec)
    seen = case.images[:, spec.context_slices + spec.context_slices // 2].astype(np.float32)
    hot, cold = seen[case.labels == 1], seen[case.labels == 0]
    assert hot.min() > cold.max() + 1
    assert np.ptp(hot) > 0.3 * (hot.mean() - cold.mean())  # 8 SUV is told from 15


def test_each_channel_is_what_its_rule_makes_of_it_alone(tmp_path: Path) -> None:
    spec = derived(write_pet_ct(tmp_path))
    random = np.random.default_rng(1)
    first, second = (Volume(random.normal(size=(8, 9, 10)) * scale, np.eye(4)) for scale in (100, 5))
    both = PlaneSlices((first, second), spec).image(4)
    alone = dataclasses.replace(spec, modalities=(), intensities=())
    at = spec.context_slices
    np.testing.assert_array_equal(both[:at], PlaneSlices(first, alone).image(4))
    np.testing.assert_array_equal(both[at:], PlaneSlices(second, dataclasses.replace(alone, intensity=PET)).image(4))


def test_rules_travel_in_the_spec_and_only_where_they_differ(tmp_path: Path) -> None:
    spec = derived(write_pet_ct(tmp_path / "petct"))
    assert ModelSpec.from_json(spec.to_json(), "here") == spec
    alike = derived(write_msd(tmp_path / "mr", make_cases(modalities=2), {"0": "T1", "1": "T2"}))
    assert alike.intensities == ()
    assert alike.intensity_rules == (ZScore(), ZScore())
    assert "intensities" not in json.loads(alike.to_json())


@pytest.mark.parametrize("rules", [[], [{"rule": "zscore"}], [{"rule": "zscore"}] * 3])
def test_rules_that_are_not_one_for_each_modality(rules: list[object], tmp_path: Path) -> None:
    said = json.loads(derived(write_pet_ct(tmp_path)).to_json())
    said["intensity"] = {"rule": "zscore"}
    said["intensities"] = rules
    if not rules:
        assert ModelSpec.from_json(json.dumps(said), "here").intensity_rules == (ZScore(), ZScore())
        return
    with pytest.raises(SpecError, match="a rule for each of the modalities"):
        ModelSpec.from_json(json.dumps(said), "here")


def test_names_are_what_counts_and_the_user_has_the_last_word(tmp_path: Path) -> None:
    swapped = derived(write_pet_ct(tmp_path / "mr", names=("T1", "FLAIR")))
    assert swapped.intensity_rules == (ZScore(), ZScore())
    root = write_pet_ct(tmp_path / "ct")
    chosen = derived(root, SpecOverrides.parse(window="-160,240"))
    assert chosen.intensity_rules == (Window(-160, 240), Window(-160, 240))
    (root / "dataset.json").unlink()
    unnamed = derived(root)
    assert isinstance(unnamed.intensity_rules[0], Window)
    assert unnamed.intensity_rules[1] == ZScore()
