"""Image files segmented into a folder: the run behind ``fsr predict`` and ``to_folder``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fsr._core.outputs import FullDisk, check_output, is_full
from fsr.errors import DataError
from fsr.inference._given_pictures import suffixes_for
from fsr.inference._options import with_changes
from fsr.inference._photographs import Found, check_apart, search_images
from fsr.inference._prediction import Prediction, predict_paths
from fsr.inference._prediction_folder import PredictionFolder
from fsr.inference._prediction_options import PredictionOptions
from fsr.inference._prediction_settings import prediction_settings
from fsr.inference._runner import check_decoder
from fsr.inference._writing import check_own
from fsr.segmenter import SingleStageSegmenter

# Called with (what was found, images to do) before the first is done.
Begin = Callable[[Found, int], None]


class FolderRun(NamedTuple):
    """What became of a folder.

    Attributes:
        folder: where the results are.
        done: images that were segmented now.
        kept: images whose results of an earlier run stayed.
        failed: what went wrong, a line for each image or folder.
        left_out: what was not taken for an image and why, one line each.
    """

    folder: Path
    done: int
    kept: int
    failed: list[str]
    left_out: list[str]


def predict_folder(
    network: SingleStageSegmenter,
    paths: str | Path | Iterable[str | Path],
    output: str | Path,
    options: PredictionOptions,
    *,
    overlays: bool = False,
    resume: bool = False,
    made_by: dict[str, object],
    begin: Begin | None = None,
) -> FolderRun:
    """Segment image files and folders of them into a folder.

    Args:
        network: the network.
        paths: image files and folders.
        output: folder to write to.
        options: how they are segmented; with ``class_names``, which name the labels.
        overlays: write overlays too.
        resume: keep what an earlier run made of the same images.
        made_by: what the settings say of network and labels.
        begin: called once the images are known.

    Raises:
        DataError: there is no image, or the folder holds files of somebody's own.
        SettingsError: the folder was begun with other settings, or another run writes to it.
        OutputError: it cannot be written.
    """
    folder, names = Path(output), class_names_of(network, options)
    check_decoder(network)  # before anything is written
    check_output(folder)
    check_own(folder)  # nobody's masks are replaced
    found = search_images(paths, output=folder, suffixes=suffixes_for(network.backbone.in_chans))
    check_apart(found.files, folder)
    settings = {**prediction_settings(options), **made_by}
    writing = {"overlays": overlays, "probabilities": options.probabilities}
    reading = vars(options.reading())
    with PredictionFolder.open(folder, settings, class_names=names, **writing, **reading) as held:
        todo = held.missing(found.files, anew=not resume)
        if begin is not None:
            begin(found, len(todo))
        wrong: list[str] = []
        if todo:
            chosen = with_changes(PredictionOptions, options, {"class_names": names})
            wrong = _write(held, predict_paths(network, todo, options=chosen))
    kept = len(found.files) - len(todo)
    failed = [*found.failed, *wrong]
    return FolderRun(folder, len(todo) - len(wrong), kept, failed, found.left_out)


def class_names_of(network: SingleStageSegmenter, options: PredictionOptions) -> tuple[str, ...]:
    """Return the names of the C classes: those given, the network's, or numbers."""
    if options.class_names is not None:
        return tuple(options.class_names)
    return network.class_names or tuple(f"class{i}" for i in range(1, network.num_classes + 1))


def _write(folder: PredictionFolder, results: Iterable[Prediction]) -> list[str]:
    """Write all results; return what went wrong: the others go on while there is room."""
    failed, full = [], FullDisk()
    for result in results:
        said = result.error
        if said is None:
            said, no_room = _written(folder, result)
            full.count(said if no_room else None)
        if said is not None:
            failed.append(said)
    return failed


def _written(folder: PredictionFolder, result: Prediction) -> tuple[str | None, bool]:
    """Write the files of one result; return what went wrong, and whether room was wanting."""
    try:
        folder.write(result)
    except (DataError, OSError) as error:
        return str(error), is_full(error)
    return None, False
