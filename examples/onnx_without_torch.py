"""Masks by a network in ONNX: numpy, pillow and onnxruntime are all that is installed.

fsr export onnx teacher.safetensors --output model.onnx    # where torch is
python examples/onnx_without_torch.py model.onnx photograph.jpg mask.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

network, photograph, mask = sys.argv[1:]
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
told = json.loads(session.get_modelmeta().custom_metadata_map["fsr"])

image = ImageOps.exif_transpose(Image.open(photograph)).convert("RGB")
patch_height, patch_width = told["patch"]
width = max(2, round(image.width / patch_width)) * patch_width
height = max(2, round(image.height / patch_height)) * patch_height
pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) / 255
pixels = (pixels - told["mean"]) / told["std"]
images = pixels.transpose(2, 0, 1)[None].astype(np.float32)

probabilities = session.run(["probabilities"], {"images": images})[0][0]
labels = Image.fromarray(probabilities.argmax(axis=0).astype(np.uint8))
labels = labels.resize(image.size, Image.Resampling.NEAREST)
labels.putpalette(bytes(np.array(told["palette"], dtype=np.uint8)))
labels.save(mask)
print(sorted({told["classes"][label] for label in np.unique(np.asarray(labels))}))
