"""The tutorials: every snippet runs, in order, and prints what stands under it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.test_readme import DOCS, ROOT, fenced

TUTORIALS = DOCS / "tutorials"
PAGES = [page for page in sorted(TUTORIALS.glob("*.md")) if page.stem != "index"]
# What pages may use beside the package, and where it is installed.
OPTIONAL = ("lightning", "segmentation_models_pytorch", "transformers")
# Outputs are those of these versions: with others networks draw other weights, and words alone can
# be compared. After an upgrade run the snippets again and put right what they print.
MADE_WITH = {"timm": "1.0.31", "torch": "2.14"}
SAME = all(version(name).startswith(made) for name, made in MADE_WITH.items())
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


class Snippet(NamedTuple):
    """A block of code and what the page says that it prints."""

    code: str
    printed: str


def snippets(page: Path) -> list[Snippet]:
    """Python blocks of a page; a block of text right under one is what it prints."""
    block = r"^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?"
    return [Snippet(*found) for found in re.findall(block, page.read_text(), re.M | re.S)]


def test_a_block_of_text_under_code_is_its_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na\n```\n\n```text\n1\n```\n\n```python\nb\n```\n\nText.\n\n```text\n2\n```\n"
    )
    assert snippets(page) == [Snippet("a\n", "1\n"), Snippet("b\n", "")]


def assert_prints(printed: str, shown: str, *, numbers: bool = True) -> None:
    """The words of two outputs agree, whole numbers too; others to a hundredth, or 2 in the end.

    The last digits of a loss after some steps differ between processors and versions of torch.
    """
    assert re.sub(NUMBER, "#", printed).split() == re.sub(NUMBER, "#", shown).split(), printed
    if not numbers:
        return
    for own, other in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        if "." not in other:
            assert own == other, printed
        else:
            last = 10.0 ** -len(other.partition(".")[2])
            assert float(own) == pytest.approx(float(other), rel=0.01, abs=2.001 * last), printed


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("(2, 3) 0.51\n", "(2, 3)  0.52", True),
        ("(2, 3) 0.51", "(2, 4) 0.51", False),
        ("loss 0.51", "loss 0.55", False),
        ("loss 4.5", "gain 4.5", False),
        ("-0.5", "0.5", False),
        ("1", "", False),
    ],
)
def test_outputs_are_compared_by_words_and_by_numbers(printed: str, shown: str, same: bool) -> None:
    with contextlib.nullcontext() if same else pytest.raises(AssertionError):
        assert_prints(printed, shown)


def test_of_other_versions_words_alone_are_compared() -> None:
    assert_prints("loss 0.5", "loss 0.9", numbers=False)
    with pytest.raises(AssertionError):
        assert_prints("loss 0.5", "gain 0.5", numbers=False)


@pytest.fixture
def _fresh_accelerate() -> Iterator[None]:
    """Forget what training made, which is kept for a process."""
    yield
    if importlib.util.find_spec("accelerate"):
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


@pytest.mark.usefixtures("_fresh_accelerate")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_run_in_order_and_print_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    found = snippets(page)
    assert len(found) == len(fenced(page, "python"))
    for number, snippet in enumerate(found):
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                exec(compile(snippet.code, f"{page.name}, snippet {number}", "exec"), names)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            pytest.skip(f"the rest of the page needs {error.name}")
        assert_prints(output.getvalue(), snippet.printed, numbers=SAME)


def test_the_list_of_tutorials_names_each_once() -> None:
    text = (TUTORIALS / "index.md").read_text()
    lists, _, tree = text.partition("```{toctree}")
    listed = re.findall(r"^- \[.+\]\((\w+)\.md\)", lists, re.M)
    assert sorted(listed) == [page.stem for page in PAGES]
    assert re.findall(r"^.+ <(\w+)>$", tree, re.M) == listed


# -- recorded runs --------------------------------------------------------------------------------


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extension of the documentation that draws recorded runs."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    pytest.importorskip("sphinx")
    return importlib.import_module("run_curves")


def test_a_curve_goes_from_its_first_value_to_its_last(curves: Any) -> None:
    runs = {
        "centred": [{"nats": 4.0}, {"nats": 1.0}, {"nats": 0.0}],
        "standardised": [{"nats": 2.0}] * 3,
    }
    drawn = curves.chart("nats", runs)
    assert "nats: the paper&#x27;s targets from 4.00 to 0.00; standardised" in drawn
    first, second = re.findall(r'points="([^"]+)"', drawn)
    assert first == "40.0,22.0 168.0,103.0 296.0,130.0"
    assert {point.partition(",")[2] for point in second.split()} == {"76.0"}


def test_a_log_is_kept_without_evaluations_and_long_numbers(curves: Any, tmp_path: Path) -> None:
    step = {"kind": "train", "step": 1, **dict.fromkeys(curves.KEYS, 1.23456), "waited": 9}
    log = tmp_path / "log.jsonl"
    log.write_text(f"{json.dumps(step)}\n{json.dumps({'kind': 'evaluation', 'step': 1})}\n")
    curves.record(log, "kept", tmp_path / "runs")
    (line,) = (tmp_path / "runs" / "kept.jsonl").read_text().splitlines()
    assert json.loads(line) == {"step": 1, **dict.fromkeys(curves.KEYS, 1.235)}


def test_the_recorded_runs_show_what_the_page_says_of_them(curves: Any) -> None:
    runs = curves.read_runs()
    for lines in runs.values():
        assert [line["step"] for line in lines] == list(range(1, 101))
        assert next(line["step"] for line in lines if line["segmentation"] > 0) == 11
        assert lines[9]["classification"] < lines[0]["classification"]
    told = [[line["patches_information"] for line in lines] for lines in runs.values()]
    uniform = runs["centred"][-1]
    collapsed = min(runs["standardised"], key=lambda line: line["uncertain"])
    assert uniform["patches_nats"] < 0.1
    assert uniform["uncertain"] == pytest.approx(math.log(256), abs=0.1)
    assert collapsed["patches_nats"] == pytest.approx(math.log(256), abs=0.1)
    assert told[0][-1] < 0.1 < told[1][-1]
    assert 43 <= collapsed["step"] <= 47
    assert collapsed["patches_information"] < 0.01
    text = (TUTORIALS / "reading_a_run.md").read_text()
    (keys,) = re.findall(r"^```\{run-curves\} (.*)$", text, re.M)
    assert curves.figure(keys.split()).count('role="img"') == len(keys.split())


def test_the_table_of_points_and_boxes_is_the_recorded_one() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "points.json").read_text())
    text = (TUTORIALS / "points.md").read_text()
    shown = re.findall(r"^\| .*`(labels|points|boxes)` \| (.*?) \|(.*)\|$", text, re.M)
    assert [kind for kind, *_ in shown] == list(found["table"])
    for kind, mean, gain in shown:
        row = found["table"][kind]
        assert mean == f"{row['mean']:.1f}"
        told = "" if kind == "labels" else ", ".join(f"{each:+.1f}" for each in row["gains"])
        assert gain.strip() == told
    assert f"{found['steps']} steps" in text
    assert f"{found['seeds']} seeds" in text


def test_the_code_that_was_measured_is_that_of_the_page() -> None:
    from points import KINDS, code_of_page

    names = code_of_page()
    assert callable(names["train"])
    for kind in KINDS:
        assert names["recipe"](kind, 10).name == kind
