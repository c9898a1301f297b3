"""Stand-in for jinja2.sandbox: every template renders as ChatML."""

import json


class ImmutableSandboxedEnvironment:
    def __init__(self, trim_blocks=False, lstrip_blocks=False, extensions=()):
        self.filters = {}
        self.globals = {}

    def from_string(self, text):
        return Template(self)


class Template:
    def __init__(self, env):
        self.env = env

    def render(self, messages, tools=None, add_generation_prompt=False, enable_thinking=None, bos_token="", **_):
        out = bos_token
        if tools:
            out += "<|im_start|>system\n" + self.env.filters["tojson"](tools) + "<|im_end|>\n"
        for m in messages:
            if m["role"] not in ("system", "user", "assistant", "tool"):
                self.env.globals["raise_exception"]("Unexpected role " + m["role"])
            calls = "".join(c["function"]["name"] + json.dumps(dict(c["function"]["arguments"])) for c in m.get("tool_calls") or [])
            out += "<|im_start|>" + m["role"] + "\n" + m["content"] + calls + "<|im_end|>\n"
        if add_generation_prompt:
            out += "<|im_start|>assistant\n" + ("<think>" if enable_thinking else "")
        return out
