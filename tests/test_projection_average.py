"""The projection head and its average against those of ToCo."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fsr.projection import ProjectionHead
from fsr.teacher import EMATeacher

Parity = Callable[[str], dict[str, Tensor]]


def loaded(arrays: dict[str, Tensor], prefix: str) -> ProjectionHead:
    """A head with the recorded weights under this prefix, strictly loaded."""
    state = {
        name.removeprefix(prefix).replace("last_layer", "prototypes"): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    hidden, width = state["mlp.0.weight"].shape
    rows, bottleneck = state["prototypes.weight_v"].shape
    head = ProjectionHead(width, rows, hidden, bottleneck)
    head.load_state_dict(state, strict=True)
    return head


def test_the_recorded_projection_of_toco_is_reproduced(parity: Parity) -> None:
    arrays = parity("systems/toco_projection_head")
    token = arrays["in_class_token"].requires_grad_()
    projection = loaded(arrays, "in_student_")(token)
    expected = arrays["out_projection"]
    reach = expected.abs().max().item()
    torch.testing.assert_close(projection, expected, rtol=0, atol=1e-5 * reach)
    weights = torch.linspace(-1, 1, projection.numel()).view_as(projection)
    (grad,) = torch.autograd.grad((projection * weights).sum(), token)
    reach = arrays["grad_class_token"].abs().max().item()
    torch.testing.assert_close(grad, arrays["grad_class_token"], rtol=0, atol=1e-5 * reach)


def test_magnitudes_and_directions_are_averaged_each_on_its_own(parity: Parity) -> None:
    arrays = parity("systems/toco_projection_head")
    teacher = EMATeacher(loaded(arrays, "in_teacher_"), momentum=arrays["arg_momentum"].item())
    teacher.update(loaded(arrays, "in_student_"))
    expected = loaded(arrays, "out_teacher_").state_dict()
    found = teacher.module.state_dict()
    assert sorted(found) == sorted(expected)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
