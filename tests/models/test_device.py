"""What a process finds out about its machine."""

import ctypes
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from models import device as this
from models import gpus
from models.device import (
    bfloat16_pays,
    choose_device,
    denormals_flushed,
    describe,
    give_back_memory,
    prepare_process,
    processor_kind,
)
from models.gpus import DeviceName, DeviceUnavailable, count_gpus, surely_none

CPU = torch.device("cpu")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the files of a GPU's driver."""
    monkeypatch.setattr(gpus, "surely_none", lambda: False)


@pytest.mark.usefixtures("driver")
def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu").type == "cpu"


@pytest.mark.usefixtures("driver")
def test_without_cuda_auto_is_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(DeviceUnavailable, match="no CUDA device; use cpu or auto"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("file", "visible", "none"),
    [
        (None, None, True),
        ("dev/nvidiactl", None, False),
        ("dev/dxg", "0", False),
        ("dev/kfd", None, False),
        ("dev/nvidia0", "", True),
        ("dev/nvidia0", "-1", True),
    ],
)
def test_without_a_driver_there_is_no_gpu_and_torch_is_not_asked(
    file: str | None, visible: str | None, none: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if file is not None:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert surely_none(tmp_path) is none
    monkeypatch.setattr(gpus, "surely_none", lambda: surely_none(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (count_gpus() == 0) is none


def test_a_prepared_process_has_the_given_number_of_threads() -> None:
    prepare_process(threads=1)
    assert torch.get_num_threads() == 1


def test_denormals_are_flushed_inside_and_back_outside() -> None:
    tiny = torch.tensor(2.0**-140)
    with denormals_flushed():
        assert tiny * 1.0 == 0
        with denormals_flushed():
            pass
        assert tiny * 1.0 == 0, "an inner block gives back what it found"
    assert tiny * 1.0 != 0


@pytest.mark.parametrize(
    ("family", "flags", "speedup", "pays", "reason"),
    [
        ("conv", {"avx512_bf16"}, 1.9, True, "instructions, and they are fast"),
        ("conv", {"avx512_bf16"}, 0.6, False, "instructions that are slower than float32: a VM without AMX"),
        ("conv", {"avx2"}, 1.9, False, "no instructions"),
        ("mlp", {"avx512_bf16"}, 1.9, False, "casting costs an MLP more than it gains"),
    ],
)
def test_bfloat16_pays_where_instructions_and_probe_agree(
    monkeypatch: pytest.MonkeyPatch, family: str, flags: set[str], speedup: float, pays: bool, reason: str
) -> None:
    monkeypatch.setattr(this, "_cpu_flags", lambda: flags)
    monkeypatch.setattr(this, "bfloat16_speedup", lambda: speedup)
    assert bfloat16_pays(CPU, family) is pays, reason


def test_probe_measures_and_leaves_the_global_stream_alone() -> None:
    before = torch.get_rng_state()
    assert 0.05 < this.bfloat16_speedup() < 50
    assert torch.equal(torch.get_rng_state(), before)


def test_description_is_complete_and_plain() -> None:
    described = describe(CPU)
    assert {"device", "cpu", "cores", "threads", "cpu_capability", "torch", "python"} <= set(described)
    assert all(isinstance(value, str | int) and value != "" for value in described.values())


@pytest.mark.usefixtures("driver")
class TestGPU:
    """Of a machine with GPUs, as torch tells of them; none is needed here."""

    @pytest.fixture(autouse=True)
    def _two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        properties = type("Properties", (), {"uuid": "8932f937-d72c"})()
        for name, answer in (
            ("is_available", True),
            ("device_count", 2),
            ("get_device_name", "NVIDIA H200"),
            ("get_device_properties", properties),
        ):
            monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)

    @pytest.mark.parametrize(("name", "count"), [("auto", 2), ("cuda", 2), ("cpu", 0)])
    def test_they_are_counted(self, name: DeviceName, count: int) -> None:
        assert count_gpus(name) == count

    def test_the_description_says_which_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        described = describe(torch.device("cuda"))
        assert (described["gpu"], described["visible_gpus"]) == ("NVIDIA H200", "1")
        assert described["gpu_uuid"] == "8932f937-d72c"
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert describe(torch.device("cuda"))["visible_gpus"] == "all"

    def test_two_of_one_kind_are_of_one_kind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, cpu = processor_kind(describe(torch.device("cuda"))), processor_kind(describe(CPU))
        other = type("Properties", (), {"uuid": "other"})()
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: other)
        assert processor_kind(describe(torch.device("cuda"))) == first == "cuda: NVIDIA H200"
        assert cpu != first


def test_the_kind_of_a_processor_is_its_model_and_its_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(this, "_cpu_model", lambda: "Xeon")
    kinds = []
    for flags in ({"avx512_bf16", "amx_bf16"}, {"amx_bf16", "avx512_bf16", "sse"}, {"avx512_bf16"}, {"sse"}):
        monkeypatch.setattr(this, "_cpu_flags", lambda flags=flags: flags)
        kinds.append(processor_kind(describe(CPU)))
    assert kinds == [
        "cpu: Xeon, bfloat16 by amx_bf16 avx512_bf16",
        "cpu: Xeon, bfloat16 by amx_bf16 avx512_bf16",
        "cpu: Xeon, bfloat16 by avx512_bf16",
        "cpu: Xeon, bfloat16 by none",
    ]


def test_the_probe_counts_the_time_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processes do in between, and threads beside this one, tell nothing of the instructions."""
    this.bfloat16_speedup.cache_clear()
    monkeypatch.setattr(this.time, "thread_time", iter(range(10_000)).__next__)
    before = torch.get_num_threads()
    seen = []
    convolution = functional.conv2d

    def noted(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return convolution(*arguments)

    monkeypatch.setattr(this.functional, "conv2d", noted)
    assert this.bfloat16_speedup() == 1.0, "each took one tick"
    assert set(seen) == {1}
    assert torch.get_num_threads() == before
    this.bfloat16_speedup.cache_clear()


def test_freed_memory_goes_back_to_the_system() -> None:
    """Pieces of 100 kB, too small to be mapped one by one, with something alive on top of them."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("resident memory is read from /proc")

    def resident_mb() -> float:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    pieces = [bytearray(100_000) for _ in range(800)]
    top = bytearray(100_000)
    full = resident_mb()
    pieces.clear()
    give_back_memory()
    assert resident_mb() < full - 60
    assert len(top) == 100_000


def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    """As a training does: the same large pieces, step after step."""
    resource = pytest.importorskip("resource", reason="page faults are counted by getrusage")

    def faults() -> int:
        return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

    prepare_process(threads=1)
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    pieces = 2 * [torch.empty(2_000_000)]  # 8 MB each: 2,000 pages
    before = faults()
    for step in range(60):
        pieces[step % 2] = torch.ones(2_000_000)
    assert faults() - before < 20_000, "some 40,000 where glibc hands them back"
