"""
Where does my network go wrong?
===============================

One mIoU does not say which classes are taken for each other, or whether errors lie along borders or
in the middle of objects. A confusion matrix tells the first, a trimap the second.

"""

# %%
# Predictions to look at
# ----------------------
# Refined maps of the scenes, with the classes that the classifier itself finds.

import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_pil_image, to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import cam_to_labels, class_activation_maps, keep_present, normalize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import SegmentationMetrics, TrimapMetrics
from fsr.refine import PAR
from fsr.visualize import boundary_overlay

scenes = list(Scenes(12, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
    found = (encoder.head(tokens).amax(dim=1) > 0).float()
cam = class_activation_maps(tokens, encoder.head.weight, grid=(12, 12))
cam = normalize_cam(PAR()(images, keep_present(normalize_cam(cam), found)))
prediction = cam_to_labels(cam, found, threshold=0.05)

# %%
# Which class is taken for which
# ------------------------------

metrics = SegmentationMetrics(num_classes=6)
metrics.update(prediction, truth)
print(f"mIoU {100 * metrics.compute().miou:.1f} %")
matrix = metrics.counts.float()
shares = 100 * matrix / matrix.sum(dim=1, keepdim=True)
names = ["background", *Scenes.class_names]

# sphinx_gallery_alt = "Confusion matrix of seven classes: a bright diagonal, and a bright column of object pixels taken for background."
figure, axes = plt.subplots(figsize=(5.2, 4.8))
axes.imshow(shares.numpy(), cmap="viridis", vmin=0, vmax=100)
for row in range(7):
    for column, value in enumerate(shares[row].tolist()):
        ink = "white" if value < 60 else "black"
        text = axes.text(column, row, f"{value:.0f}", color=ink, fontsize=10)
        text.set(ha="center", va="center")
axes.set_xticks(range(7), names, rotation=45, ha="right")
axes.set_yticks(range(7), names)
axes.set(xlabel="predicted", ylabel="true, per cent of its pixels")
axes.spines[:].set_visible(False)

# %%
# Borders or bodies
# -----------------
# :class:`fsr.metrics.TrimapMetrics` scores only pixels near a true border. A curve that rises with the
# distance says that borders are the trouble, a flat one that whole parts are missing.

trimap = TrimapMetrics(num_classes=6, widths=(1, 2, 4, 8, 16))
trimap.update(prediction, truth)
near = trimap.compute()

# sphinx_gallery_alt = "Line of mIoU by distance from a true border, beside the score over all pixels."
figure, axes = plt.subplots()
axes.plot(
    list(near),
    [100 * value for value in near.values()],
    "o-",
    label="within so many pixels",
)
axes.axhline(
    100 * metrics.compute().miou, linestyle=":", color="#8a8f98", label="all pixels"
)
axes.set(
    xlabel="distance from a true border (pixels)", ylabel="mIoU (%)", xticks=list(near)
)
axes.legend()

# %%
# The errors themselves
# ---------------------
# White is wrong, red are the true borders.

worst = (
    (prediction != truth)
    .flatten(1)
    .float()
    .mean(dim=1)
    .argsort(descending=True)[:3]
    .tolist()
)

# sphinx_gallery_alt = "The three scenes with most errors above, and below them the wrong pixels in white with true borders in red."
figure, axes = plt.subplots(2, 3, figsize=(5.2, 3.7))
for (above, below), number in zip(axes.T, worst):
    above.imshow(scenes[number].image)
    wrong = to_pil_image((prediction[number] != truth[number]).float()).convert("RGB")
    below.imshow(boundary_overlay(wrong, truth[number]))
for place in axes.flat:
    place.set_axis_off()
