"""Does this processor compute what the exported model was judged on? Read from /proc/cpuinfo, before Triton starts.

int8      a processor without VNNI has other kernels for it, which may saturate
bf16      exists on some processors only; `auto` takes it there, and float32 elsewhere

gate.json, written by `swinunet export`, has the instruction sets of the processor that judged under `processor`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from swinunet.foundation.errors import ServingError
from swinunet.serving.checksums import PROOF_FILE, served_version_folders

# By their names in /proc/cpuinfo: x86's, then Arm's.
_MATTERING = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16"),
)
_DOT_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})  # sums of int8 in 32 bits
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_CPUINFO = Path("/proc/cpuinfo")
_PRECISION = re.compile(r'key: "precision", value \{ string_value: "([^"]*)" \}')


def mattering(flags: Iterable[str]) -> frozenset[str]:
    """Of the flags of a processor, those that decide how a network is computed."""
    return frozenset(flags) & frozenset(_MATTERING)


def this_processor() -> frozenset[str]:
    """The instruction sets of this machine that matter; empty where the kernel does not tell."""
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return mattering(found[1].split() if found else ())


def has_bf16(processor: frozenset[str]) -> bool:
    """Whether it multiplies matrices in bf16."""
    return bool(processor & _BF16)


def adds_int8_exactly(processor: frozenset[str]) -> bool:
    """Whether it adds products of int8 in 32 bits (VNNI, AMX, Arm's dot products), so that nothing saturates."""
    return bool(processor & _DOT_PRODUCTS)


def in_words(processor: Iterable[str]) -> str:
    """The instruction sets, in a fixed order."""
    there = frozenset(processor)
    return ", ".join(name for name in _MATTERING if name in there) or "no instruction set that is known"


def check_processors(repository: Path, config_name: str | None, processor: frozenset[str] | None = None) -> None:
    """Check that each model whose chosen config says int8 or bf16 was judged on a processor like this one.

    processor: instruction sets; None asks this machine. Raises ServingError, saying what to do.
    """
    if config_name is None:  # TensorRT's, which computes on a GPU
        return
    here = this_processor() if processor is None else processor
    if not here:
        return
    for folder in served_version_folders(repository, config_name):
        precision = _served_precision(folder.parent / "configs" / f"{config_name}.pbtxt")
        if precision == "int8":
            _check_int8(folder, here)
        elif precision == "bf16" and not has_bf16(here):
            raise ServingError(
                f"{folder} is served in bf16, which this processor has not ({in_words(here)}); export it here with "
                "--serve-with openvino-f32"
            )


def _served_precision(config: Path) -> str:
    found = _PRECISION.search(config.read_text(errors="replace")) if config.is_file() else None
    return found[1] if found else ""


def _check_int8(folder: Path, here: frozenset[str]) -> None:
    """A version without gate.json is being judged, or was put there by hand: nothing was claimed of it."""
    if not (folder / PROOF_FILE).is_file():
        return
    judged = _judged_on(folder)
    if judged is not None and adds_int8_exactly(judged) == adds_int8_exactly(here):
        return
    found = "nobody knows on which processor" if judged is None else f"on a processor with {in_words(judged)}"
    raise ServingError(
        f"{folder} is served in int8, which was judged {found}; this one has {in_words(here)}, where int8 may give "
        "other labels; export it on this machine as a new version (swinunet export --version N --serve-with "
        "openvino-int8), or serve it in float32 (--serve-with openvino-f32)"
    )


def _judged_on(folder: Path) -> frozenset[str] | None:
    """The instruction sets in gate.json; None if it has none."""
    try:
        return mattering(str(name) for name in json.loads((folder / PROOF_FILE).read_text())["processor"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
