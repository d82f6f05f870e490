"""Commands inside the text of pages: each has options and settings that exist."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shlex
from pathlib import Path

import pytest

from fsr.cli import main
from tests.test_readme import PAGES, ROOT

COMMANDS = ("train", "evaluate", "predict", "export", "prepare", "methods", "info")


@functools.cache
def help_of(command: str) -> str:
    """What a command says of its options."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return said.getvalue()


@functools.cache
def settings() -> frozenset[str]:
    """Names of the options of a run, groups of options among them."""
    from fsr.train import list_options, read_config

    return frozenset(option.name for option in list_options(read_config("voc")))


def commands_of(page: Path) -> list[list[str]]:
    """Words of every command of the package inside a page's text, from its name on."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = []
    for span in re.findall(r"`([^`]+)`", text):
        match = re.search(r"(?:^|\s)fsr\s+(\w+)(.*)", " ".join(span.split()))
        if match and match[1] in COMMANDS:
            found.append([match[1], *shlex.split(match[2].replace("...", ""))])
    return found


@pytest.mark.parametrize(
    "page", [p for p in PAGES if commands_of(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_commands_of_a_page_have_options_that_exist(page: Path) -> None:
    pytest.importorskip("omegaconf")
    for command, *words in commands_of(page):
        kind = command
        if command == "prepare" and words and not words[0].startswith("-"):
            kind = f"prepare {words.pop(0)}"
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(kind)))
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, (command, word)
            elif command == "train" and re.match(r"[a-z_.]+=", word):
                name = word.partition("=")[0]
                parents = {name.rsplit(".", end)[0] for end in range(name.count(".") + 1)}
                assert parents & settings(), (command, word)


def test_a_command_is_found_wherever_a_text_has_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Say `fsr info` or\n`fsr predict a.st\nb.jpg`, not `fsr`.\n\n```bash\nfsr train\n```\n\n"
        "`accelerate launch -m fsr train --config voc`\n"
    )
    assert commands_of(page) == [
        ["info"],
        ["predict", "a.st", "b.jpg"],
        ["train", "--config", "voc"],
    ]
