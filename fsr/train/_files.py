"""Files of options: those that the package ships, by name, and one's own, by path."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from fsr.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"
BOUNDS = Path(__file__).parent / "bounds"
# Where the shipped files lay in the repository of the release before.
FORMER = ("examples", "configs")
# So much of what was given is repeated in a message.
LONGEST = 200


def config_names() -> list[str]:
    """Return the names of the shipped files of options.

    Example:
        >>> "voc" in config_names()
        True
    """
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def moved_config(name: str | Path) -> str | None:
    """Return the name of the shipped file that an old path such as examples/configs/voc.yaml means.

    None for every other path, and where there is such a file.

    Example:
        >>> moved_config("examples/configs/voc.yaml")
        'voc'
    """
    path = Path(name)
    if path.parts[-3:-1] != FORMER or path.stem not in config_names() or path.exists():
        return None
    return path.stem


def find_config(name: str | Path) -> Path:
    """Return the file that a name or a path stands for.

    Args:
        name: a shipped name such as ``voc``, or the path of a YAML file.

    Raises:
        ConfigError: there is none; the message says what was probably meant.

    Example:
        >>> find_config("voc").name
        'voc.yaml'
    """
    path, names = Path(name), config_names()
    shipped = str(name) if str(name) in names else moved_config(name)
    if shipped is not None:
        return CONFIGS / f"{shipped}.yaml"
    if _is_file(path):
        return path
    near = difflib.get_close_matches(path.stem, names, n=1)
    known = f"; the package ships {', '.join(names)}"
    raise ConfigError(
        f"--config: no file {brief(str(path))}"
        + (f" (did you mean --config {near[0]}?)" if near else known)
    )


def hint(near: Sequence[str]) -> str:
    """Spell the nearest name, if there is one."""
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(text: str) -> str:
    r"""Return a name as a message has it: in one line, and not for pages.

    Example:
        >>> shown("optim.lr"), shown("a\tb"), shown("")
        ('optim.lr', "'a\\tb'", "''")
    """
    return brief(text if text.strip() == text != "" and text.isprintable() else repr(text))


def brief(text: str) -> str:
    """Return a text in one line, its end left out if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system
        return False
