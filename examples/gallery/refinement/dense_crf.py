"""
Does a dense CRF help or hurt?
==============================

A dense CRF moves the borders of a prediction to the edges of its image. Where the prediction covers
most of an object it puts the rest right; where it covers a small part it takes that for noise. So
score both before you keep it.

"""

# %%
# Predictions
# -----------
# Maps of the built-in scenes, refined by PAR, with a constant score for the background. The scenes
# are small, so the exact filter of the torch backend does; for photographs there is
# ``backend="lattice"``.

# sphinx_gallery_thumbnail_number = 2
import timm
import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr.cam import class_activation_maps, keep_present, normalize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.metrics import SegmentationMetrics
from fsr.refine import PAR, DenseCRF
from fsr.visualize import comparison_sheet

scenes = list(Scenes(7, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
truth = torch.stack([scene.target for scene in scenes])[:, ::2, ::2]

encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = normalize_cam(PAR()(images, keep_present(cam, labels)))
images, cam = F.avg_pool2d(images, 2), F.avg_pool2d(cam, 2)
scores = torch.cat([torch.full_like(cam[:, :1], 0.08), cam], dim=1)
before = scores / scores.sum(dim=1, keepdim=True)

# %%
# Before and after
# ----------------

crf = DenseCRF("test", backend="torch")
pixels = (255 * images).to(torch.uint8).permute(0, 2, 3, 1)
after = torch.stack([crf(image, maps) for image, maps in zip(pixels, before)])


def miou(probabilities: torch.Tensor, target: torch.Tensor) -> float:
    """Return the mIoU of one scene in per cent."""
    metrics = SegmentationMetrics(num_classes=6)
    metrics.update(probabilities.argmax(dim=0), target)
    return 100 * metrics.compute().miou


scored = [(miou(a, t), miou(b, t)) for a, b, t in zip(before, after, truth)]
change = [second - first for first, second in scored]
best, worst = change.index(max(change)), change.index(min(change))

# sphinx_gallery_alt = "One arrow for each of seven scenes from its score before to its score after the CRF: some go up, some go down."
figure, axes = plt.subplots()
for place, (first, second) in enumerate(scored):
    colour = "#4da35a" if second > first else "#d9822b"
    axes.annotate(
        "", (place, second), (place, first), arrowprops={"color": colour, "width": 3}
    )
    axes.plot(place, first, "o", color=colour)
axes.set(xlabel="scene", ylabel="mIoU (%), before → after", ylim=(0, 105))
axes.grid(axis="y")

# %%
# The scene that gains most and the one that loses most
# -----------------------------------------------------

for called, number in (("gains", best), ("loses", worst)):
    first, second = scored[number]
    print(f"scene {number} {called}: {first:.0f} before, {second:.0f} after")

chosen = [best, worst]

# sphinx_gallery_alt = "Two scenes with prediction before, after and truth: above the CRF completes the objects, below it removes one."
figure = comparison_sheet(
    [
        ("image", [scenes[number].image for number in chosen]),
        ("before", [before[number].argmax(dim=0) for number in chosen]),
        ("after", [after[number].argmax(dim=0) for number in chosen]),
        ("truth", [truth[number] for number in chosen]),
    ],
    size=1.3,
)
