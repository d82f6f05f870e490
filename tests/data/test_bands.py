"""Images of any number of bands: arrays and TIFF, their axes, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fsr.data import bands_of, read_bands
from fsr.errors import DataError, MissingDataError
from tests.helpers import assert_same

VALUES = np.arange(5 * 4 * 6).reshape(5, 4, 6).astype(np.uint16) * 100
EXPECTED = torch.from_numpy(VALUES.astype(np.float32)).permute(2, 0, 1)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float64, np.float32])
def test_an_array_is_read_in_its_own_units(tmp_path: Path, kind: Any) -> None:
    np.save(tmp_path / "a.npy", VALUES.astype(kind))
    assert_same(read_bands(tmp_path / "a.npy"), EXPECTED)
    np.save(tmp_path / "b.npy", VALUES[..., 0].astype(kind))
    assert_same(read_bands(tmp_path / "b.npy"), EXPECTED[:1])


def test_a_tiff_is_read_however_it_lays_its_bands(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    planes = VALUES.transpose(2, 0, 1)
    path = tmp_path / "a.tif"
    layouts: list[tuple[Any, dict[str, Any]]] = [
        (VALUES, {"planarconfig": "contig", "photometric": "minisblack", "extrasamples": [0] * 5}),
        (planes, {"planarconfig": "separate", "photometric": "minisblack"}),
        (planes, {"photometric": "minisblack", "metadata": {"axes": "CYX"}}),
        (planes, {"photometric": "minisblack", "metadata": None}),  # pages
        (
            VALUES[None],
            {
                "photometric": "minisblack",
                "metadata": {"axes": "TYXS"},
                "planarconfig": "contig",
                "extrasamples": [0] * 5,
            },
        ),
    ]
    for values, options in layouts:
        tifffile.imwrite(path, values, **options)
        assert_same(read_bands(path), EXPECTED)


def test_what_is_no_image_of_bands_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with pytest.raises(MissingDataError, match=r"a\.npy: no such file"):
        read_bands(path)
    path.write_text("no array")
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as an array of bands"):
        read_bands(path)
    np.save(path, np.array([{"code": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as an array of bands.*pickle"):
        read_bands(path)
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DataError, match="a named pipe"):
        read_bands(tmp_path / "pipe.npy")
    pytest.importorskip("tifffile")
    (tmp_path / "a.tif").write_text("no image")
    with pytest.raises(DataError, match=r"a\.tif: cannot be read as TIFF"):
        read_bands(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(4), r"a: expected an array \(height, width, bands\), got shape \(4,\)"),
        (np.zeros((2, 2, 2, 2)), r"got shape \(2, 2, 2, 2\)"),
        (np.zeros((0, 2, 2)), r"got shape \(0, 2, 2\)"),
        (np.zeros((2, 2), complex), "a: expected real numbers, got complex128"),
        (np.array([[np.nan, 1.0]]), "a: holds NaN or infinity.*fill these pixels first"),
    ],
)
def test_axes_and_numbers_that_cannot_be_used_are_refused(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        bands_of(values, "a")


def test_a_tiff_of_several_axes_is_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4, 5)), photometric="minisblack")
    with pytest.raises(DataError, match="expected height, width and one axis of bands, got axes"):
        read_bands(tmp_path / "a.tif")


def test_a_tiff_without_the_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    (tmp_path / "a.tif").write_bytes(b"")
    monkeypatch.setattr("fsr._core.optional.importlib.import_module", missing)
    with pytest.raises(ImportError, match=r"TIFF of several bands .* pip install 'fsr-wsss\[bands"):
        read_bands(tmp_path / "a.tif")
