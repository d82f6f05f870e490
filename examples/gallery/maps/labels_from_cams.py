"""
Which pixels should my pseudo labels leave out?
===============================================

Labels that supervise a network need not cover the image. Two thresholds leave the pixels between
them out: *low* and below is background, above *high* is the class, and what lies between is ignored.
The wider the gap, the more of the rest is right, and the less is left to learn from.

"""

# %%
# Maps as in :ref:`the example on thresholds <sphx_glr_gallery_maps_cam_thresholds.py>`, refined so
# that they follow the edges of the image.

# sphinx_gallery_thumbnail_number = 2
import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import (
    IGNORE,
    cam_to_labels,
    class_activation_maps,
    keep_present,
    normalize_cam,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.refine import PAR
from fsr.visualize import comparison_sheet

scenes = list(Scenes(12, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])

encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = normalize_cam(PAR()(images, keep_present(cam, labels)))

# %%
# How much is decided, how much of it is right
# --------------------------------------------
# The lower border stays at 0.03 and the upper one rises. Background is easy and fills most of a
# scene, so look at objects: how many of their pixels get a label, and how many of the pixels that are
# given a class have the right one.

low, highs = 0.03, [0.031, 0.05, 0.1, 0.2, 0.3, 0.5]
maps = {high: cam_to_labels(cam, labels, low=low, high=high) for high in highs}
objects = truth > 0
decided = {high: found[objects] != IGNORE for high, found in maps.items()}

# sphinx_gallery_alt = "Two lines by the upper border: the share of object pixels with a label falls, the share of right labels rises."
figure, axes = plt.subplots()
axes.plot(
    highs,
    [100 * decided[h].float().mean() for h in highs],
    "o-",
    label="objects with a label",
)
called = {high: (found > 0) & (found != IGNORE) for high, found in maps.items()}
precision = [100 * (maps[h] == truth)[called[h]].float().mean() for h in highs]
axes.plot(highs, precision, "s-", label="right among class labels")
axes.set(
    xlabel="upper border (lower: 0.03)",
    ylabel="pixels (%)",
    xscale="log",
    ylim=(0, 105),
)
axes.set_xticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
axes.minorticks_off()
axes.grid(axis="y")
axes.legend(loc="lower left")

# %%
# Pale pixels are ignored
# -----------------------
# The number is the upper border.

shown = [0.031, 0.1, 0.3]

# sphinx_gallery_alt = "Three scenes with label maps for rising upper borders, in which pale ignored pixels take over the objects."
figure = comparison_sheet(
    [
        ("image", [scene.image for scene in scenes[:3]]),
        *((f"{high:.2f}", list(maps[high][:3])) for high in shown),
        ("truth", list(truth[:3])),
    ],
    size=1.1,
)
