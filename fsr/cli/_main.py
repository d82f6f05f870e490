"""The command ``fsr``: finds the command asked for, and loads that one alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from fsr._core.version import __version__
from fsr.cli._extras import missing_package
from fsr.cli._outcome import BAD_INPUT, DONE, INTERRUPTED, STATUSES, WRONG_OPTION, complain
from fsr.cli._parser import did_you_mean


class Command(NamedTuple):
    """Where a command is, and what the list of commands says of it."""

    module: str
    summary: str


# The summaries of the modules stand here too, so that listing the commands loads none of them.
COMMANDS = {
    "train": Command("fsr.cli._train", "Train a segmenter from image-level labels."),
    "evaluate": Command("fsr.cli._evaluate", "Score a trained network on a data set."),
    "report": Command(
        "fsr.cli._report",
        "Write the report of a training run, or compare several, as one HTML file.",
    ),
    "predict": Command("fsr.cli._predict", "Segment image files and folders of them."),
    "export": Command("fsr.cli._export", "Turn image-level labels into label maps."),
    "export onnx": Command(
        "fsr.cli._export_onnx", "Write a network as ONNX, compared with PyTorch."
    ),
    "export pt2": Command(
        "fsr.cli._export_pt2", "Write a network as a program of torch.export, loaded and compared."
    ),
    "convert": Command(
        "fsr.cli._convert",
        "Write masks as files of annotation tools: COCO, CVAT, Label Studio, YOLO.",
    ),
    "prepare folder": Command(
        "fsr.cli._prepare_folder", "Make the table of labels for a folder of your own images."
    ),
    "prepare voc": Command(
        "fsr.cli._prepare_voc", "Build the augmented training set of PASCAL VOC 2012."
    ),
    "prepare coco": Command("fsr.cli._prepare_coco", "Look over MS COCO 2014, and draw its masks."),
    "methods": Command(
        "fsr.cli._methods", "List the methods that fsr train knows, and what each needs."
    ),
    "info": Command("fsr.cli._info", "Tell what is installed, or what a network file holds."),
}


def main(argv: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Run a command.

    Args:
        argv: the command and its options; those of the process by default.
        prog: what messages call the command, in place of ``fsr COMMAND``.

    Returns:
        The exit status: 0 done, 1 something cannot be read, 130 interrupted.

    Raises:
        SystemExit: with status 2 for a wrong option, with 0 after help.

    Example:
        >>> main(["--version"])
        fsr 0.1.0
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(f"fsr {__version__}")
        return DONE
    name, rest = _find_command(words)
    if name in COMMANDS:
        return _run(COMMANDS[name], rest, prog or f"fsr {name}")
    print(_overview(name))
    return DONE


def _run(command: Command, argv: Sequence[str], prog: str) -> int:
    """Load a command and run it."""
    try:
        status: int = importlib.import_module(command.module).main(argv, prog)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except ImportError as error:
        message = missing_package(error)
        if message is None:
            raise
        complain(prog, message)
        return BAD_INPUT
    return status


def _find_command(words: list[str]) -> tuple[str, list[str]]:
    """Return the command's name and its options; a name of several words may lack the last."""
    name, rest = "", words
    while rest and rest[0] not in ("-h", "--help"):
        if name in COMMANDS and rest[0] not in _following(name):
            break
        known = _following(name)
        word, rest = rest[0], rest[1:]
        if word not in known:
            _refuse(name, word, known)
        name = f"{name} {word}".strip()
    return name, rest


def _following(name: str) -> list[str]:
    """Return the words that may follow the beginning of a command's name."""
    begun = name.split()
    ways = [command.split() for command in COMMANDS]
    words = [way[len(begun)] for way in ways if way[: len(begun)] == begun != way]
    return list(dict.fromkeys(words))


def _refuse(name: str, word: str, known: list[str]) -> NoReturn:
    """End with status 2 and a line that names the nearest command or option."""
    prog = f"fsr {name}".strip()
    if word.startswith("-"):
        options = ["--help"] if name else ["--help", "--version"]
        complain(prog, f"unrecognized option {word}{did_you_mean(word, options)}")
    else:
        listed = ", ".join(known)
        hint = did_you_mean(word, known)
        complain(prog, f"expected a command ({listed}), got {word!r}{hint}")
    sys.exit(WRONG_OPTION)


def _overview(name: str) -> str:
    """Return the commands whose names begin so, a line each."""
    shown = {key: value for key, value in COMMANDS.items() if f"{key} ".startswith(f"{name} ")}
    if not name:
        shown = COMMANDS
    width = max(map(len, COMMANDS)) + 2
    more = "" if name else "       fsr --version\n"
    statuses = STATUSES if name else f"{STATUSES}; 3 from train: a loss is not finite"
    prog = f"fsr {name}".strip()
    return (
        f"usage: {prog} COMMAND ...\n{more}"
        "\nWeakly supervised semantic segmentation from image-level labels.\n\ncommands:\n"
        + "".join(f"  {key:{width}}{value.summary}\n" for key, value in shown.items())
        + f"\n`fsr COMMAND --help` tells the options of a command.\n\n{statuses}"
    )
