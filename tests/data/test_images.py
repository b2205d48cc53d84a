"""Any image file becomes 8-bit pixels, upright and opaque, of the wanted size; and what was done is told."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.images import MAX_SCANS, Fit, ImageUnreadable, decode, fitted

GRADIENT = (np.arange(6)[:, None] * 40 + np.arange(8)[None] * 3).astype(np.uint8)
"""(6, 8) of gray; no two rows or columns are alike, so that a turn shows."""

COLORS = np.stack([GRADIENT, 255 - GRADIENT, np.full_like(GRADIENT, 90)], axis=2)
"""(6, 8, 3)"""


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def gray() -> Image.Image:
    return Image.fromarray(GRADIENT)


def colors() -> Image.Image:
    return Image.fromarray(COLORS)


def held(image: Image.Image, orientation: int, format: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, format, exif=exif)


def translucent(mode: str) -> Image.Image:
    """GRADIENT, whose left half is transparent."""
    image = gray().convert(mode)
    alpha = np.full(GRADIENT.shape, 255, dtype=np.uint8)
    alpha[:, :4] = 0
    image.putalpha(Image.fromarray(alpha))
    return image


ON_WHITE = np.where(np.arange(8) < 4, 255, GRADIENT).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "pixels", "notes"),
    [
        *((saved(gray(), format), GRADIENT, []) for format in ("PNG", "GIF", "BMP", "TIFF")),
        *((saved(gray().convert("RGB"), format), GRADIENT, []) for format in ("PNG", "BMP", "TIFF")),
        *((saved(colors(), format), COLORS, []) for format in ("PNG", "BMP", "TIFF")),
        (saved(gray(), "WEBP", lossless=True), GRADIENT, []),
        (saved(colors(), "WEBP", lossless=True), COLORS, []),
        (saved(colors().quantize(64), "GIF"), COLORS, []),
        (saved(gray().point(lambda shade: 255 * (shade > 50), mode="1"), "PNG"), 255 * (GRADIENT > 50), []),
        (saved(translucent("L"), "PNG"), ON_WHITE, ["laid on white"]),
        (saved(translucent("RGB"), "WEBP", lossless=True), ON_WHITE, ["laid on white"]),
        (saved(gray().convert("RGBA"), "PNG"), GRADIENT, []),
        (saved(gray(), "PNG", transparency=0), np.where(GRADIENT == 0, 255, GRADIENT), ["laid on white"]),
        (saved(Image.fromarray(GRADIENT.astype(np.uint16) * 257), "PNG"), GRADIENT, ["reduced to 8 bits"]),
        (saved(Image.fromarray(GRADIENT.astype(np.uint16) * 257), "TIFF"), GRADIENT, ["reduced to 8 bits"]),
        (saved(Image.fromarray(GRADIENT.astype(np.uint16)), "PNG"), GRADIENT, []),
        (saved(Image.fromarray(GRADIENT.astype(np.int32)), "TIFF"), GRADIENT, []),
        (
            saved(Image.fromarray(GRADIENT.astype(np.uint16) * 257), "PNG", transparency=257 * 40),
            np.where(GRADIENT == 40, 255, GRADIENT),
            ["reduced to 8 bits", "laid on white"],
        ),
        (saved(colors().convert("CMYK"), "TIFF"), COLORS, ["CMYK"]),
        (saved(gray(), "GIF", save_all=True, append_images=[gray().rotate(180)]), GRADIENT, ["the first"]),
        (saved(gray(), "TIFF", save_all=True, append_images=[gray().rotate(180)]), GRADIENT, ["the first"]),
        (held(gray().rotate(90, expand=True), 6), GRADIENT, ["turned upright"]),
        (held(gray().rotate(90, expand=True), 6, "TIFF"), GRADIENT, []),  # Pillow itself turns it
        (held(gray(), 9), GRADIENT, []),
    ],
)
def test_every_format_gives_the_same_pixels(content: bytes, pixels: np.ndarray, notes: list[str]) -> None:
    found = decode(content, channels=None)
    assert found.pixels.dtype == np.uint8
    assert found.size == (6, 8)
    assert found.pixels.shape == (6, 8, 3 if pixels.ndim == 3 else 1)
    assert (found.pixels == pixels.reshape(found.pixels.shape)).all()
    assert len(found.notes) == len(notes), found.notes
    for words, note in zip(notes, found.notes, strict=True):
        assert words in note
        assert note.endswith(".")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_is_turned_back_as_pillow_does(orientation: int) -> None:
    from PIL import ImageOps

    content = held(colors(), orientation)
    with Image.open(io.BytesIO(content)) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    found = decode(content, channels=3)
    assert (found.pixels == expected).all()
    assert found.size == expected.shape[:2]


def test_what_follows_a_jpeg_is_no_part_of_it() -> None:
    """A phone puts a video there."""
    content = saved(gray(), "JPEG", exif=b"Exif\0\0" + b"\xff\xd9" * 9)
    followed = decode(content + b"\xff\xda" * (MAX_SCANS + 1), channels=1)
    assert (followed.pixels == decode(content, channels=1).pixels).all()


def test_channels_are_as_asked() -> None:
    as_gray = decode(saved(colors(), "PNG"), channels=1)
    assert as_gray.pixels.shape == (6, 8, 1)
    assert as_gray.notes == ("It is colored: it was turned into shades of gray.",)
    assert (as_gray.pixels[:, :, 0] == np.asarray(colors().convert("L"))).all()
    as_color = decode(saved(gray(), "PNG"), channels=3)
    assert (as_color.pixels == GRADIENT[:, :, None]).all()
    assert as_color.pixels.shape == (6, 8, 3)
    assert as_color.notes == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_large_photo_is_reduced_early(format: str) -> None:
    rows, columns = np.mgrid[0:1200, 0:1600]
    photo = np.stack([rows * 255 // 1199, columns * 255 // 1599, 0 * rows], axis=2).astype(np.uint8)
    content = saved(Image.fromarray(photo), format)
    whole, early = decode(content, channels=3), decode(content, channels=3, at_least=(28, 32))
    assert whole.pixels.shape == (1200, 1600, 3)
    assert early.size == (1200, 1600)
    assert 64 <= min(early.pixels.shape[:2]) < 150
    differences = [fitted(each.pixels, 28, 32, Fit.CROP)[0].astype(int) for each in (whole, early)]
    assert np.abs(differences[0] - differences[1]).max() <= 2


def test_an_image_of_the_wanted_size_is_not_reduced() -> None:
    content = saved(colors(), "JPEG")
    assert (decode(content, channels=3, at_least=(6, 8)).pixels == decode(content, channels=3).pixels).all()


def bomb(columns: int, rows: int) -> bytes:
    """A PNG file that announces as many pixels and holds one row of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(columns + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


FLOATS = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"seven", "it is not a PNG, JPEG, GIF, WebP, BMP or TIFF file"),
        (saved(gray(), "PPM"), "it is not a PNG"),
        *((saved(colors(), format)[:-30], ".") for format in ("PNG", "JPEG", "WEBP", "BMP")),
        (saved(colors(), "PNG")[:30], "."),
        (bomb(8193, 8192), "it is 8193 wide and 8192 high, more than 67,108,864 pixels"),
        (bomb(12_000, 12_000), "more than 67,108,864 pixels"),  # Pillow itself begins to warn
        (bomb(40_000, 40_000), "more than 67,108,864 pixels"),  # and to refuse
        (saved(gray(), "JPEG")[:-2] + b"\xff\xda\0\2" * MAX_SCANS + b"\xff\xd9", "more than 100 scans"),
        (saved(Image.fromarray(FLOATS), "TIFF"), "floating-point"),
        (saved(Image.fromarray(GRADIENT.astype(np.int32) * 100_000), "TIFF"), "more than 16 bits"),
    ],
)
def test_what_cannot_be_used_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ImageUnreadable, match=words) as refusal:
        decode(content, channels=None)
    assert str(refusal.value)
    assert not str(refusal.value).endswith(".")


