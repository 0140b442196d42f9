"""Segmentation in one call, for notebooks and scripts: `swinunet.segment("study/")`.

    import swinunet

    found = swinunet.segment("study/")                     # shows the picture and the volumes in a notebook
    found.volumes_ml                                       # {"Left anterior hippocampus": 2.29, ...}
    found.to_nibabel(), found.to_simpleitk(), found.mask   # on the image's own grid
"""

from __future__ import annotations

import base64
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swinunet.client.inputs import load_input
from swinunet.client.model_choice import answering, choose_model, describe_models
from swinunet.client.results.quality import Quality, judge_quality
from swinunet.client.rois import parse_roi
from swinunet.client.segmentation import Segmentation, segment_volume
from swinunet.client.study_list import Study
from swinunet.client.triton import ServerOptions, TritonModel
from swinunet.client.triton.served_models import specs_on_server
from swinunet.foundation.errors import InputError
from swinunet.foundation.html import element, joined
from swinunet.imaging import ModelSpec, Volume

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """What was found in an image. qualities: the flags of each structure, in the order of the measurements."""

    segmentation: Segmentation
    qualities: tuple[Quality, ...]

    @property
    def mask(self) -> np.ndarray:
        """uint8 [I, J, K] on the image's grid; 0 is background, `structures` says what the other values are."""
        return self.segmentation.mask

    @property
    def affine(self) -> np.ndarray:
        """float64 4x4, voxel index to RAS mm, as nibabel has it."""
        return _LPS_TO_RAS @ self.segmentation.volume.affine

    @property
    def structures(self) -> dict[int, str]:
        """Names by mask value."""
        return {each.mask_value: each.text for each in self.segmentation.segments}

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volumes by name."""
        return {each.segment.text: each.volume_ml for each in self.segmentation.measurements}

    def table(self) -> list[dict[str, object]]:
        """A row for each structure, as `pandas.DataFrame` takes them."""
        return [
            {
                "structure": each.segment.text,
                "mask_value": each.segment.mask_value,
                "voxels": each.voxels,
                "volume_ml": each.volume_ml,
                "mean_intensity": each.mean_intensity,
                "confidence": each.confidence,
                "flags": "; ".join(flag.detail for flag in quality.flags),
            }
            for each, quality in zip(self.segmentation.measurements, self.qualities, strict=True)
        ]

    def to_nibabel(self) -> nibabel.Nifti1Image:
        """The mask as a nibabel image."""
        import nibabel

        return nibabel.Nifti1Image(self.mask, self.affine)

    def to_simpleitk(self) -> SimpleITK.Image:
        """The mask as a SimpleITK image. Raises InputError where the image's axes are not at right angles."""
        import SimpleITK

        volume = self.segmentation.volume
        directions = volume.affine[:3, :3] / volume.spacing_mm
        if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
            raise InputError("the image's axes are not at right angles, which SimpleITK cannot hold; use to_nibabel")
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(self.mask.transpose(2, 1, 0)))
        image.SetSpacing(volume.spacing_mm)
        image.SetOrigin(volume.affine[:3, 3].tolist())
        image.SetDirection(directions.ravel().tolist())
        return image

    def _repr_html_(self) -> str:
        """The picture and the table, for notebooks."""
        rows = [
            element(
                "tr", element("td", row["structure"]), element("td", f"{row['volume_ml']:.2f}"), element("td", row["flags"])
            )
            for row in self.table()
        ]  # fmt: skip
        heads = element("tr", *(element("th", text) for text in ("structure", "ml", "look at")))
        picture = element("img", src=f"data:image/png;base64,{base64.b64encode(self._picture()).decode()}", alt="")
        return joined(picture, element("table", element("thead", heads), element("tbody", *rows)))

    def _picture(self) -> bytes:
        """The overlay as PNG."""
        from swinunet.client.results.overlay_writer import write_overlay

        found, spec = self.segmentation, self.segmentation.spec
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "overlay.png"
            title = f"{spec.name}, version {spec.version}"
            write_overlay(path, found.volume, found.mask, found.measurements, title=title)
            return path.read_bytes()


