"""llm-speed's helper on exllamav2 and exllamav3. Python 3.9 and later; beside the standard library it needs torch and one of
the two, and jinja2 (a dependency of torch) for the model's chat template.

Streams are jobs of the library's dynamic generator, with stop_conditions=None, so that the end of text is one more token.
Sampling is greedy. A cold prompt begins on an empty page table; what came from the cache the library itself says.
"""

import importlib
import importlib.metadata
import json
import os
import sys
import time
from typing import Any, Dict, List, Optional

from llm_speed_helper import Backend, Refused, Stream, describe, marks, plain, serve

PAGE = 256  # tokens; both generators cache by pages of that size
PROBE = -1  # the number of a job that is no stream's


class Job:
    """A stream with its job."""

    def __init__(self, stream: Stream, job: Any, prompt: int) -> None:
        self.stream = stream
        self.job = job
        self.prompt = prompt
        self.texts: List[str] = []


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class Template:
    """A model folder's chat template, rendered as transformers does."""

    def __init__(self, folder: str) -> None:
        self.text: Optional[str] = None
        self._words: Dict[str, str] = {}
        config = self._json(os.path.join(folder, "tokenizer_config.json"))
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            word = config.get(name)
            if isinstance(word, dict):
                word = word.get("content")
            if isinstance(word, str):
                self._words[name] = word
        found = config.get("chat_template") or self._json(os.path.join(folder, "chat_template.json")).get("chat_template")
        if isinstance(found, list):  # several, by name
            named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
            found = named.get("default")
        if isinstance(found, str):
            self.text = found
        beside = os.path.join(folder, "chat_template.jinja")
        if os.path.isfile(beside):
            with open(beside, encoding="utf-8") as f:
                self.text = f.read()

    @staticmethod
    def _json(path: str) -> Dict[str, Any]:
        try:
            with open(path, encoding="utf-8") as f:
                value = json.load(f)
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def render(self, messages: List[Dict[str, Any]], tools: List[Dict[str, Any]], more: Dict[str, Any]) -> str:
        sandbox = importlib.import_module("jinja2.sandbox")
        env = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

        def refuse(message: str) -> None:
            raise ValueError(message)

        def tojson(value: Any, ensure_ascii: bool = False, indent: Optional[int] = None, **_: Any) -> str:
            return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

        env.filters["tojson"] = tojson
        env.globals["raise_exception"] = refuse
        env.globals["strftime_now"] = time.strftime
        return str(env.from_string(self.text).render(messages=messages, tools=tools or None, add_generation_prompt=True, **more, **self._words))


