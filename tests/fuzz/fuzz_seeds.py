"""Whole inputs from which hostile ones are made: the same bytes in every process, patient data in every text."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from dicom_series import jpeg, make_enhanced, make_series, save
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

SENTINELS = ("SECRET", "19010203", "19520718")  # in the texts and dates of every seed
SYNTAXES: dict[str, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-baseline": JPEGBaseline8Bit,
    "jpeg-extended": JPEGExtended12Bit,
    "jpeg-lossless": JPEGLosslessSV1,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
_TEXTS = (
    "PatientAddress", "PatientComments", "OtherPatientIDs", "InstitutionName", "ReferringPhysicianName",
    "OperatorsName", "StudyDescription", "StudyID", "ImageComments", "AdditionalPatientHistory", "StationName",
    "ProtocolName", "AccessionNumber",
)  # fmt: skip
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_PRIVATE = dict.fromkeys(_TEXTS, "SECRETTEXT") | dict.fromkeys(_DATES, "19520718")
_SIDE = 32  # the least that openjpeg encodes


@dataclass(frozen=True)
class Element:
    """A top-level element of a data set: its tag, and where it, its value and the next one begin in the body."""

    tag: int
    start: int
    value_at: int
    end: int


@dataclass(frozen=True)
class Seed:
    """An input. content: of the file that is mutated, called `name`. others: files beside it.

    kind: "dicom" (its folder is read), "dicomdir", "zip" or "nifti" (the file is). syntax: of a DICOM data set.
    """

    kind: str
    name: str
    content: bytes
    others: dict[str, bytes] = field(default_factory=dict)
    syntax: UID = ExplicitVRLittleEndian

    @cached_property
    def body(self) -> bytes:
        """The content, inflated where it is deflated."""
        if self.name.endswith(".gz"):
            return gzip.decompress(self.content)
        if self.syntax.is_deflated:
            start = _data_set_at(self.content)
            return self.content[:start] + zlib.decompress(self.content[start:], -15)
        return self.content

    def packed(self, body: bytes) -> bytes:
        """A file of this kind with that body."""
        if self.name.endswith(".gz"):
            return gzip.compress(body, mtime=0)
        if self.syntax.is_deflated:
            deflater, start = zlib.compressobj(wbits=-15), _data_set_at(self.content)
            return body[:start] + deflater.compress(body[start:]) + deflater.flush()
        return body

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """Elements of the body, in order; that of pixels or directory records is the last."""
        ds = pydicom.dcmread(io.BytesIO(self.content))
        raw = [ds.get_item(tag) for tag in ds.keys()]  # noqa: SIM118
        inflated_at = _data_set_at(self.content) if self.syntax.is_deflated else 0
        values = [inflated_at + (item.value_tell if item.is_raw else item.file_tell) for item in raw]
        heads = [12 if item.VR in EXPLICIT_VR_LENGTH_32 and not self.syntax.is_implicit_VR else 8 for item in raw]
        starts = [value - head for value, head in zip(values, heads, strict=True)]
        return tuple(
            Element(int(item.tag), start, value, end)
            for item, start, value, end in zip(raw, starts, values, [*starts[1:], len(self.body)], strict=True)
        )


@cache
def seeds() -> dict[str, Seed]:
    """Every seed by its name."""
    series = {name: _files(_slices(syntax)) for name, syntax in SYNTAXES.items()}
    found = {
        name: Seed("dicom", "IM0001.dcm", files["IM0001.dcm"], {"IM0000.dcm": files["IM0000.dcm"]}, SYNTAXES[name])
        for name, files in series.items()
    }
    for name, syntax in (("enhanced", ExplicitVRLittleEndian), ("enhanced-rle", RLELossless)):
        (ds,) = _identified([make_enhanced([1, 0, 2])])
        found[name] = Seed("dicom", "IM0000.dcm", _files([_encoded(ds, syntax)])["IM0000.dcm"], syntax=syntax)
    found["dicomdir"] = _directory()
    for name, method in (("zip", zipfile.ZIP_STORED), ("zip-deflated", zipfile.ZIP_DEFLATED)):
        found[name] = Seed("zip", "study.zip", _zipped(series["explicit"], method))
    nifti = _nifti()
    found["nifti"] = Seed("nifti", "volume.nii", nifti)
    found["nifti-gz"] = Seed("nifti", "volume.nii.gz", gzip.compress(nifti, mtime=0))
    return found


def _slices(syntax: UID) -> list[Dataset]:
    k, y, x = np.mgrid[:2, :_SIDE, :_SIDE]
    noise = np.random.default_rng(0).normal(0, 20, k.shape)
    stored = (2048 + 1600 * np.sin(x / 5 + k) * np.cos(y / 4) + noise).astype(np.uint16)
    if syntax == JPEGBaseline8Bit:
        stored = (stored >> 4).astype(np.uint8)
    slices = make_series(
        stored,
        bits_stored=12 if stored.itemsize == 2 else 8,
        RescaleSlope="2",
        RescaleIntercept="-1024",
        PixelPaddingValue=0,
        SliceThickness="2",
        ImageType=["ORIGINAL", "PRIMARY"],
        SpecificCharacterSet="ISO_IR 100",
    )
    return [_encoded(ds, syntax) for ds in _identified(slices)]


def _identified(slices: list[Dataset]) -> list[Dataset]:
    """The slices with fixed UIDs and with patient data wherever text may be."""
    for k, ds in enumerate(slices):
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
        ds.SOPInstanceUID = f"2.25.10{k}"
        for keyword, value in _PRIVATE.items():
            setattr(ds, keyword, value)
        ds.private_block(0x0011, "SECRETBLOCK", create=True).add_new(1, "LO", "SECRETPRIVATE")
    return slices


def _encoded(ds: Dataset, syntax: UID) -> Dataset:
    """The image in another transfer syntax."""
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        ds.compress(syntax, generate_instance_uid=False)
    elif syntax.is_encapsulated:
        ds.PixelData = jpeg(ds, syntax).PixelData  # all else that GDCM writes holds the time
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    elif syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, np.uint16).byteswap().tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def _files(slices: list[Dataset]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), slices, [f"IM{k:04d}.dcm" for k in range(len(slices))])
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _directory() -> Seed:
    files = FileSet()
    files.UID = UID("2.25.4")
    for ds in _slices(ExplicitVRLittleEndian):
        ds.StudyTime, ds.SeriesNumber = "120000", 1
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
            ds.SOPClassUID,
            ds.SOPInstanceUID,
        )
        files.add(ds)
    with tempfile.TemporaryDirectory() as folder:
        files.write(folder)
        paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return Seed("dicomdir", "DICOMDIR", contents.pop("DICOMDIR"), contents)


def _zipped(files: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
        archive.comment = b"SECRETCOMMENT"
    return buffer.getvalue()


def _nifti() -> bytes:
    voxels = np.random.default_rng(0).integers(0, 200, (_SIDE, _SIDE, 8), np.int16)
    image = nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[name] = b"SECRETTEXT"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"SECRETCOMMENT"))
    return bytes(image.to_bytes())


def _data_set_at(content: bytes) -> int:
    """Where the data set begins in a Part 10 file (PS3.10 7.1)."""
    return 144 + int.from_bytes(content[140:144], "little")
