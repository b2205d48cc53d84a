"""The files are verified by their checksums, and their pages are shared."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data.datasets.base import DatasetError, FileState
from data.datasets.mnist import (
    FILES,
    Mnist,
    MnistCorrupt,
    MnistMissing,
    MnistUnavailable,
    cache_folder,
    idx_bytes,
    idx_header,
    load,
    verify,
)

LABELS = "t10k-labels-idx1-ubyte"

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated: a copy that broke off": lambda content: content[:-1],
    "one bit flipped: silent disk damage": lambda content: content[:5000] + b"\xff" + content[5001:],
    "longer: something was appended": lambda content: content + b"\0",
    "empty: a disk that was full": lambda content: b"",
    "foreign: another file under this name": lambda content: b"<html>404</html>",
}


def test_real_mnist_has_the_published_shapes_and_labels(mnist: Mnist) -> None:
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.train_images.dtype == torch.uint8
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels.dtype == torch.int64
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Counts per class from http://yann.lecun.com/exdb/mnist, as in every paper.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train_labels.bincount().tolist() == counts
    assert mnist.checksums == FILES


def test_header_is_that_of_the_real_files(genuine: Path) -> None:
    content = (genuine / "train-images-idx3-ubyte").read_bytes()
    assert content[:16] == idx_header((60_000, 28, 28))
    assert len(content) == idx_bytes("train-images-idx3-ubyte")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_named_with_both_sums(
    damage: Callable[[bytes], bytes], genuine: Path, lacking: Callable[..., Path]
) -> None:
    folder = lacking(LABELS)
    (folder / LABELS).write_bytes(damage((genuine / LABELS).read_bytes()))
    with pytest.raises(MnistCorrupt) as caught:
        load(folder)
    checks = verify(folder)
    assert [name for name, check in checks.items() if check.state is FileState.CORRUPT] == [LABELS]
    assert caught.value.found == checks[LABELS].found != FILES[LABELS]
    for part in (str(folder / LABELS), str(checks[LABELS].found), FILES[LABELS], "`tune data fetch`"):
        assert part in str(caught.value)


def test_all_missing_files_are_named(lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS, "train-images-idx3-ubyte")
    with pytest.raises(MnistMissing, match=r"train-images-idx3-ubyte, t10k-labels.*`tune data fetch`"):
        load(folder)
    assert [name for name, check in verify(folder).items() if check.state is FileState.MISSING] == [
        "train-images-idx3-ubyte",
        LABELS,
    ]


def test_a_folder_that_does_not_exist_lacks_everything(tmp_path: Path) -> None:
    with pytest.raises(MnistMissing) as caught:
        load(tmp_path / "nowhere")
    assert caught.value.names == tuple(FILES)


@pytest.mark.parametrize("read", [load, verify])
def test_what_cannot_be_read_is_a_sentence(
    read: Callable[[Path], object], lacking: Callable[..., Path]
) -> None:
    folder = lacking(LABELS)
    (folder / LABELS).mkdir()
    with pytest.raises(DatasetError, match=re.escape(str(folder / LABELS))):
        read(folder)


@pytest.mark.parametrize(
    "error",
    [
        MnistMissing(Path("/a"), ["b"]),
        MnistCorrupt(Path("/a/b"), "12", "34", "do this"),
        MnistUnavailable([("a mirror", "HTTP 404")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_process_boundaries(error: DatasetError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("TUNE_DATA_DIR", "~/mnist")
    assert cache_folder() == Path.home() / "mnist"
    monkeypatch.setenv("TUNE_DATA_DIR", "")
    assert cache_folder().name == "tune"


def test_pixels_are_the_page_cache_itself_not_a_copy(genuine: Path) -> None:
    mnist = load(genuine)
    assert mnist.train_images.sum() > 0  # every page is touched
    (mapping,) = _mappings(genuine / "train-images-idx3-ubyte", at=mnist.train_images.data_ptr())
    assert mapping["Rss"] >= 45_000
    assert mapping["Anonymous"] == 0  # a private copy would count here, in each worker


def test_a_stray_write_reaches_neither_the_file_nor_another_reader(
    genuine: Path, lacking: Callable[..., Path]
) -> None:
    name = "t10k-images-idx3-ubyte"
    folder = lacking(name)
    # A copy: should this test ever fail, it must not damage the user's cache.
    (folder / name).write_bytes((genuine / name).read_bytes())
    mine, other = load(folder), load(folder)
    mine.test_images[0] = 77
    assert other.test_images[0, 0, 0] == 0
    assert verify(folder)[name].state is FileState.OK


def _mappings(file: Path, *, at: int) -> list[dict[str, int]]:
    """The fields in kB of this process's mappings of `file` that contain the address `at`."""
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("needs /proc/self/smaps (Linux)")
    found = []
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", smaps.read_text()):
        first, *lines = block.splitlines()
        begin, end = (int(address, 16) for address in first.split()[0].split("-"))
        if first.endswith(str(file.resolve())) and begin <= at < end:
            pairs = (line.split(":") for line in lines if line.endswith(" kB"))
            found.append({key: int(value.removesuffix("kB")) for key, value in pairs})
    return found
