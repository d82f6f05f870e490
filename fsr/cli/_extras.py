"""The extras of the package: which packages each brings, and what they are for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Extra(NamedTuple):
    """The packages of an extra by the names they are imported by, and what needs them."""

    packages: tuple[str, ...]
    enables: str


EXTRAS = {
    "train": Extra(("accelerate", "tensorboard", "omegaconf", "tqdm"), "fsr train"),
    "crf": Extra(
        ("pydensecrf",),
        "fsr evaluate, predict, export: --crf pydensecrf (--crf lattice needs none)",
    ),
    "voc": Extra(("scipy",), "fsr prepare voc"),
    "coco": Extra(("pycocotools",), "fsr prepare coco, --dataset coco, data.name=coco"),
    "viz": Extra(("matplotlib",), "the plot of fsr evaluate --sweep, figures of fsr.visualize"),
    "heic": Extra(("pillow_heif",), "photographs of telephones that end in .heic"),
    "bands": Extra(("tifffile",), "TIFF of more bands than three"),
    "hub": Extra(("huggingface_hub",), "networks from and to a model hub: fsr.load('user/name')"),
    "onnx": Extra(("onnx", "onnxruntime", "onnxscript"), "fsr export onnx"),
    "formats": Extra(("pycocotools", "shapely"), "fsr predict and convert --format, fsr.formats"),
    "edge": Extra(("skimage",), "preset.mask_strategy=edge, UncertainMasker(strategy='edge')"),
}


def pip_line(extra: str) -> str:
    """Return the command that installs an extra.

    Example:
        >>> pip_line("crf")
        "pip install 'fsr-wsss[crf]'"
    """
    return f"pip install 'fsr-wsss[{extra}]'"


def absent(extra: str) -> list[str]:
    """Return the packages of an extra that are not installed; none is imported."""
    return [name for name in EXTRAS[extra].packages if find_spec(name) is None]


def missing_package(error: ImportError) -> str | None:
    """Say which extra brings the package that was not found; None if no extra does.

    Example:
        >>> missing_package(ModuleNotFoundError("No module named 'omegaconf'", name="omegaconf"))
        "the package 'omegaconf' is needed: pip install 'fsr-wsss[train]'"
    """
    if "pip install 'fsr-wsss[" in str(error):
        return str(error)
    package = (error.name or "").partition(".")[0]
    for name, extra in EXTRAS.items():
        if package in extra.packages:
            return f"the package {package!r} is needed: {pip_line(name)}"
    return None
