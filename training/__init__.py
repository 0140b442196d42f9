"""The Swin-UNet: the network, the data it learns from, the training loop, and the metrics it is judged by."""
