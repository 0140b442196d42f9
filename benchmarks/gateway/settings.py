"""What the benchmark of the gateway sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GatewayBenchmarkSettings:
    """instances: sent to each program in each round, of `pixels` x `pixels`; associations: at once, or connections.

    study_slices, study_pixels: of the study whose result is awaited. remembered: small instances that one gateway is
    sent in the end, its memory read after every `remembered_step`.
    """

    instances: int = 400
    pixels: int = 512
    associations: tuple[int, ...] = (1, 8)
    rounds: int = 3
    study_slices: int = 120
    study_pixels: int = 160
    remembered: int = 10_000
    remembered_step: int = 1_000
    quick: bool = False

    @staticmethod
    def short() -> GatewayBenchmarkSettings:
        """To see that everything works."""
        return GatewayBenchmarkSettings(16, 32, (2,), 1, 8, 64, 48, 16, True)
