"""The protocol of llm-speed's Python helpers: JSON lines over stdin and stdout. Standard library only, Python 3.9 and later.

A helper is this module and a Backend. The client writes one request a line, {"op":…, "id":N, "args":{…}}; the helper answers
under the same id. One line is one message. Of a generation it writes, between two tokens, nothing but a stamp and a count:

    {"id":7,"go":T,"start":T,"prompt":P,"cached":C}   work on it has begun
    {"id":7,"t":T,"k":K}                              K tokens are there
    {"id":7,"end":{"finish":…,"output":N,"texts":[…],"extra":{…}}}

T is time.perf_counter_ns(). texts holds one text for each token line: decoding waits until the clock has stopped. A failure is
{"id":7,"error":{"kind":…,"message":…}}.

What libraries print goes to stderr, whether they print through Python or to file descriptor 1. Nothing is fetched from the
network: models are folders.
"""

import gc
import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

PROTOCOL = 1
MOST_MESSAGE = 500  # characters of an error's text


class Refused(Exception):
    """A request that can't be served; kind is one of model, request, context, memory, unsupported, install."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Pipe:
    """The way to the client. Two threads write to it, whole lines each."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def line(self, data: bytes) -> None:
        with self._lock:
            while data:
                data = data[os.write(self._fd, data):]

    def send(self, message: Dict[str, Any]) -> None:
        self.line(json.dumps(message, separators=(",", ":")).encode() + b"\n")


class Stream:
    """One generation, as a Backend reports it."""

    def __init__(self, pipe: Pipe, ident: int, args: Dict[str, Any], done: Callable[["Stream"], None]) -> None:
        self.ident = ident
        self.args = args
        self.cancelled = False  # set by the reading thread
        self.go = 0  # when the request to begin was read; 0 until then
        self.tokens = 0
        self._pipe = pipe
        self._done = done

    def start(self, prompt: int, cached: Optional[int]) -> None:
        """Says that work begins now. cached is None where that is known only at the end."""
        self._pipe.send({"id": self.ident, "go": self.go, "start": time.perf_counter_ns(), "prompt": prompt, "cached": cached})

    def token(self) -> None:
        """Says that a token is there, now. This is all that happens between two tokens."""
        now = time.perf_counter_ns()
        self._pipe.line(b'{"id":%d,"t":%d,"k":1}\n' % (self.ident, now))
        self.tokens += 1

    def end(self, finish: str, texts: List[str], extra: Dict[str, Any], **more: Any) -> None:
        """Says how it ended: length, stop or cancelled. more: cached tokens, queue_ns."""
        self._done(self)
        self._pipe.send({"id": self.ident, "end": {"finish": finish, "output": self.tokens, "texts": texts, "extra": extra, **more}})

    def fail(self, error: BaseException) -> None:
        self._done(self)
        self._pipe.send(failure(self.ident, error))

    @staticmethod
    def tokens_of_step(counts: List[Tuple["Stream", int]]) -> None:
        """Says that one step of a batch has brought each of these streams so many tokens, now: one write for all."""
        now = time.perf_counter_ns()
        lines = []
        for stream, count in counts:
            lines.append(b'{"id":%d,"t":%d,"k":%d}\n' % (stream.ident, now, count))
            stream.tokens += count
        if counts:
            counts[0][0]._pipe.line(b"".join(lines))


class Backend:
    """What a backend does. All methods run on the main thread."""

    name = ""

    def open(self, args: Dict[str, Any], progress: Any) -> Dict[str, Any]:
        """Loads the model; returns what is known of it."""
        raise NotImplementedError

    def tokenize(self, args: Dict[str, Any]) -> Dict[str, Any]:
        """Renders a conversation: {"ids":[…], …}."""
        raise NotImplementedError

    def prepare(self, stream: Stream) -> Dict[str, Any]:
        """Makes all ready for a generation, before its clock starts."""
        raise NotImplementedError

    def begin(self, stream: Stream) -> None:
        """Begins a prepared generation."""
        raise NotImplementedError

    def step(self) -> bool:
        """Does the next piece of work; False where none is left."""
        raise NotImplementedError

    def drop(self, stream: Stream) -> None:
        """Forgets a generation that was prepared and never begun."""

    def abort(self) -> None:
        """Forgets all generations that were begun: one of them failed, and they share what failed."""

    def flush(self) -> None:
        """Empties the prompt cache."""
        raise NotImplementedError


def kind_of(error: BaseException) -> str:
    """Sorts an error of a library."""
    if isinstance(error, Refused):
        return error.kind
    text = (type(error).__name__ + " " + str(error)).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "outofmemory" in text or "insufficient memory" in text:
        return "memory"
    if isinstance(error, ImportError):
        return "install"
    return "backend"


def describe(error: BaseException) -> str:
    return str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)


def failure(ident: int, error: BaseException) -> Dict[str, Any]:
    return {"id": ident, "error": {"kind": kind_of(error), "message": describe(error)[:MOST_MESSAGE]}}


