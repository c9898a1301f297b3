package builtins

import (
	"fmt"
	"time"

	"go.starlark.net/starlark"
)

// Bounds of one call of stream, far above what a suite asks for.
const (
	maxStreams   = 4096
	maxOutput    = 16 << 20
	maxStaggerMs = 3_600_000
)

func streamSpec() Spec {
	return Spec{
		Name: "stream", Live: true, call: callStream,
		Doc: "Runs a prompt to its end and gives a finished result. A list of prompts goes at once behind one barrier and gives a batch. " +
			"What is not known is None.",
		Params: []Param{
			{Name: "prompt", Type: "prompt or list", Required: true, Positional: true, Doc: "what is sent; a list, be it of one, makes a batch"},
			{Name: "output_tokens", Type: "int", Required: true, Doc: "how many tokens are to be generated"},
			{Name: "reasoning", Type: "string", Default: "None", Doc: "`\"off\"` or `\"on\"`; left out, the backend decides"},
			{Name: "stagger_ms", Type: "number", Default: "0", Doc: "with a list: time from one send to the next"},
		},
		Gives: append(streamAttrs(),
			Attr{"streams", "list", "batch only: its streams, in the order of the prompts"},
			Attr{"aggregate_tps", "float or None", "batch only: tokens a second of all streams together while all were decoding"},
			Attr{"overlap_ms", "float or None", "batch only: how long all were decoding"},
		),
	}
}

// streamAttrs are the attributes of a single stream.
func streamAttrs() []Attr {
	return []Attr{
		{"ttft_ms", "float or None", "send to the first text"},
		{"ttfa_ms", "float or None", "send to the first text that is not reasoning"},
		{"decode_tps", "float or None", "tokens a second after the first text"},
		{"answer_tps", "float or None", "tokens a second after the first answer text"},
		{"wall_ms", "float or None", "send to the last text; of a batch, first send to last text"},
		{"prompt_tokens", "int or None", "as the server states"},
		{"cached_tokens", "int or None", "prompt tokens served from a cache"},
		{"output_tokens", "int or None", "reasoning included"},
		{"reasoning_tokens", "int or None", "among them"},
		{"flags", "tuple", "what was odd, by name"},
	}
}

func callStream(c *call) (starlark.Value, error) {
	var prompts starlark.Value
	var output intArg
	var reasoning starlark.Value
	var stagger floatArg
	if err := c.unpack(&prompts, &output, &reasoning, &stagger); err != nil {
		return nil, err
	}
	spec := StreamSpec{OutputTokens: output.n}
	if one, ok := prompts.(*promptValue); ok {
		spec.Prompts = []int{one.id}
	} else {
		list, err := items(prompts)
		if err != nil {
			return nil, c.errorf("prompt: got %s, want a prompt or a list of prompts", prompts.Type())
		}
		if len(list) == 0 || len(list) > maxStreams {
			return nil, c.errorf("prompt: got a list of %d prompts, want 1 to %d", len(list), maxStreams)
		}
		spec.Batch = true
		for i, item := range list {
			p, ok := item.(*promptValue)
			if !ok {
				return nil, c.errorf("prompt[%d]: got %s, want a prompt", i, item.Type())
			}
			spec.Prompts = append(spec.Prompts, p.id)
		}
	}
	if output.n < 1 || output.n > maxOutput {
		return nil, c.errorf("output_tokens: got %d, want 1 to %d", output.n, maxOutput)
	}
	if reasoning != nil {
		s, _ := starlark.AsString(reasoning)
		if s != "on" && s != "off" {
			return nil, c.errorf("reasoning: got %s, want \"off\" or \"on\"", reasoning)
		}
		spec.Reasoning = s
	}
	if stagger.given {
		if stagger.f < 0 || stagger.f > maxStaggerMs {
			return nil, c.errorf("stagger_ms: got %v, want 0 to %d", stagger.f, maxStaggerMs)
		}
		if stagger.f > 0 && !spec.Batch {
			return nil, c.errorf("stagger_ms goes with a list of prompts only")
		}
		spec.Stagger = time.Duration(stagger.f * float64(time.Millisecond))
	}
	b, err := c.host.Stream(c.ctx, spec)
	if err != nil {
		return nil, c.hostError(err)
	}
	if len(b.Streams) != len(spec.Prompts) {
		return nil, c.hostError(fmt.Errorf("got %d results for %d prompts", len(b.Streams), len(spec.Prompts)))
	}
	if !spec.Batch {
		return streamObject(b.Streams[0]), nil
	}
	return batchObject(b), nil
}

// streamObject is a finished stream as programs see it.
func streamObject(s Stream) *object {
	flags := make(starlark.Tuple, len(s.Flags))
	for i, f := range s.Flags {
		flags[i] = starlark.String(f)
	}
	o := newObject("stream")
	o.set("ttft_ms", optFloat(s.TTFTms))
	o.set("ttfa_ms", optFloat(s.TTFAms))
	o.set("decode_tps", optFloat(s.DecodeTPS))
	o.set("answer_tps", optFloat(s.AnswerTPS))
	o.set("wall_ms", optFloat(s.WallMs))
	o.set("prompt_tokens", optInt(s.Prompt))
	o.set("cached_tokens", optInt(s.Cached))
	o.set("output_tokens", optInt(s.Output))
	o.set("reasoning_tokens", optInt(s.Reasoning))
	o.set("flags", flags)
	return o
}

// batchObject is a finished batch as programs see it.
func batchObject(b Batch) *object {
	streams := make([]starlark.Value, len(b.Streams))
	for i, s := range b.Streams {
		streams[i] = streamObject(s)
	}
	list := starlark.NewList(streams)
	list.Freeze()
	o := newObject("batch")
	o.set("streams", list)
	o.set("aggregate_tps", optFloat(b.AggregateTPS))
	o.set("overlap_ms", optFloat(b.OverlapMs))
	o.set("wall_ms", optFloat(b.WallMs))
	return o
}
