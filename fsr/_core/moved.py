"""Old homes of modules: importing one works for a release and warns, naming the new one."""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# From the module that the documentation of 0.1 named to the file that holds its names now; users
# import them from the room, the folder of that file.
MOVED = {
    "fsr.bilateral": "fsr.filters._bilateral",
    "fsr.data.coco": "fsr.data._coco",
    "fsr.data.coco_annotations": "fsr.data._coco_annotations",
    "fsr.data.coco_cache": "fsr.data._coco_cache",
    "fsr.data.coco_prepare": "fsr.data._coco_prepare",
    "fsr.data.coco_shapes": "fsr.data._coco_shapes",
    "fsr.data.files": "fsr.data._files",
    "fsr.data.folder": "fsr.data._folder",
    "fsr.data.label_builders": "fsr.data._label_builders",
    "fsr.data.label_table": "fsr.data._label_table",
    "fsr.data.photographs": "fsr.data._photographs",
    "fsr.data.sample": "fsr.data._sample",
    "fsr.data.sbd": "fsr.data._sbd",
    "fsr.data.scenes": "fsr.data._scenes",
    "fsr.data.stream": "fsr.data._stream",
    "fsr.data.views": "fsr.data._views",
    "fsr.data.voc": "fsr.data._voc",
    "fsr.inference.evaluation": "fsr.inference._evaluation",
    "fsr.inference.export": "fsr.inference._export",
    "fsr.inference.export_folder": "fsr.inference._export_folder",
    "fsr.inference.export_reading": "fsr.inference._export_reading",
    "fsr.inference.image_labels": "fsr.inference._image_labels",
    "fsr.inference.label_sources": "fsr.inference._label_sources",
    "fsr.inference.loading": "fsr.inference._loading",
    "fsr.inference.maps": "fsr.inference._maps",
    "fsr.inference.photographs": "fsr.inference._photographs",
    "fsr.inference.prediction": "fsr.inference._prediction",
    "fsr.inference.provenance": "fsr.inference._provenance",
    "fsr.inference.report": "fsr.inference._report",
    "fsr.inference.runner": "fsr.inference._runner",
    "fsr.inference.writing": "fsr.inference._writing",
    "fsr.losses.boundary": "fsr.losses._boundary",
    "fsr.losses.center": "fsr.losses._center",
    "fsr.losses.classification": "fsr.losses._classification",
    "fsr.losses.dense_energy": "fsr.losses._dense_energy",
    "fsr.losses.ptc": "fsr.losses._ptc",
    "fsr.losses.reinforcement": "fsr.losses._reinforcement",
    "fsr.losses.segmentation": "fsr.losses._segmentation",
    "fsr.metrics.labels": "fsr.metrics._labels",
    "fsr.metrics.segmentation": "fsr.metrics._segmentation",
    "fsr.metrics.sweep": "fsr.metrics._sweep",
    "fsr.metrics.trimap": "fsr.metrics._trimap",
    "fsr.refine.crf_pool": "fsr.refine._crf_pool",
    "fsr.refine.dense_crf": "fsr.refine._dense_crf",
    "fsr.refine.mean_field": "fsr.refine._mean_field",
    "fsr.refine.par": "fsr.refine._par",
    "fsr.refine.pseudo_labels": "fsr.refine._pseudo_labels",
    "fsr.scenes_encoder": "fsr.backbone._scenes_encoder",
    "fsr.visualize.attention": "fsr.visualize._attention",
    "fsr.visualize.boundaries": "fsr.visualize._boundaries",
    "fsr.visualize.entropy": "fsr.visualize._entropy",
    "fsr.visualize.entropy_plot": "fsr.visualize._entropy_plot",
    "fsr.visualize.heatmap": "fsr.visualize._heatmap",
    "fsr.visualize.labels": "fsr.visualize._labels",
    "fsr.visualize.panels": "fsr.visualize._panels",
    "fsr.visualize.recompute": "fsr.visualize._recompute",
    "fsr.visualize.sheets": "fsr.visualize._sheets",
    "fsr.visualize.sweep": "fsr.visualize._sweep",
    "fsr.visualize.visit": "fsr.visualize._visit",
}


class _Moved(ModuleType):
    """A module at its old place, which can be called where a function of the room has its name.

    The import binds it to that name in the room, in place of the function.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function of this module's name."""
        return vars(self)["__called__"](*args, **options)


class _Redirect:
    """Finds modules under their old names, once nothing else does, and loads the new ones."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module that has moved, None for all others."""
        return ModuleSpec(name, self) if name in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Warn, and return an empty module that the names are looked up in."""
        home = MOVED[spec.name]
        room = ".".join(home.split(".")[:2])
        warnings.warn(
            f"{spec.name} has moved: import its names from {room}; the old name goes with the "
            "next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return _Moved(spec.name, f"Moved to {room}.")

    def exec_module(self, module: ModuleType) -> None:
        """Give the module all names of the new one."""
        home = importlib.import_module(MOVED[module.__name__])
        own = {"__name__", "__spec__", "__loader__", "__package__", "__doc__"}
        vars(module).update({key: value for key, value in vars(home).items() if key not in own})
        # Names that have gone on to another file of the room are found through its face.
        face = importlib.import_module(".".join(home.__name__.split(".")[:2]))
        vars(module)["__getattr__"] = functools.partial(getattr, face)
        vars(module)["__called__"] = getattr(face, module.__name__.rpartition(".")[2], None)


def redirect_old_modules() -> None:
    """Let imports find the old names, after all other finders have failed; once per process."""
    if not any(isinstance(finder, _Redirect) for finder in sys.meta_path):
        sys.meta_path.append(_Redirect())
