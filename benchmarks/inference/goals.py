"""The goals of the benchmark, stated for one recipe and each kind of processor, and whether this run reached them."""

from __future__ import annotations

from collections.abc import Iterable

from swinunet.benchmarks.inference.result import BenchmarkResult, MeasuredInference
from swinunet.benchmarks.inference.settings import BASELINE, Engine
from swinunet.benchmarks.measure.measurements import Spread
from swinunet.benchmarks.reports.goals import Goal
from swinunet.benchmarks.reports.numbers import percent_text, spread_text
from swinunet.serving.canary import MIN_FOREGROUND_AGREEMENT

RECIPE = "swin-unet"  # that the goals are stated for
SPEED_RATIO = 5.0  # x PyTorch eager fp32 at batch 1, where the processor multiplies bf16 or adds int8 in 32 bits
PLAIN_SPEED_RATIO = 3.0  # the same where it does neither, as with AVX2 alone: with int8
# By their names in the report of the machine.
_FAST_SETS = frozenset({"AVX-VNNI", "AVX512-VNNI", "AVX512-BF16", "AMX-INT8", "AMX-BF16", "I8MM", "Arm BF16"})
LABEL_LOSS = 0.002  # of Dice, or of foreground agreement where nothing is labelled
PEAK_SHARE = 0.85  # of the matrix-multiply peak, of the best fp32 engine
MEMORY_SHARE = 0.5  # of eager's peak
TRITON_CALLERS, TRITON_SHARE = 4, 0.95
COMPUTE_SHARE = 0.7  # of the chain's wall time
CLIENT_MIB = 300.0  # beside twice the volume


def goals(result: BenchmarkResult) -> list[Goal]:
    """Every goal, in the order of the chain."""
    return [_speed(result), _peak(result), _memory(result), _triton(result), _compute(result), _client(result)]


def speed_ratio(instruction_sets: Iterable[str]) -> float:
    """How many times as fast as eager PyTorch an engine should be, on a processor with these instruction sets."""
    return SPEED_RATIO if _FAST_SETS & set(instruction_sets) else PLAIN_SPEED_RATIO


def _speed(result: BenchmarkResult) -> Goal:
    wanted = speed_ratio(result.run.machine.instruction_sets)
    text = f"an engine at {wanted:g} times PyTorch eager fp32 at batch 1, labels kept"
    fastest = _fastest(result)
    if fastest is None:
        return Goal(text, "no row", None)
    row, ratio = fastest
    kept = f"Dice {row.dice:.4f}" if row.dice is not None else f"foreground labels as eager's {_kept(row):.2%}"
    return Goal(text, f"{row.title}: {spread_text(ratio)} times, {kept}", ratio.median >= wanted)


def _peak(result: BenchmarkResult) -> Goal:
    text = f"the best fp32 engine at {PEAK_SHARE:.0%} of the matrix-multiply peak or more"
    found = [
        (share, each.engine, row.size)
        for each in result.engines
        if each.engine.precision in ("fp32", "f32")
        for row in each.rows
        if (share := result.peak_share(each.engine, row)) is not None
    ]
    if not found:
        return Goal(text, "no row", None)
    share, engine, batch = max(found, key=lambda each: each[0].median)
    return Goal(text, f"{engine.title}, batch {batch}: {percent_text(share)}", share.median >= PEAK_SHARE)


def _memory(result: BenchmarkResult) -> Goal:
    text = f"the fastest engine at batch 1 in {MEMORY_SHARE:.0%} of eager's peak memory or less"
    fastest, baseline = _fastest(result), _first(result, BASELINE)
    if fastest is None or baseline is None:
        return Goal(text, "no row", None)
    row = fastest[0]
    share = row.peak_mib / baseline.peak_mib
    return Goal(
        text, f"{row.title}: {row.peak_mib:.0f} of {baseline.peak_mib:.0f} MiB, {share:.0%}", share <= MEMORY_SHARE
    )


def _triton(result: BenchmarkResult) -> Goal:
    text = f"Triton at {TRITON_CALLERS} callers at {TRITON_SHARE:.0%} of the bare engine's throughput or more"
    shares = [
        (share, row.load.title)
        for row in result.triton
        if row.size == TRITON_CALLERS and (share := row.spread(lambda sample: sample.share_of_bare)) is not None
    ]
    if not shares:
        return Goal(text, "no row", None)
    share, title = max(shares, key=lambda each: each[0].median)
    return Goal(text, f"{title}: {percent_text(share)}", share.median >= TRITON_SHARE)


def _compute(result: BenchmarkResult) -> Goal:
    text = f"network compute at {COMPUTE_SHARE:.0%} of the whole chain's wall time or more"
    chain = result.chain
    if chain is None or not chain.samples:
        return Goal(text, "no job", None)
    return Goal(text, percent_text(chain.compute_share), chain.compute_share.median >= COMPUTE_SHARE)


def _client(result: BenchmarkResult) -> Goal:
    text = f"client memory under twice the volume plus {CLIENT_MIB:.0f} MiB"
    chain = result.chain
    if chain is None or not chain.samples:
        return Goal(text, "no job", None)
    limit = 2 * chain.volume_mib + CLIENT_MIB
    return Goal(text, f"{chain.peak_mib:.0f} of {limit:.0f} MiB", chain.peak_mib < limit)


def _fastest(result: BenchmarkResult) -> tuple[MeasuredInference, Spread] | None:
    """The engine with the highest ratio at batch 1 among those that keep the labels.

    Weights that nobody trained have borders everywhere: there the labels must only be recognisably the same, as the
    canary's are, and the promotion gate judges the engine on a trained model.
    """
    baseline = _first(result, BASELINE)
    least = 1 - LABEL_LOSS if result.trained else MIN_FOREGROUND_AGREEMENT
    rows = [row for each in result.engines if each.engine != BASELINE and (row := _first(result, each.engine))]
    found = [
        (row, ratio)
        for row in rows
        if _keeps_labels(row, baseline, least)
        and (ratio := row.ratio(baseline, lambda sample: sample.slices_per_s)) is not None
    ]
    return max(found, key=lambda each: each[1].median, default=None)


def _keeps_labels(row: MeasuredInference, baseline: MeasuredInference | None, least: float) -> bool:
    if row.dice is not None and baseline is not None and baseline.dice is not None:
        return row.dice >= baseline.dice - LABEL_LOSS
    return _kept(row) >= least


def _kept(row: MeasuredInference) -> float:
    """Share of foreground pixels with the reference's label; 0 where nothing was compared."""
    return row.comparison.foreground_agreement or 0.0


def _first(result: BenchmarkResult, engine: Engine) -> MeasuredInference | None:
    row = result.row(engine, 1)
    return row if row is not None and row.measured else None
