"""Pictures of a report: which, with what layers, and what stands below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsr._core.palette import voc_palette
from fsr.report._numbers import known, percent
from fsr.report._run import Run

LAYERS = {
    "image": "image",
    "cam": "CAM",
    "pseudo": "pseudo label",
    "prediction": "prediction",
    "truth": "truth",
}
# Layers that hide the image; label maps let it through.
OPAQUE = ("cam",)
DATA = ("data:image/jpeg;base64,", "data:image/png;base64,")


def picture_groups(run: Run, most: int | None) -> list[dict[str, Any]]:
    """Return the groups of pictures, each with a title and its pictures.

    Args:
        run: the run.
        most: pictures of each group to show; None for all that were drawn.
    """
    drawn = run.pictures.get("pictures", {})
    scores = run.scores.get("networks", {})
    masks = any(known(v) for each in scores.values() for v in each["image_iou"])
    worst = "The worst images" if masks else "The least certain images"
    groups = []
    for key, title in (("first", "Images of the evaluation"), ("worst", worst)):
        indices = run.pictures.get(key, [])[:most]
        pictures = [_picture(run, int(index), drawn[str(index)]) for index in indices]
        if pictures:
            groups.append({"key": key, "title": title, "pictures": pictures})
    return groups


def _picture(run: Run, index: int, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a picture."""
    layers = [
        {"key": key, "name": name, "data": found[key], "opaque": key in OPAQUE}
        for key, name in LAYERS.items()
        if str(found.get(key, "")).startswith(DATA)
    ]
    width, height = (int(side) for side in found["size"])
    told = []
    for network, scores in run.scores.get("networks", {}).items():
        values = scores["image_iou"]
        if index < len(values) and known(values[index]):
            told.append(f"IoU {percent(values[index])} ({network})")
        elif known(scores["image_certainty"][index]):
            told.append(f"certainty {percent(scores['image_certainty'][index])} ({network})")
    names = run.class_names
    classes = [int(label) + 1 for label in found["classes"] if int(label) + 1 < len(names)]
    return {
        "name": str(found["name"]),
        "width": width,
        "height": height,
        "layers": layers,
        "told": told,
        "classes": [{"name": names[label], "colour": colour(label)} for label in classes],
    }


def colour(label: int) -> str:
    """Return the colour of a label as a page spells it.

    Example:
        >>> colour(1), colour(255)
        ('#800000', '#e0e0c0')
    """
    red, green, blue = (int(part) for part in voc_palette()[label])
    return f"#{red:02x}{green:02x}{blue:02x}"


def legend(names: Sequence[str]) -> list[dict[str, str]]:
    """Return the labels with their colours, without background, and what is undecided last."""
    rows = [{"name": name, "colour": colour(place + 1)} for place, name in enumerate(names[1:])]
    return [*rows, {"name": "undecided", "colour": colour(255)}]
