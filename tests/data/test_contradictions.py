"""Masks beside labels: what contradicts, what is said of it, and what is sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsr.data import (
    VOC2012,
    FolderDataset,
    Scenes,
    check_masks,
    compare_masks,
    labels_from_masks,
    uneven_classes,
)
from fsr.data._mask_values import read_values
from fsr.errors import DataError


def draw(path: Path, *labels: int, palette: Sequence[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array([labels], dtype=np.uint8))
    if palette is not None:
        image.putpalette([*palette, *([0] * (768 - len(palette)))])
    image.save(path)


def folder(root: Path, labels: Sequence[str], masks: Sequence[Sequence[int]]) -> FolderDataset:
    """Images named 0, 1, ...; cat and dog are the classes."""
    rows = "".join(f"{n},{int('cat' in c)},{int('dog' in c)}\n" for n, c in enumerate(labels))
    (root / "photos").mkdir()
    (root / "labels.csv").write_text("image,cat,dog\n" + rows)
    for number, values in enumerate(masks):
        Image.new("RGB", (len(values), 1)).save(root / "photos" / f"{number}.png")
        draw(root / "masks" / f"{number}.png", *values)
    return FolderDataset(root / "photos", root / "labels.csv", root / "masks")


def look(dataset: FolderDataset | VOC2012, **options: bool | int) -> tuple[str, ...]:
    return check_masks(dataset, **{"allow": False, "option": "--allow", **options})  # type: ignore[arg-type]


def test_sound_masks_are_used_without_a_word(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["cat", "dog", "cat dog", ""], [(0, 1), (0, 2, 255), (1, 2), (0, 0)])
    assert look(dataset) == ()
    report = compare_masks(dataset)
    assert report is not None
    assert (report.compared, report.labelled, report.found) == (4, 3, ())


def test_a_class_that_the_labels_do_not_name_is_refused_by_image(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["cat", "dog", "", "dog"], [(0, 1), (0, 1), (0, 2), (0, 2)])
    tables: list[str] = []
    message = (
        r"masks: 2 of 4 masks hold a class that the labels of their image do not name: "
        r"1 \(labels dog, mask cat\); 2 \(labels none, mask dog\); --allow uses them all the same$"
    )
    with pytest.raises(DataError, match=message):
        check_masks(dataset, allow=False, option="--allow", show=tables.append)
    assert tables == ["image  labels  mask\n1      dog     cat\n2      none    dog"]
    (line,) = look(dataset, allow=True)
    assert line.endswith("2 (labels none, mask dog); used all the same")
    assert look(dataset, size=1) == ()


def test_masks_of_0_and_255_are_refused_with_what_255_means(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["cat", "cat"], [(0, 255), (255, 0)])
    message = (
        r"no mask holds a class that the labels of its image name, in 2 images with labels: "
        r"0 \(labels cat, mask none\); .*; 0\.png, 1\.png hold 0 and 255 alone: 255 is not scored"
    )
    with pytest.raises(DataError, match=message):
        look(dataset)


def test_a_class_without_a_pixel_in_some_masks_is_told(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["cat", "cat dog", "cat"], [(0, 1), (0, 1), (0, 255)])
    (line,) = look(dataset)
    assert line == (
        f"{tmp_path / 'masks'}: in 2 of 3 images the labels name a class of which the mask has no "
        "pixel: 1 (labels cat, dog, mask cat); 2 (labels cat, mask none); 2.png holds 0 and 255 "
        "alone: 255 is not scored; write class c of the list as label c"
    )


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["dog"] * 30, [(0, 1)] * 30)
    tables: list[str] = []
    with pytest.raises(DataError, match=r"4 \(labels dog, mask cat\); and 25 more"):
        check_masks(dataset, allow=False, option="--allow", show=tables.append)
    assert tables[0].splitlines()[-1] == "... and 10 more"
    assert len(tables[0].splitlines()) == 22


def test_masks_that_cannot_be_read_are_left_to_their_reader(tmp_path: Path) -> None:
    dataset = folder(tmp_path, ["cat", "cat", "cat"], [(0, 1), (0, 1), (0, 7)])
    (tmp_path / "masks" / "1.png").write_bytes(b"no image")
    assert look(dataset) == ()
    report = compare_masks(dataset)
    assert report is not None
    assert report.compared == 1


def test_data_sets_without_masks_of_their_own_are_not_compared(tmp_path: Path) -> None:
    folder(tmp_path, ["cat"], [(0, 2)])
    without = FolderDataset(tmp_path / "photos", tmp_path / "labels.csv")
    assert compare_masks(without) is None
    assert compare_masks(Scenes(2, seed=0, image_size=32)) is None
    assert check_masks(without, allow=False, option="--allow") == ()


# -- VOC, whose boxes and masks were drawn by different people ------------------------------------


def voc(root: Path, wrong: int, count: int = 20) -> VOC2012:
    """Images of an aeroplane; so many masks hold a bicycle instead."""
    names = [f"{number:02}" for number in range(count)]
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("\n".join(names))
    for folder_name in ("JPEGImages", "Annotations"):
        (root / folder_name).mkdir()
    for number, name in enumerate(names):
        (root / "Annotations" / f"{name}.xml").write_text(
            "<annotation><object><name>aeroplane</name></object></annotation>"
        )
        draw(root / "SegmentationClass" / f"{name}.png", 0, 2 if number < wrong else 1)
    return VOC2012(root, "val")


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_few_differences_in_voc_are_its_own(tmp_path: Path, wrong: int) -> None:
    assert look(voc(tmp_path, wrong)) == ()


def test_many_differences_in_voc_are_told_and_most_refused(tmp_path: Path) -> None:
    (line,) = look(voc(tmp_path / "some", 2))
    assert "in 2 of 20 images the mask holds a class that the labels do not name" in line
    with pytest.raises(DataError, match=r"11 of 20 masks hold a class .* mask bicycle"):
        look(voc(tmp_path / "most", 11))


def test_masks_that_voc_takes_labels_from_are_not_compared(tmp_path: Path) -> None:
    dataset = voc(tmp_path, 20)
    for path in (tmp_path / "Annotations").iterdir():
        path.unlink()
    assert compare_masks(dataset) is None


# -- palettes -------------------------------------------------------------------------------------

RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    ("labels", "palette", "odd"),
    [
        ((0, 1), RED + BLACK, RED),
        ((1, 1), RED + BLACK, RED),
        ((0, 1), BLACK + RED, None),
        ((0, 0), RED + BLACK, None),
        # White paper, black shapes.
        ((0, 1), WHITE + BLACK, None),
        ((0, 1), RED + WHITE + BLACK, None),
        ((0, 255), RED + BLACK, None),
    ],
)
def test_a_palette_that_was_not_made_for_labels_is_found(
    tmp_path: Path, labels: tuple[int, ...], palette: tuple[int, ...], odd: tuple[int, ...] | None
) -> None:
    # All that is not given is green.
    draw(tmp_path / "a.png", *labels, palette=[*palette, *((0, 255, 0) * 253)][:768])
    (values,) = read_values([tmp_path / "a.png"])
    assert values.labels == frozenset(labels)
    assert values.odd == odd


def test_tables_are_not_made_of_such_palettes_unless_allowed(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0, 1, palette=RED + BLACK)
    draw(tmp_path / "b.png", 0, 2)
    message = r"index 0 of the palette of a\.png is not black but \(255, 0, 0\), .*--allow-contr"
    with pytest.raises(DataError, match=message):
        labels_from_masks(tmp_path, ("cat", "dog"))
    table = labels_from_masks(tmp_path, ("cat", "dog"), allow_contradictions=True)
    assert [row.labels for row in table.rows] == [("cat",), ("dog",)]
    assert "a.png" in table.notes[0]


def test_a_table_tells_of_masks_that_hold_255_alone(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0, 255)
    draw(tmp_path / "b.png", 0, 2)
    (note,) = labels_from_masks(tmp_path, ("cat", "dog")).notes
    assert "a.png holds 0 and 255 alone: 255 is not scored" in note
    draw(tmp_path / "a.png", 0, 1, 255)
    assert labels_from_masks(tmp_path, ("cat", "dog")).notes == ()


# -- classes of every image, and of none ----------------------------------------------------------


def test_classes_that_cannot_be_learned_are_named_with_the_reason() -> None:
    rows = [[True, False, True], [True, False, False]]
    assert uneven_classes(rows, ("cat", "cow", "dog"), "training images") == (
        "every one of the 2 training images has 'cat': what is in all of them cannot be told from "
        "the background; add images without it",
        "none of the 2 training images has 'cow': nothing is learned of it; add images of it, or "
        "leave the class out",
    )
    assert len(uneven_classes(rows, ("cat", "cow", "dog"), "images", masks=True)) == 1
    assert uneven_classes([[True], [False]], ("cat",), "images") == ()
    assert uneven_classes([], ("cat",), "images") == ()


def test_labels_are_read_no_further_than_needed() -> None:
    def labels() -> object:
        yield [True]
        yield [False]
        raise RuntimeError("read on")

    assert uneven_classes(labels(), ("cat",), "images") == ()  # type: ignore[arg-type]


def test_many_such_classes_are_counted() -> None:
    (line,) = uneven_classes([[False] * 30], [str(n) for n in range(30)], "images")
    assert "'9' and 20 more" in line


def test_large_masks_are_compared_where_they_may_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = folder(tmp_path, ["cat"], [(0, 2, 2, 2, 2, 2)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    assert look(dataset) == ()  # whoever reads them says that they are too large
    large = FolderDataset(dataset.images, dataset.labels_csv, dataset.masks, max_pixels=6)
    with pytest.raises(DataError, match=r"1 of 1 masks hold a class .* 0 \(labels cat, mask dog\)"):
        look(large)


def test_masks_of_colours_are_compared_by_their_colours(tmp_path: Path) -> None:
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "Annotations"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncat:9,0,0::\ndog:0,9,0::\n")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    boxes = "<annotation><object><name>cat</name></object></annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(boxes)
    mask = tmp_path / "SegmentationClass" / "a.png"
    Image.new("RGB", (2, 2), (9, 0, 0)).save(mask)
    assert look(VOC2012(tmp_path, "train")) == ()
    Image.new("RGB", (2, 2), (0, 9, 0)).save(mask)
    with pytest.raises(DataError, match=r"1 of 1 masks hold .*: a \(labels cat, mask dog\)"):
        look(VOC2012(tmp_path, "train"))
