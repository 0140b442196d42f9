"""The volumes of cases, read once: kept while the folder is examined, handed over when the case is preprocessed."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

from swinunet.imaging import Volume
from swinunet.training.data.folders import CasePaths

KEPT_BYTES = 2**33


@dataclass(frozen=True, eq=False)
class CaseVolumes:
    """What the files of one case hold. study: float32, one volume for each modality. labels: uint8.

    Labels are IGNORED where nobody annotated the case.
    """

    study: tuple[Volume, ...]
    labels: Volume

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels."""
        return sum(volume.voxels.nbytes for volume in (*self.study, self.labels))


def read_volumes(paths: CasePaths, pixel_mm: float | None = None) -> CaseVolumes:
    """Read the files of a case. Raises InputError naming the file that cannot be read.

    pixel_mm: side of a pixel of files that do not say it (PNG); None takes 1 mm.
    """
    return CaseVolumes(paths.read_images(pixel_mm), paths.read_labels(pixel_mm))


class VolumeStore:
    """Volumes that were read and will be needed once more, at most `limit_bytes` of them; any thread may add to it.

    A case that does not fit is read from its files again.
    """

    def __init__(self, limit_bytes: int = KEPT_BYTES) -> None:
        self._free, self._lock = limit_bytes, Lock()
        self._kept: dict[CasePaths, CaseVolumes] = {}

    def keep(self, paths: CasePaths, volumes: CaseVolumes) -> None:
        """Keep the volumes of a case, if there is room."""
        with self._lock:
            if volumes.nbytes <= self._free:
                self._kept[paths] = volumes
                self._free -= volumes.nbytes

    def take(self, paths: CasePaths, pixel_mm: float | None = None) -> CaseVolumes:
        """The volumes of a case, which the store then lets go; read now if it has not kept them. Raises InputError.

        pixel_mm: as in `read_volumes`, with which those that were kept were read.
        """
        volumes = self._kept.pop(paths, None)
        if volumes is None:
            return read_volumes(paths, pixel_mm)
        self._free += volumes.nbytes
        return volumes

    def clear(self) -> None:
        """Let go of what nobody took."""
        self._kept.clear()
