"""
How do I make the map of a large image from tiles?
==================================================

A network trained at one size is best used at that size, so a large image goes through it tile by
tile. Tiles that overlap cost four times as many passes, and repay them where objects are cut.

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
    cam_to_labels,
    class_activation_maps,
    join_tiles,
    normalize_cam,
    resize_cam,
    split_tiles,
    strongest_class,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import ThresholdSweep
from fsr.refine import PAR
from fsr.visualize import overlay

scenes = list(Scenes(16, seed=SCENE_SEEDS.tune))
middle = (slice(None), slice(None), slice(40, 328), slice(40, 328))
picture = join_tiles(torch.stack([to_tensor(scene.image) for scene in scenes]), (4, 4))[
    middle
]
truth = join_tiles(torch.stack([scene.target for scene in scenes])[:, None], (4, 4))[
    middle
][:, 0]
labels = torch.ones(1, 6)
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()


def scores(tiles: torch.Tensor) -> torch.Tensor:
    """Return the maps of tiles before they are normalised."""
    with torch.no_grad():
        tokens = encoder.forward_features(2 * tiles - 1)
    return class_activation_maps(tokens, encoder.head.weight, grid=(12, 12))


# %%
# Two ways
# --------
# Side by side, every patch is seen once. With overlap the window moves by half a tile, and the scores
# of a patch in all the windows that hold it are averaged.

maps = {"side by side": join_tiles(scores(split_tiles(picture, (3, 3))), (3, 3))}
windows = F.unfold(picture, kernel_size=96, stride=48)
found = scores(windows[0].T.unflatten(1, (3, 96, 96))).flatten(1).T[None]
summed = F.fold(found, output_size=36, kernel_size=12, stride=6)
counts = F.fold(torch.ones_like(found), output_size=36, kernel_size=12, stride=6)
maps["overlapping"] = summed / counts

# %%
# Normalised and refined as one
# -----------------------------
# Only the network needs tiles. Normalise and refine what was joined, or seams show again.

shown = {
    "picture, tiles": to_pil_image(picture[0]),
    "truth": overlay(to_pil_image(picture[0]), truth[0]),
}
for name, values in maps.items():
    refined = normalize_cam(
        PAR()(picture, resize_cam(normalize_cam(values), (288, 288)))
    )
    sweep = ThresholdSweep(num_classes=6, thresholds=[0.005 * k for k in range(1, 20)])
    sweep.update(*strongest_class(refined, labels), truth)
    miou = sweep.miou()
    best = max(miou, key=miou.get)
    cut = cam_to_labels(refined, labels, threshold=best)
    shown[f"{name}: {100 * miou[best]:.0f} %"] = overlay(
        to_pil_image(picture[0]), cut[0]
    )

# sphinx_gallery_alt = "A picture of many scenes in nine tiles, its truth, and the labels found without and with overlap: with overlap more objects are whole."
figure, axes = plt.subplots(2, 2, figsize=(5.2, 5.6))
for place, (name, values) in zip(axes.flat, shown.items()):
    place.imshow(values)
    place.set_title(name)
    place.set_axis_off()
axes[0, 0].vlines([96, 192], 0, 287, color="white", linewidth=2)
axes[0, 0].hlines([96, 192], 0, 287, color="white", linewidth=2)

# %%
# The figures are mIoU at the best threshold. Nobody told what is in the picture; where its labels are
# known, :func:`fsr.cam.keep_present` takes the other classes out first.
