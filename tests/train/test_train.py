"""The trainer from outside: whole runs, kills and resumes, bad input, several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

for package in ("accelerate", "omegaconf", "tqdm"):
    pytest.importorskip(package)
EXAMPLES = Path(__file__).parents[2] / "examples"

from accelerate.state import AcceleratorState, GradientState, PartialState

from fsr._core.records import write_atomically
from fsr.cli import _train as command
from fsr.errors import InputError
from fsr.objective import TrainingObjective
from fsr.presets import LOSS_TERMS
from fsr.segmenter import SingleStageSegmenter
from fsr.train import _loop, _state, build_student, load_config, read_log, upper_bound
from fsr.train._checkpoints import list_checkpoints
from fsr.train._log import JsonLog
from fsr.train._resume import check_shared
from fsr.train._state import read_state, run_folder
from fsr.train._table import results_rows, results_table
from tests.processes import FORKED, run_script, run_together

TINY = """
seed: 0
steps: 12
data:
  name: scenes
  train_split: train
  eval_split: tune
  train_size: 10
  eval_size: 2
  image_size: 32
  batch_size: 4
model:
  backbone: vit_tiny_patch16_224
  pretrained: false
  projection_dim: 8
  backbone_options:
    {patch_size: 8, embed_dim: 16, depth: 3, num_heads: 2, class_token: false, global_pool: ""}
