"""
How do the methods differ on the same scene?
============================================

Ways to learn from image labels, trained with one encoder, one data pipeline and one number of
steps. What each makes of the same scenes shows what its idea is after.

"""

# %%
# Recorded maps
# -------------
# Training takes minutes, so the maps were recorded: ``python benchmarks/gallery_maps.py`` makes the
# file again. This page alone needs a clone of the repository.

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from fsr.data import SCENE_SEEDS, Scenes
from fsr.visualize import heatmap_overlay, overlay

recorded = np.load(Path("../../../benchmarks/results/gallery_maps.npz"))
methods = [name.removesuffix(" cam") for name in recorded if name.endswith(" cam")]
scenes = Scenes(6, seed=SCENE_SEEDS.test)
for name in methods:
    print(f"{name}: {recorded[f'{name} steps']} steps")

# %%
# Activation maps
# ---------------


def sheet(number: int, kind: str) -> plt.Figure:
    """Show one scene and what each method that has it makes of it."""
    scene = scenes[number]
    shown = {"image": scene.image, "truth": overlay(scene.image, scene.target)}
    for name in methods:
        if f"{name} {kind}" in recorded:
            values = torch.from_numpy(recorded[f"{name} {kind}"][number])
            if kind == "cam":
                shown[name] = heatmap_overlay(scene.image, values / 255)
            else:
                shown[name] = overlay(scene.image, values.long())
    rows = -(-len(shown) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(5.2, 1.95 * rows))
    for place in axes.flat:
        place.set_axis_off()
    for place, (name, picture) in zip(axes.flat, shown.items()):
        place.imshow(picture)
        place.set_title(name)
    return figure


# sphinx_gallery_alt = "One scene, its truth, and the activation map of every method: some light up the emblem alone, others the body."
figure = sheet(2, "cam")

# %%
# Predictions
# -----------
# Methods in two stages predict with a network of their second stage, which was not recorded.

# sphinx_gallery_alt = "The same scene with the masks that the methods in one stage predict."
figure = sheet(2, "prediction")

# %%
# Scores over 300 scenes and several seeds are on the page :doc:`/methods`; one scene ranks nothing.
