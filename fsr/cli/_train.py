"""`fsr train`: train a single-stage segmenter from image-level labels."""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from fsr.cli._outcome import one_line
from fsr.errors import ConfigError, InputError, NotFiniteError, ResourceError
from fsr.train import (
    INTERRUPTED,
    Config,
    config_names,
    load_config,
    moved_config,
    nearest_option,
    print_config,
    read_config,
    run,
    spell_options,
)

SUMMARY = "Train a segmenter from image-level labels."
BAD_INPUT, BAD_OPTION, NOT_FINITE = 1, 2, 3
DESCRIPTION = """Train a single-stage segmenter from image-level labels. Options are read from files
(--config) and changed as option=value; without a file the built-in scenes are trained on. Ctrl-C,
SIGTERM and SIGHUP write a checkpoint, and --resume goes on from the last one."""
EPILOG = """Exit status: 0 done, 1 data or weights cannot be read or disk, memory or a process is
lacking, 2 an option is wrong, 3 a loss is not finite (or a gradient, or a weight), 130 interrupted
by Ctrl-C, SIGTERM or SIGHUP. Example:
{prog} --config voc data.root=VOCdevkit optim.lr=1e-4"""


def main(argv: Sequence[str], prog: str = "fsr train", **extra: Any) -> int:
    """Run the command; see the exit statuses in its help.

    Args:
        argv: arguments behind the command's name.
        prog: what to call the command in messages.
        extra: further arguments of :func:`fsr.train.run`, for scripts that change the training.
    """
    try:
        return _main(argv, prog, extra)
    except ConfigError as error:
        message, status = one_line(error), BAD_OPTION
    except (InputError, ImportError, ResourceError) as error:
        message, status = one_line(error), BAD_INPUT
    except NotFiniteError as error:
        message, status = f"{one_line(error)}; stopped, the last checkpoint is kept", NOT_FINITE
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f"{prog}: error: {message}", file=sys.stderr)
    return status


def _main(argv: Sequence[str], prog: str, extra: dict[str, Any]) -> int:
    parser = _parser(prog)
    arguments, unknown = parser.parse_known_intermixed_args(argv)
    names = _names(arguments, prog)
    if arguments.help:
        print(_help(parser, names))
        return 0
    if unknown:
        raise ConfigError(_refusal(unknown[0], argv))
    if arguments.print_config:
        print(print_config(read_config(*names, overrides=arguments.overrides)), end="")
        return 0
    config = load_config(*names, overrides=arguments.overrides)
    run(config, resume=arguments.resume, tell=_tell, **extra)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, allow_abbrev=False, add_help=False, description=DESCRIPTION
    )
    # The options of a run stand in the help too, and loading them waits until it is asked for.
    parser.add_argument("-h", "--help", action="store_true", help="show this and leave")
    parser.add_argument(
        "--config",
        action="append",
        metavar="NAME|FILE",
        help=f"options by name ({', '.join(config_names())}) or a YAML file; may be given again, "
        "later ones win (default: default)",
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="lay --config smoke over it: twelve steps, to see that all works (default: off)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint (default: off)"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print all options as they are resolved, as YAML, and leave (default: off)",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="option=value", help="change an option of those below"
    )
    return parser


def _names(arguments: argparse.Namespace, prog: str) -> list[str]:
    """Return the files of options, shipped ones by name; say so where an old path was given."""
    names = []
    for name in arguments.config or ["default"]:
        moved = moved_config(name)
        if moved is not None:
            print(
                f"{prog}: {name} has moved into the package; --config {moved} is that file now",
                file=sys.stderr,
            )
        names.append(moved or name)
    return [*names, "smoke"] if arguments.short else names


def _help(parser: argparse.ArgumentParser, names: Sequence[str]) -> str:
    """Return the help: switches, then every option with its value in the files asked for."""
    config: Config = read_config(*names)
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    shown = " ".join(f"--config {name}" for name in names)
    return (
        f"{parser.format_help()}\noptions of a run, option=value, as they are with {shown}:\n"
        f"{spell_options(config, width)}\n\n{EPILOG.format(prog=parser.prog)}"
    )


def _refusal(switch: str, argv: Sequence[str]) -> str:
    """Say what an unknown switch was probably meant to be."""
    name, equals, value = switch.lstrip("-").partition("=")
    if not equals:
        behind = list(argv)[list(argv).index(switch) + 1 :]
        value = behind[0] if behind and not behind[0].startswith("-") else "..."
    switches = ("--config", "--short", "--resume", "--print-config", "--help")
    near = difflib.get_close_matches(f"--{name}", switches, n=1)
    options = nearest_option(name)
    if options and not (near and options[0].rpartition(".")[2] != name):
        return f"{switch}: unknown switch; options of a run are given as {options[0]}={value}"
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{switch}: unknown switch{hint}; options of a run are given as option=value"


def _tell(text: str) -> None:
    """Print a line; a terminal or a pipe that was closed does not end hours of training."""
    try:
        print(text, flush=True)
    except OSError:
        # What is left in the buffer would be an error once more when the program ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
