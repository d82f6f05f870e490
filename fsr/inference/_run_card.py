"""The card of a network that a run of training left: its scores and options, told by the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from fsr._core.text import read_json
from fsr.errors import DataError
from fsr.inference._network_source import RESULTS, find_network, last_evaluation
from fsr.segmenter import ModelCard

SCORES = ("prediction_miou", "pixel_accuracy", "cam_miou", "label_f1")
# Options that make a result; those of data name paths of a machine.
OPTIONS = ("seed", "steps", "views", "model", "preset", "optim")


def run_card(run: str | Path, *, card: ModelCard | None = None) -> ModelCard:
    """Return the card of the network that :func:`fsr.load` takes of a run.

    It tells the scores of the last evaluation, what they were taken on, what was trained on, and
    the options of the run, without paths of the machine. What was trained on is the name of the
    data set: say more in ``data`` where that is your own folder.

    Args:
        run: folder of the run, which has ended.
        card: what you say yourself, such as the licence; it goes before what the run tells.

    Raises:
        MissingDataError: there is no such folder, or no results in it.
        DataError: the results are none of a run.

    Example:
        >>> import json, tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / "teacher.safetensors").write_bytes(b"")
        >>> scores = {"teacher": {"prediction_miou": 0.5, "images": 120}}
        >>> data = {"name": "scenes", "train_split": "train", "eval_split": "test"}
        >>> results = {"evaluations": {"9": scores}, "config": {"data": data, "seed": 0}}
        >>> _ = (run / "results.json").write_text(json.dumps(results))
        >>> card = run_card(run, card=ModelCard(license="mit"))
        >>> card.scores, card.scored_on, card.license
        ({'prediction_miou': 0.5}, "120 images of 'scenes', split 'test'", 'mit')
    """
    folder = Path(run)
    path = folder / RESULTS
    results = read_json(path)
    scores = last_evaluation(folder).get(find_network(folder).stem)
    config = results.get("config") if isinstance(results, Mapping) else None
    data = config.get("data") if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(data, Mapping):
        raise DataError(f"{path}: expected the results of a run of training, got none of its data")
    return _merged(card or ModelCard(), scores or {}, config, data)


def _merged(
    card: ModelCard, scores: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, Any]
) -> ModelCard:
    """Return a card with what the run tells where it says nothing."""
    name = data.get("name")
    told: dict[str, Any] = {}
    if card.data is None:
        told["data"] = f"{name!r}, split {data.get('train_split')!r}, image-level labels alone."
    if not card.scores:
        kept = {key: scores[key] for key in SCORES if isinstance(scores.get(key), float)}
        on = f"{scores.get('images', 'all')} images of {name!r}, split {data.get('eval_split')!r}"
        told |= {"scores": kept, "scored_on": on}
    if card.settings is None:
        told["settings"] = _without_paths({key: config[key] for key in OPTIONS if key in config})
    return replace(card, **told)


def _without_paths(value: Any) -> Any:
    """Return plain data with files named by their last part alone."""
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return PureWindowsPath(value).name
    return value
