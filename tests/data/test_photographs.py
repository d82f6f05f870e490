"""Pictures as people see them: alpha, depth, rotation, kinds of files, what is never opened."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from fsr.data import (
    Reading,
    TwoViews,
    image_size,
    labels_from_coco,
    labels_from_masks,
    labels_from_voc,
    read_image,
    read_label_map,
    read_labels,
    read_photograph,
    shows_its_pixels,
)
from fsr.data._depth import to_bytes
from fsr.errors import DataError, MissingDataError

ORIENTATION = 0x0112
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def noise(height: int, width: int, channels: int = 3, high: int = 256) -> NDArray[Any]:
    values = np.random.default_rng(0).integers(0, high, (height, width, channels))
    return values.astype(np.uint8 if high <= 256 else np.uint16)


def pixels(path: Path, **reading: Any) -> NDArray[np.uint8]:
    return np.asarray(read_photograph(path, **reading))


def png16(path: Path, values: NDArray[Any], kind: int, key: tuple[int, ...] = ()) -> Path:
    """Write a PNG of 16 bits: kind 0 grey, 2 colours, 4 grey and alpha, 6 colours and alpha."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    hidden = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    parts = (
        chunk(b"IHDR", head),
        hidden,
        chunk(b"IDAT", zlib.compress(lines)),
        chunk(b"IEND", b""),
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


# -- alpha ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_colours_that_alpha_hides_have_no_effect(tmp_path: Path, mode: str) -> None:
    seen = Image.fromarray(noise(6, 8)).convert(mode)
    for number, hidden in enumerate((0, 90)):
        values = np.array(seen)
        values[:, :4, :-1], values[:, :4, -1] = hidden, 0
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    first, second = pixels(tmp_path / "0.png"), pixels(tmp_path / "1.png")
    assert np.array_equal(first, second)
    assert (first[:, :4] == 255).all()
    assert np.array_equal(first[:, 4:], np.asarray(seen.convert("RGB"))[:, 4:])
    assert (pixels(tmp_path / "1.png", background="#102030")[:, :4] == (16, 32, 48)).all()
    # As they are read for VOC and COCO, too.
    assert np.array_equal(np.asarray(read_image(tmp_path / "1.png")), first)


def test_half_a_colour_lies_over_half_of_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (200, 100, 0, 128)).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").tolist() == [[[227, 177, 127]]]
    assert pixels(tmp_path / "a.png", background="black").tolist() == [[[100, 50, 0]]]


def test_palettes_and_single_colours_can_be_transparent(tmp_path: Path) -> None:
    colours = Image.fromarray(noise(6, 8)).quantize(8)
    index = np.asarray(colours)
    for name in ("a.png", "a.gif"):
        colours.save(tmp_path / name, transparency=3)
        seen = pixels(tmp_path / name)
        assert (seen[index == 3] == 255).all()
        assert np.array_equal(seen[index != 3], np.asarray(colours.convert("RGB"))[index != 3])
    colours.save(tmp_path / "steps.png", transparency=bytes([255, 0, 255]))
    assert (pixels(tmp_path / "steps.png")[index == 1] == 255).all()
    colours.convert("PA").save(tmp_path / "pa.tif")
    assert np.array_equal(pixels(tmp_path / "pa.tif"), np.asarray(colours.convert("RGB")))
    grey = Image.fromarray(np.array([[0, 7, 9]], np.uint8))
    grey.save(tmp_path / "grey.png", transparency=7)
    assert pixels(tmp_path / "grey.png")[0].tolist() == [[0] * 3, [255] * 3, [9] * 3]
    colour = Image.fromarray(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8))
    colour.save(tmp_path / "colour.png", transparency=(1, 2, 3))
    assert pixels(tmp_path / "colour.png")[0].tolist() == [[255] * 3, [1, 2, 4]]