class Server:
    """Runs a Backend: a thread reads requests, the main thread serves them, one piece of work after another."""

    def __init__(self, backend: Backend, stdin: Any, pipe: Pipe) -> None:
        self._backend = backend
        self._stdin = stdin
        self._pipe = pipe
        self._inbox: "queue.SimpleQueue[Optional[Dict[str, Any]]]" = queue.SimpleQueue()
        self._streams: Dict[int, Stream] = {}  # prepared or begun

    def _read(self) -> None:
        try:
            self._requests()
        except Exception:  # a helper that hears nothing more is better gone
            traceback.print_exc()
            os._exit(1)

    def _requests(self) -> None:
        for line in iter(self._stdin.readline, b""):
            now = time.perf_counter_ns()
            message = json.loads(line)
            op = message.get("op")
            if op == "ping":  # answered here, so that the main thread's work is no part of it
                self._pipe.line(b'{"id":%d,"pong":%d}\n' % (message["id"], now))
                continue
            if op == "cancel":
                stream = self._streams.get(message["id"])
                if stream is not None:
                    stream.cancelled = True
            if op == "go":
                message["at"] = now
            self._inbox.put(message)
        self._inbox.put(None)
        time.sleep(1.0)  # the main thread may be inside a library that does not come back
        os._exit(0)

    def run(self) -> None:
        hello = {"llm_speed_helper": PROTOCOL, "backend": self._backend.name, "python": sys.version.split()[0], "pid": os.getpid()}
        self._pipe.send(hello)
        threading.Thread(target=self._read, daemon=True).start()
        busy = False
        while True:
            if busy and self._inbox.empty():
                busy = self._step()
                continue
            message = self._inbox.get()
            if message is None:
                return
            busy = self._handle(message) or busy

    def _step(self) -> bool:
        try:
            return self._backend.step()
        except Exception as error:  # whatever a library throws ends the streams that run, not the helper
            traceback.print_exc()
            for stream in [s for s in self._streams.values() if s.go]:
                stream.fail(error)
            self._backend.abort()
            return False

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.ident, None)

    def _handle(self, message: Dict[str, Any]) -> bool:
        op, ident, args = message["op"], message["id"], message.get("args") or {}
        try:
            if op == "go":
                stream = self._streams[ident]
                stream.go = message["at"]
                self._backend.begin(stream)
                return True
            if op == "cancel":
                stream = self._streams.get(ident)
                if stream is not None and not stream.go:
                    self._forget(stream)
                    self._backend.drop(stream)
                return False
            if op == "prepare":
                stream = Stream(self._pipe, ident, args, self._forget)
                answer = self._backend.prepare(stream)
                self._streams[ident] = stream
            elif op == "open":
                answer = self._backend.open(args, lambda text: self._pipe.send({"id": ident, "progress": text}))
                gc.collect()
                gc.freeze()  # what the libraries made at import is not searched again
            elif op == "tokenize":
                answer = self._backend.tokenize(args)
            elif op == "flush":
                self._backend.flush()
                answer = {}
            else:
                raise Refused("request", "unknown request %r" % op)
        except Exception as error:
            if not isinstance(error, Refused):
                traceback.print_exc()
            self._streams.pop(ident, None)
            self._pipe.send(failure(ident, error))
            return False
        self._pipe.send({"id": ident, "ok": answer})
        return False


def plain(messages: List[Dict[str, Any]], tools: List[Dict[str, Any]]) -> str:
    """A conversation for a model without a chat template: one message is its text, more are labelled."""
    if len(messages) == 1 and not tools:
        return str(messages[0].get("content") or "")
    parts = ["tools: %s\n\n" % json.dumps(tools)] if tools else []
    for m in messages:
        calls = "".join("%s(%s)" % (c["function"]["name"], json.dumps(c["function"]["arguments"])) for c in m.get("tool_calls") or [])
        parts.append("%s: %s%s\n\n" % (m["role"], m.get("content") or "", calls))
    return "".join(parts) + "assistant:"


def marks(tokenizer: Any, template: Any, tail: str) -> Dict[str, Any]:
    """How a model marks its thinking, as far as it is known. tail is the end of the rendered prompt: "open" says that it
    ends inside a thinking block, "none" that the template knows no thinking."""
    start, end = "<think>", "</think>"
    if getattr(tokenizer, "has_thinking", False) and isinstance(getattr(tokenizer, "think_start", None), str):
        start, end = tokenizer.think_start, tokenizer.think_end
    if isinstance(template, str) and not any(w in template.lower() for w in ("think", "reason", "thought", "<|channel")):
        return {"thinking": "none"}
    is_open = tail.rfind(start) > tail.rfind(end)
    return {"thinking": "open" if is_open else "maybe", "think_start": start, "think_end": end}


def serve(backend: Backend) -> None:
    """Serves until stdin ends."""
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints in C goes to stderr too
    sys.stdout = sys.stderr
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    Server(backend, sys.stdin.buffer, Pipe(out)).run()
    os._exit(0)  # no library may hold the process back
