"""Stand-in tokenizer: a byte a token, and three special ones. See ../README.md."""

import json
import re

SPECIAL = {"<|im_start|>": 1, "<|im_end|>": 2, "<think>": 3, "</think>": 4}
FIRST = 5


class Detokenizer:
    """One text for each token that completes characters."""

    def reset(self):
        self.offset = 0
        self.text = ""
        self._bytes = b""

    def add_token(self, token):
        if token < FIRST:
            self._bytes += {v: k for k, v in SPECIAL.items()}[token].encode()
        else:
            self._bytes += bytes([token - FIRST])
        self._flush(False)

    def _flush(self, force):
        try:
            text = self._bytes.decode()
        except UnicodeDecodeError:
            if not force:
                return
            text = self._bytes.decode("utf-8", "replace")
        self.text += text
        self._bytes = b""

    def finalize(self):
        self._flush(True)

    @property
    def last_segment(self):
        segment = self.text[self.offset:]
        self.offset = len(self.text)
        return segment


class Tokenizer:
    def __init__(self, config):
        self.standin = config.get("standin", {})
        self.chat_template = self.standin.get("template", "{# think #}")
        self.has_chat_template = self.chat_template is not None
        self.has_thinking = False
        self.eos_token_ids = {2}
        self._detokenizer = Detokenizer()

    @property
    def detokenizer(self):
        return self._detokenizer

    def encode(self, text, add_special_tokens=True):
        ids = []
        for part in re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text):
            if part in SPECIAL:
                ids.append(SPECIAL[part])
            else:
                ids.extend(b + FIRST for b in part.encode())
        return ids

    def decode(self, ids):
        d = Detokenizer()
        d.reset()
        for i in ids:
            d.add_token(i)
        d.finalize()
        return d.text

    def apply_chat_template(self, messages, tokenize=True, add_generation_prompt=False, tools=None, enable_thinking=None):
        out = ""
        if tools:
            out += "<|im_start|>system\n" + json.dumps(tools) + "<|im_end|>\n"
        for m in messages:
            if m["role"] not in ("system", "user", "assistant", "tool"):
                raise ValueError("Unexpected role " + m["role"])
            calls = "".join(c["function"]["name"] + json.dumps(dict(c["function"]["arguments"])) for c in m.get("tool_calls") or [])
            out += "<|im_start|>" + m["role"] + "\n" + m["content"] + calls + "<|im_end|>\n"
        if add_generation_prompt:
            out += "<|im_start|>assistant\n"
            if enable_thinking:
                out += "<think>"
        return self.encode(out) if tokenize else out
