"""The recipes under examples/: each runs, is short, and uses public names alone."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from fsr import SingleStageSegmenter
from fsr.cam import cam_to_labels, class_activation_maps, normalize_cam
from fsr.data import COCO2014, SCENE_SEEDS, VOC2012, Scenes, write_label_map
from fsr.inference import predict_paths
from fsr.losses import patch_token_contrast
from fsr.presets import LOSS_TERMS
from tests.processes import run_script

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RECIPES = ("coco", "one_component", "own_folder", "segment_images", "voc")
# The small encoder that is part of the package; a patch is 8 pixels.
SMALL = ["--backbone", "fsr_scenes_tiny", "--image-size", "64", "--batch-size", "2", "--workers=0"]


def run(name: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Run a script in a process of its own; return its exit status and what it printed."""
    script, options = EXAMPLES / f"{name}.py", map(str, arguments)
    done = run_script(script, *options, environment={"OMP_NUM_THREADS": "1"})
    return done.returncode, done.stdout, done.stderr


def load_example(name: str) -> ModuleType:
    """Load a script as a module, without running it."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_photograph(path: Path, seed: int = 0, size: tuple[int, int] = (80, 72)) -> None:
    """Write an image with something to see in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).save(path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two images of PASCAL VOC with their masks, labels from these."""
    root = tmp_path / "VOC2012"
    for seed, name in enumerate(("a", "b")):
        write_photograph(root / "JPEGImages" / f"{name}.jpg", seed)
        mask = torch.zeros(72, 80, dtype=torch.int64)
        mask[10:50, 10:50] = 8 + seed  # cat, chair
        (root / "SegmentationClass").mkdir(exist_ok=True)
        write_label_map(root / "SegmentationClass" / f"{name}.png", mask)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two images of MS COCO with a square on each."""
    root = tmp_path / "coco"
    images, annotations = [], []
    for number, category in ((1, 17), (2, 62)):
        file = f"COCO_train2014_{number:012d}.jpg"
        write_photograph(root / "train2014" / file, number)
        images.append({"id": number, "file_name": file, "width": 80, "height": 72})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": category,
                "segmentation": [[10, 10, 50, 10, 50, 50, 10, 50]],
                "area": 1600.0,
                "iscrowd": 0,
                "bbox": [10, 10, 40, 40],
            }
        )
    categories = [{"id": 17, "name": "cat"}, {"id": 62, "name": "chair"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train2014.json").write_text(json.dumps(content))
    return root


# -- what they are made of ------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_at_most_150_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_uses_public_names_alone_and_no_other_example(name: str) -> None:
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    siblings = {path.stem for path in EXAMPLES.glob("*.py")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{each}" for each in modules]
            for module in modules:
                first, *inner = module.split(".")
                assert first not in siblings, module
                assert first == "__future__" or not any(p.startswith("_") for p in inner), module
                if first == "fsr" and isinstance(node, ast.ImportFrom):
                    face = importlib.import_module(str(node.module))
                    public = inner[-1] in getattr(face, "__all__", dir(face))
                    assert public or find_spec(module) is not None, module  # a name, or a room


# -- what they do ---------------------------------------------------------------------------------


def check_two_networks(folder: Path, class_names: tuple[str, ...]) -> None:
    """Both networks were saved with the names of the classes, and the teacher lags behind."""
    student, teacher = (
        SingleStageSegmenter.load(folder / f"{name}.safetensors") for name in ("student", "teacher")
    )
    assert student.class_names == teacher.class_names == class_names
    assert not torch.equal(student.classifier.weight, teacher.classifier.weight)


@pytest.mark.slow
def test_voc_trains_measures_and_saves(voc: Path, tmp_path: Path) -> None:
    options: list[str | Path] = [
        "--splits",
        "train",
        "train",
        "--steps",
        "3",
        "--output",
        tmp_path / "run",
    ]
    status, printed, errors = run("voc", voc, *options, *SMALL)
    assert status == 0, errors
    line = printed.splitlines()[0]
    assert line.startswith("step 3: ")
    # With the weights at their last phase all terms are computed, in the order of the sum.
    assert re.findall(r"(\w+) -?\d+\.\d{3}", line) == list(LOSS_TERMS)
    assert re.findall(r"^  (\w+): prediction [\d.]+%, CAM [\d.]+% mIoU$", printed, re.M) == [
        "student",
        "teacher",
    ]
    check_two_networks(tmp_path / "run", VOC2012.class_names)


@pytest.mark.slow
def test_voc_trains_in_two_processes(voc: Path, tmp_path: Path) -> None:
    options: list[str] = ["--splits", "train", "train", "--steps", "2"]
    options += ["--output", str(tmp_path / "run"), *SMALL]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def process(rank: int) -> CompletedProcess[str]:  # as torchrun and accelerate launch start it
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        return run_script(EXAMPLES / "voc.py", str(voc), *options, environment=place)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(process, range(2)))
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    printed = done[0].stdout + done[1].stdout
    assert printed.count("student: prediction") == printed.count("teacher: prediction") == 1
    check_two_networks(tmp_path / "run", VOC2012.class_names)


@pytest.mark.slow
def test_coco_trains_measures_and_saves(coco: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    options: list[str | Path] = [
        "--splits",
        "train",
        "train",
        "--steps",
        "2",
        "--output",
        tmp_path / "run",
    ]
    status, printed, errors = run("coco", coco, *options, *SMALL)
    assert status == 0, errors
    assert re.search(r"^pseudo_high +0.65$", printed, re.M)
    assert re.search(r"^step 2: classification [\d.]+ .* confident [\d.]+$", printed, re.M)
    check_two_networks(tmp_path / "run", COCO2014(coco).class_names)
    assert len(list((tmp_path / "run" / "masks").rglob("*.png"))) == 2


@pytest.mark.slow
def test_own_folder_goes_from_folders_to_masks(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "run"
    sizes = {"cat/1.jpg": (80, 72), "cat/2.png": (70, 90), "dog/1.jpg": (64, 64)}
    for seed, (name, size) in enumerate(sizes.items()):
        write_photograph(photos / name, seed, size)
    status, printed, errors = run("own_folder", photos, "--steps=2", "--output", output, *SMALL)
    assert status == 0, errors
    assert printed.splitlines()[:2] == ["cat: 2 images", "dog: 1 images"]
    assert (output / "labels.csv").read_text().splitlines()[1:] == [f"{n},{n[:3]}" for n in sizes]
    assert SingleStageSegmenter.load(output / "teacher.safetensors").class_names == ("cat", "dog")
    for name, size in sizes.items():
        mask = Image.open((output / "masks" / name).with_suffix(".png"))
        assert mask.size == size
        # Only the class that the folder names, and the background.
        assert set(np.unique(np.asarray(mask))) <= {0, 1 if name.startswith("cat") else 2}
        assert (output / "overlays" / name).with_suffix(".jpg").is_file()


def test_own_folder_takes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("a.jpg", "b.jpg", "unlisted.jpg")):
        write_photograph(tmp_path / "photos" / name, seed)
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\na.jpg,cat;dog\nb.jpg,\n")
    options = argparse.Namespace(photos=tmp_path / "photos", labels=table)
    dataset = load_example("own_folder").read_dataset(options)
    assert dataset.names == ("a", "b")
    assert capsys.readouterr().out.splitlines() == ["cat: 1 images", "dog: 1 images"]


@pytest.mark.slow
def test_one_component_trains_and_measures() -> None:
    status, printed, errors = run("one_component", "--steps=2", "--batch=2", "--images=2")
    assert status == 0, errors
    found = re.fullmatch(
        r"step 2: loss [\d.]+\nlabel F1 [\d.]+%, CAM mIoU [\d.]+%, "
        r"mean cosine of an image's tokens (-?[\d.]+)\n",
        printed,
    )
    assert found is not None, printed
    assert -1 <= float(found[1]) <= 1


def test_one_component_adds_its_loss_to_a_foreign_one(capsys: pytest.CaptureFixture[str]) -> None:
    script = load_example("one_component")
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        script_model = timm.create_model("fsr_scenes_tiny", pretrained=True)
        script.train(script_model, argparse.Namespace(steps=1, batch=2, weight=weight))
        losses.append(float(capsys.readouterr().out.rpartition(" ")[2]))
    images, labels, _ = script.load(Scenes(2, seed=SCENE_SEEDS.train, masks=False), range(2))
    model: Any = timm.create_model("fsr_scenes_tiny", pretrained=True).train()
    with torch.no_grad():
        tokens = model.forward_features(images)
        cam = class_activation_maps(tokens, model.head.weight, (12, 12))
    token_labels = cam_to_labels(normalize_cam(cam), labels, low=0.25, high=0.7)
    expected = patch_token_contrast(tokens, token_labels.flatten(1)).item()
    assert losses[1] - losses[0] == pytest.approx(expected, abs=2e-3)  # three digits are printed
    assert expected > 0.01


@pytest.mark.slow
def test_segment_images_writes_what_the_network_predicts(tmp_path: Path) -> None:
    size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
    model = SingleStageSegmenter(
        2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size
    )
    model.save(tmp_path / "network.safetensors", class_names=("cat", "dog"))
    write_photograph(tmp_path / "in" / "a.jpg", 1)
    write_photograph(tmp_path / "in" / "inner" / "b.png", 2, size=(50, 40))
    (tmp_path / "in" / "broken.jpg").write_text("no image")
    output = tmp_path / "out"
    status, printed, errors = run(
        "segment_images", tmp_path / "network.safetensors", tmp_path / "in", "--output", output
    )
    assert status == 1
    assert re.fullmatch(r"\S+broken\.jpg: .+\n", errors)
    predictions = predict_paths(model.eval(), tmp_path / "in")
    expected = {p.name: p.labels for p in predictions if p.labels is not None}
    for name in ("a", "inner/b"):
        mask = torch.from_numpy(np.array(Image.open(output / f"{name}.png"))).long()
        assert torch.equal(mask, expected[name])
        covered = (mask > 0).float().mean().item()
        line = next(line for line in printed.splitlines() if f"{name}." in line)
        assert line.endswith(f"{covered:.0%} covered")
        assert (output / f"{name}_overlay.jpg").is_file()
    assert not (output / "broken.png").exists()
    assert (output / "legend.png").is_file()
