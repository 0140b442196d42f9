"""What a processor can compute, by the flags of its /proc/cpuinfo, and what it is not allowed to serve for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_model import write_small_repository

from swinunet import serving
from swinunet.serving import ServingError, TritonServer
from swinunet.serving.processor import adds_int8_exactly, check_processors, has_bf16, in_words, mattering

# As /proc/cpuinfo has them, shortened to what is near the flags that matter.
FLAGS = {
    "Haswell": "fpu sse4_2 fma avx avx2 bmi2",
    "Skylake-SP": "fpu sse4_2 fma avx avx2 avx512f avx512dq avx512bw avx512vl",
    "Cascade Lake": "avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni",
    "Alder Lake": "avx2 avx_vnni vaes",
    "Zen 4": "avx2 avx512f avx512_bf16 avx512_vnni avx512_vbmi2",
    "Sapphire Rapids": "avx2 avx_vnni avx512_bf16 avx512f avx512_vnni amx_bf16 amx_tile amx_int8",
    "Neoverse N1": "fp asimd evtstrm aes asimdhp asimddp",
    "Neoverse V1": "fp asimd asimdhp asimddp i8mm bf16",
}
EXACT_INT8 = {"Cascade Lake", "Alder Lake", "Zen 4", "Sapphire Rapids", "Neoverse N1", "Neoverse V1"}
BF16 = {"Zen 4", "Sapphire Rapids", "Neoverse V1"}


def processor(name: str) -> frozenset[str]:
    return mattering(FLAGS[name].split())


def judged_on(repository: Path, name: str) -> None:
    """Write the record that export writes."""
    (repository / "small" / "1" / "gate.json").write_text(json.dumps({"processor": sorted(processor(name))}))


@pytest.mark.parametrize("name", FLAGS)
def test_what_a_processor_can(name: str) -> None:
    assert adds_int8_exactly(processor(name)) == (name in EXACT_INT8)
    assert has_bf16(processor(name)) == (name in BF16)


def test_only_flags_that_matter_are_kept_in_a_fixed_order() -> None:
    assert in_words(processor("Zen 4")) == "avx2, avx512f, avx512_vnni, avx512_bf16"
    assert in_words(mattering(["fpu", "sse2"])) == "no instruction set that is known"


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx2 avx512_vnni", "Features\t: fp asimd asimddp"])
def test_the_flags_are_those_of_cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: avx512_bf16\n{line}\n\nprocessor\t: 1\n{line}\n")
    monkeypatch.setattr(serving.processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert serving.processor.this_processor() == mattering(line.split())


def test_a_kernel_that_does_not_tell_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.processor, "_CPUINFO", tmp_path / "none")
    assert serving.processor.this_processor() == frozenset()
    check_processors(write_small_repository(tmp_path / "repository", precision="int8"), "cpu")


@pytest.mark.parametrize(("judged", "here"), [("Zen 4", "Alder Lake"), ("Haswell", "Skylake-SP"), ("Zen 4", "Zen 4")])
def test_int8_is_served_on_the_kind_of_processor_that_judged_it(tmp_path: Path, judged: str, here: str) -> None:
    repository = write_small_repository(tmp_path, precision="int8")
    judged_on(repository, judged)
    check_processors(repository, "cpu", processor(here))


@pytest.mark.parametrize(("judged", "here"), [("Zen 4", "Haswell"), ("Skylake-SP", "Cascade Lake")])
def test_int8_is_refused_on_another_kind(tmp_path: Path, judged: str, here: str) -> None:
    repository = write_small_repository(tmp_path, precision="int8")
    judged_on(repository, judged)
    with pytest.raises(ServingError, match=r"served in int8, which was judged on a processor with avx2") as refused:
        check_processors(repository, "cpu", processor(here))
    assert f"this one has {in_words(processor(here))}" in str(refused.value)
    assert "--serve-with openvino-f32" in str(refused.value)


@pytest.mark.parametrize("record", ["{}", "{", '{"processor": 3}', "[]"])
def test_int8_without_a_record_is_refused(tmp_path: Path, record: str) -> None:
    repository = write_small_repository(tmp_path, precision="int8")
    (repository / "small" / "1" / "gate.json").write_text(record)
    with pytest.raises(ServingError, match="judged nobody knows on which processor"):
        check_processors(repository, "cpu", processor("Zen 4"))


def test_a_version_that_is_still_being_judged_is_served(tmp_path: Path) -> None:
    check_processors(write_small_repository(tmp_path, precision="int8"), "cpu", processor("Haswell"))


@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_float32_and_auto_are_served_everywhere(tmp_path: Path, precision: str) -> None:
    check_processors(write_small_repository(tmp_path, precision=precision), "cpu", processor("Haswell"))


def test_bf16_is_served_where_it_exists(tmp_path: Path) -> None:
    repository = write_small_repository(tmp_path, precision="bf16")
    check_processors(repository, "cpu", processor("Sapphire Rapids"))
    with pytest.raises(ServingError, match=r"served in bf16, which this processor has not \(avx2, avx512f"):
        check_processors(repository, "cpu", processor("Cascade Lake"))


def test_tensorrt_does_not_ask_the_processor(tmp_path: Path) -> None:
    check_processors(write_small_repository(tmp_path, precision="int8"), None, processor("Haswell"))


def test_triton_is_not_even_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = write_small_repository(tmp_path, precision="int8")
    judged_on(repository, "Zen 4")
    monkeypatch.setattr(serving.processor, "this_processor", lambda: processor("Haswell"))
    server = TritonServer(repository)
    with pytest.raises(ServingError, match="judged on a processor with"):
        server.start()
    assert server.pid is None
