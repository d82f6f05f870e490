"""
Where should I cut an activation map?
=====================================

A class activation map gives every pixel a score between 0 and 1. Above a threshold a pixel belongs
to its class, below it is background. The threshold that is best depends on what made the map, so look
for it again after every change, on images with masks that you do not report.

"""

# %%
# Maps of a classifier
# --------------------
# The encoder of the built-in scenes was trained with image labels alone. Its last layer tells which
# classes an image holds; applied to each patch it says where.

# sphinx_gallery_thumbnail_number = 2
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
from fsr.refine import PAR
from fsr.visualize import comparison_sheet

scenes = list(Scenes(16, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])

encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = resize_cam(keep_present(cam, labels), (96, 96))
maps = {"as they are": cam, "refined by PAR": normalize_cam(PAR()(images, cam))}

# %%
# All thresholds at once
# ----------------------
# :class:`fsr.metrics.ThresholdSweep` counts each pixel once, whatever the number of thresholds.

thresholds = [0.002 * 1.25**k for k in range(25)]

# sphinx_gallery_alt = "mIoU by threshold for maps as they are and refined ones: the refined ones are far better, in a narrow range around 0.02."
figure, axes = plt.subplots()
best = {}
for name, values in maps.items():
    sweep = ThresholdSweep(num_classes=6, thresholds=thresholds)
    sweep.update(*strongest_class(values, labels), truth)
    miou = sweep.miou()
    best[name] = max(miou, key=miou.get)
    (line,) = axes.plot(list(miou), [100 * value for value in miou.values()])
    label = f"{name}: best at {best[name]:.3f}"
    axes.plot(
        best[name], 100 * miou[best[name]], "o", color=line.get_color(), label=label
    )
axes.set(
    xlabel="threshold", ylabel="mIoU of 16 scenes (%)", xscale="log", ylim=(0, 100)
)
axes.set_xticks([0.002, 0.01, 0.05, 0.2], ["0.002", "0.01", "0.05", "0.2"])
axes.minorticks_off()
axes.grid(axis="y")
axes.legend(loc="upper right")

# %%
# What a threshold does to one map
# --------------------------------
# These maps peak on the small emblem that tells the class and are low on the body, so a common
# default such as 0.4 keeps little more than the emblem.

refined = maps["refined by PAR"]
cuts = [best["refined by PAR"], 0.1, 0.4]
labelled = [cam_to_labels(refined[:3], labels[:3], threshold=cut) for cut in cuts]

# sphinx_gallery_alt = "Three scenes and label maps cut at three thresholds: the higher, the smaller the regions, down to the emblem."
figure = comparison_sheet(
    [
        ("image", [scene.image for scene in scenes[:3]]),
        *((f"{cut:.2f}", list(maps)) for cut, maps in zip(cuts, labelled)),
        ("truth", list(truth[:3])),
    ],
    size=1.05,
)
