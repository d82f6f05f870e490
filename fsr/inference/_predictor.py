"""A trained network ready for use: pictures in, masks with class names out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fsr.errors import DataError
from fsr.inference._folder_run import FolderRun, class_names_of, predict_folder
from fsr.inference._given_pictures import Given, given_pictures
from fsr.inference._options import with_changes
from fsr.inference._photograph_reading import Photographs
from fsr.inference._prediction import check_prediction, numbered, photographs_of
from fsr.inference._prediction_options import PredictionChanges, PredictionOptions
from fsr.inference._prediction_settings import labels_digest, made_by_file, made_by_network
from fsr.inference._runner import find_segmenter
from fsr.inference._segmentation import Segmentation

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class Predictor:
    """Segments pictures of any kind and size with a trained network.

    :func:`fsr.load` makes one. Masks are those of ``fsr predict``, as both run the same code.

    Args:
        model: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled, or an
            :class:`fsr.EMATeacher`; it is moved to ``device`` and stays there.
        options: how pictures are segmented; the defaults if None.
        source: file of the network, for the record beside results in a folder.
        changes: fields of :class:`PredictionOptions` to change, such as ``scales=(1.0,)``,
            ``tile=1024``, ``device="cuda"`` or ``crf=DenseCRF()``.

    Attributes:
        model: the network.
        class_names: names of the C classes.
        options: how pictures are segmented.

    Raises:
        TypeError: ``model`` is no segmenter, or an option has the wrong type.
        ValueError: the network has no decoder, or an option is out of range.

    Example:
        >>> from fsr import SingleStageSegmenter
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> predictor = Predictor(model, class_names=("cat", "dog"), scales=(1.0,))
        >>> predictor(np.zeros((40, 32, 3), dtype=np.uint8)).mask.shape
        torch.Size([40, 32])
        >>> [result.name for result in predictor([Image.new("L", (32, 40)), torch.zeros(3, 8, 8)])]
        ['images[0]', 'images[1]']
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        options: PredictionOptions | None = None,
        source: Path | None = None,
        **changes: Unpack[PredictionChanges],
    ) -> None:
        self.model = find_segmenter(model)
        chosen = with_changes(PredictionOptions, options, changes)
        check_prediction(self.model, chosen)
        self.class_names = class_names_of(self.model, chosen)
        # It stays where it is moved to here; a call may name another device for itself.
        self.options = with_changes(PredictionOptions, chosen, {"device": None})
        self.source = source
        if chosen.device is not None:
            self.model.to(chosen.device)

    def to(self, device: torch.device | str) -> Self:
        """Move the network; return the predictor."""
        self.model.to(device)
        return self

    @overload
    def __call__(
        self,
        images: Image.Image,
        **changes: Unpack[PredictionChanges],
    ) -> Segmentation: ...

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], **changes: Unpack[PredictionChanges]
    ) -> list[Segmentation]: ...

    @overload
    # A path may be that of a folder, and four axes are a batch.
    def __call__(
        self,
        images: str | Path | np.ndarray[Any, Any] | Tensor,
        **changes: Unpack[PredictionChanges],
    ) -> Any: ...

    def __call__(self, images: Any, **changes: Unpack[PredictionChanges]) -> Any:
        """Segment one picture, or several.

        Args:
            images: path of a file, PIL image, array ``(height, width[, channels])``, tensor
                ``([channels,] height, width)``; a list of these, a batch of four axes, or a folder,
                which stands for all images in it. Pixels are handed over as they are, bytes or
                between 0 and 1, never normalised.
            changes: options to change for this call, such as ``probabilities=True``.

        Returns:
            A :class:`Segmentation`, or a list of them in the order of the pictures.

        Raises:
            MissingDataError: a path does not exist.
            DataError: a picture cannot be read.
            TypeError: something is no picture, or an option has the wrong type.
            ValueError: an option is out of range.
        """
        chosen = with_changes(PredictionOptions, self.options, changes)
        given = given_pictures(images, self.model.backbone.in_chans)
        found = dict(self._numbered(given, chosen))
        results = [found[number] for number in range(len(given.files))]
        return results[0] if given.single else results

    def stream(self, images: Any, **changes: Unpack[PredictionChanges]) -> Iterator[Segmentation]:
        """Segment pictures one after the other; only a few are held at a time.

        With ``batch_size`` 1 results come in the order of the pictures; else those of a batch come
        together.

        Args:
            images: as of a call.
            changes: options to change for this call.

        Returns:
            Generator of results.

        Raises:
            DataError: a picture cannot be read.
        """
        chosen = with_changes(PredictionOptions, self.options, changes)
        given = given_pictures(images, self.model.backbone.in_chans)
        return (result for _, result in self._numbered(given, chosen))

    def to_folder(
        self,
        paths: str | Path | Iterable[str | Path],
        output: str | Path,
        *,
        overlays: bool = False,
        resume: bool = False,
        **changes: Unpack[PredictionChanges],
    ) -> FolderRun:
        """Segment image files and folders of them into a folder, as ``fsr predict`` does.

        Args:
            paths: image files and folders.
            output: folder to write to: ``masks``, ``classes.txt``, and what is asked for.
            overlays: write overlays too.
            resume: keep what an earlier run made of the same images with the same settings.
            changes: options to change for this call, such as ``probabilities=True``.

        Returns:
            What became of it; files that cannot be read are named there, and the others go on.

        Raises:
            MissingDataError: a path does not exist.
            DataError: there is no image, or the folder holds files of somebody's own.
            SettingsError: the folder was begun with other settings, or another run writes to it.
            OutputError: it cannot be written.
        """
        chosen = with_changes(PredictionOptions, self.options, changes)
        digest = labels_digest(chosen)
        made_by = (
            made_by_network(self.model, digest)
            if self.source is None
            else made_by_file(self.source, digest)
        )
        return predict_folder(
            self.model, paths, output, chosen, overlays=overlays, resume=resume, made_by=made_by
        )

    def _numbered(
        self, given: Given, options: PredictionOptions
    ) -> Iterator[tuple[int, Segmentation]]:
        """Yield results with the place of their picture."""
        check_prediction(self.model, options)
        photographs = photographs_of(self.model, given.files, options, given.values)
        names = class_names_of(self.model, options)
        for number, result in numbered(self.model, photographs, options):
            if result.error is not None or result.labels is None:
                raise DataError(result.error or f"{result.path}: no result")
            in_memory = given.values[number] is not None
            yield (
                number,
                Segmentation(
                    result.labels,
                    names,
                    result.probabilities,
                    result.name,
                    None if in_memory else result.path,
                    partial(_shown, photographs, number),
                ),
            )

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:3]) + (", ..." if len(self.class_names) > 3 else "")
        where = "" if self.source is None else f", from {self.source}"
        return f"Predictor({len(self.class_names)} classes: {names}{where})"


def _shown(photographs: Photographs, number: int) -> Image.Image:
    """Return a picture as people see it."""
    picture = photographs.picture(number)
    if isinstance(picture, Image.Image):
        return picture
    # Bands have no colours: the first three, each from its darkest to its brightest but a few.
    shown = picture[[0, 1, 2]] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    few = shown.flatten(1)[:, :: max(1, shown[0].numel() // 100_000)]
    ends = torch.quantile(few, torch.tensor([0.02, 0.98]), dim=1)[..., None, None]
    scaled = (shown - ends[0]) / (ends[1] - ends[0]).clamp_min(1e-12)
    return Image.fromarray((scaled.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy())
