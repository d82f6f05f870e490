"""
How do I make the map of a large image from tiles?
==================================================

A network trained at one size is best used at that size, so a large image goes through it tile by
tile. Two things decide what comes out: where the map is normalised, and whether the tiles overlap.

"""

# %%
# A large picture
# ---------------
# Sixteen scenes side by side, cut so that no border of a tile falls on a border of a scene.

import timm
import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F
from torchvision.transforms.functional import to_pil_image, to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import (
    class_activation_maps,
    join_tiles,
    normalize_cam,
    resize_cam,
    split_tiles,
    strongest_class,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import ThresholdSweep
from fsr.visualize import heatmap_overlay

scenes = list(Scenes(16, seed=SCENE_SEEDS.tune))
middle = (slice(None), slice(None), slice(40, 328), slice(40, 328))
picture = join_tiles(torch.stack([to_tensor(scene.image) for scene in scenes]), (4, 4))[middle]
truth = join_tiles(torch.stack([scene.target for scene in scenes])[:, None], (4, 4))[middle][:, 0]
labels = torch.ones(1, 6)
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()


def scores(tiles: torch.Tensor) -> torch.Tensor:
    """Return the maps of tiles before they are normalised."""
    with torch.no_grad():
        tokens = encoder.forward_features(2 * tiles - 1)
    return class_activation_maps(tokens, encoder.head.weight, grid=(12, 12))


# %%
# Three ways
# ----------
# *Each tile* normalises every tile by itself, which makes something of 1 out of the noise of a class
# that the tile does not show. *Whole* joins first and normalises once. *Overlap* moves by half a tile
# and averages, so that no object is seen in halves alone.

tiles = split_tiles(picture, (3, 3))
maps = {
    "each tile": join_tiles(normalize_cam(scores(tiles)), (3, 3)),
    "whole": normalize_cam(join_tiles(scores(tiles), (3, 3))),
}
windows = F.unfold(picture, kernel_size=96, stride=48)
found = scores(windows[0].T.unflatten(1, (3, 96, 96))).flatten(1).T[None]
summed = F.fold(found, output_size=36, kernel_size=12, stride=6)
counts = F.fold(torch.ones_like(found), output_size=36, kernel_size=12, stride=6)
maps["overlap"] = normalize_cam(summed / counts)

miou = {}
for name, values in maps.items():
    maps[name] = resize_cam(values, (288, 288))
    sweep = ThresholdSweep(num_classes=6, thresholds=[0.02 * k for k in range(1, 46)])
    sweep.update(*strongest_class(maps[name], labels), truth)
    miou[name] = 100 * max(sweep.miou().values())

# sphinx_gallery_alt = "A picture of many scenes and three maps of it: normalised tile by tile it is covered in heat, normalised as a whole only objects are warm."
figure, axes = plt.subplots(2, 2, figsize=(5.2, 5.6))
image = to_pil_image(picture[0])
axes[0, 0].imshow(image)
axes[0, 0].set_title("picture, tiles")
axes[0, 0].vlines([96, 192], 0, 287, color="white", linewidth=1)
axes[0, 0].hlines([96, 192], 0, 287, color="white", linewidth=1)
for place, (name, values) in zip(axes.flat[1:], maps.items()):
    place.imshow(heatmap_overlay(image, values[0].amax(dim=0).clamp(0, 1)))
    place.set_title(f"{name}: {miou[name]:.0f}")
for place in axes.flat:
    place.set_axis_off()

# %%
# The figures are mIoU in per cent at the best threshold, without any label of what is in the picture.
# Where labels are at hand, :func:`fsr.cam.keep_present` takes the other classes out first.
