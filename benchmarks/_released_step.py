"""The released code from a clone that the user made; its own training loop, one step at a time.

Nothing of the clone is copied. For a step, its `train_voc.py` is imported and its `train` is run as
it stands; what it cannot do without (a compiled filter, a GPU, VOC, downloaded weights) is put in
its place from outside. Its loop asks a data loader for each batch: there it is halted and timed.
"""

from __future__ import annotations

import contextlib
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
UNNEEDED = (
    "texttable",
    "imageio",
    "joblib",
    "pydensecrf",
    "sklearn",
    "matplotlib",
    "cv2",
    "bilateralfilter",
)


class Halted(BaseException):
    """Ends the loop; not an `Exception`, since the loop catches those."""


def open_clone(clone: Path, device: str) -> None:
    """Make the clone's modules importable in this process.

    Args:
        clone: folder of the clone.
        device: "cpu" replaces every `.cuda()` by nothing, for good; "cuda" leaves them.
    """
    if not (clone / "train_voc.py").is_file():
        raise SystemExit(f"--reference: expected a clone that holds train_voc.py, got {clone}")
    if str(clone) in sys.path:
        return
    sys.path.insert(0, str(clone))
    sys.meta_path.insert(0, _Unneeded())
    # A name that timm has given up, for what is now found in timm.layers.
    sys.modules["timm.models.layers"] = importlib.import_module("timm.layers")
    if device == "cpu":
        for owner in (torch.Tensor, torch.nn.Module):
            mock.patch.object(owner, "cuda", lambda self, *_, **__: self).start()
        mock.patch.object(torch.cuda, "get_device_name").start()


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
    open_clone(clone, device)
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
    for change in changes:
        change.start()
    try:
        module.train(arguments)
    except Halted:
        pass
    finally:
        for change in changes:
            change.stop()


def run_released_prediction(
    clone: Path,
    *,
    images: torch.Tensor,
    between_images: Callable[[], bool],
    device: str,
    imported: Callable[[], None],
    built: Callable[[torch.nn.Module], None],
    options: dict[str, Any],
) -> None:
    """Run the loop that predicts and scores VOC images until it is told to stop.

    Args:
        clone: folder of the clone.
        images: normalised images ``(n, 3, height, width)``, given in turn.
        between_images: called before every image; False ends the loop.
        device: "cpu" or "cuda".
        imported: called once everything is imported.
        built: called with the network.
        options: attributes of the loop's arguments to set.
    """
    open_clone(clone, device)
    module: Any = importlib.import_module("infer_voc")
    imported()
    module.args = module.parser.parse_args(["--checkpoint", ""])
    module.args.save_cam = False
    module.args.logits_dir = tempfile.mkdtemp()
    for name, value in options.items():
        setattr(module.args, name, value)
    torch.manual_seed(0)
    model = module.build_model(module.args, pretrained=False)
    built(model)
    classes = torch.zeros(1, module.args.num_classes - 1)
    truth = torch.zeros(1, *images.shape[-2:], dtype=torch.long)

    class Images:
        """Stands for the data loader: halts the loop before every image."""

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[Any]:
            number = 0
            while between_images():
                image = images[number % len(images)]
                number += 1
                yield ["image"], image[None], truth, classes
            raise Halted

    with contextlib.suppress(Halted):
        module.main_evaluate(model, Images())


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
