"""Train a single-stage segmenter from image-level labels: options, data, steps, state, report.

``run(load_config("voc", overrides=["data.root=VOCdevkit"]))`` is what ``fsr train --config voc
data.root=VOCdevkit`` does. Needs the extra ``train``: without it the module imports, and what needs
OmegaConf or Accelerate names ``pip install 'fsr-wsss[train]'``.
"""

from fsr._core.records import read_log
from fsr.train._batch import Batch
from fsr.train._checks import accumulation, check_same_run
from fsr.train._config import load_config, nearest_option, print_config, read_config
from fsr.train._data import build_datasets
from fsr.train._drawn import build_drawn, build_views
from fsr.train._files import CONFIGS, config_names, find_config, moved_config
from fsr.train._help import Option, list_options, spell_options
from fsr.train._interrupt import INTERRUPTED
from fsr.train._loading import Loading, choose_loading, micro_batches
from fsr.train._loop import run
from fsr.train._maps import SheetOptions
from fsr.train._optimizer import build_learning_rate, build_optimizer
from fsr.train._options import (
    Config,
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ViewsConfig,
)
from fsr.train._parts import Parts, build_accelerator, build_parts, build_student
from fsr.train._preset_options import (
    CAMConfig,
    PresetConfig,
    build_method,
    build_preset,
)
from fsr.train._sheet import picture_sheet
from fsr.train._step import train_step
from fsr.train._table import upper_bound

__all__ = [
    "CONFIGS",
    "INTERRUPTED",
    "Batch",
    "CAMConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "Loading",
    "ModelConfig",
    "OptimConfig",
    "Option",
    "Parts",
    "PresetConfig",
    "RunConfig",
    "SheetOptions",
    "ViewsConfig",
    "accumulation",
    "build_accelerator",
    "build_datasets",
    "build_drawn",
    "build_learning_rate",
    "build_method",
    "build_optimizer",
    "build_parts",
    "build_preset",
    "build_student",
    "build_views",
    "check_same_run",
    "choose_loading",
    "config_names",
    "find_config",
    "list_options",
    "load_config",
    "micro_batches",
    "moved_config",
    "nearest_option",
    "picture_sheet",
    "print_config",
    "read_config",
    "read_log",
    "run",
    "spell_options",
    "train_step",
    "upper_bound",
]
