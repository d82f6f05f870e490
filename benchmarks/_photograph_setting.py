"""What all runs of the photographs share: options, weights, and how a run is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _ablation_setting import LEFT_OUT, Setting, flat, silent

from fsr.data import VOC2012
from fsr.inference import file_hash
from fsr.train import load_config

OPTIONS = Path(__file__).with_name("photographs.yaml")
WORKER = Path(__file__).with_name("_photograph_worker.py")
# Train photographs that the threshold of "CAM at its best threshold" is chosen on, the first ones.
CHOSEN_ON = 120
# The classes that there are enough photographs of, beside background.
MAIN = ("cat", "dog", "horse", "sheep", "cow", "person")


@dataclass(frozen=True)
class PhotographSetting(Setting):
    """The common setting of all variants.

    Attributes:
        root: folder in VOC's layout with the lists ``train`` and ``val``.
        weights: file of the encoder's weights.
        crf: validation photographs that are refined by a dense CRF too, the first ones.
    """

    scenes: str = "photographs"
    overrides: tuple[str, ...] = ()
    file: Path = OPTIONS
    root: Path = Path()
    weights: Path = Path()
    crf: int = 0
    options: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        # Where the files lie on this machine is not part of the setting; what is in them is.
        found = (f"data.root={self.root}", f"model.pretrained={self.weights}")
        object.__setattr__(self, "overrides", (*self.overrides, *found))
        super().__post_init__()

    @property
    def scored_on(self) -> str:
        """What runs are scored on, in two words."""
        return "val photographs"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of VOC."""
        return tuple(VOC2012.class_names)

    def worker(self, folder: Path) -> list[str]:
        """Return the command, without python, that scores the networks in a folder."""
        return [str(WORKER), str(folder), "--crf", str(self.crf)]

    def quiet(self, variant: Any, folder: Path) -> list[str]:
        """Return options of a run that change no weight: it looks once, at two photographs."""
        config = self.config(variant)
        return ["data.eval_size=2", f"eval.every={config.steps}", *silent(config, folder)]

    def _options(self) -> dict[str, Any]:
        config = load_config(self.file, overrides=self.overrides)
        kept = flat(config, (*LEFT_OUT, "data.root", "model.pretrained", "data.eval_size"))
        lists = {split: len(VOC2012(self.root, split, masks=False)) for split in ("train", "val")}
        return {
            **kept,
            "encoder": file_hash(self.weights)[:16],
            "photographs": lists,
            "scored.chosen_on": CHOSEN_ON,
            "scored.main": list(MAIN),
            "scored.crf": self.crf,
        }
