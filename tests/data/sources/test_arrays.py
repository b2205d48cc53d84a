"""Arrays of any size are read some rows at a time: .npz stored and deflated, IDX plain and gzipped."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, write_idx

from data.ingest.add import add_set
from data.sources.base import ImageArrays, SetInvalid
from data.sources.registry import find

COUNT, SIDE = 750, 128
"""Of images that take 37 MB."""


def _arrays() -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {"train_images": noise(COUNT, SIDE, SIDE, 3), "train_labels": np.arange(COUNT) % 2}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_a_large_file_needs_little_memory(save: object, cache: Path, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", **_arrays())  # type: ignore[operator]
    _needs_little_memory(tmp_path / "x.npz")


@pytest.mark.parametrize("packed", [True, False])
def test_large_idx_files_need_little_memory(packed: bool, cache: Path, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", {"train": (noise(3 * COUNT, SIDE, SIDE), [0, 1] * (COUNT * 3 // 2))})
    if not packed:
        for file in folder.iterdir():
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
    _needs_little_memory(folder)


@pytest.fixture(autouse=True)
def _small_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer of this size is made, most of which is never written to, and tracemalloc counts it."""
    monkeypatch.setattr("data.datasets.image_set.DESCRIPTION_BYTES", 1 << 20)


def _needs_little_memory(path: Path) -> None:
    tracemalloc.start()
    try:
        add_set(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < COUNT * SIDE * SIDE * 3 * 0.6


def test_a_column_major_array_has_the_same_images(cache: Path, tmp_path: Path) -> None:
    images, labels = noise(20, 8, 9, 3), np.arange(20) % 2
    np.savez(tmp_path / "rows.npz", train_images=images, train_labels=labels)
    np.savez(tmp_path / "columns.npz", train_images=np.asfortranarray(images), train_labels=labels)
    sets = [add_set(tmp_path / name).image_set for name in ("rows.npz", "columns.npz")]
    assert sets[0].checksum == sets[1].checksum


def test_chunks_are_all_rows_in_order(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(50 * 64, dtype=">i2").reshape(50, 8, 8) % 256
    np.savez_compressed(tmp_path / "x.npz", train_images=images, train_labels=np.arange(50) % 2)
    monkeypatch.setattr("data.sources.stored_array.ROWS", 7)
    found = find(tmp_path / "x.npz").images
    assert isinstance(found, ImageArrays)
    chunks = [*found.parts[0].chunks()]
    assert [len(each) for each in chunks] == [7] * 7 + [1]
    assert np.array_equal(np.concatenate(chunks)[..., 0], images.astype(np.uint8))


@pytest.mark.parametrize("place", [400, -400], ids=["images", "labels"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_told(place: int, method: int, cache: Path, tmp_path: Path) -> None:
    save = np.savez if method == zipfile.ZIP_STORED else np.savez_compressed
    save(tmp_path / "x.npz", train_images=noise(40, 8, 8), train_labels=np.arange(400)[:40] % 2)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[place] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(SetInvalid, match="damaged"):
        add_set(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content[:-1], "has fewer bytes than its shape"),
        (lambda content: content + b"\0", "has more bytes than its shape"),
        (lambda content: gzip.compress(content)[:-9], "damaged gzip: it is cut off"),
        (lambda content: gzip.compress(content)[:-8] + b"12345678", "incorrect data check"),
        (lambda content: gzip.compress(content) + gzip.compress(b"x"), "something follows its end"),
        (lambda content: content[:9], "declares the shape"),
        (lambda content: b"\0\0\x0d" + content[3:], "is no IDX file of bytes"),
    ],
)
def test_a_damaged_idx_file_is_told(change: object, told: str, cache: Path, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", {"train": (noise(40, 8, 8), [0, 1] * 20)})
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(change(gzip.decompress(file.read_bytes())))  # type: ignore[operator]
    with pytest.raises(SetInvalid, match=told):
        add_set(folder)


def test_zeros_may_follow_a_gzip_file(cache: Path, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", {"train": (noise(40, 8, 8), [0, 1] * 20)})
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes() + bytes(600))
    assert sum(add_set(folder).image_set.sizes.values()) == 40


class TestEMNIST:
    @pytest.fixture
    def letters(self, tmp_path: Path) -> Path:
        """Two letters as EMNIST is published: transposed, labeled from 1, with a mapping."""
        images = np.zeros((40, 28, 28), dtype=np.uint8)
        images[:, 2:4, 5:25] = noise(40, 2, 20) | 128  # upright: a stroke at the top
        labels = [1, 2] * 20
        folder = write_idx(tmp_path / "emnist", {"train": (images.swapaxes(1, 2), labels)})
        for file in folder.iterdir():
            file.rename(folder / f"emnist-letters-{file.name}")
        (folder / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
        return folder

    def test_images_are_upright_and_classes_have_names(self, letters: Path, cache: Path) -> None:
        image_set = add_set(letters).image_set
        assert image_set.classes == ("Aa", "Bb")
        strokes = image_set.load().images.any(dim=0)[0]
        assert strokes.any(dim=1).nonzero().flatten().tolist() == [2, 3]
        assert any("the images were turned upright" in note for note in image_set.facts.notes)

    def test_without_the_mapping_classes_are_numbers(self, letters: Path, cache: Path) -> None:
        (letters / "emnist-letters-mapping.txt").unlink()
        assert add_set(letters).image_set.classes == ("1", "2")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("1 65\n", "does not fit the labels, and lacks the label 2: fetch it anew"),
            ("0 65\n7 66\n", "lacks the labels 1, 2: "),
            ("1 65\n2 65\n", "Line 2 has a label or a name that was given"),
            ("1 65\n1 66\n", "Line 2 has a label or a name that was given"),
            ("1 65\n2 B\n", "Line 2 is not a label with its ASCII codes"),
            ("1 65\n2\n", "Line 2 is not a label with its ASCII codes"),
            ("1 65\n2 7\n", "Line 2 is not a label with its ASCII codes"),
            ("1 65\n2 ü\n", "cannot be read (it is not ASCII text)"),
        ],
    )
    def test_a_mapping_that_does_not_fit_is_told(
        self, text: str, told: str, letters: Path, cache: Path
    ) -> None:
        mapping = letters / "emnist-letters-mapping.txt"
        mapping.write_text(text, encoding="utf-8")
        with pytest.raises(SetInvalid) as caught:
            add_set(letters)
        assert caught.value.path == str(mapping)
        assert told in str(caught.value)

    def test_letters_of_both_cases_are_classes_apart(self, letters: Path, cache: Path) -> None:
        (letters / "emnist-letters-mapping.txt").write_text("1 65\n2 97\n")
        assert add_set(letters).image_set.classes == ("A", "a")