WIDE = np.full((10, 20, 3), 200, dtype=np.uint8)
WIDE[:, 4:16] = (0, 100, 50)
"""Its middle has another color."""


@pytest.mark.parametrize(
    ("fit", "left", "middle", "notes"),
    [
        # The mean of an edge of 56 pixels, of which 24 are of the middle.
        (Fit.PAD, (114, 157, 136), (0, 100, 50), ["resized to 8×4", "above and below"]),
        (Fit.CROP, (0, 100, 50), (0, 100, 50), ["25 % of it were cut off left and right", "resized to 8×8"]),
        (Fit.STRETCH, (200, 200, 200), (0, 100, 50), ["distorted to 8×8"]),
    ],
)
def test_an_image_is_made_to_fit(
    fit: Fit, left: tuple[int, ...], middle: tuple[int, ...], notes: list[str]
) -> None:
    pixels, told = fitted(WIDE, 8, 8, fit)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert tuple(pixels[0, 0]) == left
    assert tuple(pixels[4, 4]) == middle
    assert len(told) == len(notes), told
    assert all(words in note for words, note in zip(notes, told, strict=True))
    tall, _ = fitted(WIDE.transpose(1, 0, 2), 8, 8, fit)
    assert (tall == pixels.transpose(1, 0, 2)).all()


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (31, 33)])
def test_every_size_can_be_made_to_fit(fit: Fit, size: tuple[int, int]) -> None:
    for channels in (1, 3):
        pixels, told = fitted(np.full((*size, channels), 77, dtype=np.uint8), 32, 32, fit)
        assert pixels.shape == (32, 32, channels)
        assert (pixels == 77).all()
        assert told


@pytest.mark.parametrize("fit", Fit)
def test_an_image_that_fits_is_left_as_it_is(fit: Fit) -> None:
    pixels, told = fitted(WIDE, 10, 20, fit)
    assert pixels is WIDE
    assert told == ()
