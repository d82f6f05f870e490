"""
Where should I cut an activation map?
=====================================

A class activation map gives every pixel a score between 0 and 1. Above a threshold a pixel belongs
to its class, below it is background. The threshold that is best depends on the network, so look for
it on images with masks, never on those that you report.

"""

# %%
# Maps of a classifier
# --------------------
# The encoder of the built-in scenes was trained with image labels alone. Its last layer tells which
# classes an image holds; applied to each patch it says where.

import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import (
    cam_to_labels,
    class_activation_maps,
    keep_present,
    normalize_cam,
    resize_cam,
    strongest_class,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import ThresholdSweep
from fsr.visualize import comparison_sheet

scenes = list(Scenes(24, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])

encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = resize_cam(keep_present(cam, labels), (96, 96))

# %%
# All thresholds at once
# ----------------------
# :class:`fsr.metrics.ThresholdSweep` counts each pixel once, whatever the number of thresholds.

sweep = ThresholdSweep(num_classes=6, thresholds=[0.02 * k for k in range(1, 31)])
score, label = strongest_class(cam, labels)
sweep.update(score, label, truth)
miou = sweep.miou()
best = max(miou, key=miou.get)

# sphinx_gallery_alt = "Line of mIoU by threshold: it peaks far to the left and falls towards the level of an empty map."
figure, axes = plt.subplots()
axes.plot(list(miou), [100 * value for value in miou.values()])
axes.plot(best, 100 * miou[best], "o", markersize=9)
axes.annotate(f"best: {best:.2f}", (best, 100 * miou[best]), (12, -4), textcoords="offset points")
axes.set(xlabel="threshold", ylabel="mIoU of 24 scenes (%)")
axes.grid(axis="y")

# %%
# What a threshold does to one map
# --------------------------------
# These maps peak on the small emblem that tells the class and are low on the body, so a common
# default such as 0.4 keeps little more than the emblem.

cuts = [best, 0.2, 0.4]
labelled = [cam_to_labels(cam[:3], labels[:3], threshold=cut) for cut in cuts]

# sphinx_gallery_alt = "Three scenes with their map, and label maps cut at three thresholds: the higher, the smaller the regions."
figure = comparison_sheet(
    [
        ("image", [scene.image for scene in scenes[:3]]),
        ("map", list(score[:3])),
        *((f"{cut:.2f}", list(maps)) for cut, maps in zip(cuts, labelled)),
        ("truth", list(truth[:3])),
    ],
    images=[scene.image for scene in scenes[:3]],
    size=0.95,
)
