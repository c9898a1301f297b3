"""Stand-in for exllamav2.generator: see ../README.md."""

from standin_common import Generator, Job


class ExLlamaV2Sampler:
    class Settings:
        @classmethod
        def greedy(cls, **kwargs):
            return "greedy"


class ExLlamaV2DynamicGenerator(Generator):
    def __init__(self, model, cache, tokenizer, max_batch_size=None, max_seq_len=None, max_chunk_size=None, max_q_size=8, draft_model=None,
                 draft_cache=None, num_draft_tokens=4, use_ngram_draft=False, max_ngram=4, max_sampling_threads=16, min_sampling_threads=3,
                 paged=True, filter_background_eval=True, **kwargs):
        standin = model.config.standin
        if standin.get("no_flash_attn"):
            assert not paged, "Paged attention required Flash Attention 2.5.7 or later"
            assert max_batch_size == 1
        super().__init__(standin, cache.max_seq_len, max_batch_size)

    def warmup(self):
        self.reset_page_table()


class ExLlamaV2DynamicJob(Job):
    def __init__(self, input_ids, max_new_tokens, min_new_tokens=0, seed=None, stop_conditions=None, gen_settings=None, token_healing=False,
                 return_top_tokens=0, return_logits=False, return_probs=False, filters=None, filter_prefer_eos=False, identifier=None,
                 banned_strings=None, embeddings=None, decode_special_tokens=False, max_skips=4, **kwargs):
        assert gen_settings == "greedy" and decode_special_tokens
        super().__init__(input_ids, max_new_tokens, stop_conditions, identifier)
