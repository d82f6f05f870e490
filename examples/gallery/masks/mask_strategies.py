"""
What do the four ways of masking hide?
======================================

The student sees an image of which some patches are hidden. The paper compares four ways to choose
them; on one photograph the difference is plain.

"""

# %%
# The photograph is Chelsea the cat, CC0, by Stéfan van der Walt; it comes with scikit-image. The
# map is drawn by hand, so that nothing has to be downloaded: high on the eyes and the nose, where a
# classifier looks first, and lower on the rest of the head.

import numpy as np
import skimage.data
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.functional import to_tensor

from fsr import UncertainMasker
from fsr.visualize import heatmap_overlay

photograph = Image.fromarray(skimage.data.chelsea()[6:294, 1:449])
height, width = photograph.height, photograph.width
y, x = np.mgrid[:height, :width]


def bump(row: float, column: float, radius: float) -> NDArray[np.float64]:
    """Return a round hill of height 1."""
    hill: NDArray[np.float64] = np.exp(
        -((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2)
    )
    return hill


parts = [
    bump(110, 172, 42),
    bump(132, 318, 38),
    bump(235, 262, 36),
    0.55 * bump(140, 215, 105),
]
cam = torch.from_numpy(np.maximum.reduce(parts)).float()[None, None]

# %%
# Four strategies
# ---------------
# *uncertain* hides 40% of the patches, those of the uncertain zone first. *random* draws 40% anywhere.
# *strict* takes exactly the zone, and *edge* the patches with many edges; neither has a ratio, so they
# hide as much as there is. Fur is full of edges.

grid = (height // 16, width // 16)
image = to_tensor(photograph)[None]
masks = {}
for strategy in ("uncertain", "random", "strict", "edge"):
    masker = UncertainMasker(ratio=0.4, low=0.2, high=0.7, strategy=strategy)
    noise = torch.Generator().manual_seed(0)
    masks[strategy] = masker(cam, grid=grid, images=image, generator=noise)[0]
zone = UncertainMasker(low=0.2, high=0.7).uncertain_zone(cam, grid=grid)[0]
for name, mask in masks.items():
    print(
        f"{name:9} hides {mask.float().mean():3.0%}, of the zone {mask[zone].float().mean():4.0%}"
    )

# %%
# Hidden patches are grey
# -----------------------


def hide(mask: torch.Tensor) -> Image.Image:
    """Paint the hidden patches of the photograph grey."""
    pixels = np.array(photograph)
    pixels[np.kron(mask.numpy(), np.ones((16, 16), dtype=bool))] = 128
    return Image.fromarray(pixels)


pictures = {"photograph": photograph, "map": heatmap_overlay(photograph, cam[0, 0])}
pictures |= {name: hide(mask) for name, mask in masks.items()}

# sphinx_gallery_alt = "A cat: photograph, map, and the masks uncertain, random, strict and edge, each with other patches in grey."
figure, axes = plt.subplots(3, 2, figsize=(5.2, 5.8))
for place, (name, picture) in zip(axes.flat, pictures.items()):
    place.imshow(picture)
    place.set_title(name)
    place.set_axis_off()