def test_single_colours_of_16_bits_can_be_transparent(tmp_path: Path) -> None:
    values = noise(3, 4, high=65536)
    hidden = tuple(map(int, values[1, 2]))
    seen = pixels(png16(tmp_path / "a.png", values, 2, hidden))
    expected = (values >> 8).astype(np.uint8)
    expected[1, 2] = 255
    assert np.array_equal(seen, expected)
    grey = values[..., 0]
    seen = pixels(png16(tmp_path / "b.png", grey, 0, (int(grey[0, 1]),)), background="black")
    expected = np.repeat((grey // 257)[..., None], 3, axis=2).astype(np.uint8)
    expected[0, 1] = 0
    assert np.array_equal(seen, expected)


# -- depth ----------------------------------------------------------------------------------------


def test_16_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 300, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert pixels(tmp_path / "deep.png").tolist() == [[[v] * 3 for v in (0, 1, 128, 255)]]
    colours = noise(3, 4, high=65536)
    assert np.array_equal(pixels(png16(tmp_path / "c.png", colours, 2)), colours >> 8)


@pytest.mark.parametrize(("high", "bits"), [(255, 8), (4095, 12)])
@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "u2"), ("a.tif", "u2"), ("a.tif", ">u2"), ("a.tif", "i4")]
)
def test_grey_of_fewer_bits_than_its_file_has_is_read_by_its_range(
    tmp_path: Path, high: int, bits: int, name: str, kind: str
) -> None:
    values = np.array([[0, high // 2, high]], dtype=kind)
    Image.fromarray(values).save(tmp_path / name)
    assert pixels(tmp_path / name)[0, :, 0].tolist() == [0, 127, 255]
    # Dark pictures of 16 bits stay dark where that is said.
    assert pixels(tmp_path / name, bits=16)[0, :, 0].tolist() == [0, high // 514, high // 257]
    assert np.array_equal(pixels(tmp_path / name, bits=bits), pixels(tmp_path / name))
    with pytest.raises(DataError, match=rf"{name}: expected pixels of 0\.\.127, got {high}"):
        pixels(tmp_path / name, bits=7)


def test_colours_of_12_bits_are_read_by_their_range(tmp_path: Path) -> None:
    values = noise(3, 4, high=4096)
    values[0, 0] = 4095
    expected = (values.astype(int) * 255 // 4095).astype(np.uint8)
    assert np.array_equal(pixels(png16(tmp_path / "a.png", values, 2)), expected)
    alpha = np.full((3, 4, 1), 65535, np.uint16)
    alpha[2, 3] = 0
    seen = pixels(png16(tmp_path / "b.png", np.dstack([values, alpha]), 6))
    expected[2, 3] = 255
    assert np.array_equal(seen, expected)
    grey = pixels(png16(tmp_path / "c.png", np.dstack([values[..., :1], alpha]), 4))
    assert np.array_equal(grey[..., 0], expected[..., 0])
    assert pixels(tmp_path / "a.png", bits=16).max() == 4095 // 257
    tiff = pytest.importorskip("tifffile")
    for name, options in (
        ("d.tif", {}),
        ("e.tif", {"byteorder": ">"}),
        ("f.tif", {"compression": 8}),
    ):
        tiff.imwrite(tmp_path / name, values, photometric="rgb", **options)
        assert np.array_equal(pixels(tmp_path / name), values.astype(int) * 255 // 4095)


def test_grey_of_which_0_is_white_is_turned_round(tmp_path: Path) -> None:
    tiff = pytest.importorskip("tifffile")
    values = np.array([[0, 65535]], np.uint16)
    tiff.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("high", [1.0, 255.0, 65535.0])
def test_floating_point_pixels_are_read_by_their_range(tmp_path: Path, high: float) -> None:
    Image.fromarray(np.array([[0, high / 2, high]], np.float32)).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, np.nan], "expected finite pixels, got NaN or infinity"),
        ([0.0, np.inf], "expected finite pixels, got NaN or infinity"),
        ([-0.5, 1.0], r"expected pixels of at least 0, got -0\.5; bring them to 0\.\.255 first"),
        ([0.0, 3.0], r"up to 3 are of no known range.*--bits \(data\.bits"),
        ([0.0, 1e6], r"up to 1e\+06 are of no known range"),
    ],
)
def test_pixels_of_no_known_range_are_refused(
    tmp_path: Path, values: list[float], message: str
) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: .*{message}"):
        read_photograph(tmp_path / "a.tif")


def test_integers_of_more_than_16_bits_need_to_say_so(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1 << 23]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"of at most 16 bits, got .*--bits"):
        read_photograph(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif", bits=24)[0, :, 0].tolist() == [0, 127]
    with pytest.raises(ValueError, match="at least 0, got -1"):
        to_bytes(np.array([-1, 5]))


def test_formats_that_tell_their_range_are_read_by_it(tmp_path: Path) -> None:
    # A PGM says what is white, so a dark one of 16 bits stays dark.
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">2H", 0, 2570))
    assert pixels(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 10]
    (tmp_path / "b.pgm").write_bytes(b"P5 2 1 4095\n" + struct.pack(">2H", 0, 4095))
    assert pixels(tmp_path / "b.pgm")[0, :, 0].tolist() == [0, 255]


