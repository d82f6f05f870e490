"""Files of every kind with their bytes changed at random: read, or refused by their name.

``FSR_FUZZ=50000 pytest tests/trust/test_readers.py`` tries so many files in all; the seed of the
changes is ``FSR_SEED``.
"""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fsr.data import (
    VOC2012,
    labels_from_coco,
    labels_from_cvat,
    labels_from_labelstudio,
    labels_from_voc,
    labels_from_yolo,
    read_image,
    read_label_map,
    read_labels,
    read_photograph,
)
from fsr.segmenter import SingleStageSegmenter
from fsr.train import load_config

TRIES = int(os.environ.get("FSR_FUZZ", "600"))
SEED = int(os.environ.get("FSR_SEED", "0"))
# What damage of a text likely looks like: what its format gives a meaning, and what no text holds.
PIECES = (
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"{", b"}",
    b"[", b"]", b"<", b">", b"&", b":", b"null", b"NaN", b"-1", b"1e999", b"9" * 25, b"[" * 2000,
    b"../", b"\\", b"${x}", b"&a *a", b"!!python/object:os.system", "\u200b".encode(), b"\xe9",
)  # fmt: skip
Reader = Callable[[Path], Any]


def _table(path: Path) -> None:
    path.write_text("image,labels\na.jpg,cat;dog\nb/c.png,dog\nd.jpg,\n")


def _columns(path: Path) -> None:
    path.write_text("image,cat,dog\na.jpg,1,0\nb/c.png,0,1\nd.jpg,1,1\n")


def _coco(path: Path) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 8, "height": 6} for n in (1, 2)]
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
    shape = {"segmentation": [[1, 1, 5, 1, 5, 5]], "bbox": [1, 1, 4, 4], "area": 8, "iscrowd": 0}
    annotations = [{"id": 1, "image_id": 1, "category_id": 9, **shape}]
    path.write_text(
        json.dumps({"images": images, "categories": categories, "annotations": annotations})
    )


