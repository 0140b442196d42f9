"""Swin-UNet segmentation, from training to the clinic. The parts are folders of the repository, linked in here.

In a checkout each part stands at the top level (`client/`, `training/`, ...) and `swinunet/` links to it, so that every
tool sees one package: `from swinunet.client import TritonModel`. A wheel holds the parts themselves.
"""

from swinunet.foundation.telemetry import switch_off_telemetry as _switch_off_telemetry

_switch_off_telemetry()  # before any part imports a library that has one