def test_colours_of_print_and_of_cielab_are_converted(tmp_path: Path) -> None:
    red = Image.new("RGB", (4, 4), (200, 30, 30))
    of_rgb, of_lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(red, of_rgb, of_lab, outputMode="LAB")
    assert lab is not None
    lab.save(tmp_path / "lab.tif")
    assert np.abs(pixels(tmp_path / "lab.tif").astype(int) - np.asarray(red)).max() <= 2
    for mode in ("CMYK", "YCbCr", "1", "P"):
        image = red.convert(mode)
        image.save(tmp_path / f"{mode}.tif")
        assert np.array_equal(pixels(tmp_path / f"{mode}.tif"), np.asarray(image.convert("RGB")))


# -- rotation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright_as_viewers_do(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    path = tmp_path / f"turned.{ending}"
    stored = Image.fromarray(noise(3, 5))
    exif = stored.getexif()
    exif[ORIENTATION] = orientation
    stored.save(path, exif=exif)
    values = np.asarray(stored)
    upright = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.transpose(1, 0, 2),
        6: values[::-1].transpose(1, 0, 2),
        7: values[::-1, ::-1].transpose(1, 0, 2),
        8: values[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    assert np.array_equal(pixels(path), upright)
    assert np.array_equal(pixels(path, orient=False), values)
    assert image_size(path) == upright.shape[:2]
    assert image_size(path, orient=False) == (3, 5)
    assert shows_its_pixels(path) == (orientation == 1)


# -- kinds of files -------------------------------------------------------------------------------


def test_of_several_images_in_a_file_the_first_is_taken(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (4, 3), colour) for colour in (WHITE, BLACK))
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        assert (pixels(tmp_path / name) == 255).all()


def test_files_are_read_by_what_they_hold(tmp_path: Path) -> None:
    values = noise(3, 4)
    Image.fromarray(values).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(pixels(tmp_path / "a.jpg"), values)


def test_heic_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic: .*HEIC.* needs .*pip install 'fsr-wsss\[heic\]"):
        read_photograph(path)
    path.with_suffix(".jpg").write_bytes(path.read_bytes())  # as telephones name them at times
    with pytest.raises(DataError, match=r"fsr-wsss\[heic\]"):
        image_size(path.with_suffix(".jpg"))


def test_heic_is_read_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypmif1" + b"\0" * 40)
    made = Image.fromarray(noise(3, 4))
    stand_in = SimpleNamespace(HeifImageFile=lambda name: made if name == str(path) else None)
    monkeypatch.setitem(sys.modules, "pillow_heif", stand_in)
    assert np.array_equal(pixels(path), np.asarray(made))


def test_real_heic_is_read_with_its_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    made = Image.new("RGB", (64, 48), (200, 30, 30))
    heif.from_pillow(made).save(tmp_path / "a.heic")
    assert image_size(tmp_path / "a.heic") == (48, 64)
    assert np.abs(pixels(tmp_path / "a.heic").astype(int) - np.asarray(made)).max() <= 8
    assert not shows_its_pixels(tmp_path / "a.heic")


