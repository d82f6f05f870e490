"""What a report says of a run, however it ended, and what it makes of names that are code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fsr.errors import DataError, InputError
from fsr.report import compare_runs, write_report
from tests.report.made import PNG, log, made_run, without_masks


def page(folder: Path, **options: Any) -> str:
    return write_report(folder, **options).read_text(encoding="utf-8")


def text(folder: Path) -> str:
    """The words of a report, without its tags, style, script and data."""
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page(folder), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("runs") / "first")


def test_a_finished_run_is_told_with_scores_classes_data_time_and_options(finished: Path) -> None:
    told = text(finished)
    for said in (
        "Finished: 8 steps.",
        "fsr train optim.lr=0.5",
        "prediction mIoU 60.0 % student",
        "all background - 10.0 - this run, student 40.0 50.0 90.0",
        "class training images prediction, student CAM, student",
        "class 2 5 60.0 50.0 60.0 50.0",
        "class 3 5 - 50.0 - 50.0",
        "images trained on 12",
        "classes 3: class 1, class 2, class 3",
        "time 2 min 5 s",
        "a step 0.5 s (median)",
        "waited for data 20.0 % of steps",
        "images a second 8",
        "most memory 1.25 GiB of the process",
        "optim.lr 0.5 6e-05 learning rate",
        "All others (1)",
        "torch 2.6.0",
    ):
        assert said in told, said


def test_the_worst_images_come_first_with_the_scores_of_both_networks(finished: Path) -> None:
    told = text(finished)
    assert "The worst images" in told
    assert "two 12.5 12.5 one 50.0 50.0 four 75.0 75.0" in told
    assert "two · IoU 12.5 (student) · IoU 12.5 (teacher)" in told


def test_every_measure_has_a_chart_and_terms_without_weight_have_none(finished: Path) -> None:
    titles = re.findall(r"<figcaption>([^<]+?) *<", page(finished))
    for title in ("prediction mIoU", "total loss", "affinity loss", "learning rate"):
        assert title in titles
    assert "targets: nats from uniform" in titles
    assert "seconds of a step" in titles
    assert "energy loss" not in titles  # its weight is 0 throughout
    assert "momentum of the teacher" not in titles  # none was logged


def test_rows_of_the_confusion_are_shares_of_the_truth(finished: Path) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page(finished))
    assert found is not None
    data = json.loads(found[1])
    rows = data["confusion"]["student"]["rows"]
    counts = json.loads((finished / "scores.json").read_text())["networks"]["student"]["confusion"]
    assert rows[0] == pytest.approx([count / sum(counts[0]) for count in counts[0]], abs=1e-4)
    assert rows[-1] is None  # the truth has none of it
    assert data["labels"] == ["background", "class 1", "class 2", "class 3"]


def test_nothing_is_loaded_from_anywhere(finished: Path) -> None:
    found = page(finished)
    assert "default-src 'none'; img-src data:" in found
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", found)
    assert "url(" not in found
    assert "http" not in found.replace("http-equiv", "")


def test_names_that_are_code_stay_text(tmp_path: Path) -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    made = {"class_names": [evil, "b", "c"], "warnings": [evil]}
    folder = made_run(tmp_path / "run", about=made, scores={"images": [evil] * 4})
    found = page(folder)
    assert "<img src=x" not in found
    assert found.count("</script>") == 2
    assert found.count("&lt;img src=x") >= 4


def test_pictures_that_are_no_pictures_are_left_out(tmp_path: Path) -> None:
    pictures = {
        "first": [0],
        "worst": [],
        "pictures": {
            "0": {
                "name": "one",
                "classes": [],
                "size": [8, 8],
                "image": PNG,
                "cam": "https://a.b/c",
            }
        },
    }
    found = page(made_run(tmp_path / "run", pictures=pictures))
    assert found.count("data-layer=") == 1
    assert "a.b/c" not in found


def test_the_number_of_pictures_can_be_told(finished: Path, tmp_path: Path) -> None:
    assert page(finished).count('<figure class="picture">') == 4
    few = page(finished, images=1, output=tmp_path / "few.html")
    assert few.count('<figure class="picture">') == 2
    assert "There are none" in page(finished, images=0, output=tmp_path / "none.html")
    with pytest.raises(ValueError, match="images: expected at least 0, got -1"):
        write_report(finished, images=-1)
    with pytest.raises(TypeError, match=r"images: expected an integer, got 1\.5"):
        write_report(finished, images=1.5)


def test_long_runs_and_many_classes_make_no_long_page(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", classes=80, steps=1500)
    assert write_report(folder).stat().st_size < 1_000_000


def test_the_example_of_the_documentation_is_what_its_page_says(tmp_path: Path) -> None:
    runs = Path(__file__).parents[2] / "docs" / "_runs"
    example = write_report(runs / "scenes", output=tmp_path / "example.html")
    found = example.read_text(encoding="utf-8")
    assert "Finished: 150 steps." in found
    assert found.count('class="picture"') == 12
    assert "kingfisher" in found
    assert example.stat().st_size < 1_000_000


def test_writing_one_loads_neither_torch_nor_an_extra(finished: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from fsr.report import write_report
write_report({str(finished)!r}, output={str(tmp_path / "report.html")!r})
print([name for name in ("torch", "timm", "accelerate", "matplotlib") if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


# -- runs that did not come to their end ----------------------------------------------------------


def unfinished(folder: Path, **more: Any) -> Path:
    """A run whose log ends after step 5."""
    return made_run(folder, log=lambda record: record["step"] <= 5, results=None, **more)


def test_an_unfinished_run_is_told_with_what_there_is(tmp_path: Path) -> None:
    told = text(unfinished(tmp_path / "run", pictures=None))
    assert "Not finished: the log ends after step 5 of 8." in told
    assert "student, step 2 12.5 22.5 90.0 student, step 4 25.0 35.0 90.0" in told
    assert "teacher, step 4" in told
    assert "Confusion" not in told  # scores.json is of step 8, which is not in the log
    assert "they are drawn at the end of a run" in told
    assert "time 11.0 s in steps" in told


def test_a_run_that_diverged_says_where_and_why(tmp_path: Path) -> None:
    end = {"kind": "ended", "step": 5, "why": "step 6: the affinity loss is nan"}
    told = text(unfinished(tmp_path / "run", more=[end]))
    assert "Stopped after step 5 of 8: step 6: the affinity loss is nan" in told
    end["why"] = "interrupted"
    told = text(unfinished(tmp_path / "again", more=[end]))
    assert "Interrupted after step 5 of 8; --resume goes on." in told


def test_a_run_without_an_evaluation_shows_its_curves(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", log=lambda r: r["kind"] == "train", results=None)
    told = text(folder)
    assert "No evaluation was made yet: eval.every says how often" in told
    assert "total loss" in told
    assert "Scores of each class" not in told


def test_without_masks_the_least_certain_images_are_shown(tmp_path: Path) -> None:
    empty = {
        "of": "prediction",
        "confusion": [[0] * 4] * 4,
        "image_iou": [None] * 4,
        "image_certainty": [0.9, 0.8, 0.7, 0.6],
    }
    folder = made_run(
        tmp_path / "run", results=None, scores={"networks": {"student": empty}}, log=without_masks
    )
    told = text(folder)
    assert "There are no masks to score against (data.masks)" in told
    assert "The least certain images" in told
    assert "four 60.0 three 70.0" in told
    assert "one · certainty 90.0 (student)" in told
    assert "Confusion" not in told


def test_a_run_of_an_earlier_release_is_told_with_what_it_kept(tmp_path: Path) -> None:
    networks = {str(r.pop("step")): r for r in log(4, 2) if r.pop("kind") == "evaluation"}
    folder = made_run(
        tmp_path / "run",
        log=lambda record: False,
        results={"evaluations": networks},
        **dict.fromkeys(("about", "scores", "pictures")),
    )
    told = text(folder)
    assert "Finished: 2 steps." in told
    assert "The run is of an earlier release, which kept less" in told
    assert "class 3" in told
    assert "All options (2)" in told
    # Its network knows the names.
    header = {"fsr_wsss": json.dumps({"class_names": ["cat", "dog", "owl"]})}
    save_file({"weight": np.zeros(1)}, folder / "student.safetensors", header)
    assert "classes 3: cat, dog, owl" in text(folder)
    (folder / "student.safetensors").write_bytes(b"no network")
    assert "classes 3: class 1" in text(folder)


# -- folders that hold no run ---------------------------------------------------------------------


def test_folders_without_a_run_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: no such folder; expected that of a run"):
        write_report(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is no folder"):
        write_report(tmp_path / "file")
    with pytest.raises(InputError, match=r"holds no run: expected log\.jsonl or results\.json"):
        write_report(tmp_path)
    (tmp_path / "log.jsonl").touch()
    with pytest.raises(InputError, match="no step of this run was completed"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.json", "{", r"results\.json: cannot be read as JSON"),
        ("results.json", "[]", r"results\.json: expected entries by name, got list"),
        ("log.jsonl", "3\n", r"log\.jsonl: expected a record of a step in each line, got 3"),
        ("log.jsonl", b"\xff", r"log\.jsonl: cannot be read"),
        ("scores.json", '{"step": 8, "networks": 3}', r"run: the files there are not as fsr train"),
        ("pictures.json", '{"first": [7]}', r"run: the files there are not as fsr train"),
    ],
)
def test_damaged_files_are_named(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    folder = made_run(tmp_path / "run")
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        write_report(folder)
    assert not (folder / "report.html").exists()


# -- several runs ---------------------------------------------------------------------------------


def test_runs_are_compared_by_scores_curves_and_options_that_differ(tmp_path: Path) -> None:
    first = made_run(tmp_path / "first")
    options = [
        {"name": "optim.lr", "value": 0.25, "default": 6e-05, "meaning": "learning rate"},
        {"name": "optim.name", "value": "adamw", "default": "adamw", "meaning": "optimiser"},
    ]
    second = made_run(tmp_path / "second", steps=4, about={"options": options})
    found = compare_runs([first, second], output=tmp_path / "both.html").read_text()
    told = " ".join(unescape(re.sub(r"<[^>]+>", " ", found.partition("<main")[2])).split())
    assert "first student 8 50.0 60.0 90.0" in told
    assert "second teacher 4 50.0 60.0 90.0" in told
    assert "option first second optim.lr 0.5 0.25 " in told
    assert "optim.name" not in told
    assert "first, student 60.0" in told
    assert "second 0.5" in told  # the last total loss
    with pytest.raises(InputError, match="folders: expected at least two runs to compare, got 1"):
        compare_runs([first])
