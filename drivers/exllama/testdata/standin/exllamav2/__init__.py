"""Stand-in for exllamav2: see ../README.md."""

import torch

from standin_common import config, encode

__version__ = "0.0.0+standin"
print("stand-in exllamav2: a library that prints to stdout at import")


class ExLlamaV2Config:
    def __init__(self, model_dir=None):
        self.standin = config(model_dir)
        self.max_input_len = 2048

    def arch_compat_overrides(self, quiet=False, warn_only=False):
        pass


class ExLlamaV2:
    def __init__(self, config, lazy_load=False):
        self.config = config

    def load_autosplit(self, cache, reserve_vram=None, last_id_only=False, callback=None, callback_gen=None, progress=False):
        assert cache.lazy


class ExLlamaV2Cache:
    def __init__(self, model, batch_size=1, max_seq_len=-1, copy_from=None, lazy=False, num_key_value_heads=None, fixed_device=None):
        assert max_seq_len % 256 == 0
        self.max_seq_len, self.lazy = max_seq_len, lazy


class ExLlamaV2Tokenizer:
    def __init__(self, config, lazy_init=False, force_json=False, force_spm=False):
        pass

    def encode(self, text, add_bos=False, add_eos=False, encode_special_tokens=False, return_offsets=False, embeddings=None):
        assert encode_special_tokens and not add_bos
        return torch.tensor([encode(text)], dtype=torch.long)
