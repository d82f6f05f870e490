"""The folder tutorial as a notebook, on a few small pictures: every command of the page is run."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fsr.data import SCENE_SEEDS, Scenes, write_label_map

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "your_images.md"

# Commands run in the notebook's own process, as each would import torch again, and on few steps.
SMALL = '''
import shlex
from IPython import get_ipython
from fsr.cli import main

MORE = {"train": """steps=2 data.image_size=64 data.batch_size=2 eval.every=2 eval.at_start=false
    eval.image_size=64 eval.cam_scales=[1.0] model.backbone=fsr_scenes_tiny
    model.backbone_options={} model.projection_dim=16
    'model.projector_options={hidden_dim: 16, bottleneck_dim: 8}'
    'model.decoder_options={hidden_dim: 8, dilation: 2}'
    preset.mask_block=2 preset.energy_scale=0.25 run.tensorboard=false""",
    "predict": "--scales 1.0 --no-flip", "evaluate": "--scales 1.0 --cam-scales 1.0 --no-flip",
    "export": "--scales 1.0 --no-flip"}

def bash(line, cell):
    for command in cell.splitlines():
        words = shlex.split(command, comments=True)
        if words and words[0] == "fsr":
            status = main([*words[1:], *shlex.split(MORE.get(words[1], ""))])
            assert status == 0, command
            print("done:", *words[:2])
        else:
            assert not words or words[0] in ("pip",), command

get_ipython().register_magic_function(bash, "cell")
'''


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page as the build turns it into a notebook."""
    pytest.importorskip("jupytext")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    return importlib.import_module("notebooks").as_notebook(PAGE)


def photographs(folder: Path, count: int = 5) -> None:
    """Draw pictures of two classes, and the masks of all."""
    scenes = Scenes(60, seed=SCENE_SEEDS.tune, image_size=64, objects=(1, 1))
    for kind, name in enumerate(Scenes.class_names[:2]):
        mine = [scene for scene in scenes if scene.labels[kind]][:count]
        assert len(mine) == count
        for number, scene in enumerate(mine):
            for place in ("photos", "masks"):
                (folder / place / name).mkdir(parents=True, exist_ok=True)
            scene.image.save(folder / "photos" / name / f"{number}.jpg")
            assert scene.target is not None
            mask = (scene.target > 0) * (sorted(Scenes.class_names[:2]).index(name) + 1)
            write_label_map(folder / "masks" / name / f"{number}.png", mask)


def test_the_cells_are_the_commands_of_the_page(notebook: Any) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kinds = [cell.source.partition("\n")[0] == "%%bash" for cell in cells]
    text = PAGE.read_text()
    # All but the one that makes an environment.
    assert sum(kinds) == text.count("```bash") - 1
    assert len(kinds) - sum(kinds) == text.count("```python")
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert ".md)" not in prose  # pages are not beside a notebook
    assert "{download}" not in prose
    assert prose.startswith("# Your own images")


def test_the_notebook_runs_from_photographs_to_masks(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("accelerate")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    photographs(tmp_path)
    first = nbformat.v4.new_code_cell(SMALL)
    notebook.cells.insert(0, first)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    done = [line.split()[-1] for line in text.splitlines() if line.startswith("done: ")]
    assert " ".join(done) == "info prepare train predict prepare predict evaluate export"
    for name in ("predicted", "with-labels"):
        written = sorted((tmp_path / name / "masks").rglob("*.png"))
        assert len(written) == 10
        assert {Image.open(path).size for path in written} == {(64, 64)}
    assert (tmp_path / "runs" / "folder" / "sheet.png").is_file()
    assert len(list((tmp_path / "pseudo" / "SegmentationClass").glob("*.png"))) == 8
    shares = [line.split() for line in text.splitlines() if line.endswith("%")]
    assert {row[1] for row in shares} <= {"background", *Scenes.class_names[:2]}
    assert sum(int(row[2].rstrip("%")) for row in shares) in range(297, 304)  # of three masks
