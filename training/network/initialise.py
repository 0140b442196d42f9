"""How a network's linear layers begin.

normal   a deviation of 0.02 whatever the width, cut at twice that: Swin's (arXiv 2103.14030, its repository)
xavier   uniform, of a deviation of sqrt(2 / (inputs + outputs)) (Glorot and Bengio, 2010): for narrow networks, where
         0.02 is small beside what goes in, and AdamW's first steps are large beside 0.02
"""

from __future__ import annotations

from torch import nn

from swinunet.foundation.errors import InputError
from swinunet.training.network.swin_unet import SwinUNet

INITS = ("normal", "xavier")


def require_init(name: str) -> None:
    """Raises InputError, listing the names, for one that there is not."""
    if name not in INITS:
        raise InputError(f"no init is named {name!r}; choose one of {', '.join(INITS)}")


def initialise(network: SwinUNet, name: str) -> None:
    """Begin anew as `name` says; `normal` is how a SwinUNet is built. The head stays as it is."""
    require_init(name)
    if name == "normal":
        return
    for module in network.modules():
        if isinstance(module, nn.Linear) and module is not network.head:
            nn.init.xavier_uniform_(module.weight)
