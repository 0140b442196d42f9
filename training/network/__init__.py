"""The network: Swin-UNet, its sizes, its checkpoints, and weights published by others."""
