"""Stand-in for exllamav3: see ../README.md."""

import torch

from standin_common import Generator as _Generator
from standin_common import Job as _Job
from standin_common import config, encode


class Config:
    @staticmethod
    def from_directory(directory, **kwargs):
        c = Config()
        c.standin = config(directory)
        return c


class Model:
    @staticmethod
    def from_config(config, component="text", **kwargs):
        m = Model()
        m.config = config
        return m

    def load(self, device=None, reserve_per_device=None, use_per_device=None, tensor_p=False, progressbar=False, **kwargs):
        pass


class Cache:
    def __init__(self, model, max_num_tokens, layer_type=None, **kwargs):
        assert max_num_tokens % 256 == 0
        self.max_num_tokens = max_num_tokens


class Tokenizer:
    bos_token_id = 0

    @staticmethod
    def from_config(config):
        return Tokenizer()

    def encode(self, text, add_bos=False, add_eos=False, encode_special_tokens=False, return_offsets=False, embeddings=None):
        assert encode_special_tokens and not add_bos
        return torch.tensor([[0] + encode(text)], dtype=torch.long)


class ArgmaxSampler:
    pass


class _PageTable:
    def __init__(self, generator):
        self.generator = generator

    def reset_page_table(self):
        self.generator.reset_pages()


class Generator(_Generator):
    def __init__(self, model, cache, tokenizer, max_batch_size=256, max_chunk_size=2048, max_q_size=8, draft_model=None, draft_cache=None,
                 num_draft_tokens=None, show_visualizer=False, enable_defrag=True, **kwargs):
        super().__init__(model.config.standin, cache.max_num_tokens, max_batch_size)
        self.pagetable = _PageTable(self)
        self.reset_pages, self.reset_page_table = self.reset_page_table, None  # the real one has it in its page table only


class Job(_Job):
    def __init__(self, input_ids, max_new_tokens=None, min_new_tokens=0, max_skips=4, sampler=None, seed=None, stop_conditions=None,
                 decode_special_tokens=False, return_top_tokens=0, return_logits=False, return_probs=False, token_healing=False,
                 identifier=None, banned_strings=None, **kwargs):
        assert isinstance(sampler, ArgmaxSampler) and decode_special_tokens
        super().__init__(input_ids, max_new_tokens - 1 or 1, stop_conditions, identifier)  # one short, as the real one of 1.4.1