class ExLlama(Backend):
    """What the two libraries have in common; they differ in names and in how a model is loaded."""

    package = ""

    def __init__(self) -> None:
        self._jobs: Dict[int, Job] = {}  # prepared or begun, by the stream's number
        self._active = 0
        self._more = 0  # tokens that a job is asked for beyond those that are wanted; see _short

    # What the two differ in.
    def load(self, folder: str, tokens: int, parallel: int) -> Dict[str, Any]:
        raise NotImplementedError

    def job(self, ids: Any, tokens: int, seed: int, ident: int) -> Any:
        raise NotImplementedError

    def encode(self, text: str) -> List[int]:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def open(self, args: Dict[str, Any], progress: Any) -> Dict[str, Any]:
        self._torch = importlib.import_module("torch")
        self._lib = importlib.import_module(self.package)
        if not self._torch.cuda.is_available():
            raise Refused("unsupported", "torch sees no CUDA or ROCm device")
        parallel = max(1, int(args.get("parallel") or 1))
        tokens = max(PAGE, (int(args["context"]) + PAGE - 1) // PAGE * PAGE) * parallel
        self._template = Template(args["path"])
        progress("loading the model with a cache of %d tokens" % tokens)
        answer = self.load(args["path"], tokens, parallel)
        self._more = self._short()
        names = [self._torch.cuda.get_device_name(i) for i in range(self._torch.cuda.device_count())]
        return {
            "version": version_of(self.package) or str(getattr(self._lib, "__version__", "")),
            "torch": str(getattr(self._torch, "__version__", "")),
            "cuda": str(getattr(self._torch.version, "cuda", None) or ""),
            "hip": str(getattr(self._torch.version, "hip", None) or ""),
            "devices": names,
            "flash_attn": version_of("flash-attn"),
            "cache_tokens": tokens,
            "parallel": parallel,
            "template": self._template.text is not None,
            "more": self._more,
            **answer,
        }

    def _short(self) -> int:
        """By how many tokens a job ends before what it was asked for: by one in exllamav3 1.4.1, whose Job keeps max_new_tokens - 1
        (exllamav3/generator/job.py), by none in versions before it and in exllamav2. Tried, since it may change again."""
        asked, got = 2, 0
        self.generator.enqueue(self.job(self._torch.tensor([self.encode("Say hello.")], dtype=self._torch.long), asked, 0, PROBE))
        for _ in range(1000):
            for r in self.generator.iterate():
                if r["stage"] == "streaming":
                    ids = r.get("token_ids")
                    got += int(ids.shape[-1]) if ids is not None else 0
                if r.get("eos"):
                    self.reset()
                    return max(0, asked - got)
        self.generator.clear_queue()
        raise Refused("unsupported", "the generator did not end a job of %d tokens" % asked)

    def tokenize(self, args: Dict[str, Any]) -> Dict[str, Any]:
        messages, tools = args["messages"], args.get("tools") or []
        more = {"enable_thinking": args["reasoning"] == "on"} if args.get("reasoning") in ("on", "off") else {}
        answer: Dict[str, Any] = {"rendering": "plain", "why": "the model has no chat template"}
        text = ""
        if self._template.text is not None:
            try:
                text = self._template.render(messages, tools, more)
                answer = {"rendering": "template"}
            except Exception as error:  # templates raise what they like about messages that they do not know
                answer["why"] = describe(error)[:200]
        if answer["rendering"] == "plain":
            text = plain(messages, tools)
        return {**answer, "ids": self.encode(text), **marks(None, self._template.text, text[-200:])}

    def prepare(self, stream: Stream) -> Dict[str, Any]:
        args = stream.args
        rendered = self.tokenize(args)
        ids = rendered.pop("ids")
        tokens = int(args["tokens"])
        if not ids or tokens < 1:
            raise Refused("request", "a stream needs a prompt and at least one token to generate")
        if not args.get("reuse") and not self._active:
            self.reset()
        tensor = self._torch.tensor([ids], dtype=self._torch.long)
        self._jobs[stream.ident] = Job(stream, self.job(tensor, tokens + self._more, int(args.get("seed") or 0) & 0x7FFFFFFF, stream.ident), len(ids))
        return {"prompt": len(ids), **rendered}

    def drop(self, stream: Stream) -> None:
        self._jobs.pop(stream.ident, None)

    def abort(self) -> None:
        self.generator.clear_queue()
        self._jobs = {i: j for i, j in self._jobs.items() if not j.stream.go}
        self._active = 0

    def flush(self) -> None:
        if self._active:
            raise Refused("request", "the cache can't be emptied while a stream runs")
        self.reset()

    def begin(self, stream: Stream) -> None:
        job = self._jobs[stream.ident]
        self._active += 1
        stream.start(job.prompt, None)
        try:
            self.generator.enqueue(job.job)
        except Exception as error:  # too long for the cache, for one
            self._leave(stream.ident)
            stream.fail(Refused("context", describe(error)) if isinstance(error, AssertionError) else error)

    def step(self) -> bool:
        for ident, job in list(self._jobs.items()):
            if job.stream.cancelled and job.stream.go:
                self.generator.cancel(job.job)
                self._leave(ident)
                job.stream.end("cancelled", job.texts, {})
        brought, ended = [], []
        for r in self.generator.iterate() if self._active else []:
            job = self._jobs.get(r.get("identifier"))
            if job is None or r["stage"] != "streaming":
                continue
            ids, text = r.get("token_ids"), r.get("text", "")
            count = int(ids.shape[-1]) if ids is not None else 0
            if count or text:
                brought.append((job.stream, count))
                job.texts.append(text)
            if r["eos"]:
                ended.append((job, r))
        Stream.tokens_of_step(brought)
        for job, r in ended:
            self._leave(job.stream.ident)
            reason = str(r.get("eos_reason", ""))
            extra = {k: r[k] for k in ("eos_reason", "new_tokens", "prompt_tokens", "time_enqueued", "time_prefill", "time_generate", "cached_pages",
                                       "cached_tokens", "accepted_draft_tokens", "rejected_draft_tokens") if isinstance(r.get(k), (int, float, str))}
            more: Dict[str, Any] = {}
            if isinstance(r.get("cached_tokens"), int):
                more["cached"] = r["cached_tokens"]
            if isinstance(r.get("time_enqueued"), (int, float)) and r["time_enqueued"] >= 0:
                more["queue_ns"] = int(r["time_enqueued"] * 1e9)
            job.stream.end("length" if reason == "max_new_tokens" else "stop", job.texts, extra, **more)
        return self._active > 0

    def _leave(self, ident: int) -> None:
        self._jobs.pop(ident, None)
        self._active -= 1


class V2(ExLlama):
    name = package = "exllamav2"

    def load(self, folder: str, tokens: int, parallel: int) -> Dict[str, Any]:
        lib = self._lib
        dynamic = importlib.import_module("exllamav2.generator")
        config = lib.ExLlamaV2Config(folder)
        config.arch_compat_overrides()
        model = lib.ExLlamaV2(config)
        cache = lib.ExLlamaV2Cache(model, max_seq_len=tokens, lazy=True)
        model.load_autosplit(cache, progress=False)
        self._tokenizer = lib.ExLlamaV2Tokenizer(config)
        self._dynamic, paged = dynamic, True
        made = {"model": model, "cache": cache, "tokenizer": self._tokenizer}
        try:
            self.generator = dynamic.ExLlamaV2DynamicGenerator(max_batch_size=parallel, paged=True, **made)
        except AssertionError as error:  # no flash-attn that can page
            if parallel > 1:
                raise Refused("unsupported", "several streams at once need paged attention: %s" % error)
            self.generator, paged = dynamic.ExLlamaV2DynamicGenerator(max_batch_size=1, paged=False, **made), False
        self.generator.warmup()
        return {"paged": paged}

    def job(self, ids: Any, tokens: int, seed: int, ident: int) -> Any:
        return self._dynamic.ExLlamaV2DynamicJob(
            input_ids=ids, max_new_tokens=tokens, min_new_tokens=0, seed=seed, stop_conditions=None, token_healing=False,
            gen_settings=self._dynamic.ExLlamaV2Sampler.Settings.greedy(), decode_special_tokens=True, identifier=ident)

    def encode(self, text: str) -> List[int]:
        return [int(i) for i in self._tokenizer.encode(text, encode_special_tokens=True, add_bos=False)[0].tolist()]

    def reset(self) -> None:
        self.generator.reset_page_table()


class V3(ExLlama):
    name = package = "exllamav3"

    def load(self, folder: str, tokens: int, parallel: int) -> Dict[str, Any]:
        lib = self._lib
        config = lib.Config.from_directory(folder)
        model = lib.Model.from_config(config)
        cache = lib.Cache(model, max_num_tokens=tokens)
        model.load()
        self._tokenizer = lib.Tokenizer.from_config(config)
        self.generator = lib.Generator(model=model, cache=cache, tokenizer=self._tokenizer, max_batch_size=parallel)
        greedy = getattr(lib, "GreedySampler", None) or getattr(lib, "ArgmaxSampler", None)
        if greedy is None:
            raise Refused("unsupported", "this exllamav3 has neither GreedySampler nor ArgmaxSampler")
        self._greedy = greedy
        return {"paged": True}

    def job(self, ids: Any, tokens: int, seed: int, ident: int) -> Any:
        return self._lib.Job(
            input_ids=ids, max_new_tokens=tokens, min_new_tokens=0, seed=seed, stop_conditions=None, sampler=self._greedy(),
            decode_special_tokens=True, identifier=ident)

    def encode(self, text: str) -> List[int]:
        ids = [int(i) for i in self._tokenizer.encode(text, encode_special_tokens=True, add_bos=False)[0].tolist()]
        bos = getattr(self._tokenizer, "bos_token_id", None)
        while len(ids) > 1 and ids[0] == ids[1] == bos:  # the template's and the one that encoding special tokens adds
            del ids[0]
        return ids

    def reset(self) -> None:
        self.generator.pagetable.reset_page_table()


serve({"exllamav2": V2, "exllamav3": V3}[sys.argv[-1]]())
