"""Train a single-stage segmenter from image-level labels: the command `fsr train`, as a script.

python examples/train.py                                  # built-in scenes
python examples/train.py --config voc data.root=/path/to/VOCdevkit
accelerate launch --num_processes 4 examples/train.py ...  # several GPUs
torchrun --nproc_per_node 2 examples/train.py              # several processes on a CPU
"""

import sys

from fsr.cli._train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "train.py"))
