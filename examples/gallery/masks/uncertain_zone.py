"""
How much of the uncertain zone does a mask ratio cover?
=======================================================

Between two thresholds of the map lies the uncertain zone: patches that may or may not belong to the
object. The mask takes those first and fills up at random. A small ratio hides a part of the zone
only, a large one hides certain patches too.

"""

# %%
# The map of one scene
# --------------------

import timm
import torch
from matplotlib import pyplot as plt
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr import UncertainMasker
from fsr.cam import class_activation_maps, keep_present, normalize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.refine import PAR
from fsr.visualize import heatmap_overlay

scenes = list(Scenes(8, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = normalize_cam(PAR()(images, keep_present(cam, labels)))

# %%
# Three ratios
# ------------
# Orange patches are hidden and uncertain, grey ones are hidden at random.

masker = UncertainMasker(low=0.05, high=0.5)
zone = masker.uncertain_zone(cam, labels, grid=(12, 12))
ratios = [0.2, 0.4, 0.6]
number = 3

# sphinx_gallery_alt = "A scene with its map, and the hidden patches at ratios 0.2, 0.4 and 0.6: first inside the zone, then anywhere."
figure, axes = plt.subplots(2, 2, figsize=(5.2, 5.6))
axes[0, 0].imshow(heatmap_overlay(scenes[number].image, cam[number].amax(dim=0)))
axes[0, 0].set_title("map")
for place, ratio in zip(axes.flat[1:], ratios):
    mask = masker(
        cam,
        labels,
        grid=(12, 12),
        ratio=ratio,
        generator=torch.Generator().manual_seed(0),
    )
    colours = torch.zeros(12, 12, 4)
    colours[mask[number]] = torch.tensor([0.5, 0.5, 0.5, 0.8])
    colours[mask[number] & zone[number]] = torch.tensor([0.9, 0.5, 0.1, 0.7])
    place.imshow(scenes[number].image, extent=(0, 12, 12, 0))
    place.imshow(colours.numpy(), extent=(0, 12, 12, 0), interpolation="nearest")
    place.set_title(f"ratio {ratio}")
for place in axes.flat:
    place.set_axis_off()

# %%
# Over all scenes
# ---------------
# The zone's own share of the image is where the lines part: above it everything more is random.

covered, inside = [], []
steps = [0.05 * k for k in range(1, 19)]
for ratio in steps:
    mask = masker(
        cam,
        labels,
        grid=(12, 12),
        ratio=ratio,
        generator=torch.Generator().manual_seed(0),
    )
    covered.append(100 * mask[zone].float().mean())
    inside.append(100 * zone[mask].float().mean())

# sphinx_gallery_alt = "Two lines by ratio: the share of the zone that is hidden rises to all of it, the share of hidden patches that are uncertain falls."
figure, axes = plt.subplots()
axes.plot(steps, covered, label="of the zone, hidden")
axes.plot(steps, inside, label="of the hidden, uncertain")
axes.axvline(zone.float().mean().item(), color="#8a8f98", linestyle=":", linewidth=1.5)
axes.set(
    xlabel="mask ratio (dotted: share of the zone)", ylabel="patches (%)", ylim=(0, 105)
)
axes.legend()
