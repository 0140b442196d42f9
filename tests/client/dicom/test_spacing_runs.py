"""Stacks taken with several spacings, told from stacks that lack slices; each part is a volume, if allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_series import decimal, make_series, save, shuffled, verdict_of

from swinunet.client.dicom import VerdictKind, choose, read_volume, scan_folder, select_series
from swinunet.foundation.errors import GeometryError, InputError


def head_ct(
    steps: Sequence[float], thickness: Sequence[float] | None = None, lean: float = 0.0
) -> list:  # of pydicom data sets
    """Slices these steps apart, in mm; the k-th has the value k. thickness: of each slice, where the header says it."""
    z = np.concatenate([[0.0], np.cumsum(steps)])
    stored = np.repeat(np.arange(len(z), dtype=np.uint16), 12).reshape(-1, 4, 3)
    slices = make_series(stored)
    for k, ds in enumerate(slices):
        ds.ImagePositionPatient = decimal((1, 2 + lean * z[k], 3 + z[k]))
        if thickness is not None:
            ds.SliceThickness = decimal([thickness[k]])[0]
    return slices


def test_four_then_seven_mm_is_called_what_it_is(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, shuffled(head_ct([4] * 11 + [7] * 13), 1)))
    assert [one.verdict.kind for one in scan.series] == [VerdictKind.VARIABLE_SPACING] * 2
    for one in scan.series:
        assert one.verdict.sentence.startswith(
            "slices 1 to 12 lie 4 mm apart, then 13 to 25 lie 7 mm apart (variable spacing), expected one step; "
            "--allow variable_spacing reads each part"
        )
        assert "missing" not in one.verdict.sentence
        assert "fetch" not in one.verdict.sentence
    assert [one.name for one in scan.series] == ["4 mm apart", "7 mm apart"]
    assert sum(len(one.frames) for one in scan.series) == 25
    with pytest.raises(InputError, match="none of 2 volumes is a volume"):
        select_series(scan)
    with pytest.raises(GeometryError, match="variable_spacing: slices 1 to 12"):
        select_series(scan, scan.series[0].selector)
    with pytest.raises(GeometryError, match="variable_spacing"):
        read_volume(scan.series[0], ("gap", "tilted"))


def test_allowed_each_part_is_a_volume_whose_slices_lie_where_they_were_taken(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, shuffled(head_ct([4] * 11 + [7] * 13), 2)))
    allow = ("variable_spacing",)
    assert len(choose(scan, allow=allow).candidates) == 2
    with pytest.raises(InputError, match="2 volumes could be meant, choose one with --series UID#NUMBER"):
        select_series(scan, allow=allow)
    low, high = (
        read_volume(select_series(scan, f"{scan.series[0].uid}#{number}", allow=allow), allow).volume
        for number in (1, 2)
    )
    assert (low.spacing_mm[2], high.spacing_mm[2]) == (4.0, 7.0)
    assert low.voxels[0, 0].tolist() == list(range(12))
    assert high.voxels[0, 0].tolist() == list(range(12, 25))
    np.testing.assert_allclose(low.affine[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(high.affine[:3, 3], [1, 2, 3 + 44 + 7])


@pytest.mark.parametrize(
    ("steps", "thickness", "sizes"),
    [
        ([5] * 6 + [10] * 5, [5] * 7 + [10] * 5, [7, 5]),  # a multiple, but the slices are thicker there
        ([5] * 6 + [10] * 5, [5] * 6 + [10] * 6, [6, 6]),  # the slice between is one of the thick ones
        ([4] * 6 + [5.5] + [7] * 5, None, [7, 6]),  # the step between is half of one and half of the other
        ([4] * 5 + [7] * 5 + [4] * 5, None, [6, 5, 5]),
        ([2.5] * 5 + [3.7] * 5, None, [6, 5]),
    ],
)
def test_stacks_of_several_spacings(
    steps: list[float], thickness: list[float] | None, sizes: list[int], tmp_path: Path
) -> None:
    scan = scan_folder(save(tmp_path, head_ct(steps, thickness)))
    assert [one.verdict.kind for one in scan.series] == [VerdictKind.VARIABLE_SPACING] * len(sizes)
    assert [len(one.frames) for one in scan.series] == sizes
    assert len({one.name for one in scan.series}) == len(sizes)


@pytest.mark.parametrize(
    ("steps", "thickness"),
    [
        ([2] * 6 + [4] + [2] * 6, None),  # one slice lacks
        ([2] * 6 + [4] * 6, None),  # every second slice may lack
        ([2] * 6 + [4] * 6, [2] * 13),
        ([2] * 6 + [6] * 6, [2] * 13),
        ([4] * 6 + [7], None),
        ([4, 7, 4, 7, 4, 7, 4, 7, 4], None),
        ([4, 4, 4, 7, 7, 7, 4, 4, 4, 7, 7, 7, 4, 4, 4], None),
    ],
)
def test_stacks_that_may_lack_slices_keep_their_verdict(
    steps: list[float], thickness: list[float] | None, tmp_path: Path
) -> None:
    kind, sentence = verdict_of(save(tmp_path, head_ct(steps, thickness)))
    assert kind is VerdictKind.GAP
    assert "fetch the series again" in sentence


def test_a_tilted_stack_of_two_spacings_needs_both_allowances(tmp_path: Path) -> None:
    scan = scan_folder(save(tmp_path, head_ct([4] * 6 + [7] * 6, lean=0.3)))
    for one in scan.series:
        assert one.verdict.needs == {"tilted", "variable_spacing"}
        assert "leans 16.7 degrees" in one.verdict.sentence
        read_volume(one, ("tilted", "variable_spacing"))
        with pytest.raises(GeometryError, match="variable_spacing"):
            read_volume(one, ("variable_spacing",))
