"""What both stand-ins do: a page table, jobs, and time that passes. See ../README.md."""

import json
import os
import re
import time

import torch

PAGE = 256
SPECIAL = {"<s>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "<think>": 3, "</think>": 4}
FIRST = 5


def config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        return json.load(f).get("standin") or {}


def encode(text):
    ids = []
    for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
        if part in SPECIAL:
            ids.append(SPECIAL[part])
        else:
            ids.extend(b + FIRST for b in part.encode())
    return ids


class Generator:
    """The dynamic generator of both."""

    def __init__(self, standin, tokens, max_batch_size):
        self.s = standin
        self.max_batch_size = max_batch_size
        self.capacity = tokens
        self.pages = set()
        self.pending_jobs, self.active_jobs = [], []
        self.serial = 0
        self.out = [b + FIRST for b in standin.get("text", "Bonjour, é 東京! ").encode()]

    def reset_page_table(self):
        assert not self.active_jobs
        self.pages = set()

    def num_remaining_jobs(self):
        return len(self.pending_jobs) + len(self.active_jobs)

    def clear_queue(self):
        self.pending_jobs, self.active_jobs = [], []

    def cancel(self, job):
        for jobs in (self.pending_jobs, self.active_jobs):
            if job in jobs:
                jobs.remove(job)

    def enqueue(self, job):
        assert len(job.ids) + job.max_new_tokens <= self.capacity, "Job requires %d tokens, cache has %d" % (len(job.ids) + job.max_new_tokens, self.capacity)
        job.serial, job.time_enqueue = self.serial, time.time()
        self.serial += 1
        self.pending_jobs.append(job)
        return job.serial

    def wait(self, us):
        until = time.perf_counter_ns() + int(us * 1000)
        while True:
            left = until - time.perf_counter_ns()
            if left <= 0:
                return
            if left > 300_000:
                time.sleep((left - 200_000) / 1e9)

    def iterate(self):
        results = []
        while self.pending_jobs and len(self.active_jobs) < self.max_batch_size:
            job = self.pending_jobs.pop(0)
            job.start(self.pages)
            self.active_jobs.append(job)
            results.append(job.result("started"))
        for job in self.active_jobs:
            n = min(2048, len(job.ids) - 1 - job.position)
            if n > 0:
                self.wait(n * self.s.get("prefill_us", 10))
                job.position += n
                job.time_prefilled = time.time()
                results.append(job.result("prefill", curr_progress=job.position, max_progress=len(job.ids)))
        ready = [j for j in self.active_jobs if j.position >= len(j.ids) - 1]
        if ready:
            self.wait(self.s.get("decode_us", 1000))
        for job in ready:
            n = len(job.tokens)
            if n == self.s.get("fault_at", -1):
                self.fault()
            job.receive(2 if n == self.s.get("eos_at", -1) else self.out[n % len(self.out)], results)
            if len(job.tokens) >= job.max_new_tokens:
                self.active_jobs.remove(job)
                job.keep(self.pages)
        return results

    def fault(self):
        kind = self.s.get("fault")
        if kind == "die":
            os.write(1, b"stand-in: CUDA error: an illegal memory access was encountered\n")
            os._exit(134)
        if kind == "block":
            time.sleep(3600)
        if kind == "raise":
            raise RuntimeError("stand-in: CUDA out of memory")


class Job:
    """A job of both."""

    def __init__(self, input_ids, max_new_tokens, stop_conditions, identifier):
        assert stop_conditions is None, "the helper must not stop at the end of text"
        assert all(ids.device.type == "cpu" for ids in input_ids)
        assert input_ids.shape[0] == 1
        self.ids = input_ids[0].tolist()
        self.max_new_tokens = max_new_tokens
        self.identifier = identifier
        self.position = 0
        self.cached_pages = 0
        self.tokens, self.held = [], b""
        self.held_tokens = []

    def hashes(self, ids):
        return [tuple(ids[: (i + 1) * PAGE]) for i in range(len(ids) // PAGE)]

    def start(self, pages):
        self.time_start = self.time_prefilled = time.time()
        for h in self.hashes(self.ids[:-1]):
            if h not in pages:
                break
            self.cached_pages += 1
        self.position = self.cached_pages * PAGE

    def keep(self, pages):
        pages.update(self.hashes(self.ids + self.tokens))

    def result(self, stage, **more):
        r = {"job": self, "stage": stage, "serial": self.serial, "eos": False, **more}
        if self.identifier is not None:
            r["identifier"] = self.identifier
        return r

    def receive(self, token, results):
        self.tokens.append(token)
        self.held_tokens.append(token)
        self.held += {v: k for k, v in SPECIAL.items()}[token].encode() if token < FIRST else bytes([token - FIRST])
        eos = len(self.tokens) >= self.max_new_tokens
        try:
            text = self.held.decode()
        except UnicodeDecodeError:
            if not eos:
                return  # held back until the character is whole, with its tokens
            text = self.held.decode("utf-8", "replace")
        r = self.result("streaming", text=text, token_ids=torch.tensor([self.held_tokens], dtype=torch.long))
        self.held, self.held_tokens = b"", []
        if eos:
            now = time.time()
            r.update({"eos": True, "eos_reason": "max_new_tokens", "new_tokens": len(self.tokens), "prompt_tokens": len(self.ids),
                      "time_enqueued": self.time_start - self.time_enqueue, "time_prefill": self.time_prefilled - self.time_start,
                      "time_generate": now - self.time_prefilled, "cached_pages": self.cached_pages, "cached_tokens": self.cached_pages * PAGE})
        results.append(r)