def test_files_without_an_image_are_named_in_one_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(noise(30, 40)).save(whole)
    for name, content, message in (
        ("empty.jpg", b"", r"cannot be read as an image \(the file is empty\)"),
        ("text.jpg", b"no image", r"cannot be read as an image \(cannot identify image file\)"),
        ("cut.png", whole.read_bytes()[:-900], "the image is damaged"),
        ("head.png", whole.read_bytes()[:20], "cannot be read as an image|the image is damaged"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"^{path}: {message}") as caught:
            read_photograph(path)
        assert "\n" not in str(caught.value)
        assert Reading().fault(path) == str(caught.value)
    assert Reading().fault(whole) == ""
    with pytest.raises(MissingDataError, match="no such file"):
        read_photograph(tmp_path / "none.jpg")
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_photograph(loop)


# -- size -----------------------------------------------------------------------------------------


def test_large_images_are_refused_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mosaic.png"
    Image.new("L", (50, 30), 7).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    message = (
        r"mosaic\.png: 50 x 30 are 1500 pixels, more than the 1000 that .*--max-pixels 1500 "
        r"\(data\.max_pixels in training, max_pixels in Python\)"
    )
    for read in (read_photograph, image_size, read_image, lambda path: read_label_map(path, 9)):
        with pytest.raises(DataError, match=message):
            read(path)
    assert read_photograph(path, max_pixels=1500).size == (50, 30)
    assert image_size(path, max_pixels=1500) == (30, 50)
    assert read_label_map(path, 9, max_pixels=1500).unique().tolist() == [7]
    assert shows_its_pixels(path)
    names = [str(number) for number in range(9)]
    assert labels_from_masks(tmp_path, names, max_pixels=1500).rows[0].labels == ("6",)
    assert Image.MAX_IMAGE_PIXELS == 500
    with pytest.raises(DataError, match="more than the 1499 that"):
        read_photograph(path, max_pixels=1499)
    # A program that has lifted Pillow's own limit meets none.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_photograph(path).size == (50, 30)


def test_views_are_cut_out_of_large_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(noise(40, 60))
    views = TwoViews(8, mean=(0.0,) * 3, std=(1.0,) * 3, jitter_prob=0.0, scale=(0.9, 1.0))
    torch.manual_seed(0)
    expected = views(image)[0].image
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    torch.manual_seed(0)
    assert torch.equal(views(image)[0].image, expected)
    assert Image.MAX_IMAGE_PIXELS == 500


@pytest.mark.parametrize(
    ("reading", "kind", "message"),
    [
        ({"background": "whit"}, ValueError, "background: expected a colour such as white or #"),
        ({"background": 3}, TypeError, "background: expected the name of a colour, got 3"),
        ({"max_pixels": 0}, ValueError, "max_pixels: expected a positive integer, got 0"),
        ({"bits": 33}, ValueError, "bits: expected at most 32, got 33"),
        ({"bits": 1.5}, TypeError, r"bits: expected a positive integer, got 1\.5"),
        ({"orient": 1}, TypeError, "orient: expected True or False, got 1"),
    ],
)
def test_wrong_options_of_reading_are_named(
    reading: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        Reading(**reading)


# -- what is never opened -------------------------------------------------------------------------


def test_pipes_devices_and_sockets_are_never_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    link = tmp_path / "link.png"
    link.symlink_to(pipe)
    for read in (
        read_photograph,
        image_size,
        read_image,
        read_labels,
        labels_from_coco,
        lambda path: read_label_map(path, 2),
    ):
        for path, what in (
            (pipe, "a named pipe"),
            (link, "a named pipe"),
            (Path("/dev/zero"), "a device"),
        ):
            with pytest.raises(DataError, match=f"^{path}: expected a file, this is {what}"):
                read(path)
    pipe.rename(tmp_path / "pipe.xml")
    with pytest.raises(DataError, match="this is a named pipe"):
        labels_from_voc(tmp_path)
    assert "this is a device" in Reading().fault(Path("/dev/zero"))
