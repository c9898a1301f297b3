"""Stand-in for mlx_lm: see ../README.md."""

import json
import os

from .generate import generate  # the package's function hides the module, as in the real one
from .tokenizer import Tokenizer

__version__ = "0.0.0+standin"


class Model:
    def __init__(self, config):
        self.standin = config.get("standin", {})
        self.layers = [0, 1]


def load(path_or_hf_repo, tokenizer_config=None, model_config=None, adapter_path=None, lazy=False, revision=None):
    if not os.path.isdir(path_or_hf_repo):
        raise FileNotFoundError(path_or_hf_repo + ": the stand-in fetches nothing")
    with open(os.path.join(path_or_hf_repo, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    if config.get("model_type") == "unknown":
        raise ValueError("Model type unknown not supported.")
    return Model(config), Tokenizer(config)
