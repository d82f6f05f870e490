"""
Do my teacher's targets say anything?
=====================================

The student learns the teacher's distribution over prototypes. If that is nearly uniform there is
nothing to learn, whatever the loss. How far it is from uniform is counted in nats.

"""

# %%
# Outputs of an untrained projector
# ---------------------------------
# Tokens of the scenes go through projectors of several widths, as they do at the start of a run.

import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.data import SCENE_SEEDS, Scenes
from fsr.losses import (
    output_spread,
    standardised_distribution,
    target_information,
    teacher_distribution,
)
from fsr.projection import ProjectionHead

scenes = Scenes(8, seed=SCENE_SEEDS.train, masks=False)
images = torch.stack([to_tensor(scene.image) for scene in scenes])
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
widths = [64, 256, 1024, 4096]
outputs = {}
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1).flatten(0, 1)
    for width in widths:
        torch.manual_seed(0)
        outputs[width] = ProjectionHead(128, width, hidden_dim=256, bottleneck_dim=64)(
            tokens
        )

# %%
# Three kinds of targets
# ----------------------
# The paper's are centred and divided by a fixed temperature, which rises from 0.04 to 0.07: they say
# what the spread of the outputs happens to let them. Standardised ones are divided by that spread
# first, so that it cannot make them dull.

kinds = {
    "centred, 0.07": lambda t: teacher_distribution(t, t.mean(dim=0), 0.07),
    "centred, 0.04": lambda t: teacher_distribution(t, t.mean(dim=0), 0.04),
    "standardised, 0.4": lambda t: standardised_distribution(
        t, t.mean(dim=0), output_spread(t - t.mean(dim=0)), 0.4
    ),
}
nats = {
    name: [target_information(make(outputs[width])).nats.item() for width in widths]
    for name, make in kinds.items()
}

# sphinx_gallery_alt = "Nats from uniform by the projector's width: standardised targets are about 2 nats from it, centred ones 1.3 and 0.5."
figure, axes = plt.subplots()
for name, values in nats.items():
    axes.plot(widths, values, "o-", label=name)
axes.set(xlabel="prototypes", ylabel="nats from uniform", xscale="log", xticks=widths)
axes.set_xticks(widths, [str(width) for width in widths])
axes.minorticks_off()
axes.set_ylim(0, 4)
axes.legend(loc="upper right")

# %%
# One token's target
# ------------------
# The same token with 256 prototypes, the most probable ones first.

# sphinx_gallery_alt = "Probability of the forty most probable prototypes: nearly flat for centred targets at 0.07, a steep fall for standardised ones."
figure, axes = plt.subplots()
for name, make in kinds.items():
    axes.plot(make(outputs[256])[700].sort(descending=True).values[:40], label=name)
axes.axhline(1 / 256, color="#8a8f98", linestyle=":", linewidth=1.5, label="uniform")
axes.set(xlabel="prototype by rank", ylabel="probability")
axes.legend()

# %%
# In a run the outputs grow alike soon after the start and centred targets sink further; what
# ``preset.target=standardised`` gains is on the page :doc:`/evidence`. :func:`fsr.losses.target_information` goes into any loop of your own.
