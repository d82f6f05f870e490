"""
How do the methods differ on the same scene?
============================================

Ways to learn from image labels, trained with one encoder, one data pipeline and one
number of steps. Where the map of each is warm shows what its idea is after.

"""

# %%
# Recorded maps
# -------------
# Training takes minutes, so the maps were recorded after a short one:
# ``python benchmarks/gallery_maps.py`` makes the file again. This page alone needs a
# clone of the repository.

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fsr.data import SCENE_SEEDS, Scenes
from fsr.visualize import heatmap_overlay, overlay

recorded = np.load(Path("../../../benchmarks/results/gallery_maps.npz"))
methods = [name.removesuffix(" cam") for name in recorded if name.endswith(" cam")]
print({name: int(recorded[f"{name} steps"]) for name in methods})

# %%
# One scene
# ---------
# FSR, ToCo and AFA are warm on the emblem and less so on the body. SEAM keeps to the
# emblem, ViT-PCM covers bodies. ReCAM, RRM and 1Stage have not told object from ground
# after so few steps, MCTformer+ has in one scene of two.


def sheet(number: int) -> Figure:
    """Show a scene, its truth, and the map of every method."""
    scene = Scenes(6, seed=SCENE_SEEDS.test)[number]
    shown = {"image": scene.image, "truth": overlay(scene.image, scene.target)}
    for name in methods:
        heat = torch.from_numpy(recorded[f"{name} cam"][number]) / 255
        shown[name] = heatmap_overlay(scene.image, heat)
    rows = -(-len(shown) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(5.2, 1.95 * rows))
    for place in axes.flat:
        place.set_axis_off()
    for place, (name, picture) in zip(axes.flat, shown.items()):
        place.imshow(picture)
        place.set_title(name)
    return figure


# sphinx_gallery_alt = "One scene, its truth, and the activation map of every method: some light up the emblem alone, others the body."
figure = sheet(2)

# %%
# Another
# -------

# sphinx_gallery_alt = "A second scene with its truth and the activation map of every method, which differ in the same way."
figure = sheet(3)

# %%
# Scores over 300 scenes and several seeds are on the page :doc:`/methods`; two scenes
# rank nothing.
