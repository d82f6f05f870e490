"""The page for people who come from the released scripts: our side of it is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fsr.cli import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
# A heading of the page, how often its tables say `there`, and the configuration of each.
CONFIGS = {"FSR": ["voc", "coco"], "ToCo": ["toco_voc"], "AFA": ["afa_voc"]}


def tables(heading: str) -> list[list[list[str]]]:
    """Cells of the tables below a heading of the page, without their heads."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found: list[list[list[str]]] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| there |"):
            found.append([])
        elif line.startswith("| ") and not line.startswith("| ---"):
            found[-1].append([cell.removesuffix(" |") for cell in cells])
    return found


@pytest.mark.parametrize(
    ("heading", "place", "name"),
    [
        (heading, place, name)
        for heading, names in CONFIGS.items()
        for place, name in enumerate(names)
    ],
)
def test_options_have_the_values_that_the_page_says(heading: str, place: int, name: str) -> None:
    pytest.importorskip("omegaconf")
    import yaml

    from fsr.train import list_options, read_config

    options = {option.name: option.value for option in list_options(read_config(name))}
    rows = tables(heading)[place]
    assert len(rows) > 5
    for row in rows:
        said = re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)*)=([^`]*)`", row[1])
        assert said or row[1] == "none", row
        for option, value in said:
            assert option in options, row
            assert (
                options[option] == yaml.load(value, yaml.SafeLoader)
                or str(options[option]) == value
            ), (row, options[option])
        for option in re.findall(
            r"`((?:preset|data|model|views|eval|run|optim)\.[a-z_.]+)`", row[2]
        ):
            assert option.split(".scales")[0] in options, row


def test_options_of_the_evaluation_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    help_text = capsys.readouterr().out
    said = re.findall(r"`(--[a-z-]+)`", " ".join(row[1] for row in tables("FSR")[2]))
    assert sorted(said) == ["--crf", "--image-size", "--root", "--scales", "--split"]
    for flag in said:
        assert flag in help_text


def test_the_page_has_every_option_of_the_released_scripts() -> None:
    # Counted in the released files at the commits that the pages of the methods name.
    for heading, place, count in (("FSR", 0, 48), ("ToCo", 0, 40), ("AFA", 0, 39)):
        names = {
            name
            for row in tables(heading)[place]
            for name in re.findall(r"`(--\w+|[a-z]+\.[a-z_]+)`", row[0])
        }
        assert len(names) == count, (heading, len(names))
