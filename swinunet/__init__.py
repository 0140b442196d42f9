"""Swin-UNet segmentation, from training to the clinic. The parts are folders of the repository, linked in here.

In a checkout each part stands at the top level (`client/`, `training/`, ...) and `swinunet/` links to it, so that every
tool sees one package: `from swinunet.client import TritonModel`. A wheel holds the parts themselves.
"""
