"""The Swin-UNet, and how it learns and is judged."""
