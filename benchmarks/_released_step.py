"""The released code's own training loop, one step at a time, from a clone that the user made.

Nothing of the clone is copied. Its `train_voc.py` is imported and its `train` is run as it stands;
what it cannot do without (a compiled filter, a GPU, VOC, downloaded weights) is put in its place
from outside. Its loop asks a data loader for each batch: that is where it is halted and timed.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch

# Imported at the top of the clone's files, but not part of a step.
UNNEEDED = ("texttable", "imageio", "pydensecrf", "sklearn", "matplotlib", "cv2", "bilateralfilter")


class Halted(BaseException):
    """Ends the loop; not an `Exception`, since the loop catches those."""


def run_released_loop(
    clone: Path,
    *,
    batch: Callable[[], tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    between_steps: Callable[[], bool],
    device: str,
    imported: Callable[[], None],
    options: dict[str, Any],
) -> None:
    """Run the loop until it is told to stop.

    Args:
        clone: folder of the clone.
        batch: returns view 1, view 2 and labels of a step, on the CPU.
        between_steps: called before every step; False ends the loop.
        device: "cpu" replaces every `.cuda()` by nothing; "cuda" leaves them.
        imported: called once everything is imported.
        options: attributes of the loop's arguments to set.
    """
    if not (clone / "train_voc.py").is_file():
        raise SystemExit(f"--reference: expected a clone that holds train_voc.py, got {clone}")
    sys.path.insert(0, str(clone))
    sys.meta_path.insert(0, _Unneeded())
    # A name that timm has given up, for what is now found in timm.layers.
    sys.modules["timm.models.layers"] = importlib.import_module("timm.layers")
    module: Any = importlib.import_module("train_voc")
    imported()

    build = module.build_model
    arguments = module.parser.parse_args([])
    arguments.work_dir = tempfile.mkdtemp()
    for name, value in options.items():
        setattr(arguments, name, value)

    class Steps:
        """Stands for the data loader: halts the loop before every batch."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __iter__(self) -> Iterator[Any]:
            while between_steps():
                view1, view2, labels = batch()
                yield None, [view1, view2], labels
            raise Halted

    changes: list[Any] = [
        mock.patch.object(module, "DataLoader", Steps),
        mock.patch.object(module, "build_model", lambda args, pretrained: build(args, False)),
        # Off on both sides: it needs the compiled filter, and is timed apart.
        mock.patch.object(
            module, "get_energy_loss", lambda **values: values["logit"].sum().mul(0.0)
        ),
        mock.patch.object(module.voc, "VOC12ClsDataset"),
        mock.patch.object(module.voc, "VOC12SegDataset"),
        mock.patch.object(module, "MultiviewTransform"),
    ]
    if device == "cpu":
        changes += [
            mock.patch.object(torch.Tensor, "cuda", lambda self, *_, **__: self),
            mock.patch.object(torch.nn.Module, "cuda", lambda self, *_, **__: self),
            mock.patch.object(torch.cuda, "get_device_name"),
        ]
    for change in changes:
        change.start()
    try:
        module.train(arguments)
    except Halted:
        pass
    finally:
        for change in changes:
            change.stop()


class _Unneeded(MetaPathFinder, Loader):
    """Finds modules that have every name in place of packages that a step does not need."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        return ModuleSpec(name, self, is_package=True) if top in UNNEEDED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: mock.MagicMock()  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None: ...
