"""Who made a result, from what and how: one statement, from which UIDs follow and which every output repeats.

The same job gives the same objects. All UIDs follow from the source instances, the model's checkpoint and spec, this
software and the settings; a SOP Instance UID also from the content, since two objects that differ must not share one
(PS3.5 9). Dates are the source's, not the clock's: when a result was made is in report.json.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from swinunet.client.results.source_header import is_date, is_time
from swinunet.imaging import ModelSpec

MANUFACTURER = "Swin-UNet project"
MODEL_NAME = "swinunet"
NO_DATE, NO_TIME = "19000101", "000000"  # of a source that has none


@dataclass(frozen=True)
class Identity:
    """One job. sources: "UID#frame" of each slice. settings: as the user would say them, by option."""

    sources: tuple[str, ...]
    spec: ModelSpec
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def software(self) -> str:
        """This software's version."""
        return version("swinunet")

    @property
    def device_serial_number(self) -> str:
        """What stands for a serial number (VR LO): the checkpoint, shortened."""
        return self.spec.provenance.checkpoint_sha256[:16] or "0"

    def uid(self, purpose: str, *content: str) -> str:
        """A UID that follows from the job, what it is for, and `content`."""
        return generate_uid(entropy_srcs=[purpose, *self._job, *content])

    def parameters(self) -> dict[str, str]:
        """What made the result, besides the model's name and version: for Algorithm Identification (PS3.3 10.16)."""
        spec_sha256 = hashlib.sha256(self.spec.to_json().encode()).hexdigest()
        checkpoint = self.spec.provenance.checkpoint_sha256
        return {
            **({"checkpoint_sha256": checkpoint} if checkpoint else {}),
            "spec_sha256": spec_sha256,
            "software": f"{MODEL_NAME} {self.software}",
            **dict(self.settings),
        }

    @cached_property
    def _job(self) -> tuple[str, ...]:
        settings = [f"{name}={value}" for name, value in self.settings]
        return *self.sources, self.spec.to_json(), self.software, *settings


def date_from_source(result: Dataset, header: Dataset) -> None:
    """Give a result its source's content, series or study date and time, the first that is there, and no others."""
    date, time = NO_DATE, NO_TIME
    for kind in ("Content", "Series", "Study"):
        if is_date(found := str(header.get(f"{kind}Date") or "")):
            at = str(header.get(f"{kind}Time") or "")
            date, time = found, at if is_time(at) else NO_TIME
            break
    result.ContentDate = result.InstanceCreationDate = date
    result.ContentTime = result.InstanceCreationTime = time
    for equipment in result.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
