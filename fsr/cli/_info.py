"""``fsr info``: versions, devices, extras, presets and configs; or what a network file holds."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import partial
from importlib import metadata, resources
from pathlib import Path

import torch

from fsr._core.version import __version__
from fsr.cli._extras import EXTRAS, absent, pip_line
from fsr.cli._network_file import network_lines
from fsr.cli._outcome import DONE, guarded
from fsr.cli._parser import Parser
from fsr.presets import PRESETS

SUMMARY = "Tell what is installed, or what a network file holds."
NOTES = """
  fsr info                                  # versions, devices, extras, presets, configs
  fsr info runs/scenes/teacher.safetensors  # classes, encoder, image size, parameters, version
"""
Row = tuple[str, str]


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "networks",
        nargs="*",
        type=Path,
        metavar="MODEL",
        help="network files, as training writes them (default: none, tell what is installed)",
    )
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Print what was asked for; return the exit status."""
    options = build_parser(prog).parse(argv)
    if options.networks:
        # One broken file keeps none of the others from being told.
        return max(guarded(prog, partial(_tell, path)) for path in options.networks)
    for title, rows in (
        ("versions", version_rows()),
        ("devices", device_rows()),
        ("extras", extra_rows()),
        ("presets and configs", name_rows()),
    ):
        print(title)
        for name, value in rows:
            print(f"  {name:12}{value}")
    return DONE


def _tell(path: Path) -> int:
    """Print what a network file holds."""
    print("\n".join(network_lines(path)))
    return DONE


def version_rows() -> list[Row]:
    """Versions of the package and of what can change its results."""
    names = ("torch", "torchvision", "timm", "numpy")
    return [
        ("fsr-wsss", f"{__version__}, in {Path(__file__).parents[1]}"),
        ("python", platform.python_version()),
        *((name, metadata.version(name)) for name in names),
        ("platform", platform.platform()),
    ]


def device_rows() -> list[Row]:
    """The devices that torch can use."""
    rows = [("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        rows.append((f"cuda:{index}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "Apple's graphics processor"))
    if len(rows) == 1:
        build = torch.version.cuda
        rows.append(("cuda", "none found" if build else "none: this build of torch is for the CPU"))
    return rows


def extra_rows() -> list[Row]:
    """The extras, and for one that is not there what it would enable and how to get it."""
    rows = []
    for name, extra in EXTRAS.items():
        missing = absent(name)
        lacks = f"lacks {', '.join(missing)}, for {extra.enables}: {pip_line(name)}"
        rows.append((name, lacks if missing else "installed"))
    return rows


def name_rows() -> list[Row]:
    """The names that ``preset=`` and ``--config`` take."""
    folder = resources.files("fsr") / "train" / "configs"
    files = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    configs = [name.removesuffix(".yaml") for name in files if name.endswith(".yaml")]
    return [
        ("presets", ", ".join(PRESETS)),
        ("configs", f"{', '.join(configs)} (fsr train --config NAME)" if configs else "none"),
    ]
