"""Swin-UNet segmentation, from training to the clinic. The parts are folders of the repository, linked in here.

In a checkout each part stands at the top level (`client/`, `training/`, ...) and `swinunet/` links to it, so that every
tool sees one package: `from swinunet.client import TritonModel`. A wheel holds the parts themselves.

    swinunet.segment("study/")   one image in one call, see notebook.py
"""

from typing import TYPE_CHECKING

from swinunet.foundation.telemetry import switch_off_telemetry as _switch_off_telemetry

_switch_off_telemetry()  # before any part imports a library that has one

if TYPE_CHECKING:
    from swinunet.notebook import SegmentedImage, segment

__all__ = ["SegmentedImage", "segment"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from swinunet import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    """The public names, imported or not yet."""
    return __all__
