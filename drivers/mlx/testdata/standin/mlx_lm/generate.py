"""Stand-in for mlx_lm.generate: see ../README.md."""

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any, List, Optional

from .models import cache as caches
from .tokenizer import FIRST

generation_stream = "stand-in stream"


def generate(model, tokenizer, prompt, verbose=False, **kwargs):
    raise NotImplementedError


@contextlib.contextmanager
def wired_limit(model, streams=None):
    assert streams == [generation_stream]
    yield


class Clockwork:
    """Says what token comes next, and lets the time pass that it takes."""

    def __init__(self, model):
        s = model.standin
        self.s = s
        self.out = [b + FIRST for b in s.get("text", "Bonjour, é 東京! ").encode()]
        self.at = time.perf_counter_ns()

    def wait(self, us):
        self.at = max(self.at, time.perf_counter_ns() - 50_000_000) + int(us * 1000)
        while True:
            left = self.at - time.perf_counter_ns()
            if left <= 0:
                return
            if left > 300_000:
                time.sleep((left - 200_000) / 1e9)

    def token(self, n):
        self.wait(self.s.get("decode_us", 1000))
        return self.say(n)

    def say(self, n):
        if self.s.get("log"):
            with open(self.s["log"], "a", encoding="utf-8") as f:
                f.write("%d\n" % time.perf_counter_ns())
        if n == self.s.get("fault_at", -1):
            self.fault()
        if n == self.s.get("eos_at", -1):
            return 2
        return self.out[n % len(self.out)]

    def fault(self):
        kind = self.s.get("fault")
        if kind == "die":
            os.write(2, b"stand-in: the GPU is on fire\n")
            os._exit(9)
        if kind == "block":
            time.sleep(3600)
        if kind == "raise":
            raise RuntimeError("stand-in: the kernel failed")
        if kind == "memory":
            raise RuntimeError("[metal::malloc] Insufficient Memory")


def generate_step(prompt, model, *, max_tokens=256, sampler=None, logits_processors=None, max_kv_size=None, prompt_cache=None,
                  prefill_step_size=2048, kv_bits=None, kv_group_size=64, quantized_kv_start=0, prompt_progress_callback=None,
                  input_embeddings=None):
    work = Clockwork(model)
    total, done = len(prompt), 0
    tell = prompt_progress_callback or (lambda *_: None)
    print("stand-in mlx_lm: generate_step prints to stdout", total)
    tell(done, total)

    def feed(tokens):
        for c in prompt_cache:
            c.tokens.extend(tokens)

    while total - done > 1:
        n = min(prefill_step_size, total - done - 1)
        work.wait(n * model.standin.get("prefill_us", 10))
        feed(prompt[done:done + n])
        done += n
        tell(done, total)
    feed(prompt[done:])
    y = work.token(0)
    n = 0
    while True:
        if n != max_tokens:
            feed([y])  # the next step begins before this token is given out
        if n == 0:
            tell(total, total)
        if n == max_tokens:
            break
        yield y, None
        n += 1
        y = work.token(n) if n < max_tokens else None


@dataclass
class Response:
    uid: int
    token: int
    logprobs: Any
    finish_reason: Optional[str]


class BatchGenerator:
    def __init__(self, model, *, max_tokens=128, stop_tokens=None, sampler=None, logits_processors=None, completion_batch_size=32,
                 prefill_batch_size=8, prefill_step_size=2048, max_kv_size=None):
        self.model, self.work = model, Clockwork(model)
        self.size = completion_batch_size
        self.count = 0
        self.waiting: List[Any] = []
        self.active: List[Any] = []
        self.closed = False

    def insert(self, prompts, max_tokens=None, caches=None, all_tokens=None, samplers=None, logits_processors=None):
        uids = []
        for p, m in zip(prompts, max_tokens):
            self.waiting.append([self.count, len(p), m, 0])
            uids.append(self.count)
            self.count += 1
        return uids

    def remove(self, uids, return_prompt_caches=False):
        self.waiting = [w for w in self.waiting if w[0] not in uids]
        self.active = [a for a in self.active if a[0] not in uids]
        return {}

    def next(self):
        assert not self.closed
        responses = []
        if self.active:
            self.work.wait(self.model.standin.get("decode_us", 1000))
            for a in self.active:
                token = self.work.say(a[3])
                a[3] += 1
                responses.append(Response(a[0], token, None, "length" if a[3] >= a[2] else None))
            self.active = [a for a in self.active if a[3] < a[2]]
        while self.waiting and len(self.active) < self.size:
            w = self.waiting.pop(0)
            self.work.wait(w[1] * self.model.standin.get("prefill_us", 10))
            self.active.append(w)
        return [], responses

    def close(self):
        self.closed = True
