"""llm-speed's helper on mlx_lm. Python 3.9 and later; beside the standard library it needs mlx and mlx_lm only.

One stream at a time runs through mlx_lm.generate.generate_step with a prompt cache of its own: a new one for a cold prompt, the
slot's for one that may reuse. Several at once run through mlx_lm.generate.BatchGenerator, always cold. Neither looks at the
end-of-text tokens, so that a stream has exactly the asked length. Sampling is greedy (both default to argmax).
"""

import contextlib
import importlib
import importlib.metadata
import time
from collections import OrderedDict, deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Tuple

from llm_speed_helper import Backend, Refused, Stream, describe, marks, plain, serve

MOST_SLOTS = 8  # prompt caches kept for reuse
MOST_MARKS = 256  # prefill stamps kept of a stream


class Cancelled(Exception):
    """Raised out of a prefill that nobody waits for any more."""


class Run:
    """A stream with what belongs to it."""

    def __init__(self, stream: Stream, ids: List[int], cache: Any, cached: int) -> None:
        self.stream = stream
        self.ids = ids
        self.cache = cache
        self.cached = cached
        self.prompt: Any = None  # the uncached part, as an array
        self.want = int(stream.args["tokens"])
        self.tokens: List[int] = []
        self.steps: Iterator[Tuple[Any, Any]] = iter(())
        self.held = contextlib.ExitStack()  # the wired limit, while it runs
        self.prefill: List[List[int]] = []  # [prompt tokens done, ns]


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class MLX(Backend):
    name = "mlx"

    def __init__(self) -> None:
        self._slots: "OrderedDict[int, Tuple[Any, List[int]]]" = OrderedDict()
        self._prepared: Dict[int, Run] = {}
        self._waiting: Deque[Run] = deque()
        self._current: Optional[Run] = None
        self._parallel = 1
        self._context = 0  # the most tokens of prompt and output; 0: not known
        self._batch: Any = None  # a BatchGenerator, from the first of several streams on
        self._members: Dict[int, Run] = {}  # by its uid there
        self._ended: List[Tuple[Run, str]] = []  # of several streams: their text waits until none of the others is timed

    def open(self, args: Dict[str, Any], progress: Any) -> Dict[str, Any]:
        import mlx.core as mx
        import mlx_lm

        self._mx = mx
        self._lib = importlib.import_module("mlx_lm.generate")  # the package has a function of that name
        self._caches = importlib.import_module("mlx_lm.models.cache")
        progress("loading the model")
        loaded = mlx_lm.load(args["path"])
        self._model, self._tokenizer = loaded[0], loaded[1]
        info = getattr(mx, "device_info", None) or getattr(getattr(mx, "metal", None), "device_info", None)
        device = dict(info()) if info else {}
        self._parallel = int(args.get("parallel") or 1)
        self._context = max(0, int(args.get("context") or 0))
        if self._parallel > 1 and not hasattr(self._lib, "BatchGenerator"):
            self._parallel = 1
        return {
            "version": version_of("mlx-lm") or str(getattr(mlx_lm, "__version__", "")),
            "mlx": version_of("mlx"),
            "device": str(mx.default_device()),
            "device_name": str(device.get("device_name", "")),
            "architecture": str(device.get("architecture", "")),
            "parallel": self._parallel,
            "template": bool(getattr(self._tokenizer, "has_chat_template", False)),
        }

    def tokenize(self, args: Dict[str, Any]) -> Dict[str, Any]:
        tokenizer = self._tokenizer
        messages, tools = args["messages"], args.get("tools") or []
        template = getattr(tokenizer, "chat_template", None)
        keywords: Dict[str, Any] = {"add_generation_prompt": True}
        if tools:
            keywords["tools"] = tools
        if args.get("reasoning") in ("on", "off"):
            keywords["enable_thinking"] = args["reasoning"] == "on"
        why = "the tokenizer has no chat template"
        if getattr(tokenizer, "has_chat_template", template is not None):
            try:
                ids = tokenizer.apply_chat_template(messages, tokenize=True, **keywords)
                if hasattr(ids, "keys"):  # transformers 5 gives a mapping
                    ids = ids["input_ids"]
                ids = [int(i) for i in ids]
                return {"ids": ids, "rendering": "template", **marks(tokenizer, template, tokenizer.decode(ids[-64:]))}
            except Exception as error:  # templates raise what they like about messages that they do not know
                why = describe(error)[:200]
        text = plain(messages, tools)
        return {"ids": [int(i) for i in tokenizer.encode(text)], "rendering": "plain", "why": why, **marks(tokenizer, template, text[-200:])}

    def prepare(self, stream: Stream) -> Dict[str, Any]:
        args, mx = stream.args, self._mx
        rendered = self.tokenize(args)
        ids = rendered.pop("ids")
        if not ids or int(args["tokens"]) < 1:
            raise Refused("request", "a stream needs a prompt and at least one token to generate")
        if 0 < self._context < len(ids) + int(args["tokens"]):  # mlx_lm itself would go on past what the model was trained for
            raise Refused("context", "%d prompt tokens and %s to generate are more than the model's context of %d" % (len(ids), args["tokens"], self._context))
        idle = self._current is None and not self._members
        if idle:
            mx.random.seed(int(args.get("seed") or 0) & 0xFFFFFFFF)
            self._memory("reset_peak_memory")
        cache, cached = None, 0
        if self._parallel == 1:
            cache, cached = self._cache_for(ids, int(args.get("slot", -1)), bool(args.get("reuse")))
        run = Run(stream, ids, cache, cached)
        if self._parallel == 1:
            run.prompt = mx.array(ids[cached:])
            mx.eval(run.prompt)
        if idle and cached == 0:
            self._memory("clear_cache")
        self._prepared[stream.ident] = run
        return {"prompt": len(ids), "cached": cached, **rendered}

    def _cache_for(self, ids: List[int], slot: int, reuse: bool) -> Tuple[Any, int]:
        """A prompt cache and the number of tokens of ids that it holds. At least one token is left to work on."""
        cache, held = self._slots.pop(slot, (None, []))
        if reuse and cache is not None:
            common = 0
            for a, b in zip(held, ids[:-1]):
                if a != b:
                    break
                common += 1
            surplus = len(held) - common
            if common and (surplus == 0 or self._trim(cache, surplus)):
                return cache, common
        return self._caches.make_prompt_cache(self._model), 0

    def _trim(self, cache: Any, surplus: int) -> bool:
        return bool(self._caches.can_trim_prompt_cache(cache)) and self._caches.trim_prompt_cache(cache, surplus) == surplus

    def _memory(self, what: str) -> Any:
        """Calls what has been in mlx.core since 0.22, and was in mlx.core.metal before."""
        call = getattr(self._mx, what, None) or getattr(getattr(self._mx, "metal", None), what, None)
        return call() if call else None

    def _peak(self) -> Optional[float]:
        peak = self._memory("get_peak_memory")
        return None if peak is None else peak / 1e9

    def drop(self, stream: Stream) -> None:
        self._prepared.pop(stream.ident, None)

    def abort(self) -> None:
        if self._current is not None:
            self._current.held.close()
        self._current = None
        self._waiting.clear()
        self._members.clear()
        self._ended.clear()
        self._close_batch()

    def flush(self) -> None:
        self._slots.clear()
        self._memory("clear_cache")

    def begin(self, stream: Stream) -> None:
        run = self._prepared.pop(stream.ident)
        if self._parallel == 1:
            self._waiting.append(run)
            return
        if self._batch is None:
            self._batch = self._lib.BatchGenerator(self._model, completion_batch_size=self._parallel, prefill_batch_size=min(self._parallel, 8))
        stream.start(len(run.ids), 0)
        uid = self._batch.insert([run.ids], [run.want])[0]
        self._members[uid] = run

    def step(self) -> bool:
        if self._members:
            return self._step_batch()
        for run in [w for w in self._waiting if w.stream.cancelled]:
            self._waiting.remove(run)
            run.stream.end("cancelled", [], {})
        if self._current is None:
            if not self._waiting:
                return False
            self._current = self._waiting.popleft()
            self._start(self._current)
        self._step_one(self._current)
        return self._current is not None or bool(self._waiting)

    def _start(self, run: Run) -> None:
        streams = getattr(self._lib, "generation_stream", None)
        if hasattr(self._lib, "wired_limit"):
            run.held.enter_context(self._lib.wired_limit(self._model, [streams] if streams is not None else None))

        def progress(done: int, _: int) -> None:
            if len(run.prefill) < MOST_MARKS:
                run.prefill.append([done, time.perf_counter_ns()])
            if run.stream.cancelled:
                raise Cancelled

        run.stream.start(len(run.ids), run.cached)
        run.steps = self._lib.generate_step(run.prompt, self._model, max_tokens=run.want, prompt_cache=run.cache, prompt_progress_callback=progress)

    def _step_one(self, run: Run) -> None:
        stream = run.stream
        try:
            if stream.cancelled:
                raise Cancelled
            token, _ = next(run.steps)
        except Cancelled:
            self._finish(run, "cancelled")
            return
        except StopIteration:
            self._finish(run, "stop")
            return
        stream.token()
        run.tokens.append(int(token))
        if len(run.tokens) >= run.want:
            self._finish(run, "length")

    def _finish(self, run: Run, finish: str) -> None:
        """All that is not timed: text, memory, and the cache for the next turn. generate_step has fed each token that it has
        yielded to the cache, which then holds the prompt and all of them."""
        self._current = None
        close = getattr(run.steps, "close", None)
        if close:
            close()
        run.held.close()
        held = run.ids + run.tokens
        if run.stream.args.get("reuse") and run.tokens and self._agrees(run.cache, len(held)):
            self._slots[int(run.stream.args.get("slot", -1))] = (run.cache, held)
            while len(self._slots) > MOST_SLOTS:
                self._slots.popitem(last=False)
        extra = {"peak_memory_gb": self._peak(), "prefill_marks": run.prefill}
        run.stream.end(finish, self._texts(run.tokens), extra, cached=run.cached)

    @staticmethod
    def _agrees(cache: Any, tokens: int) -> bool:
        """Whether each layer that says how far it is says what it should: a wrong count of cached tokens is worse than none."""
        offsets = [c.offset for c in cache if isinstance(getattr(c, "offset", None), int)]
        return all(o == tokens for o in offsets)

    def _step_batch(self) -> bool:
        for uid, run in list(self._members.items()):
            if run.stream.cancelled:
                self._batch.remove([uid])
                del self._members[uid]
                self._leave(run, "cancelled")
        answers = self._batch.next() if self._members else []
        if isinstance(answers, tuple):  # newer versions give those of the prompts first
            answers = answers[-1]
        Stream.tokens_of_step([(self._members[a.uid].stream, 1) for a in answers])
        for a in answers:
            run = self._members[a.uid]
            run.tokens.append(int(a.token))
            if a.finish_reason is not None:
                del self._members[a.uid]
                self._ended.append((run, str(a.finish_reason)))
        if self._members:
            return True
        for run, finish in self._ended:
            self._leave(run, finish)
        self._ended.clear()
        self._close_batch()
        return False

    def _leave(self, run: Run, finish: str) -> None:
        run.stream.end(finish, self._texts(run.tokens), {"peak_memory_gb": self._peak()}, cached=0)

    def _close_batch(self) -> None:
        close = getattr(self._batch, "close", None)
        if close:
            close()
        self._batch = None

    def _texts(self, tokens: List[int]) -> List[str]:
        """The text that each token completes, as mlx_lm's own streaming detokenizer cuts it."""
        detokenizer = self._tokenizer.detokenizer
        detokenizer.reset()
        texts = []
        for t in tokens:
            detokenizer.add_token(t)
            texts.append(detokenizer.last_segment)
        detokenizer.finalize()
        if texts:
            texts[-1] += detokenizer.last_segment
        return texts


serve(MLX())
