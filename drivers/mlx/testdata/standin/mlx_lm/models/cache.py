"""Stand-in for mlx_lm.models.cache: see ../../README.md. A cache keeps the tokens themselves, so that a wrong reuse shows."""


class KVCache:
    def __init__(self, rigid, wrong):
        self.tokens = []
        self._rigid = rigid
        self._wrong = wrong

    @property
    def offset(self):
        return len(self.tokens) + self._wrong

    def is_trimmable(self):
        return not self._rigid

    def trim(self, n):
        n = min(n, len(self.tokens))
        del self.tokens[len(self.tokens) - n:]
        return n


def make_prompt_cache(model, max_kv_size=None):
    return [KVCache(model.standin.get("rigid", False), int(model.standin.get("wrong_offset", False))) for _ in model.layers]


def can_trim_prompt_cache(cache):
    return all(c.is_trimmable() for c in cache)


def trim_prompt_cache(cache, num_tokens):
    if not can_trim_prompt_cache(cache):
        return 0
    return [c.trim(num_tokens) for c in cache][0]