def _xml(path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox>"
    thing = f"<object><name>cat</name><difficult>0</difficult>{box}</object>"
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{thing}</annotation>")


def _cvat(path: Path) -> None:
    shapes = '<box label="cat" xtl="1" ytl="1" xbr="4" ybr="4"/><tag label="dog"/>'
    image = f'<image id="0" name="a/b.jpg" width="8" height="6">{shapes}</image>'
    path.write_text(f"<annotations><version>1.1</version>{image}</annotations>")


def _labelstudio(path: Path) -> None:
    regions = [
        {"type": "choices", "value": {"choices": ["cat"]}},
        {"value": {"brushlabels": ["d"]}},
    ]
    image = "/data/local-files/?d=a/b.jpg"
    annotations = [{"was_cancelled": False, "ground_truth": False, "result": regions}]
    path.write_text(json.dumps([{"id": 1, "data": {"image": image}, "annotations": annotations}]))


def _yolo(path: Path) -> None:
    (path.parent / "labels").mkdir(exist_ok=True)
    (path.parent / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    path.write_text("path: .\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n")


def _yolo_text(path: Path) -> None:
    (path.parent.parent / "data.yaml").write_text("names: [cat, dog]\n")
    path.write_text("1 0.5 0.5 0.25 0.25\n0 0 0 1 0 1 1 0 1\n")


def _list(path: Path) -> None:
    """A folder in VOC's layout, whose list is the file."""
    root = path.parent / "voc"
    for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("2007_000032", "2007_000039"):
        Image.new("RGB", (8, 6)).save(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(
            root / "SegmentationClass" / f"{name}.png"
        )
    path.write_text("2007_000032\n2007_000039\n")


def _read_list(path: Path) -> None:
    root = path.parent / "voc"
    (root / "ImageSets" / "Segmentation" / "val.txt").write_bytes(path.read_bytes())
    data = VOC2012(root, "val")
    for index in range(len(data)):
        data[index]


def _yaml(path: Path) -> None:
    path.write_text(
        "seed: 3\nsteps: 12\ndata: {name: scenes, train_size: 8, eval_size: 2}\noptim:\n  lr: 0.1\n"
    )


def _photograph(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix == ".png" else "JPEG")


def _mask(path: Path) -> None:
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(path)


def _model(path: Path) -> None:
    size = {"patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
    options = {**size, "class_token": False, "global_pool": ""}
    torch.manual_seed(0)
    SingleStageSegmenter(
        2, "vit_tiny_patch16_224", image_size=16, aux_block=-2, projection_dim=4,
        backbone_options=options, projector_options={"hidden_dim": 4, "bottleneck_dim": 4},
        decoder_options={"hidden_dim": 4},
    ).save(path)  # fmt: skip


KINDS: dict[str, tuple[str, Callable[[Path], None], Reader, int]] = {
    "table": ("labels.csv", _table, read_labels, 1000),
    "table of columns": ("labels.csv", _columns, read_labels, 1000),
    "COCO": ("instances.json", _coco, labels_from_coco, 1000),
    "VOC XML": ("xml/a.xml", _xml, lambda path: labels_from_voc(path.parent), 1000),
    "CVAT XML": ("cvat.xml", _cvat, labels_from_cvat, 1000),
    "Label Studio": ("tasks.json", _labelstudio, labels_from_labelstudio, 1000),
    "YOLO data": ("yolo/data.yaml", _yolo, lambda path: labels_from_yolo(path.parent), 1000),
    "YOLO text": (
        "labels/a.txt",
        _yolo_text,
        lambda path: labels_from_yolo(path.parent.parent),
        1000,
    ),
    "VOC list": ("val.txt", _list, _read_list, 1000),
    "configuration": ("own.yaml", _yaml, lambda path: load_config(str(path)), 1000),
    "PNG photograph": ("a.png", _photograph, read_photograph, 1000),
    "JPEG photograph": ("a.jpg", _photograph, read_image, 1000),
    "mask": ("m.png", _mask, lambda path: read_label_map(path, 3, (8, 6)), 1000),
    "model": ("m.safetensors", _model, SingleStageSegmenter.load, 4000),
}


def damaged(sound: bytes, rng: random.Random, upto: int) -> bytes:
    """Return bytes with one to four changes: flipped, cut, repeated, or other ones put in.

    Args:
        sound: the bytes of a sound file.
        rng: of the changes.
        upto: most of them fall into so many first bytes, where headers are.
    """
    data = bytearray(sound)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(1, min(len(data), upto)))
        match rng.randrange(5):
            case 0 if data:
                data[place % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                del data[place:]
            case 2:
                del data[place : place + rng.randint(1, 16)]
            case 3:
                data[place:place] = data[place : place + rng.randint(1, 64)]
            case _:
                data[place : place + rng.randint(0, 4)] = rng.choice(PIECES)
    return bytes(data)


def outcome(read: Reader, path: Path) -> Exception | None:
    """Return what reading a file raises."""
    try:
        read(path)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_by_its_name(kind: str, tmp_path: Path) -> None:
    name, write, read, upto = KINDS[kind]
    path, rng = tmp_path / name, random.Random(f"{SEED} {kind}")
    path.parent.mkdir(exist_ok=True)
    write(path)
    read(path)
    sound, refused, named = path.read_bytes(), 0, {path.name, path.stem, "voc"}
    for turn in range(TRIES // len(KINDS)):
        path.write_bytes(damaged(sound, rng, upto))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = outcome(read, path)
        if error is None:
            continue
        refused += 1
        seen = f"try {turn}: {error!r} of {path.read_bytes()[:400]!r}"
        assert isinstance(error, ValueError | OSError), seen
        assert any(part in str(error) for part in named), seen
        assert "\n" not in str(error).strip(), seen
    assert refused > TRIES // len(KINDS) // 10, "hardly a file was damaged"
