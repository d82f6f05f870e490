"""
What do the two views of an image share?
========================================

Student and teacher see two random crops of each image. A label or a map of one view says nothing
about the other unless their boxes overlap, and the crop's scale decides how often they do.

"""

# %%
# Two views and their boxes
# -------------------------
# Chelsea the cat, CC0, by Stéfan van der Walt, from scikit-image. Each view comes with the box that
# it was cut from and whether it was mirrored.

import skimage.data
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from fsr.data import TwoViews, View

photograph = Image.fromarray(skimage.data.chelsea())
views = TwoViews(224, scale=(0.32, 1.0), mean=(0.0,) * 3, std=(1.0,) * 3)
torch.manual_seed(11)
pair = views(photograph)

# sphinx_gallery_alt = "A cat's photograph with two boxes, and below it the two views that were cut from them, one of them mirrored."
figure, places = plt.subplot_mosaic("AA;BC", figsize=(5.2, 6.2), height_ratios=(1.3, 1))
places["A"].imshow(photograph)
places["A"].set_axis_off()
for place, view, colour in zip(
    (places["B"], places["C"]), pair, ("#d9822b", "#3b8ed0")
):
    y, x, height, width = view.box
    box = Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=4)
    places["A"].add_patch(box)
    place.imshow(to_pil_image(view.image.clamp(0, 1)))
    place.set_title("mirrored" if view.flipped else "as it is", color=colour)
    place.set_axis_off()

# %%
# How much two crops overlap
# --------------------------
# The smallest scale is an option of the views. With 0.32, the released code's, most
# pairs share about half of what they show.


def shared(pair: tuple[View, View]) -> float:
    """Return intersection over union of two boxes."""
    (t0, l0, h0, w0), (t1, l1, h1, w1) = (view.box for view in pair)
    height = max(0, min(t0 + h0, t1 + h1) - max(t0, t1))
    width = max(0, min(l0 + w0, l1 + w1) - max(l0, l1))
    both = height * width
    return float(both / (h0 * w0 + h1 * w1 - both))


small = photograph.resize((113, 75))
overlaps: dict[float, list[float]] = {}
for smallest in (0.08, 0.32, 0.6):
    views = TwoViews(16, scale=(smallest, 1.0), jitter_prob=0.0)
    overlaps[smallest] = sorted(shared(views(small)) for _ in range(200))

# sphinx_gallery_alt = "Overlap of 200 pairs in rising order for three smallest scales: the larger the scale, the higher the curve."
figure, axes = plt.subplots()
for smallest, values in overlaps.items():
    axes.plot(range(200), values, label=f"scale from {smallest}")
axes.set(xlabel="pairs, in rising order", ylabel="intersection over union", ylim=(0, 1))
axes.grid(axis="y")
axes.legend()
