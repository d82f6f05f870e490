"""
What does PAR do to a map, step by step?
========================================

Pixel-adaptive refinement moves scores to neighbours of similar colour, again and again. A coarse map
grows until it meets the edges of the object; then there is little left to gain.

"""

# %%
# A photograph
# ------------
# Espresso, CC0, by Rachel Michetti, courtesy of Pikolo Espresso Bar; it comes with scikit-image. The
# map is drawn by hand: a bump on the cup, as coarse as the maps of a patch grid are.

import numpy as np
import skimage.data
import timm
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import (
    class_activation_maps,
    keep_present,
    normalize_cam,
    resize_cam,
    strongest_class,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import ThresholdSweep
from fsr.refine import PAR
from fsr.visualize import heatmap_overlay

photograph = Image.fromarray(skimage.data.coffee()).resize(
    (240, 160), Image.Resampling.LANCZOS
)
image = to_tensor(photograph)[None]
y, x = np.mgrid[:160, :240]
bump = np.exp(-(((y - 45) / 22) ** 2 + ((x - 116) / 26) ** 2))
cam = torch.from_numpy(bump).float()[None, None]

steps = [0, 2, 5, 10, 20, 40]
refined = [cam if n == 0 else normalize_cam(PAR(num_iter=n)(image, cam)) for n in steps]

# sphinx_gallery_alt = "A cup of espresso under a heat map after 0 to 40 steps: a round spot grows until it fills the cup up to its rim."
figure, axes = plt.subplots(3, 2, figsize=(5.2, 6.2))
for place, number, maps in zip(axes.flat, steps, refined):
    place.imshow(heatmap_overlay(photograph, maps[0, 0]))
    place.set_title(f"{number} steps")
    place.set_axis_off()

# %%
# What it is worth
# ----------------
# On scenes the truth is known. Each number of steps is scored at the threshold that suits it best.

scenes = list(Scenes(8, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
maps = keep_present(
    normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12))),
    labels,
)
maps, scores = resize_cam(maps, (96, 96)), []
for before, after in zip([0, *steps], steps):
    if after > before:
        maps = PAR(num_iter=after - before)(images, maps)
    sweep = ThresholdSweep(num_classes=6, thresholds=[0.02 * k for k in range(1, 31)])
    sweep.update(*strongest_class(normalize_cam(maps), labels), truth)
    scores.append(100 * max(sweep.miou().values()))

# sphinx_gallery_alt = "Line of mIoU by number of steps: it doubles in twenty steps and then flattens."
figure, axes = plt.subplots()
axes.plot(steps, scores, "o-")
axes.set(xlabel="steps", ylabel="mIoU of 8 scenes (%)", xticks=steps)
axes.grid(axis="y")
