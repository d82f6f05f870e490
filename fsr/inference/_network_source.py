"""Where a network is: in a file, in the folder of a run, in a folder or repository of a hub."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fsr._core.text import read_json
from fsr.errors import DataError, MissingDataError
from fsr.segmenter import WEIGHTS, hub_file, is_hub_id

RESULTS = "results.json"
# The teacher first: of equal scores it is the steadier one.
NETWORKS = ("teacher", "student")


def find_network(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
) -> Path:
    """Return the file of a network.

    A file stands for itself. Of a folder it is ``model.safetensors``, which
    :meth:`fsr.SingleStageSegmenter.save_pretrained` writes, or, of a run of training, the teacher
    or the student, whichever the last evaluation scored higher. Whatever else looks like
    ``user/name`` is the name of a repository of the Hugging Face hub, whose file is fetched and
    cached, unless there is a folder ``user`` here: then a file in it was meant.

    Args:
        source: path of a file or folder, or name of a repository.
        revision: branch, tag or commit of the repository; its main branch if None.
        token: access token of the hub; None takes the one that the machine is logged in with.
        cache_dir: where fetched files are kept; the hub's own cache if None.

    Raises:
        MissingDataError: there is no such file or folder, or no such repository.
        DataError: the folder holds no network.
        ConnectionError: the hub cannot be reached, and nothing is cached.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "student.safetensors").write_bytes(b"")
        >>> find_network(folder).name
        'student.safetensors'
    """
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return path
    if not is_hub_id(str(source)) or path.parent.is_dir():
        raise MissingDataError(f"{source}: no such file or folder")
    return hub_file(str(source), revision=revision, token=token, cache_dir=cache_dir)


def _in_folder(folder: Path) -> Path:
    """Return the file of the network that a folder stands for."""
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    found = [name for name in NETWORKS if (folder / f"{name}.safetensors").is_file()]
    if found:
        scores = last_scores(folder)
        best = max(found, key=lambda name: scores.get(name, -math.inf))
        return folder / f"{best}.safetensors"
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    listed = f"; name one of {', '.join(file.name for file in files)}" if files else ""
    raise DataError(
        f"{folder}: expected {WEIGHTS}, or teacher.safetensors or student.safetensors, as a run "
        f"of training writes them when it ends{listed}"
    )


def last_scores(run: Path) -> dict[str, float]:
    """Return the score of each network of a run at its last evaluation: mIoU of predictions.

    Args:
        run: folder of the run; nothing is returned where it has no results that can be read.

    Example:
        >>> import json, tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> scores = {"student": {"prediction_miou": 0.4}, "teacher": {"prediction_miou": 0.5}}
        >>> _ = (run / "results.json").write_text(json.dumps({"evaluations": {"9": scores}}))
        >>> last_scores(run)
        {'student': 0.4, 'teacher': 0.5}
    """
    evaluation = last_evaluation(run)
    found = {}
    for name, scores in evaluation.items():
        value = scores.get("prediction_miou") if isinstance(scores, dict) else None
        if isinstance(value, float) and math.isfinite(value):
            found[name] = value
    return found


def last_evaluation(run: Path) -> dict[str, Any]:
    """Return the scores of the last evaluation of a run by network; none where there are none."""
    try:
        evaluations = read_json(run / RESULTS)["evaluations"]
        last: dict[str, Any] = evaluations[max(evaluations, key=int)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return last if isinstance(last, dict) else {}
