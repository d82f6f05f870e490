"""What the pages on evidence are made of beside tables: numbers in prose, directives, figures."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the documentation's extension."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    return importlib.import_module


def line(name: str, seed: int, **scores: Any) -> dict[str, Any]:
    """Make up a finished run."""
    overrides = importlib.import_module("_ablation_variants").VARIANTS[name].overrides
    made = {"variant": name, "seed": seed, "setting": "now", "overrides": list(overrides)}
    return {**made, "scores": {"student": scores}}


def write(folder: Path, name: str, lines: Sequence[dict[str, Any]]) -> None:
    """Write runs where they are looked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (folder / f"{name}.settings.json").write_text(json.dumps({"now": {"steps": 2}}))


@pytest.fixture
def results(extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of scenes: FSR gains 2, 2 and 5 points of prediction."""
    folder = tmp_path / "ablation"
    sweeps = {"baseline": {"0.2": 0.40, "0.4": 0.30}, "both": {"0.2": 0.38, "0.4": 0.41}}
    lines = [
        line(name, seed, prediction=0.4 + more, cam=0.4, cam_sweep=sweeps[name])
        for name, gains in (("baseline", (0, 0, 0)), ("both", (0.02, 0.02, 0.05)))
        for seed, more in enumerate(gains)
    ]
    write(folder, "final", lines)
    monkeypatch.setattr(extension("ablation_rows"), "RESULTS", folder)
    return folder


@pytest.fixture
def photographs(extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs on photographs: standardised targets gain 1 point, before and after the CRF 2."""
    folder = tmp_path / "photographs"
    lines = [
        line(
            name,
            seed,
            prediction=0.5 + more,
            cam_best=0.4,
            before_crf=0.5 + 2 * more,
            after_crf=0.6 + 2 * more,
        )
        for seed in range(4)
        for name, more in (("baseline", 0.0), ("both-std", 0.01))
    ]
    write(folder, "final", lines)
    monkeypatch.setattr(extension("photograph_rows"), "RESULTS", folder)
    return folder


# -- photographs ----------------------------------------------------------------------------------


def test_photographs_have_a_row_for_each_main_score(extension: Any, photographs: Path) -> None:
    heading, *rows = extension("photograph_rows").summary()
    assert all(len(row) == len(heading) for row in rows)
    assert [row[0] for row in rows] == ["`both-std`"] * 4
    assert [row[2:] for row in rows] == [
        ["50.0", "51.0", "+1.0 (+1.0 to +1.0)", "4", "+"],
        ["50.0", "52.0", "+2.0 (+2.0 to +2.0)", "4", "+"],
        ["60.0", "62.0", "+2.0 (+2.0 to +2.0)", "4", "+"],
        ["40.0", "40.0", "+0.0 (+0.0 to +0.0)", "4", ""],
    ]
    assert rows[0][1] == "prediction, background and six classes"


def test_one_score_of_photographs_is_the_table_of_the_command(
    extension: Any, photographs: Path
) -> None:
    rows = extension("photograph_rows")
    heading, baseline, informative = rows.score("prediction")
    assert heading[:4] == ["variant", "seeds", "mean ± sd", "difference"]
    assert baseline == ["`baseline`", "4", "50.0 ± 0.0", "", "", "", ""]
    assert informative[:4] == ["`both-std`", "4", "51.0 ± 0.0", "+1.0"]
    printed = extension("_photograph_tables").all_tables(
        rows.runs(), [rows.VARIANTS["both-std"]], "baseline", lambda table: str(table[1:])
    )
    assert str([[cell.strip("`") for cell in informative]]) in printed
    assert len(rows.score("trimap")) == 1
    with pytest.raises(ValueError, match=r"expected one of .*'after_crf'.*, got miou"):
        rows.score("miou")


def test_without_runs_photographs_are_no_rows(
    extension: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = extension("photograph_rows")
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "none")
    assert len(rows.summary()) == 1
    assert len(rows.score("prediction")) == 1


# -- numbers in prose -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("gain both prediction", "+3.0 (-1.3 to +7.3)"),  # 4.303 * sqrt(3) / sqrt(3)
        ("points both prediction", "+3.0"),
        ("points both prediction both", "+0.0"),
        ("pairs both prediction", "3"),
        ("mean both prediction", "43.0"),
        ("gain_at 0.4 both", "+11.0 (+11.0 to +11.0)"),
        ("gain_at_best both", "+1.0 (+1.0 to +1.0)"),
        ("best both", "0.4"),
        ("best baseline", "0.2"),
        ("gain both-std prediction baseline photographs", "+1.0 (+1.0 to +1.0)"),
        # Not run.
        ("gain otsu prediction", ""),
        ("gain both prediction baseline targets", ""),
        ("pairs otsu prediction", ""),
        ("mean otsu prediction", ""),
        ("gain_at 0.4 otsu", ""),
        ("gain_at 0.35 both", ""),
        ("gain_at_best otsu", ""),
        ("best otsu", ""),
    ],
)
def test_a_number_comes_from_the_lines(
    extension: Any, results: Path, photographs: Path, what: str, expected: str
) -> None:
    assert extension("prose_numbers").said(what) == expected


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("gains both prediction", r"^gains both prediction: expected one of .*'gain'.*, got gains"),
        ("gain boths prediction", r"^gain boths prediction: expected one of .*, got boths"),
        ("gain both", r"^gain both: .*missing 1 required positional argument"),
        ("gain_at_best boths", r"^gain_at_best boths: "),
    ],
)
def test_a_mark_that_says_nothing_known_is_named(extension: Any, what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extension("prose_numbers").said(what)


def test_marks_are_renewed_in_the_source_and_gone_in_the_page(
    extension: Any, results: Path
) -> None:
    numbers = extension("prose_numbers")
    text = "A <!-- points both prediction -->+9.9<!-- / -->, <!-- pairs otsu cam -->4<!-- / --> b."
    assert numbers.renewed(text, keep=True) == text.replace("+9.9", "+3.0")
    assert numbers.renewed(text, keep=False) == "A +3.0, 4 b."  # what was not run stays
    assert numbers.renewed("<!-- a note -->\n", keep=False) == "<!-- a note -->\n"


def test_the_command_writes_pages_whose_numbers_changed(
    extension: Any,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers = extension("prose_numbers")
    monkeypatch.setattr(numbers, "PAGES", tmp_path)
    (tmp_path / "one.md").write_text("<!-- best both -->?<!-- / -->\n")
    (tmp_path / "two.md").write_text("nothing\n")
    numbers.main()
    assert (tmp_path / "one.md").read_text() == "<!-- best both -->0.4<!-- / -->\n"
    assert capsys.readouterr().out == "one.md: renewed\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_numbers_of_a_page_are_those_of_the_lines(extension: Any, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    renewed = extension("prose_numbers").renewed(text, keep=True)
    assert renewed == text, f"{page.name}: run python docs/_ext/prose_numbers.py"


def test_the_page_for_a_reader_is_short_and_has_a_figure_for_each_claim(extension: Any) -> None:
    pytest.importorskip("matplotlib")
    figures = extension("evidence_figures")
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    claims = re.split(r"^## ", text, flags=re.MULTILINE)
    claims = [claim for claim in claims if re.match(r"\d\. ", claim)]
    assert len(claims) == 5
    for claim in claims:
        (picture,) = re.findall(r"^```{drawn-figure} (\w+)\n:alt: .+$", claim, re.MULTILINE)
        assert picture in figures.FIGURES


# -- directives -----------------------------------------------------------------------------------

PAGE = """
# Page

It gains <!-- points both prediction -->?<!-- / -->.

```{ablation-table} scores 1 student prediction
Above the *table*:
```

```{ablation-table} scores 5 student prediction
Left out with its table.
```

```{ablation-table} scores 5 student prediction
```

```{photograph-table} summary
```

```{drawn-figure} photographs
:alt: What the picture shows

Below the *picture*.
```

```{drawn-figure} nats
:alt: Left out

Left out with its picture.
```
"""


def test_what_was_not_run_is_left_out_of_a_page(
    extension: Any,
    results: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    application = pytest.importorskip("sphinx.application")
    pytest.importorskip("myst_parser")
    source = tmp_path / "source"
    source.mkdir()
    monkeypatch.setattr(extension("evidence_figures"), "RESULTS", tmp_path / "none")
    (source / "conf.py").write_text("extensions = ['myst_parser', 'tables']\n")
    (source / "index.md").write_text(PAGE)
    out = tmp_path / "out"
    application.Sphinx(
        source, source, out, out / "trees", "html", status=None, warningiserror=True
    ).build()
    html = (out / "index.html").read_text()
    assert "It gains +3.0." in html
    assert "Above the <em>table</em>:" in html
    assert "Left out" not in html
    assert html.count("Not run yet.") == 1
    assert html.count("<table") == 2
    assert html.count("+1.0 (+1.0\u00a0to\u00a0+1.0)") == 1
    assert html.count("<img") == 1
    assert 'alt="What the picture shows"' in html
    assert "Below the <em>picture</em>." in html.partition("<figcaption>")[2]
    assert (out / "_images" / "photographs.png").is_file()


# -- figures --------------------------------------------------------------------------------------


@pytest.fixture
def figures(extension: Any) -> Any:
    pytest.importorskip("matplotlib")
    return extension("evidence_figures")


def drawn(folder: Path) -> set[str]:
    """Return the names of the figures in a folder."""
    return {path.stem for path in folder.glob("*.png")}


def test_figures_without_runs_are_left_out(
    figures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "none")
    monkeypatch.setattr(figures, "METHODS_RUN", tmp_path / "none.jsonl")
    figures.main(["--output", str(tmp_path)])
    assert drawn(tmp_path) == set()


def test_figures_are_drawn_of_what_was_run(
    figures: Any, photographs: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "RESULTS", results)
    more = [
        line(name, seed, prediction=0.4, trimap=0.4, cam=0.3)
        for seed in range(2)
        for name in ("full-masks", "confident-mca", "confident-gap")
    ]
    lines = [json.loads(each) for each in (results / "final.jsonl").open()]
    write(results, "final", [*lines, *more])
    scores = {"cam": 0.3, "pseudo": None, "prediction": 0.4, "label_f1": 0.9}
    run = {"method": "ToCo", "seed": 0, "steps": 400, "scores": scores}
    (tmp_path / "methods.jsonl").write_text(json.dumps(run) + "\n")
    monkeypatch.setattr(figures, "METHODS_RUN", tmp_path / "methods.jsonl")
    output = tmp_path / "figures"
    figures.main(["--output", str(output)])
    # Nothing was run with standardised targets on scenes: no line of theirs, no nats.
    assert drawn(output) == {"bound", "choices", "gain", "methods", "photographs", "targets"}


def test_the_best_threshold_is_that_of_the_mean(extension: Any) -> None:
    drawing = pytest.importorskip("matplotlib") and extension("_evidence_drawing")
    sweeps = ({"0.1": 0.2, "0.3": 0.4}, {"0.1": 0.5, "0.3": 0.4})
    runs = [line("both", seed, cam_sweep=sweep) for seed, sweep in enumerate(sweeps)]
    assert drawing.by_seed(runs, "both", drawing.BEST_CAM) == {0: 40.0, 1: 40.0}
    assert drawing.by_seed(runs, "otsu", drawing.BEST_CAM) == {}
