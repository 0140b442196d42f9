"""How a network's linear layers begin.

normal   a deviation of 0.02 whatever the width, cut at twice that: Swin's (arXiv 2103.14030, its repository)
xavier   uniform, of a deviation of sqrt(2 / (inputs + outputs)) (Glorot and Bengio, 2010): for narrow networks, where
         0.02 is small beside what goes in, and AdamW's first steps are large beside 0.02
"""

from __future__ import annotations

from torch import nn

from swinunet.training.named_choices import require_init
from swinunet.training.network.swin_unet import SwinUNet


def initialise(network: SwinUNet, name: str) -> None:
    """Begin anew as `name` says; `normal` is how a SwinUNet is built. The head stays as it is. Raises InputError."""
    require_init(name)
    if name == "normal":
        return
    for module in network.modules():
        if isinstance(module, nn.Linear) and module is not network.head:
            nn.init.xavier_uniform_(module.weight)
