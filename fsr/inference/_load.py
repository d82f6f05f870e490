"""One call from a file, a folder of a run or the hub to a network ready for use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fsr.inference._network_source import find_network
from fsr.inference._prediction_options import PredictionChanges
from fsr.inference._predictor import Predictor
from fsr.segmenter import SingleStageSegmenter

if TYPE_CHECKING:
    from typing_extensions import Unpack


def load(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    **options: Unpack[PredictionChanges],
) -> Predictor:
    """Load a trained network, ready to segment pictures.

    Nothing that is loaded is ever run: a network is tensors and plain data in one file. Nothing is
    fetched unless ``source`` is the name of a repository.

    Args:
        source: file of a network (``model.safetensors``), folder of a run of training, of which the
            network is taken that its last evaluation scored higher, folder of
            :meth:`fsr.SingleStageSegmenter.save_pretrained`, or ``user/name`` on the Hugging Face
            hub, which is asked only where there is no such folder.
        revision: branch, tag or commit of the repository; its main branch if None.
        token: access token of the hub; None takes the one that the machine is logged in with.
        cache_dir: where fetched files are kept; the hub's own cache if None.
        options: fields of :class:`fsr.inference.PredictionOptions`: ``scales``, ``flip``, ``crf``,
            ``tile``, ``autocast``, ``batch_size`` and others; ``device`` is the graphics card where
            there is one.

    Returns:
        A :class:`fsr.inference.Predictor`.

    Raises:
        MissingDataError: there is no such file, folder or repository.
        DataError: the folder holds no network.
        ConnectionError: the hub cannot be reached, and nothing is cached.
        ImportError: the hub is to be asked and ``huggingface_hub`` is not installed.
        TypeError: an option has the wrong type, or there is no such option.
        ValueError: the file is none of this package or damaged, the network has no decoder, or an
            option is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> model.save(path, class_names=("cat", "dog"))
        >>> result = load(path, scales=(1.0,))(Image.new("RGB", (40, 32)))
        >>> result.mask.shape, result.names
        (torch.Size([32, 40]), ('background', 'cat', 'dog'))
    """
    path = find_network(source, revision=revision, token=token, cache_dir=cache_dir)
    model = SingleStageSegmenter.load(path)
    chosen: PredictionChanges = {**options}
    if chosen.get("device") is None:
        chosen["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    return Predictor(model, source=path, **chosen)
