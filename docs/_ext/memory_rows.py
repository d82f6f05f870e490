"""What an encoder, its gradients, its teacher and its optimiser's state need, counted on timm's."""

from __future__ import annotations

import timm
import torch

ENCODERS = {
    "ViT-B/16": "vit_base_patch16_224",
    "ViT-L/16": "vit_large_patch16_224",
    "ViT-g/14": "vit_giant_patch14_224",
}
# Bytes a parameter: AdamW's two moments; weights, gradients and the teacher's weights.
STATE, REST = 8, 12
GPUS = 8


def encoder_memory() -> list[list[str]]:
    """Return parameters and gigabytes by encoder, and what sharding the state would save."""
    rows = []
    for title, name in ENCODERS.items():
        with torch.device("meta"):
            network = timm.create_model(name, num_classes=0)
        count = sum(parameter.numel() for parameter in network.parameters())
        state, every = count * STATE, count * (STATE + REST)
        saved = state * (GPUS - 1) / GPUS
        sizes = (f"{size / 1e9:.1f} GB" for size in (state, every, saved))
        rows.append([title, f"{count / 1e6:,.0f} million", *sizes])
    saving = f"saved by sharding the state over {GPUS} GPUs"
    return [["encoder", "parameters", "state of AdamW", "all of it", saving], *rows]
