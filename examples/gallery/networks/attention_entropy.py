"""
How widely do the heads of an encoder look?
===========================================

Entropy of attention tells whether a head reads a few patches or all of them alike. The paper plots it
layer by layer (Fig. 6) to show what its losses change; here it tells a trained encoder from an
untrained one.

"""

# %%
# Two encoders
# ------------

# sphinx_gallery_thumbnail_number = 2
import torch
from torchvision.transforms.functional import to_tensor

from fsr.backbone import ViTBackbone
from fsr.data import SCENE_SEEDS, Scenes
from fsr.visualize import (
    comparison_sheet,
    encoder_attention,
    encoder_entropy,
    plot_attention_entropy,
)

scenes = list(Scenes(16, seed=SCENE_SEEDS.tune, masks=False))
images = 2 * torch.stack([to_tensor(scene.image) for scene in scenes]) - 1
torch.manual_seed(0)
encoders = {
    "untrained": ViTBackbone("fsr_scenes_tiny", image_size=96),
    "trained": ViTBackbone("fsr_scenes_tiny", pretrained=True, image_size=96),
}
entropy = {
    name: encoder_entropy(encoder, images).mean for name, encoder in encoders.items()
}

# %%
# Entropy by layer
# ----------------
# A dot is a head. The most there can be is ln 144 = 4.97, every patch alike, and that is where the
# untrained heads are. Training lets some heads choose and leaves others wide.

# sphinx_gallery_alt = "Entropy of attention by layer: untrained heads lie at 4.97 nats, trained ones below and spread out."
figure = plot_attention_entropy(entropy)
figure.set_size_inches(5.2, 3.4)

# %%
# The narrowest and the widest head
# ---------------------------------
# What both say of one patch, the centre of the scene.

trained = entropy["trained"]
order = trained.flatten().argsort()
heads = [divmod(int(index), trained.shape[1]) for index in (order[0], order[-1])]
columns = [("image", [scene.image for scene in scenes[:3]])]
for (layer, head), called in zip(heads, ("narrowest", "widest")):
    attention = encoder_attention(encoders["trained"], images[:3], blocks=(layer,))
    maps = attention.maps(query=6 * 12 + 6)[:, 0, head]
    columns.append((called, list(maps / maps.amax(dim=(1, 2), keepdim=True))))
    print(f"{called}: layer {layer}, head {head}, {trained[layer, head]:.2f} nats")

# sphinx_gallery_alt = "Three scenes with the attention of the centre patch: a few red patches in the narrowest head, an even spread in the widest."
figure = comparison_sheet(
    columns, images=[scene.image for scene in scenes[:3]], size=1.7
)