preset: {base: fast, mask_block: 1}
eval: {every: 100, at_start: false, batch_size: 2, cam_scales: [1.0], flip: false}
run: {log_every: 4, checkpoint_every: 5, tensorboard: false, sheet_images: 0}
"""


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert PartialState._shared_state == {}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY)
    return path


def main(arguments: list[str]) -> int:
    """Run the command in this process."""
    return command.main(arguments, "fsr train")


def _arguments(tiny: Path, output: Path, *more: str) -> list[str]:
    return ["--config", str(tiny), f"run.output={output}", *more]


def _losses(folder: Path) -> list[dict[str, Any]]:
    """All that the log says of each step, but how long it took and waited."""
    records = [r for r in read_log(folder / "log.jsonl") if r["kind"] == "train"]
    return [{key: r[key] for key in r if key not in ("seconds", "waited")} for r in records]


def _newest(folder: Path) -> Path:
    """The newest checkpoint of a run."""
    return list_checkpoints(folder / "checkpoints")[-1][1]


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, with everything that a run can write."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    more = ["eval.every=6", "eval.at_start=true", "run.sheet_images=2", "run.tensorboard=true"]
    assert main(_arguments(tiny, folder, *more)) == 0
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return folder


def test_a_run_leaves_log_checkpoints_results_sheet_and_networks(whole: Path) -> None:
    assert [r["step"] for r in _losses(whole)] == list(range(1, 13))
    evaluations = [r for r in read_log(whole / "log.jsonl") if r["kind"] == "evaluation"]
    assert [r["step"] for r in evaluations] == [0, 6, 12]
    assert ["teacher" in r for r in evaluations] == [False, True, True]
    assert sorted(p.name for p in (whole / "checkpoints").iterdir()) == [
        "step-00000010",
        "step-00000012",
    ]
    assert list((whole / "tensorboard").iterdir())
    assert {"about.json", "pictures.json", "report.html"} <= {p.name for p in whole.iterdir()}
    with Image.open(whole / "sheet.png") as sheet:
        assert sheet.size[0] > 6 * 168
    model = SingleStageSegmenter.load(whole / "student.safetensors")
    assert model.class_names is not None
    assert len(model.class_names) == 6
    # Nothing is hidden from those who may read what a program writes here.
    plain = whole / "plain"
    plain.touch()
    modes = {path.stat().st_mode for path in whole.rglob("*") if path.is_file()}
    plain.unlink()
    assert len(modes) == 1


def test_every_step_is_logged_with_terms_schedules_and_masked_share(whole: Path) -> None:
    first, *_, last = _losses(whole)
    for name in ("total", *LOSS_TERMS, "gradient_norm", "masked", "momentum", "learning_rate"):
        assert np.isfinite(first[name])
    total = sum(last["weights"][term] * last[term] for term in LOSS_TERMS)
    assert last["total"] == pytest.approx(total, rel=1e-5)
    assert first["masked"] == pytest.approx(7 / 16)
    assert (first["teacher_temperature"], last["teacher_temperature"]) == (0.04, 0.07)
    assert (first["mask_strategy"], last["mask_strategy"]) == ("random", "uncertain")
    assert first["weights"]["segmentation"] == 0.0 < last["weights"]["segmentation"]
    assert first["learning_rate"] == pytest.approx(6e-6)


def test_results_tell_what_they_came_from(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    assert [row["name"] for row in results["table"]] == [
        "all background",
        "start (heads untrained)",
        "this run, student",
        "this run, teacher",
        "trained with full masks",
    ]
    assert results["split"] == "tune"
    assert results["seed"] == 0
    assert results["steps"] == 12
    assert (results["effective_batch"], results["processes"], results["accumulation"]) == (4, 1, 1)
    assert results["config"]["preset"]["base"] == results["preset"]["name"] == "fast"
    assert results["preset"]["resolved_steps"]["segmentation_from"] == 1
    assert {"fsr", "torch", "timm"} <= results["versions"].keys()
    assert results["seconds"] > 0
    assert results["peak_memory_gib"] is None or results["peak_memory_gib"] > 0.01
    student = results["table"][2]
    assert student["prediction_miou"] == results["evaluations"]["12"]["student"]["prediction_miou"]
    assert student["prediction_miou"] is not None
    assert results["table"][0]["prediction_miou"] > 0.05


def test_a_run_leaves_what_its_report_shows(whole: Path) -> None:
    about = json.loads((whole / "about.json").read_text())
    assert len(about["class_names"]) == 6
    assert about["data"]["train"] == {"images": 10, "with_class": None}  # scenes are not drawn
    changed = {o["name"]: (o["value"], o["default"]) for o in about["options"]}
    assert changed["eval.every"] == (6, 2000)
    assert changed["preset.mask_block"][0] == 1
    assert changed["optim.lr"][0] == changed["optim.lr"][1] == 6e-05
    scores = json.loads((whole / "scores.json").read_text())
    assert (scores["step"], len(scores["images"])) == (12, 2)
    evaluation = [r for r in read_log(whole / "log.jsonl") if r["kind"] == "evaluation"][-1]
    for network in ("student", "teacher"):
        matrix = np.array(scores["networks"][network]["confusion"])
        assert matrix.sum() == 2 * 32 * 32
        iou = matrix.diagonal() / (matrix.sum(0) + matrix.sum(1) - matrix.diagonal())
        present = matrix.sum(1) > 0
        assert iou[present].mean() == pytest.approx(evaluation[network]["prediction_miou"])
    pictures = json.loads((whole / "pictures.json").read_text())
    iou = scores["networks"]["student"]["image_iou"]
    assert pictures["worst"] == sorted((0, 1), key=iou.__getitem__)
    assert pictures["pictures"]["0"].keys() >= {"image", "cam", "pseudo", "prediction", "truth"}
    report = (whole / "report.html").read_text()
    assert "Finished: 12 steps." in report
    assert report.count('class="picture"') == 4


def test_a_killed_run_resumes_with_losses_equal_to_the_last_bit(
    tiny: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    threads, arguments = torch.get_num_threads(), _arguments(tiny, folder)
    process = FORKED.Process(target=_train_elsewhere, args=(arguments, threads))
    process.start()
    try:
        while len(_losses(folder)) < 7:
            assert process.is_alive()
            time.sleep(0.005)
    finally:
        process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    checkpoint = _newest(folder)
    assert 5 <= read_state(checkpoint)["step"] < 12
    # What a kill in the middle of writing leaves behind must not matter either.
    (folder / "checkpoints" / ".unfinished-00000011-1").mkdir()
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "st')

    assert main([*_arguments(tiny, folder), "--resume"]) == 0
    assert _losses(folder) == _losses(whole)
    assert (folder / "scores.json").read_bytes() == (whole / "scores.json").read_bytes()
    assert not list((folder / "checkpoints").glob(".unfinished-*"))
    for name in ("student", "teacher"):
        ours = SingleStageSegmenter.load(folder / f"{name}.safetensors").state_dict()
        theirs = SingleStageSegmenter.load(whole / f"{name}.safetensors").state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def _train_elsewhere(arguments: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    main(arguments)


def test_resuming_before_the_first_checkpoint_starts_again(
    tiny: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(_loop, "save_checkpoint", _die)
        with pytest.raises(SystemExit):
            main(_arguments(tiny, folder))
    assert len(_losses(folder)) == 5
    AcceleratorState._reset_state(reset_partial_state=True)
    assert main([*_arguments(tiny, folder), "--resume"]) == 0
    assert _losses(folder) == _losses(whole)


def _die(*args: object, **kwargs: object) -> None:
    raise SystemExit


def test_data_workers_change_nothing(tiny: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main(_arguments(tiny, folder, "data.workers=1", "steps=12")) == 0
    assert _losses(folder) == _losses(whole)


def test_gradient_checkpointing_changes_nothing(
    tiny: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    students: list[Any] = []

    def build(*args: Any) -> Any:
        students.append(build_student(*args))
        return students[0]

    monkeypatch.setattr(_loop, "build_student", build)
    folder = tmp_path / "run"
    assert main(_arguments(tiny, folder, "model.grad_checkpointing=true", "steps=12")) == 0
    assert students[0].backbone.model.grad_checkpointing
    assert _losses(folder) == _losses(whole)


def test_resuming_a_finished_run_repeats_its_table_only(
    tiny: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("log.jsonl", "scores.json", "pictures.json", "sheet.png")
    before = [(whole / name).read_bytes() for name in kept]
    assert main([*_arguments(tiny, whole, "run.sheet_images=2"), "--resume"]) == 0
    assert "this run, student" in capsys.readouterr().out
    assert [(whole / name).read_bytes() for name in kept] == before


def test_another_run_takes_another_folder_and_resume_the_last(tmp_path: Path) -> None:
    base = tmp_path / "scenes"
    assert run_folder(base, resume=False) == run_folder(base, resume=True) == base
    base.mkdir()
    (base / "log.jsonl").touch()
    assert run_folder(base, resume=False) == tmp_path / "scenes-2"
    assert run_folder(base, resume=True) == base
    (tmp_path / "scenes-2").mkdir()
    (tmp_path / "scenes-2" / "log.jsonl").touch()
    assert run_folder(base, resume=False) == tmp_path / "scenes-3"
    assert run_folder(base, resume=True) == tmp_path / "scenes-2"


def test_resume_refuses_options_of_another_run(
    tiny: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(tiny, whole, "optim.lr=0.5", "run.log_every=1")
    assert main([*arguments, "--resume"]) == command.BAD_OPTION
    assert "optim.lr: " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["train_step", "measure"])
def test_ctrl_c_writes_a_checkpoint_and_exits_130(
    place: str, tiny: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original = tmp_path / "run", getattr(_loop, place)

    def interrupted(*args: Any) -> Any:
        step = args[1] if place == "train_step" else args[3]
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    arguments = _arguments(tiny, folder, *(["eval.every=3"] if place == "measure" else []))
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background
    with monkeypatch.context() as patch:
        patch.setattr(_loop, place, interrupted)
        assert main(arguments) == 130
    done = 4 if place == "train_step" else 3
    checkpoint = _newest(folder)
    assert checkpoint.name == f"step-{done:08d}"
    assert len(_losses(folder)) == done
    assert signal.getsignal(signal.SIGINT) is before
    AcceleratorState._reset_state(reset_partial_state=True)
    assert main([*arguments, "--resume"]) == 0
    assert _losses(folder) == _losses(whole)


@pytest.mark.parametrize("term", ["segmentation", "gradient"])
def test_a_loss_that_is_not_finite_stops_with_step_and_term_and_keeps_the_checkpoint(
    term: str,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward = TrainingObjective.forward

    def poisoned(self: TrainingObjective, *args: Any, step: int, **kwargs: Any) -> Any:
        output = forward(self, *args, step=step, **kwargs)
        if step != 6:
            return output
        if term == "gradient":  # infinite only on the way back
            root = (output.total - output.total.detach()).sqrt()
            return output._replace(total=output.total + root)
        bad = output.segmentation * float("nan")
        return output._replace(segmentation=bad, total=output.total + bad)

    monkeypatch.setattr(TrainingObjective, "forward", poisoned)
    folder = tmp_path / "run"
    assert main(_arguments(tiny, folder)) == command.NOT_FINITE
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"step 7: the {term}" in error
    assert f"Stopped after step 6 of 12: step 7: the {term}" in (folder / "report.html").read_text()
    checkpoint = _newest(folder)
    assert checkpoint.name == "step-00000005"
    assert len(_losses(folder)) == 6


def test_a_refusal_of_nan_by_a_component_is_told_with_its_step(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(self: TrainingObjective, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("cam: expected finite values, got NaN or infinity")

    monkeypatch.setattr(TrainingObjective, "forward", refuse)
    assert main(_arguments(tiny, tmp_path / "run")) == command.NOT_FINITE
    assert "step 1: cam: expected finite values" in capsys.readouterr().err


def test_micro_batches_make_up_the_same_effective_batch(
    tiny: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    more = ["data.micro_batch=2", "preset.drop_path_rate=0.0", "steps=3"]
    assert main(_arguments(tiny, folder, *more)) == 0
    results = json.loads((folder / "results.json").read_text())
    assert (results["effective_batch"], results["accumulation"]) == (4, 2)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    plain = tmp_path / "plain"
    assert main(_arguments(tiny, plain, *more[1:])) == 0
    ours, theirs = _losses(folder), _losses(plain)
    for name in ("classification", "auxiliary"):
        assert ours[0][name] == pytest.approx(theirs[0][name], rel=1e-5)
    # The first update came from the same images; what differs later are masks and centres.
    assert ours[1]["classification"] == pytest.approx(theirs[1]["classification"], rel=0.05)


def test_half_precision_trains_with_finite_losses_near_those_of_full(
    tiny: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    more = ["optim.mixed_precision=bf16", "steps=2"]
    assert main(_arguments(tiny, folder, *more)) == 0
    ours, theirs = _losses(folder), _losses(whole)
    assert all(np.isfinite(record["total"]) for record in ours)
    assert ours[0]["total"] != theirs[0]["total"]
    assert ours[0]["classification"] == pytest.approx(theirs[0]["classification"], rel=0.02)
    assert json.loads((folder / "results.json").read_text())["mixed_precision"] == "bf16"


@pytest.mark.slow
def test_two_machines_share_a_step_and_agree_with_one_which_goes_on(
    tiny: Path, tmp_path: Path
) -> None:
    more = ["preset.drop_path_rate=0.0", "steps=3", "run.checkpoint_every=2"]
    plain, folder, resumed = (tmp_path / name for name in ("plain", "two", "resumed"))
    assert main(_arguments(tiny, plain, *more)) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "2", "--main_process_ip", "127.0.0.1"]
    launch += ["--main_process_port", str(port), "--mixed_precision", "no", "--dynamo_backend=no"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",  # where there is a GPU, too
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]),
    }

    def machine(rank: int) -> subprocess.CompletedProcess[str]:
        command = [*launch, "--machine_rank", str(rank), "-m", "fsr", "train"]
        return subprocess.run(
            [*command, *_arguments(tiny, folder, *more)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(machine, range(2)))
    assert [each.returncode for each in done] == [0, 0], done[0].stderr + done[1].stderr
    results = json.loads((folder / "results.json").read_text())
    assert (results["effective_batch"], results["processes"], results["accumulation"]) == (4, 2, 1)
    # One machine goes on where two were.
    shutil.copytree(folder, resumed)
    shutil.rmtree(resumed / "checkpoints" / "step-00000003")
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    assert main([*_arguments(tiny, resumed, *more), "--resume"]) == 0
    ours, theirs, again = _losses(folder), _losses(plain), _losses(resumed)
    assert [r["step"] for r in ours] == [r["step"] for r in again] == [1, 2, 3]
    assert again[:2] == ours[:2]
    for term in ("total", *LOSS_TERMS):
        for one, two, both in zip(theirs, ours, again, strict=True):
            assert two[term] == pytest.approx(one[term], rel=1e-3, abs=1e-6), (term, one["step"])
            assert both[term] == pytest.approx(one[term], rel=1e-3, abs=1e-6), (term, one["step"])
    scores = [
        json.loads((each / "results.json").read_text())["evaluations"]["3"]["student"]
        for each in (plain, folder, resumed)
    ]
    assert scores[0]["images"] == scores[1]["images"] == scores[2]["images"] == 2
    for name in ("cam_miou", "prediction_miou"):
        assert scores[1][name] == pytest.approx(scores[0][name], abs=0.02)
        assert scores[2][name] == pytest.approx(scores[0][name], abs=0.02)


def _look_at(rank: int, folder: str) -> None:
    """Look at a folder of checkpoints that only the first process sees."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        check_shared(Path(folder))
        seen = "" if rank else "/checkpoints"
        try:
            check_shared(Path(folder + seen))
        except InputError as error:
            Path(folder, f"said{rank}").write_text(str(error))
    finally:
        dist.destroy_process_group()


