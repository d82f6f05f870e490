"""What a run shows: its pace, its table, its sheet, and broken images at the start."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

for package in ("accelerate", "omegaconf"):
    pytest.importorskip(package)

from fsr.data import FolderDataset, Reading
from fsr.errors import InputError
from fsr.train import build_datasets, load_config, run
from fsr.train._data import First
from fsr.train._drawing import CAPTION, GAP, LINE, TITLE, arrange
from fsr.train._inputs import check_images, readable
from fsr.train._pace import RECENT, Pace
from fsr.train._table import results_rows, results_table
from tests.train.test_train import _fresh_accelerate, tiny  # noqa: F401

NAN = math.nan


def _pace(steps: int, every: int) -> Pace:
    return Pace(load_config(overrides=[f"steps={steps}", f"eval.every={every}"]))


def test_the_pace_leaves_out_the_first_step_and_forgets_old_ones() -> None:
    pace = _pace(1000, 1000)
    pace.stepped(90.0)
    assert pace.seconds_each() == 90.0
    pace.stepped(1.0)
    assert pace.seconds_each() == 1.0
    for _ in range(RECENT):
        pace.stepped(2.0)
    assert pace.seconds_each() == 2.0
    assert pace.seconds_left(52) == 2.0 * 948


def test_what_is_left_counts_the_evaluations_of_both_networks() -> None:
    pace = _pace(100, 40)
    pace.evaluated(5.0, networks=1)  # at the start, where the teacher is the student
    pace.stepped(9.0)
    pace.stepped(1.0)
    assert pace.seconds_left(2) == 98 + 3 * 10  # after steps 40, 80 and 100
    assert pace.seconds_left(40) == 60 + 3 * 10
    assert pace.seconds_left(41) == 59 + 2 * 10
    assert pace.seconds_left(100) == 10
    even = _pace(80, 40)
    even.evaluated(8.0, networks=2)
    even.stepped(1.0)
    assert even.seconds_left(1) == 79 + 2 * 8


MASKED = {"cam_miou": 0.3, "prediction_miou": 0.6, "label_f1": 0.9}
UNMASKED = {"cam_miou": NAN, "prediction_miou": NAN, "label_f1": 0.9}


def test_without_masks_the_table_holds_what_was_scored_alone() -> None:
    evaluations = {0: {"student": UNMASKED}, 5: {"student": UNMASKED, "teacher": UNMASKED}}
    rows = results_rows(evaluations, NAN, None)
    assert len(rows) == 5  # results.json keeps them all
    text = results_table(rows, None)
    assert text.splitlines() == [
        " " * 26 + "  label F1",
        "start (heads untrained)".ljust(26) + "      90.0",
        "this run, student".ljust(26) + "      90.0",
        "this run, teacher".ljust(26) + "      90.0",
        "(no masks to score against: data.masks)",
    ]


def test_with_masks_the_table_is_as_it_was() -> None:
    text = results_table(results_rows({5: {"student": MASKED}}, 0.1, None), None)
    assert text.splitlines() == [
        f"{'':26}{'CAM mIoU':>10}{'prediction mIoU':>17}{'label F1':>10}",
        f"{'all background':26}{'-':>10}{'10.0':>17}{'-':>10}",
        f"{'start (heads untrained)':26}{'-':>10}{'-':>17}{'-':>10}",
        f"{'this run, student':26}{'30.0':>10}{'60.0':>17}{'90.0':>10}",
        f"{'trained with full masks':26}{'-':>10}{'-':>17}{'-':>10}",
        "(trained with full masks: not measured for these options)",
    ]


def test_a_share_of_the_bound_is_told_where_there_is_one() -> None:
    bound = {"prediction_miou": 0.8, "source": "a note"}
    for student, last in ((MASKED, "prediction: 75% of that bound"), (UNMASKED, "(trained ")):
        rows = results_rows({5: {"student": student}}, 0.1, bound)
        assert results_table(rows, bound).splitlines()[-1].startswith(last)


def test_a_caption_stands_above_its_row_behind_a_line() -> None:
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    sheet = arrange([("one", [red]), ("two", [blue])], ["image"], ["cat"], 20)
    pixels = np.asarray(sheet)
    high = CAPTION + 20 + GAP
    for row, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        top = TITLE + row * high
        assert tuple(pixels[top, 0]) == LINE
        assert pixels[top + 1 : top + CAPTION].min() < 128  # the caption's ink
        tile = pixels[top + CAPTION : top + CAPTION + 20, GAP : GAP + 20]
        assert (tile == colour).all()
        assert (pixels[top + CAPTION + 20 : top + high, GAP:] == 255).all()


def _photographs(root: Path, *names: str) -> FolderDataset:
    (root / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in names:
        noise = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "photos" / f"{name}.jpg")
    table = root / "labels.csv"
    table.write_text("image,labels\n" + "".join(f"{name},cat\n" for name in names))
    return FolderDataset(root / "photos", table)


def _cut(dataset: FolderDataset, *indices: int) -> None:
    for index in indices:
        path = dataset.image_path(index)
        path.write_bytes(path.read_bytes()[:300])


def test_broken_images_are_told_together_and_where_they_are_held_out(tmp_path: Path) -> None:
    train = _photographs(tmp_path / "a", "one", "two")
    held_out = _photographs(tmp_path / "b", "three", "four", "five")
    assert check_images(First(train, None), First(held_out, None)) == ""
    _cut(held_out, 2)
    text = check_images(First(train, None), First(held_out, None))
    assert "five.jpg: " in text
    assert text.endswith(" (it is in data.eval_labels alone)")
    assert check_images(First(train, None), First(held_out, 2)) == ""  # not looked at in this run
    _cut(held_out, 0)
    text = check_images(First(train, None), First(held_out, None))
    assert text.startswith("2 images cannot be read, all of them in data.eval_labels alone: ")
    assert "three.jpg" in text
    assert "\n" not in text
    _cut(train, 0)
    text = check_images(First(train, None), First(held_out, None))
    assert text.startswith("3 images cannot be read: ")


def test_images_are_looked_at_as_they_will_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = _photographs(tmp_path, "one", "two")
    os.unlink(dataset.image_path(1))
    os.mkfifo(dataset.image_path(1))
    assert "two.jpg: expected a file, this is a named pipe" in check_images(dataset, dataset)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    one = First(dataset, 1)
    assert "data.max_pixels in training" in check_images(one, one)
    files = (dataset.images, dataset.labels_csv)
    large = First(FolderDataset(*files, max_pixels=1600), 1)
    assert check_images(large, large) == ""


def test_the_options_of_a_run_say_how_photographs_are_read(tmp_path: Path) -> None:
    dataset = _photographs(tmp_path, "one")
    options = [
        "data.name=folder",
        f"data.root={dataset.images}",
        f"data.labels={dataset.labels_csv}",
    ]
    options += [
        "data.orient=false",
        "data.background=black",
        "data.bits=12",
        "data.max_pixels=7000",
    ]
    reading = Reading(orient=False, background="black", bits=12, max_pixels=7000)
    for built in build_datasets(load_config(overrides=options)):
        assert built.dataset.reading == reading
    for built in build_datasets(load_config(overrides=options[:3])):
        assert built.dataset.reading == Reading()


def test_many_broken_images_are_counted(tmp_path: Path) -> None:
    dataset = _photographs(tmp_path, *(f"photo{number}" for number in range(13)))
    _cut(dataset, *range(13))
    text = check_images(dataset, dataset)
    assert text.startswith("13 images cannot be read: ")
    assert text.endswith("; and 3 more")
    assert text.count(".jpg: ") == 10


def test_other_data_sets_are_taken_as_they_are() -> None:
    class Refusing:
        def __len__(self) -> int:
            raise AssertionError("it is looked at")

    assert check_images(Refusing(), Refusing()) == ""


def test_the_last_line_of_a_workers_traceback_is_the_message() -> None:
    with pytest.raises(InputError, match=r"^DataError: a\.jpg: cut$"), readable():
        raise ValueError("Caught in worker 0.\nTraceback:\n  File x\nDataError: a.jpg: cut\n")


def test_a_folder_without_masks_runs_without_nan_and_without_a_column_of_truth(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    _photographs(tmp_path / "data", "one", "two")
    options = [
        *("data.name=folder", f"data.root={tmp_path / 'data' / 'photos'}"),
        *(f"data.labels={tmp_path / 'data' / 'labels.csv'}", "steps=2", "eval.image_size=32"),
        *("run.sheet_images=1", f"run.output={tmp_path / 'run'}", "eval.at_start=true"),
    ]
    lines: list[str] = []
    scores = run(load_config(tiny, overrides=options), tell=lines.append)
    assert math.isnan(scores["student"]["prediction_miou"])
    assert 0 <= scores["student"]["label_f1"] <= 1
    text = "\n".join(lines)
    assert "nan" not in text
    assert "this run, student" in text
    assert "mIoU" not in text
    with Image.open(tmp_path / "run" / "sheet.png") as sheet:
        assert sheet.width == 5 * (168 + GAP) + GAP


def test_a_run_from_python_is_silent_and_returns_plain_scores(
    tiny: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    config = load_config(tiny, overrides=["steps=1", f"run.output={tmp_path / 'run'}"])
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1) as pool:  # where no signal handler can be set
        scores: dict[str, Any] = pool.submit(run, config).result()
    torch.set_num_threads(threads)
    assert sorted(scores) == ["student", "teacher"]
    assert isinstance(scores["teacher"]["prediction_miou"], float)
    assert scores["student"]["images"] == 2
    assert capsys.readouterr() == ("", "")
