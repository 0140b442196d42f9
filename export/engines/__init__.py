"""Engines that run a model version in this process: what the gate proves, and what the benchmark measures."""

from export.engines.loaders import LOADERS, Loaded, Loader, Outputs, load_engine

__all__ = ["LOADERS", "Loaded", "Loader", "Outputs", "load_engine"]