def segment(
    image: Any,
    *,
    affine: Any = None,
    model: str | None = None,
    url: str | None = None,
    boxes: Sequence[str] = (),
    series: str | None = None,
    assume_ras: bool = False,
) -> SegmentedImage:
    """Segment one image.

    image: path of a DICOM folder, ZIP or NIfTI file; a nibabel or SimpleITK image; or an array [I, J, K] with an affine.
    affine: of an array, 4x4, voxel index to RAS mm, as nibabel has it. model: name, where several fit. url: HOST:PORT of
    Triton's gRPC; without it one is started for the call. boxes: as `swinunet segment --roi`. series: SeriesInstanceUID,
    where a folder has several. assume_ras: of a NIfTI file that does not say where its axes run.
    Raises what `swinunet segment` refuses: InputError, ServerError and their kin.
    """
    rois = tuple(parse_roi(text) for text in boxes)
    study = Study(Path(image), Path(image).name, series) if isinstance(image, str | Path) else None
    volume = None if study else volume_of(image, affine)
    if study and not study.path.exists():
        raise InputError(f"{study.path}: no such file or folder")
    with _server(url) as (address, options):
        specs = specs_on_server(address, options)
        name = model or _choose(study, specs)
        with TritonModel(address, name, options) as served:
            loaded = load_input(study.path, served.spec, series, assume_ras=assume_ras).study if study else (volume,)
            found = segment_volume([each for each in loaded if each is not None], served, rois)
    seen = [found.volume.box_slices(roi.low_mm, roi.high_mm) for roi in found.rois]
    return SegmentedImage(found, tuple(judge_quality(found.mask, found.measurements, seen)))


def volume_of(image: Any, affine: Any = None) -> Volume:
    """An image from another library as a volume. Raises InputError for what has no place in the patient."""
    if hasattr(image, "GetDirection"):  # SimpleITK; imported by whoever made the image
        return _volume_of_simpleitk(image)
    if hasattr(image, "dataobj"):
        if image.affine is None:
            raise InputError("the nibabel image has no affine; expected one, which says where its voxels lie")
        image, affine = np.asanyarray(image.dataobj), image.affine
    if affine is None:
        raise InputError(f"{type(image).__name__}: expected an affine beside an array, or a path, nibabel or SimpleITK image")
    voxels, affine = np.asarray(image), np.asarray(affine, float)
    if affine.shape != (4, 4):
        raise InputError(f"affine: expected 4 x 4, voxel index to RAS mm; found {' x '.join(map(str, affine.shape))}")
    return Volume(voxels, _LPS_TO_RAS @ affine)


def _volume_of_simpleitk(image: Any) -> Volume:
    import SimpleITK

    if image.GetDimension() != 3:
        raise InputError(f"the SimpleITK image has {image.GetDimension()} dimensions; expected 3")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return Volume(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), affine)


def _choose(study: Study | None, specs: Sequence[ModelSpec]) -> str:
    """The model that an image is for; an array says nothing of that."""
    if study:
        return choose_model(study, specs)[0].name
    models = answering(specs)
    if len(models) != 1:
        raise InputError(f"{len(models)} models could be meant, choose one with model=...: {describe_models(models)}")
    return models[0].name


@contextmanager
def _server(url: str | None) -> Iterator[tuple[str, ServerOptions]]:
    """Address of the server to ask: the given one, or one of our own."""
    if url is not None:
        yield url, ServerOptions()
        return
    from swinunet.foundation.paths import default_repository
    from swinunet.serving import TritonServer

    with TritonServer(default_repository(), private=True) as ours:
        yield ours.url, dataclasses.replace(ServerOptions(), headers=ours.restricted_headers, why_gone=ours.why_gone)
