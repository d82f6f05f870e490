"""
How slowly should the teacher follow?
=====================================

The teacher is the average of past students. A slow one averages the noise of single steps away; one
that is too slow still remembers how the student began.

"""

# %%
# A small task with much noise
# ----------------------------
# A linear student learns from batches of four noisy examples. Three teachers follow it, and a memory
# of ``1 / (1 - momentum)`` steps is what sets them apart.

import torch
from matplotlib import pyplot as plt
from torch import nn

from fsr import EMATeacher

torch.manual_seed(0)
truth = torch.randn(20)
student = nn.Linear(20, 1, bias=False)
optimizer = torch.optim.SGD(student.parameters(), lr=0.02)
teachers = {
    momentum: EMATeacher(student, momentum=momentum) for momentum in (0.9, 0.98, 0.998)
}


def error(network: nn.Linear) -> float:
    """Return the distance of a network's weights from the truth."""
    return float((network.weight.detach()[0] - truth).norm())


errors = {
    "student": [error(student)],
    **{m: [error(t.module)] for m, t in teachers.items()},
}
for step in range(400):
    inputs = torch.randn(4, 20)
    targets = inputs @ truth + 3 * torch.randn(4)
    loss = (student(inputs)[:, 0] - targets).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    errors["student"].append(error(student))
    for momentum, teacher in teachers.items():
        teacher.update(student, step)
        errors[momentum].append(error(teacher.module))

# %%
# Student and teachers
# --------------------

# sphinx_gallery_alt = "Error by step: the student falls fast and stays noisy, the teachers are smooth, and the slowest lags far behind."
figure, axes = plt.subplots()
axes.plot(errors.pop("student"), color="#8a8f98", linewidth=1, label="student")
for momentum, values in errors.items():
    axes.plot(values, label=f"teacher, memory {1 / (1 - momentum):.0f}")
axes.set(xlabel="step", ylabel="distance from the truth", ylim=(0, 7))
axes.legend(loc="upper right")

# %%
# So a short run needs a small momentum. :func:`fsr.schedules.run_momentum` gives the one whose memory
# is a set share of the run; the paper's 0.9995 is for 20,000 steps.

from fsr.schedules import run_momentum

for steps in (400, 2000, 20_000):
    print(f"{steps:6} steps: momentum {run_momentum(steps):.4f}")
