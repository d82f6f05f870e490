"""VOC's augmented set, built from files in SBD's own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import VOC2012, build_train_aug, download_archives, write_label_map
from fsr.data._files import read_label_map
from fsr.data._sbd import find_sbd_root, read_sbd_mask, train_aug_names
from fsr.errors import DataError, MissingDataError
from tests.helpers import code_that_hides
from tests.processes import run_code

scipy_io = pytest.importorskip("scipy.io")
sparse = pytest.importorskip("scipy.sparse")


def save_mat(path: Path, labels: np.ndarray) -> None:
    """Write a mask as SBD has it: a struct of labels, a cell array of sparse maps, and a list."""
    boundaries = np.empty((20, 1), dtype=object)
    for number in range(20):
        boundaries[number, 0] = sparse.csc_matrix((4, 6))
    struct = {"Segmentation": labels, "Boundaries": boundaries, "CategoriesPresent": [1]}
    scipy_io.savemat(path, {"GTcls": struct}, do_compression=True)


def make(root: Path) -> tuple[Path, Path]:
    """Write a VOC and an SBD: a and b in VOC's train, c in its val, b, c, d, e in SBD."""
    voc, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    (sbd / "cls").mkdir(parents=True)
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "test.txt").write_text("z\n")
    (sbd / "train.txt").write_text("b\nd\nc\n")
    (sbd / "val.txt").write_text("e\n")
    for number, name in enumerate("abcde", start=1):
        Image.new("RGB", (6, 4)).save(voc / "JPEGImages" / f"{name}.jpg")
        if name in "abc":
            mask = torch.full((4, 6), number)
            mask[0, 0] = 255
            write_label_map(voc / "SegmentationClass" / f"{name}.png", mask)
        if name in "bcde":
            save_mat(sbd / "cls" / f"{name}.mat", np.full((4, 6), 10 + number, np.uint8))
    return root / "VOCdevkit", root / "benchmark_RELEASE"


