"""Stages, checks and quality flags of a report in words, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swinunet.client.results.quality import Check, FlagKind

FLAGS: dict[FlagKind, str] = {
    "volume_low": "Smaller than in any training case. The structure may be missed in part, cut off by the scan, or "
    "really be that small.",
    "volume_high": "Larger than in any training case. Something else may be taken for it, or it may really be that "
    "large.",
    "side_volume": "All structures of this side together are smaller or larger than is plausible. The box may lie "
    "beside them, or they may really be that size.",
    "low_confidence": "The model was unsure about many of these voxels. Compare the outline with the image.",
    "many_components": "It consists of several separate pieces. Small ones far away are often wrong.",
    "cut": "It reaches the edge of what the model saw, so its volume may be too small.",
}
CHECKS: dict[Check, str] = {
    "volume": "volume (the model does not say what was seen in training)",
    "confidence": "confidence (only labels travelled; see --restore)",
}
STAGES = {
    "read": "reading the images",
    "locate": "finding the boxes",
    "preprocess": "preparing slices",
    "turn": "waiting for another job",
    "inference": "waiting for the model",
    "restore": "back to the image's grid",
    "measure": "measuring",
    "judge": "quality checks",
    "nifti": "mask as NIfTI",
    "seg": "DICOM SEG",
    "sr": "DICOM SR",
    "png": "overlay picture",
}
