"""An export that runs again: what still holds stays, all else is made anew."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fsr._core.alone import alone_in
from fsr.data import FolderDataset, Sample, Scenes
from fsr.errors import BusyError, DataError, OutputError, SettingsError
from fsr.inference import ExportResult, export_pseudo_labels
from fsr.inference import _export_folder as folder_module
from fsr.segmenter import SingleStageSegmenter
from tests.cli.helpers import noise, tiny_network

ONCE: dict[str, Any] = {"scales": (1.0,), "flip": False}


@pytest.fixture(scope="module")
def model() -> SingleStageSegmenter:
    return tiny_network(("cat", "dog"))


def write_table(place: Path, labels: Sequence[str]) -> FolderDataset:
    rows = "".join(f"{index}.png,{label}\n" for index, label in enumerate(labels))
    (place / "labels.csv").write_text("image,labels\n" + rows)
    return FolderDataset(place / "in", place / "labels.csv", class_names=("cat", "dog"))


@pytest.fixture
def data(tmp_path: Path) -> FolderDataset:
    (tmp_path / "in").mkdir()
    for index in range(3):
        noise(24, 32, index).save(tmp_path / "in" / f"{index}.png")
    return write_table(tmp_path, ("cat", "dog", "cat;dog"))


def mask(folder: Path, name: str = "0") -> Path:
    return folder / "SegmentationClass" / f"{name}.png"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "made_of.jsonl"
    }


def test_a_mask_is_made_anew_when_its_labels_or_its_image_change(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    assert export_pseudo_labels(model, data, out, **ONCE) == ExportResult(3, 0, ())
    assert export_pseudo_labels(model, data, out, **ONCE) == ExportResult(0, 3, ())
    data = write_table(tmp_path, ("dog", "dog", "cat;dog"))
    noise(24, 32, 9).save(tmp_path / "in" / "1.png")
    assert export_pseudo_labels(model, data, out, **ONCE) == ExportResult(2, 1, ())
    export_pseudo_labels(model, data, fresh, **ONCE)
    assert contents(out) == contents(fresh)
    # Unpacked again: other times, the same images.
    for path in (tmp_path / "in").iterdir():
        os.utime(path, ns=(10**9, 10**9))
    assert export_pseudo_labels(model, data, out, **ONCE) == ExportResult(0, 3, ())


def test_half_and_empty_files_are_made_anew(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_pseudo_labels(model, data, out, images="copy", uncertainty=True, **ONCE)
    before = contents(out)
    mask(out, "0").write_bytes(before["SegmentationClass/0.png"][:30])
    (out / "Certainty" / "1.png").write_bytes(b"")
    (out / "JPEGImages" / "2.jpg").write_bytes(before["JPEGImages/2.jpg"][:-9])
    again = export_pseudo_labels(model, data, out, images="copy", uncertainty=True, **ONCE)
    assert again == ExportResult(3, 0, ())
    assert contents(out) == before


def test_links_are_kept_while_they_lead_to_the_image(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_pseudo_labels(model, data, out, images="link", **ONCE)
    assert export_pseudo_labels(model, data, out, images="link", **ONCE).kept == 3
    link = out / "JPEGImages" / "1.jpg"
    link.unlink()
    link.symlink_to(tmp_path / "in" / "0.png")
    assert export_pseudo_labels(model, data, out, images="link", **ONCE) == (1, 2, ())
    assert link.resolve() == tmp_path / "in" / "1.png"


def test_unfinished_files_of_a_dead_run_are_cleared_and_no_others(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    masks = out / "SegmentationClass"
    masks.mkdir(parents=True)
    mine = (masks / ".0.png.bak", masks / ".mine.png.77", masks / f".1.png.{os.getppid()}")
    for path in (*mine, masks / ".1.png.9999999", out / ".classes.txt.9999999"):
        path.write_bytes(b"half")
    export_pseudo_labels(model, data, out, **ONCE)
    assert sorted(out.rglob(".*")) == sorted(mine)


def test_a_mask_of_an_image_that_is_broken_now_does_not_stay(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_pseudo_labels(model, data, out, **ONCE)
    (tmp_path / "in" / "1.png").write_bytes(b"no image")
    result = export_pseudo_labels(model, data, out, on_error="skip", **ONCE)
    assert (result.written, result.kept, len(result.failed)) == (0, 2, 1)
    assert not mask(out, "1").exists()
    assert (out / "ImageSets/Segmentation/train.txt").read_text() == "0\n2\n"


class Plain:
    """Samples of a data set that tells nothing of itself."""

    def __init__(self, numbers: Sequence[int], label: int = 0) -> None:
        self.numbers, self.label = numbers, label

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        labels = torch.eye(2)[self.label]
        return Sample(noise(16, 16, self.numbers[index]), labels, None, str(self.numbers[index]))


def test_samples_that_only_reading_tells_are_compared_too(
    model: SingleStageSegmenter, tmp_path: Path
) -> None:
    export_pseudo_labels(model, Plain((0, 1)), tmp_path, **ONCE)
    assert export_pseudo_labels(model, Plain((0, 1)), tmp_path, **ONCE).kept == 2
    assert export_pseudo_labels(model, Plain((0, 1), 1), tmp_path, **ONCE).written == 2
    before = (tmp_path / "ImageSets/Segmentation/train.txt").read_text()
    with pytest.raises(DataError, match=r"masks of samples that are not in this data set \(0, 1\)"):
        export_pseudo_labels(model, Plain((5, 6)), tmp_path, **ONCE)
    assert (tmp_path / "ImageSets/Segmentation/train.txt").read_text() == before


def test_another_split_or_order_is_refused(tmp_path: Path) -> None:
    model = tiny_network(Scenes.class_names)
    splits = [Scenes(2, seed=seed, image_size=32) for seed in (404, 303)]
    export_pseudo_labels(model, splits[0], tmp_path, **ONCE)
    before = contents(tmp_path)
    with pytest.raises(SettingsError, match=r"split='test', seed=404.*now .*split='tune'"):
        export_pseudo_labels(model, splits[1], tmp_path, **ONCE)

    class Renamed(Plain):
        names = ("a", "b")

    export_pseudo_labels(tiny_network(("cat", "dog")), Renamed((0, 1)), tmp_path / "b", **ONCE)
    Renamed.names = ("b", "a")
    with pytest.raises(SettingsError, match="names_sha256 was"):
        export_pseudo_labels(tiny_network(("cat", "dog")), Renamed((0, 1)), tmp_path / "b", **ONCE)
    assert {k: v for k, v in contents(tmp_path).items() if not k.startswith("b/")} == before


def test_the_same_weights_in_another_network_are_another_network(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    export_pseudo_labels(model, data, tmp_path / "out", **ONCE)
    other = tiny_network(("cat", "dog"))
    for module in other.decoder.modules():
        if isinstance(module, torch.nn.Conv2d) and module.dilation != (1, 1):
            module.dilation = (1, 1)
            module.padding = (1, 1)
    with pytest.raises(SettingsError, match="network_sha256 was"):
        export_pseudo_labels(other, data, tmp_path / "out", **ONCE)


def test_two_runs_do_not_mix(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    with alone_in(tmp_path / "out"), pytest.raises(BusyError, match="another run"):
        export_pseudo_labels(model, data, tmp_path / "out", **ONCE)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told_by_file_and_the_rest_is_right(
    model: SingleStageSegmenter,
    data: FolderDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    export_pseudo_labels(model, data, fresh, **ONCE)
    save = Image.Image.save

    def full(self: Image.Image, path: Any, *more: Any, **options: Any) -> None:
        if "1.png" in Path(path).name:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, *more, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    told = f"{mask(out, '1')}: cannot be written: No space left on device; make space there"
    with pytest.raises(OutputError, match="No space left") as error:
        export_pseudo_labels(model, data, out, **ONCE)
    assert str(error.value).startswith(told)
    result = export_pseudo_labels(model, data, out, on_error="skip", **ONCE)
    assert (result.written, result.kept) == (1, 1)
    assert len(result.failed) == 1
    assert told in result.failed[0]
    assert sorted(path.name for path in (out / "SegmentationClass").iterdir()) == ["0.png", "2.png"]
    monkeypatch.undo()
    assert export_pseudo_labels(model, data, out, **ONCE) == ExportResult(1, 2, ())
    assert contents(out) == contents(fresh)


def test_a_run_that_can_write_nothing_more_ends(
    model: SingleStageSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, labels: Tensor, num_classes: int | None) -> None:
        raise OutputError(f"{path}: cannot be written: No space left on device", errno.ENOSPC)

    monkeypatch.setattr(folder_module, "write_label_map", full)
    read: list[tuple[int, int]] = []
    with pytest.raises(OutputError, match="the last of 3 in a row: the run ends here"):
        export_pseudo_labels(
            model,
            Plain(range(9)),
            tmp_path,
            on_error="skip",
            progress=lambda *done: read.append(done),
            **ONCE,
        )
    assert len(read) < 9


def test_a_photograph_that_cannot_be_placed_is_told(
    model: SingleStageSegmenter,
    data: FolderDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(self: Image.Image, path: Any, *more: Any, **options: Any) -> None:
        Path(path).write_bytes(b"\xff\xd8half")

    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(DataError, match=r"JPEGImages/0\.jpg: cannot be written: the picture was"):
        export_pseudo_labels(model, data, tmp_path / "out", images="copy", **ONCE)
    assert list((tmp_path / "out" / "JPEGImages").iterdir()) == []


def test_masks_keep_their_bits(
    model: SingleStageSegmenter, data: FolderDataset, tmp_path: Path
) -> None:
    export_pseudo_labels(model, data, tmp_path / "out", **ONCE)
    with Image.open(mask(tmp_path / "out")) as image:
        assert (image.mode, image.size, image.info) == ("P", (32, 24), {})
        assert np.asarray(image).max() <= 2