def test_a_machine_that_does_not_see_the_checkpoints_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-00000002").mkdir(parents=True)
    run_together(_look_at, str(tmp_path))
    for rank in range(2):
        said = (tmp_path / f"said{rank}").read_text()
        assert "expected the same checkpoints in all processes" in said
        assert "process 0: step-00000002; process 1: none; put run.output into a folder" in said


def _voc_folder(root: Path, *, names: int = 4) -> Path:
    """Make a data set in VOC's layout, one image of which holds no object."""
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    listed = [f"2011_{number:06d}" for number in range(names)]
    for number, name in enumerate(listed):
        pixels = rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        objects = "" if number == 0 else "<object><name>cat</name></object>"
        text = f"<annotation>{objects}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
        mask = np.zeros((40, 48), dtype=np.uint8)
        mask[10:20, 10:30] = 8 if number else 0
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")
    for split in ("train", "val"):
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(listed))
    return root


def _voc_arguments(tiny: Path, output: Path, root: Path, *more: str) -> list[str]:
    data = ["data.name=voc", f"data.root={root}", "data.train_split=train", "data.eval_split=val"]
    return _arguments(tiny, output, *data, "data.train_size=null", "data.eval_size=null", *more)


def test_real_files_train_and_an_image_without_classes_is_kept(tiny: Path, tmp_path: Path) -> None:
    root, folder = _voc_folder(tmp_path / "voc"), tmp_path / "run"
    more = ["steps=2", "data.batch_size=8", "run.sheet_images=1", "eval.image_size=32"]
    assert main(_voc_arguments(tiny, folder, root, *more)) == 0
    assert all(np.isfinite(r["total"]) for r in _losses(folder))
    assert json.loads((folder / "results.json").read_text())["effective_batch"] == 8


