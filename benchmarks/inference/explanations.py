"""What a reader of the tables must know, in sentences."""

from __future__ import annotations

from math import isfinite

from swinunet.benchmarks.inference.result import BenchmarkResult
from swinunet.benchmarks.reports.numbers import number


def explanations(result: BenchmarkResult) -> list[str]:
    """Of every table, a sentence or two each."""
    settings = result.settings
    found = [_rounds(result), _weights(result), _memory(result), _slices(result)]
    if result.triton:
        found.append(_triton(result))
    if result.chain:
        found.append(_chain(result))
    if settings.hardware:
        found.append(_gpu(result))
    return found


def _rounds(result: BenchmarkResult) -> str:
    settings = result.settings
    stopped = f" (of {settings.rounds} planned: the time was up)" if result.run.rounds < settings.rounds else ""
    slow = ""
    if isfinite(settings.once_over_s):
        slow = f"A row whose request takes more than {settings.once_over_s:g} s is measured in the first round alone. "
    rounds_s = ", ".join(f"{each:.0f}" for each in result.run.rounds_s)
    return (
        f"Figures are the median of as many rounds as the row says (lowest to highest); {result.run.rounds} were "
        f"done{stopped}. Each runs each row in turn for {settings.seconds:g} s, one request at least, while all others "
        f"are idle; ratios and shares are taken within a round. {slow}A percentile of few requests is close to the "
        "slowest of them; report.json has their number. Time: loading "
        f"{result.run.load_s:.0f} s, the rounds {rounds_s} s."
    )


def _weights(result: BenchmarkResult) -> str:
    network = f"GFLOP of a slice: {result.gflop:.2f} (matrix products and convolutions). " if result.gflop else ""
    if result.trained:
        return f"{network}The weights are a trained model's."
    return (
        f"{network}The weights are not trained: seeded random ones, the last layer fitted to bands of brightness "
        "so that labels are no ties. Speed does not depend on it, but agreement of labels is harder to keep than a "
        "trained model's, and the chain writes at its worst: every class in nearly every slice."
    )


def _memory(result: BenchmarkResult) -> str:
    return (
        f"Every engine has a process of its own; threads of each: {result.threads}. Peak memory is that process's peak "
        f"RSS (VmHWM) once this batch has run, smaller batches before it; {number(result.process_mib)} MiB of it were "
        "there before the engine was. Load is from the model file to the first answer, the library's import apart; "
        "both are measured once, those of torch.compile side by side."
    )


def _slices(result: BenchmarkResult) -> str:
    scored = "Dice: mean over classes and the first ten cases of the folder given, on their own grids. "
    return (scored if result.data else "") + (
        f"Slices: {result.slices_from}. Every timed answer's labels are compared with PyTorch's, at one slice a batch: "
        "all pixels / pixels that are foreground in either."
    )


def _triton(result: BenchmarkResult) -> str:
    bare = result.bare_engine.engine.title if result.bare_engine else "not measured"
    return (
        "Triton: each caller is a process of its own (no shared Python interpreter lock), with one request of one "
        "slice at a time; mean batch and queue time are Triton's statistics. The share is of the slices/s of the bare "
        f"engine ({bare}) run right after each row at the nearest batch. Memory is "
        "the sum over tritonserver and its stubs; the callers run on the same cores. perf_analyzer is NVIDIA's load "
        "generator, in one process; it means three windows, each of three round trips of our callers at least, and "
        "compares no labels."
    )


def _chain(result: BenchmarkResult) -> str:
    chain = result.chain
    assert chain is not None
    if chain.error or not chain.samples:
        return f"The whole chain was not measured: {chain.error or 'no round was done'}."
    ids = ", ".join(f"{job.trace_id} ({job.requests} requests)" for job in chain.samples)
    return (
        "The whole chain: moments in which the network computes count as compute, whatever else goes on; the wire is "
        "what else the client waits for. The server's times are from its trace, by the identifiers that the client "
        f"sent: {ids}. The client's peak is {chain.peak_mib:.0f} MiB; its volume has {chain.volume_mib:.0f} MiB."
    )


def _gpu(result: BenchmarkResult) -> str:
    if result.gpu.reason:
        return f"GPU: not measured: {result.gpu.reason}."
    peaks = ", ".join(
        f"{name} {each['gflop_per_s']:,.0f} GFLOP/s and {each['gb_per_s']:,.0f} GB/s"
        for name, each in result.gpu.peaks.items()
    )
    return (
        f"GPU: the roofline is the longer of the operations at the measured peak of matrix products and the bytes at "
        f"that of a copy ({peaks}); bytes are the weights and the inputs and outputs of every layer, so that an engine "
        "that fuses layers can be faster than it. Images are on the GPU; labels stay there."
    )
