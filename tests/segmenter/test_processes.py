"""Networks reach processes that are spawned, not forked, as data-parallel launchers do it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fsr import EMATeacher, SingleStageSegmenter
from fsr.schedules import cosine


def answer(
    rank: int, student: SingleStageSegmenter, teacher: EMATeacher, images: Tensor, folder: str
) -> None:
    """Write what the networks say in this process."""
    with torch.no_grad():
        heads = [value for value in student(images) if isinstance(value, Tensor)]
        heads += [value for value in teacher(images) if isinstance(value, Tensor)]
    torch.save([*heads, torch.tensor(teacher.momentum(5))], f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_student_and_teacher_answer_the_same_in_a_spawned_process(tmp_path: Path) -> None:
    student = SingleStageSegmenter(
        2,
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        backbone_options={"embed_dim": 16, "depth": 3, "num_heads": 2},
    ).eval()
    teacher = EMATeacher(student, cosine(0.5, 1.0, 10))
    images = torch.randn(1, 3, 32, 32)
    student(images).projections.sum().backward()
    teacher.update(student, 1)
    torch.multiprocessing.spawn(answer, (student, teacher, images, str(tmp_path)), nprocs=1)
    answer(1, student, teacher, images, str(tmp_path))
    there, here = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(there) == len(here) == 13
    for first, second in zip(there, here, strict=True):
        torch.testing.assert_close(first, second)