def test_the_list_follows_the_rule(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    assert train_aug_names(voc, sbd) == ("a", "b", "d", "e")


@pytest.mark.parametrize("workers", [0, 2])
def test_masks_come_from_voc_where_it_has_one(tmp_path: Path, workers: int) -> None:
    voc, sbd = make(tmp_path)
    calls: list[tuple[int, int]] = []
    built = build_train_aug(voc, sbd, workers=workers, progress=lambda *c: calls.append(c))
    assert built.names == ("a", "b", "d", "e")
    assert built.written == 5
    assert built.counts == {"train_aug": 4, "val": 1, "test": 1}
    assert calls == [(n, 5) for n in range(1, 6)]
    folder = voc / "VOC2012" / "SegmentationClassAug"
    values = {n: read_label_map(folder / f"{n}.png", 20)[1, 1].item() for n in "abcde"}
    assert values == {"a": 1, "b": 2, "c": 3, "d": 14, "e": 15}
    assert Image.open(folder / "d.png").mode == "P"
    dataset = VOC2012(voc, "train_aug")
    assert dataset.names == ("a", "b", "d", "e")
    target = dataset[2].target
    assert target is not None
    assert target.unique().tolist() == [14]


def test_goes_on_where_it_stopped(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    build_train_aug(voc, sbd)
    folder = voc / "VOC2012" / "SegmentationClassAug"
    (folder / "d.png").unlink()
    changed = torch.full((4, 6), 7)
    write_label_map(folder / "a.png", changed)
    assert build_train_aug(voc, sbd).written == 1
    assert torch.equal(read_label_map(folder / "a.png", 20), changed)


def test_another_list_is_not_overwritten(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    path = voc / "VOC2012" / "ImageSets" / "Segmentation" / "train_aug.txt"
    path.write_text("a\nx\n")
    with pytest.raises(DataError, match=r"lists 2 images, the rule .* 4: 1 too many, 3 missing"):
        build_train_aug(voc, sbd)
    assert path.read_text() == "a\nx\n"


def test_a_list_of_the_same_images_is_left_as_it_is(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    path = voc / "VOC2012" / "ImageSets" / "Segmentation" / "train_aug.txt"
    text = "".join(f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n" for n in "edba")
    path.write_text(text)
    assert build_train_aug(voc, sbd).names == ("e", "d", "b", "a")
    assert path.read_text() == text


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_without_any_mask_is_named_and_no_list_written(
    tmp_path: Path, workers: int
) -> None:
    voc, sbd = make(tmp_path)
    (sbd / "dataset" / "cls" / "e.mat").unlink()
    with pytest.raises(MissingDataError, match=r"e: no mask; expected .*e\.png or .*e\.mat"):
        build_train_aug(voc, sbd, workers=workers)
    assert not list((voc / "VOC2012" / "ImageSets" / "Segmentation").glob("*train_aug*"))


def test_missing_and_broken_lists_are_named(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    lists = voc / "VOC2012" / "ImageSets" / "Segmentation"
    (sbd / "dataset" / "val.txt").write_text("e\ne\n")
    with pytest.raises(DataError, match=r"val\.txt: expected each image once, e is listed again"):
        build_train_aug(voc, sbd)
    (sbd / "dataset" / "val.txt").unlink()
    with pytest.raises(MissingDataError, match=r"expected a list in .*dataset .*got 'val'"):
        build_train_aug(voc, sbd)
    (lists / "val.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"val\.txt: expected text in UTF-8; save it in that"):
        build_train_aug(voc, sbd)


def test_broken_and_foreign_mat_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(b"not a matlab file at all" * 20)
    with pytest.raises(DataError, match=r"x\.mat: expected a MATLAB file with GTcls"):
        read_sbd_mask(path)
    scipy_io.savemat(path, {"other": 1})
    with pytest.raises(DataError, match=r"x\.mat: expected a MATLAB file with GTcls"):
        read_sbd_mask(path)
    save_mat(path, np.full((3, 3), 0.5))
    with pytest.raises(DataError, match=r"x\.mat: expected a MATLAB .* holds float64\)"):
        read_sbd_mask(path)
    save_mat(path, np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"labels in 0\.\.20, got shape \(3, 3, 3\)$"):
        read_sbd_mask(path)
    save_mat(path, np.full((3, 3), 21, np.uint8))
    with pytest.raises(DataError, match=r"labels in 0\.\.20, got shape \(3, 3\) with 21"):
        read_sbd_mask(path)
    with pytest.raises(MissingDataError, match="no such mask"):
        read_sbd_mask(tmp_path / "none.mat")


def test_the_root_may_be_any_of_three_folders(tmp_path: Path) -> None:
    _, sbd = make(tmp_path)
    for path in (sbd, sbd / "dataset", tmp_path):
        assert find_sbd_root(path) == sbd / "dataset"
    with pytest.raises(MissingDataError, match="expected the Semantic Boundaries Dataset"):
        find_sbd_root(tmp_path / "VOCdevkit")


def test_without_scipy_the_extra_is_named(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    code = code_that_hides(["scipy"]) + (
        "from pathlib import Path\nfrom fsr.data._sbd import build_train_aug\n"
        f"build_train_aug(Path({str(voc)!r}), Path({str(sbd)!r}))\n"
    )
    done = run_code(code)
    assert "pip install 'fsr-wsss[voc]'" in done.stderr


def test_archives_are_fetched_where_their_content_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc, sbd = make(tmp_path)
    fetched: list[tuple[str, str]] = []

    def fetch(url: str, root: str, *, filename: str, md5: str) -> None:
        assert len(md5) == 32
        fetched.append((Path(root).name, filename))

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    download_archives(voc, sbd)
    download_archives(tmp_path / "v", tmp_path / "s")
    archives = ["VOCtrainval_11-May-2012.tar", "benchmark.tgz"]
    expected = [("VOCdevkit", archives[0]), ("benchmark_RELEASE", archives[1])]
    assert fetched == [*expected, ("v", archives[0]), ("s", archives[1])]
    fetched.clear()
    monkeypatch.setattr("fsr.data._voc_download._IMAGES", 5)
    monkeypatch.setattr("fsr.data._voc_download._MASKS", 4)
    download_archives(voc, sbd)
    assert fetched == []


def test_a_folder_of_other_classes_is_left_alone(tmp_path: Path) -> None:
    voc, sbd = make(tmp_path)
    (voc / "VOC2012" / "classes.txt").write_text("background\ncat\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt: lists other classes than VOC's 20, which"):
        build_train_aug(voc, sbd)
    assert not (voc / "VOC2012" / "SegmentationClassAug").exists()
