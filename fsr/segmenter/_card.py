"""The card of a model: what a network is, what it was trained on, what it scores, how it is used.

It is the ``README.md`` of a repository of the Hugging Face hub, whose head the hub reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TAGS = ("image-segmentation", "semantic-segmentation", "weakly-supervised", "fsr-wsss")
# Names that the hub knows for scores of this package, all between 0 and 1 here.
METRICS = {"prediction_miou": "mean_iou", "pixel_accuracy": "accuracy"}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the card of a model says beside what its file does.

    Args:
        license: identifier such as ``"apache-2.0"``, or ``"other"`` with words in ``description``;
            None says that none was given.
        data: what it was trained on, in words.
        dataset_ids: names of data sets on the hub.
        scores: numbers between 0 and 1 by name, such as ``{"prediction_miou": 0.71}``.
        scored_on: what the scores were taken on, in words.
        description: paragraphs of your own.
        settings: options of the run, as plain data.

    Raises:
        TypeError: a score is no number.
        ValueError: a score is not finite, or scores come without what they were taken on.

    Example:
        >>> card = ModelCard(license="mit", scores={"prediction_miou": 0.7}, scored_on="VOC val")
        >>> print(card.text(("cat",), "vit_tiny_patch16_224", "user/cats").splitlines()[1])
        library_name: "fsr-wsss"
    """

    license: str | None = None
    data: str | None = None
    dataset_ids: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    scored_on: str | None = None
    description: str | None = None
    settings: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, value in self.scores.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"scores: expected a number for {name!r}, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"scores: expected a finite number for {name!r}, got {value!r}")
        if self.scores and self.scored_on is None:
            raise ValueError("scored_on: expected what the scores were taken on, got None")

    def text(self, class_names: Sequence[str], encoder: str, repo_id: str | None) -> str:
        """Return the card in Markdown, with the head that the hub reads.

        Args:
            class_names: names of the C classes.
            encoder: what the encoder is called.
            repo_id: ``user/name``, None where it is not known yet.
        """
        name = "Segmenter" if repo_id is None else repo_id.rpartition("/")[2]
        parts = [
            self._head(name),
            f"# {name}",
            "Semantic segmentation learned from image-level labels, with "
            f"[fsr-wsss](https://pypi.org/project/fsr-wsss); encoder `{encoder}`, "
            f"{len(class_names)} classes.",
            *([self.description] if self.description else []),
            f"## Use\n\n{_usage(repo_id or 'path/to/this/folder')}",
            f"## Classes\n\n{_classes(class_names)}",
            f"## Training data\n\n{self.data or 'Not told by whoever trained it.'}",
            f"## Scores\n\n{self._scores()}",
            f"## Licence\n\n{self.license or 'None was given: ask whoever published it.'}",
        ]
        if self.settings is not None:
            settings = json.dumps(self.settings, indent=2, sort_keys=True)
            parts.append(f"## Options of the run\n\n```json\n{settings}\n```")
        return "\n\n".join(parts) + "\n"

    def _head(self, name: str) -> str:
        """Return what the hub reads: YAML, whose values are written as JSON, which it holds."""
        fields: dict[str, Any] = {"library_name": "fsr-wsss", "pipeline_tag": TAGS[0]}
        fields["tags"] = list(TAGS)
        if self.license:
            fields["license"] = self.license
        if self.dataset_ids:
            fields["datasets"] = list(self.dataset_ids)
        if self.scores:
            metrics = [
                {"type": METRICS.get(key, key), "name": key, "value": value}
                for key, value in self.scores.items()
            ]
            dataset = {"name": self.scored_on, "type": (*self.dataset_ids, "custom")[0]}
            task = {"type": TAGS[0], "name": "Semantic segmentation"}
            results = [{"task": task, "dataset": dataset, "metrics": metrics}]
            fields["model-index"] = [{"name": name, "results": results}]
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
        return "\n".join(["---", *lines, "---"])

    def _scores(self) -> str:
        """Return the table of scores, in per cent."""
        if not self.scores:
            return "None were given."
        rows = [f"| {_cell(key)} | {100 * value:.1f} |" for key, value in self.scores.items()]
        return "\n".join(
            [f"Per cent, on {self.scored_on}.", "", "| score | value |", "| --- | --- |", *rows]
        )


def _usage(source: str) -> str:
    """Return how a network is used, in a few lines of code."""
    return (
        "```bash\npip install 'fsr-wsss[hub]'\n```\n\n```python\nimport fsr\n\n"
        f'predictor = fsr.load("{source}")\n'
        'result = predictor("photograph.jpg")\n'
        "result.mask  # (height, width) int64, label n is result.names[n]\n"
        'result.overlay().save("overlay.png")\n```'
    )


def _classes(names: Sequence[str]) -> str:
    """Return the table of labels."""
    rows = [f"| {label} | {_cell(name)} |" for label, name in enumerate(("background", *names))]
    return "\n".join(["| label | class |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    """Return a text that breaks no table."""
    return " ".join(text.split()).replace("|", "\\|")
