"""
Which patches does a class read?
================================

A map says where a class is; attention says where its evidence comes from. Take the patch where the
class is highest, and look at what that patch reads in each block.

"""

# %%
# Class maps and attention of one encoder
# ---------------------------------------

import timm
import torch
from torchvision.transforms.functional import to_tensor

from fsr.backbone import ViTBackbone
from fsr.cam import class_activation_maps, keep_present, normalize_cam
from fsr.data import SCENE_SEEDS, Scenes
from fsr.visualize import comparison_sheet, encoder_attention

scenes = list(Scenes(8, seed=SCENE_SEEDS.tune))
images = 2 * torch.stack([to_tensor(scene.image) for scene in scenes]) - 1
labels = torch.stack([scene.labels for scene in scenes])

backbone = ViTBackbone("fsr_scenes_tiny", pretrained=True, image_size=96)
classifier = timm.create_model("fsr_scenes_tiny", pretrained=True).head
with torch.no_grad():
    tokens = backbone.norm(backbone(images).tokens)
cam = normalize_cam(class_activation_maps(tokens, classifier.weight, grid=(12, 12)))
cam = keep_present(cam, labels)

# %%
# From each class to the patches
# ------------------------------
# Each row is a class of one scene with two. Methods with class tokens build their maps on such
# attention: :func:`fsr.attention.class_attention_maps` reads it from a network that has them.

number = next(index for index, scene in enumerate(scenes) if scene.labels.sum() == 2)
classes = labels[number].nonzero().flatten()
attention = encoder_attention(backbone, images[number, None], blocks=(0, 3, 5))
rows = []
for one in classes:
    peak = int(cam[number, one].flatten().argmax())
    maps = attention.maps(query=peak)[0].mean(dim=1)
    rows.append([cam[number, one], *(maps / maps.amax(dim=(1, 2), keepdim=True))])

columns = zip(("class map", "block 0", "block 3", "block 5"), zip(*rows))

# sphinx_gallery_alt = "Two rows, one for each class of a scene: its map, and what its highest patch reads in blocks 0, 3 and 5."
figure = comparison_sheet(
    [(name, list(maps)) for name, maps in columns],
    images=[scenes[number].image] * len(classes),
    rows=[Scenes.class_names[one] for one in classes],
    size=1.25,
)

# %%
# How much stays on the object
# ----------------------------
# The share of that attention on patches of the class itself, by the true mask, over all scenes. It is
# highest in the middle; the last block reads widely again.

patches = torch.stack([scene.target for scene in scenes])[:, 4::8, 4::8].flatten(1)
everywhere = encoder_attention(backbone, images, blocks=tuple(range(6))).weights.mean(
    dim=2
)
for block in range(6):
    shares, sizes = [], []
    for scene, one in labels.nonzero().tolist():
        inside = patches[scene] == one + 1
        weights = everywhere[scene, block, cam[scene, one].flatten().argmax()]
        shares.append(weights[inside].sum().item())
        sizes.append(inside.float().mean().item())
    print(f"block {block}: {sum(shares) / len(shares):4.0%} on its own object", end="")
    print(f", which is {sum(sizes) / len(sizes):.0%} of the patches")
