"""
Which refinement suits my maps?
===============================

The methods in this package spread maps in different ways: between pixels of similar colour (PAR and
PAMR), between patches of similar tokens (pixel correlation, token affinity), or between patches that
attend to each other. On one set of maps they stand side by side.

"""

# %%
# The same maps for all
# ---------------------

# sphinx_gallery_thumbnail_number = 2
import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_tensor

from fsr.attention import patch_affinity, refine_maps
from fsr.backbone import ViTBackbone
from fsr.cam import (
    affinity_cam,
    cam_to_labels,
    class_activation_maps,
    keep_present,
    normalize_cam,
    resize_cam,
    strongest_class,
)
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import ThresholdSweep
from fsr.refine import PAMR, PAR, pixel_correlation
from fsr.visualize import encoder_attention, overlay

scenes = list(Scenes(12, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])

backbone = ViTBackbone("fsr_scenes_tiny", pretrained=True, image_size=96)
classifier = timm.create_model("fsr_scenes_tiny", pretrained=True).head
with torch.no_grad():
    tokens = backbone.norm(backbone(2 * images - 1).tokens)
    attention = encoder_attention(backbone, 2 * images - 1, blocks=(3, 4, 5)).weights
cam = normalize_cam(class_activation_maps(tokens, classifier.weight, grid=(12, 12)))
cam = keep_present(cam, labels)

# %%
# Five ways to spread them
# ------------------------

features = tokens.transpose(1, 2).unflatten(2, (12, 12))
among_patches = patch_affinity(list(attention.unbind(dim=1)), num_prefix=0)
refined = {
    "none": cam,
    "attention": refine_maps(cam, among_patches),
    "tokens": affinity_cam(cam, tokens),
    "correlation": pixel_correlation(cam, features),
    "PAMR": PAMR()(images, cam),
    "PAR": PAR()(images, cam),
}
refined = {
    name: normalize_cam(resize_cam(maps, (96, 96))) for name, maps in refined.items()
}

scores, cuts = {}, {}
for name, maps in refined.items():
    sweep = ThresholdSweep(num_classes=6, thresholds=[0.02 * k for k in range(1, 46)])
    sweep.update(*strongest_class(maps, labels), truth)
    miou = sweep.miou()
    cuts[name] = max(miou, key=miou.get)
    scores[name] = 100 * miou[cuts[name]]

# sphinx_gallery_alt = "Bars of mIoU for maps as they are and after five refinements; those by colour are highest."
figure, axes = plt.subplots()
bars = axes.barh(list(scores), list(scores.values()), color="#3b8ed0")
axes.bar_label(bars, fmt=" %.0f", color="#7a8088")
axes.invert_yaxis()
axes.set(xlabel="mIoU of 12 scenes (%), each at its best threshold")

# %%
# One scene
# ---------
# Each map is cut at its best threshold.
#
# Scenes are drawn in flat colours with texture, which suits refinement by colour. On photographs,
# where an object has several colours, the order may differ: put your own maps in place of these.

number = 0

# sphinx_gallery_alt = "A scene with the labels of six maps: patches make blocks around the emblems, refinement by colour follows the objects."
figure, axes = plt.subplots(2, 3, figsize=(5.2, 3.9))
for place, (name, maps) in zip(axes.flat, refined.items()):
    found = cam_to_labels(
        maps[number, None], labels[number, None], threshold=cuts[name]
    )
    place.imshow(overlay(scenes[number].image, found[0]))
    place.set_title(name)
    place.set_axis_off()