def test_a_missing_data_root_is_one_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "nowhere"
    assert main(_voc_arguments(tiny, tmp_path / "run", root)) == command.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(root) in error


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(
    workers: int, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = _voc_folder(tmp_path / "voc")
    image = root / "JPEGImages" / "2011_000002.jpg"
    image.write_bytes(image.read_bytes()[:200])
    arguments = _voc_arguments(tiny, tmp_path / "run", root, f"data.workers={workers}")
    assert main(arguments) == command.BAD_INPUT
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "2011_000002.jpg" in error


def test_a_split_whose_labels_are_unknown_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _voc_folder(tmp_path / "voc")
    (root / "ImageSets" / "Segmentation" / "test.txt").write_text("2011_000001")
    (root / "Annotations" / "2011_000001.xml").unlink()
    arguments = _voc_arguments(tiny, tmp_path / "run", root, "data.train_split=test")
    assert main(arguments) == command.BAD_INPUT
    assert "data.train_split: 'test' has unknown labels" in capsys.readouterr().err


def test_unknown_weights_and_bad_encoder_options_are_one_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for override, words in (
        ("model.pretrained=no/such.safetensors", "such.safetensors"),
        ("model.backbone=vit_tiny_patch16_225", "did you mean"),
        ("data.image_size=33", "nearest"),
        ("model.backbone_options.dept=3", "dept"),
        ("preset.mask_block=3", "mask_block: expected a divisor of the patch grid (4, 4), got 3"),
    ):
        assert main(_arguments(tiny, tmp_path / "run", override)) == command.BAD_INPUT
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error


def test_a_wrong_option_exits_2_from_the_shell_without_a_traceback() -> None:
    done = run_script(EXAMPLES / "train.py", "optim.lrr=1")
    assert done.returncode == 2
    assert done.stderr == (
        "train.py: error: optim.lrr: unknown option (did you mean 'optim.lr'?)\n"
    )


def test_a_checkpoint_that_fails_half_way_leaves_the_one_before(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    write = write_atomically

    def fail_second(path: Path, text: str) -> None:
        if path.name == "state.json":
            calls.append(path)
            if len(calls) == 2:
                raise OSError("no space left on device")
        write(path, text)

    monkeypatch.setattr(_state, "write_atomically", fail_second)
    folder = tmp_path / "run"
    assert main(_arguments(tiny, folder)) == command.BAD_INPUT
    checkpoint = _newest(folder)
    assert read_state(checkpoint)["step"] == 5


def test_the_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLog(path)
    for step in (1, 2, 3):
        log.write("train", step, total=float(step), undefined=float("nan"))
    log.write("evaluation", 3)
    log.close()
    assert '"undefined": null' in path.read_text()
    log = JsonLog(path, step=2)
    log.write("train", 3, total=30.0)
    log.close()
    assert [(r["step"], r["total"]) for r in read_log(path)] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_the_bound_is_shown_only_for_the_options_it_was_measured_under(
    tiny: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bound.json"
    measured = {
        "prediction_miou": 0.8,
        "source": "how",
        "for": {"steps": 12, "data.image_size": 32},
    }
    path.write_text(json.dumps(measured))
    config = load_config(tiny, overrides=[f"run.upper_bound={path}"])
    assert upper_bound(config) == measured
    assert upper_bound(load_config(tiny, overrides=[f"run.upper_bound={path}", "steps=13"])) is None
    assert upper_bound(load_config(tiny, overrides=["run.upper_bound=no/such.json"])) is None
    scores = {"cam_miou": 0.3, "prediction_miou": 0.6, "label_f1": 0.9}
    text = results_table(results_rows({0: {"student": scores}}, 0.1, measured), measured)
    assert "prediction: 75% of that bound" in text
    assert "80.0" in text
