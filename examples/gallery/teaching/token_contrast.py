"""
What does patch-token contrast do to similar patches?
=====================================================

Patches of a vision transformer grow alike from block to block, until object and ground can hardly be
told apart. Patch-token contrast pulls tokens of one label together and pushes others away.

"""

# %%
# Tokens and labels
# -----------------
# A linear layer on frozen tokens stands in for the network. Its labels are pseudo labels of the
# scenes' maps, in which uncertain patches are ignored.

import timm
import torch
from matplotlib import pyplot as plt
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

import fsr.backbone  # registers the scenes' encoder with timm
from fsr import PTCLoss
from fsr.cam import cam_to_labels, class_activation_maps, keep_present, normalize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.refine import PAR
from fsr.visualize import comparison_sheet

scenes = list(Scenes(16, seed=SCENE_SEEDS.tune))
images = torch.stack([to_tensor(scene.image) for scene in scenes])
labels = torch.stack([scene.labels for scene in scenes])
encoder = timm.create_model("fsr_scenes_tiny", pretrained=True).eval()
with torch.no_grad():
    tokens = encoder.forward_features(2 * images - 1)
cam = normalize_cam(class_activation_maps(tokens, encoder.head.weight, grid=(12, 12)))
cam = normalize_cam(PAR()(images, keep_present(cam, labels)))
cam = F.adaptive_avg_pool2d(cam, (12, 12))
pseudo = cam_to_labels(cam, labels, low=0.03, high=0.15).flatten(1)

# %%
# Sixty steps
# -----------
# The first twelve scenes train the layer, the others are kept for the pictures.

torch.manual_seed(0)
layer = nn.Linear(128, 128)
nn.init.eye_(layer.weight)
optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-3)
contrast, losses = PTCLoss(), []
for _ in range(60):
    loss = contrast(layer(tokens[:12]), pseudo[:12])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
print(f"loss {losses[0]:.2f} at the start, {losses[-1]:.2f} at the end")

# %%
# Similarity to one patch
# -----------------------
# How alike every patch is to the one where the map is highest, on scenes that the layer has not
# seen. Before, a good part of the ground is like it too.

shown = [12, 13, 15]
peak = cam[shown].amax(dim=1).flatten(1).argmax(dim=1)


def similarity(values: torch.Tensor) -> list[torch.Tensor]:
    """Return maps of the absolute cosine with the patch at the peak."""
    unit = F.normalize(values[shown], dim=-1)
    chosen = unit[torch.arange(len(shown)), peak, :, None]
    return list((unit @ chosen).abs().clamp(0, 1).view(-1, 12, 12))


with torch.no_grad():
    after = similarity(layer(tokens))

# sphinx_gallery_alt = "Three scenes with similarity to the brightest patch before and after: after, only the object is alike."
figure = comparison_sheet(
    [
        ("image", [scenes[number].image for number in shown]),
        ("before", similarity(tokens)),
        ("after", after),
    ],
    images=[scenes[number].image for number in shown],
    size=1.7,
)

# %%
# Over all pairs
# --------------

different = pseudo[12:, :, None] != pseudo[12:, None, :]
known = (pseudo[12:] != 255)[:, :, None] & (pseudo[12:] != 255)[:, None, :]

# sphinx_gallery_alt = "Histograms of the cosine between patches of different labels, before around 0.8 and after around 0.5."
figure, axes = plt.subplots()
for name, values in (("before", tokens[12:]), ("after", layer(tokens[12:]).detach())):
    unit = F.normalize(values, dim=-1)
    pairs = (unit @ unit.transpose(1, 2))[different & known]
    axes.hist(pairs.numpy(), bins=40, density=True, alpha=0.6, label=name)
axes.set(xlabel="cosine of patches with different labels", yticks=[])
axes.legend()
