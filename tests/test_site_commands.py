"""Shell commands of the documentation: their options exist, their files are there."""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsr.cli import main
from fsr.cli._main import COMMANDS
from fsr.cli._parser import Parser
from tests.test_readme import DOCS, PAGES, ROOT, fenced

# What is neither ours nor a script of ours: how a line of such a command begins.
OTHERS = (
    "python3 -m venv ",
    ". ",  # activates an environment
    "pip install ",
    "git clone https://github.com/",
)
EXTRAS = set(
    re.findall(
        r"^(\w+) = \[",
        (ROOT / "pyproject.toml").read_text().partition("optional-dependencies]")[2],
        re.MULTILINE,
    )
)


class Understood(Exception):
    """The options of a command were read."""


def commands(page: Path) -> Iterator[str]:
    """Commands of a page's shell blocks, without comments, each on a line."""
    for block in fenced(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            parts = " ".join(map(shlex.quote, words)).split(" '&&' ")
            yield from (part for part in parts if part)


def ours(words: list[str]) -> list[str] | None:
    """The words behind ``fsr``, however it was started."""
    if words[0].rpartition("/")[2] == "fsr":
        return words[1:]
    started = words[0] in ("accelerate", "torchrun") or re.fullmatch(r"(.*/)?python3?", words[0])
    if started and "-m" in words and words[words.index("-m") + 1] == "fsr":
        return words[words.index("-m") + 2 :]
    return None


@pytest.fixture
def _nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read their options, complain of them, and leave."""
    parse = Parser.parse
    open_ones = set()

    def read_alone(self: Parser, argv: list[str]) -> Any:
        options = parse(self, argv)
        if self.prog in open_ones:
            raise Understood
        return options

    for name, command in COMMANDS.items():
        module = importlib.import_module(command.module)
        if hasattr(module, "guarded"):  # what is done behind the last look at the options
            monkeypatch.setattr(module, "guarded", lambda *args, **kwargs: 0)
        else:
            open_ones.add(f"fsr {name}")
    monkeypatch.setattr(Parser, "parse", read_alone)


def check_own(words: list[str]) -> None:
    """Raise unless ``fsr`` takes these words."""
    if words[:1] == ["train"] and "--help" not in words:
        assert main([*words, "--print-config"]) == 0
        return
    with contextlib.suppress(Understood):
        assert main(words) == 0


def check_script(words: list[str]) -> None:
    """Raise unless a script is there and knows the options."""
    script = ROOT / words[1]
    text = script.read_text(encoding="utf-8")
    # Options that several scripts share are added by a file beside them.
    shared = "".join(path.read_text(encoding="utf-8") for path in script.parent.glob("_*.py"))
    for word in words[2:]:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in text + shared, (words[1], word)


@functools.cache  # many pages show the same
def check(command: str) -> None:
    """Raise unless a command is understood."""
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # variables of the environment
        words = words[1:]
    for extras in re.findall(r"(?:fsr-wsss|\.)\[([\w,]+)\]", command):
        assert set(extras.split(",")) <= EXTRAS, command
    own = ours(words)
    if own is not None:
        check_own(own)
    elif re.fullmatch(r"(.*/)?python3?", words[0]) and words[1].endswith(".py"):
        check_script(words)
    elif "pytest" in words:
        paths = [word for word in words if word.startswith("tests/")]
        assert all((ROOT / path.partition("::")[0]).exists() for path in paths), command
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    else:
        bare = re.sub(r"^\S*/bin/", "", " ".join(words))
        assert bare.startswith(OTHERS), command


def all_pages() -> list[Path]:
    """Pages of the site and of the repository that show commands."""
    more = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").glob("*.md"))]
    return [page for page in [*PAGES, *more] if fenced(page, "bash")]


@pytest.mark.usefixtures("_nothing_is_done")
@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_understood(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in dict.fromkeys(commands(page)):
        try:
            check(command)
        except (SystemExit, AssertionError) as error:
            pytest.fail(f"{command}: {error}\n{capsys.readouterr().err[-2000:]}")


@pytest.mark.usefixtures("_nothing_is_done")
@pytest.mark.parametrize(
    "command",
    [
        "fsr evaluate model.safetensors --dataset voc --rot VOCdevkit",
        "fsr evaluate model.safetensors --dataset voc --root VOCdevkit --low 0.8 --high 0.7",
        "fsr train --config nowhere",
        "fsr train data.rot=photos",
        "torchrun -m fsr predict model.safetensors photos --outptu p",
        "python examples/voc.py VOCdevkit --split few",
        "python examples/nowhere.py",
        "pip install 'fsr-wsss[trian]'",
        "curl https://example.org",
        "make nothing",
        "pytest tests/nowhere.py",
    ],
)
def test_a_command_that_is_wrong_is_found(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        check(command)
    except (SystemExit, AssertionError, FileNotFoundError) as error:
        assert not isinstance(error, SystemExit) or error.code  # noqa: PT017
    else:
        pytest.fail("understood")


def test_a_command_goes_on_behind_a_backslash_and_ends_at_a_comment(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\na \\\n  b  # no\n\nc && d\n```\n")
    assert list(commands(page)) == ["a b", "c", "d"]
    assert DOCS / "your_images.md" in all_pages()
