"""Commands on the pages: every `fsr ...` has a command, options and settings that exist."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shlex
from pathlib import Path

import pytest

from fsr.cli import main
from tests.test_readme import PAGES, ROOT, fenced

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
    """Words of every command of the package that a page writes, from its name on."""
    blocks = [block for kind in ("bash", "sh", "console") for block in fenced(page, kind)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    code = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", code)]
    found = []
    for line in lines:
        words = line.partition(" #")[0].replace("...", "")
        match = re.search(r"(?:^|[\s/])fsr\s+(\w+)(.*)", words)
        if match and match[1] in COMMANDS:
            found.append([match[1], *shlex.split(match[2].partition("&&")[0])])
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


def test_a_command_is_found_wherever_a_page_writes_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Say `fsr info` or\n`fsr predict a.st\nb.jpg`, not `fsr`.\n\n```bash\n"
        ".venv/bin/fsr train --resume steps=3   # a note\naccelerate launch -m fsr train \\\n"
        "  --config voc\n```\n"
    )
    assert sorted(commands_of(page)) == [
        ["info"],
        ["predict", "a.st", "b.jpg"],
        ["train", "--config", "voc"],
        ["train", "--resume", "steps=3"],
    ]
