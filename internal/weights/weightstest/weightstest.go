// Package weightstest writes a tiny GGUF model for tests: two layers of random weights from a fixed seed, which a real
// llama-server loads within a second and whose greedy output is printable and never ends by itself.
//
// The file is the same to the byte on every machine. It is no model of anything: only what it costs to run it is real, and
// that is next to nothing. Nothing but tests uses this package.
package weightstest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
)

// The shape of the model.
const (
	Name      = "llm-speed-test"
	Context   = 163840 // tokens
	Layers    = 2
	seed      = 0x6c6c6d2d73706565
	alignment = 32
)

// Options vary the model.
type Options struct {
	AddBOS   bool // the tokenizer puts a begin-of-text token before a text
	AllBytes bool // the output has the bytes of cut-up UTF-8 too, so that tokens without text occur
	Large    bool // some 45 MB, so that a token takes milliseconds and a server's clock and a client's can be compared
	Ends     bool // the first token of every output is an end of text
	Stuck    bool // every token of the output is the letter t, with a space before it or without
}

// shape is what the weights' sizes follow from.
type shape struct{ layers, embedding, heads, headsKV, forward int }

func (o Options) shape() shape {
	if o.Large {
		return shape{layers: 8, embedding: 512, heads: 8, headsKV: 2, forward: 1408}
	}
	return shape{layers: Layers, embedding: 64, heads: 4, headsKV: 2, forward: 128}
}

// Write writes the plain model.
func Write(path string) error { return Options{}.Write(path) }

// Write writes the model.
func (o Options) Write(path string) error {
	if err := os.WriteFile(path, o.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write test model: %w", err)
	}
	return nil
}

// Bytes is the model as a file.
func (o Options) Bytes() []byte {
	v := newVocabulary()
	w := &writer{}
	tensors := o.tensors(v)

	w.raw("GGUF")
	w.u32(3)
	w.u64(uint64(len(tensors)))
	pairs := o.metadata(v)
	w.u64(uint64(len(pairs)))
	for _, p := range pairs {
		w.text(p.key)
		w.value(p.value)
	}
	var offset uint64
	for _, t := range tensors {
		w.text(t.name)
		w.u32(uint32(len(t.dims)))
		for _, d := range t.dims {
			w.u64(d)
		}
		w.u32(t.kind)
		w.u64(offset)
		offset += padded(uint64(len(t.data)))
	}
	w.pad()
	for _, t := range tensors {
		w.b.Write(t.data)
		w.pad()
	}
	return w.b.Bytes()
}

func padded(n uint64) uint64 { return (n + alignment - 1) &^ (alignment - 1) }

type pair struct {
	key   string
	value any
}

func (o Options) metadata(v vocabulary) []pair {
	s := o.shape()
	return []pair{
		{"general.architecture", "llama"},
		{"general.type", "model"},
		{"general.name", Name},
		{"general.file_type", uint32(1)}, // F16
		{"general.quantization_version", uint32(2)},
		{"llama.context_length", uint32(Context)},
		{"llama.embedding_length", uint32(s.embedding)},
		{"llama.block_count", uint32(s.layers)},
		{"llama.feed_forward_length", uint32(s.forward)},
		{"llama.attention.head_count", uint32(s.heads)},
		{"llama.attention.head_count_kv", uint32(s.headsKV)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.dimension_count", uint32(s.embedding / s.heads)},
		{"llama.rope.freq_base", float32(1e6)},
		{"llama.vocab_size", uint32(len(v.tokens))},
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "gpt-2"},
		{"tokenizer.ggml.tokens", v.tokens},
		{"tokenizer.ggml.token_type", v.types},
		{"tokenizer.ggml.merges", v.merges},
		{"tokenizer.ggml.bos_token_id", uint32(v.id("<|bos|>"))},
		{"tokenizer.ggml.eos_token_id", uint32(v.id("<|im_end|>"))},
		{"tokenizer.ggml.padding_token_id", uint32(v.id("<|endoftext|>"))},
		{"tokenizer.ggml.add_bos_token", o.AddBOS},
		{"tokenizer.chat_template", template},
	}
}

// The storage types that the file uses.
const (
	kindF32 = 0
	kindF16 = 1
)

type tensor struct {
	name string
	kind uint32
	dims []uint64
	data []byte
}

func (o Options) tensors(v vocabulary) []tensor {
	r := rand.New(rand.NewPCG(seed, 1))
	s := o.shape()
	embedding, forward := s.embedding, s.forward
	matrix := func(name string, in, out int) tensor {
		scale := 1 / math.Sqrt(float64(in))
		data := make([]byte, 0, 2*in*out)
		for range in * out {
			data = binary.LittleEndian.AppendUint16(data, half(float32(r.NormFloat64()*scale)))
		}
		return tensor{name, kindF16, []uint64{uint64(in), uint64(out)}, data}
	}
	norm := func(name string) tensor {
		var data []byte
		for range embedding {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
		}
		return tensor{name, kindF32, []uint64{uint64(embedding)}, data}
	}
	out := matrix("output.weight", embedding, len(v.tokens))
	for id := range v.tokens {
		if !v.said[id] && (!o.AllBytes || !v.high[id]) {
			clear(out.data[2*embedding*id : 2*embedding*(id+1)])
		}
	}
	switch {
	case o.Ends:
		only(out, embedding, v.id("<|endoftext|>"), v.id("<|im_end|>"))
	case o.Stuck:
		only(out, embedding, v.id("t"), v.id(string(letter(' '))+"t"))
	}
	kv := embedding / s.heads * s.headsKV
	list := []tensor{matrix("token_embd.weight", embedding, len(v.tokens)), norm("output_norm.weight"), out}
	for i := range s.layers {
		b := fmt.Sprintf("blk.%d.", i)
		list = append(list,
			norm(b+"attn_norm.weight"),
			matrix(b+"attn_q.weight", embedding, embedding), matrix(b+"attn_k.weight", embedding, kv), matrix(b+"attn_v.weight", embedding, kv),
			matrix(b+"attn_output.weight", embedding, embedding),
			norm(b+"ffn_norm.weight"),
			matrix(b+"ffn_gate.weight", embedding, forward), matrix(b+"ffn_up.weight", embedding, forward), matrix(b+"ffn_down.weight", forward, embedding))
	}
	return list
}

// only leaves the output two tokens: where one of them is unlikely the other is likely, and the rest is never above both.
func only(out tensor, embedding, a, b int) {
	clear(out.data)
	for i := range embedding {
		// 0.5 and -0.5 in turn, and the opposite.
		x := half(0.5 - float32(i%2))
		binary.LittleEndian.PutUint16(out.data[2*(embedding*a+i):], x)
		binary.LittleEndian.PutUint16(out.data[2*(embedding*b+i):], x^0x8000)
	}
}

// half is a number in IEEE half precision, rounded toward zero; too small ones become 0.
func half(f float32) uint16 {
	b := math.Float32bits(f)
	sign, exp, frac := uint16(b>>16&0x8000), int(b>>23&0xff)-127+15, uint16(b>>13&0x3ff)
	switch {
	case exp <= 0:
		return sign
	case exp >= 31:
		return sign | 0x7bff
	}
	return sign | uint16(exp)<<10 | frac
}

// writer writes the little-endian values of the format.
type writer struct{ b bytes.Buffer }

func (w *writer) raw(s string) { w.b.WriteString(s) }
func (w *writer) u32(n uint32) { w.b.Write(binary.LittleEndian.AppendUint32(nil, n)) }
func (w *writer) u64(n uint64) { w.b.Write(binary.LittleEndian.AppendUint64(nil, n)) }

func (w *writer) text(s string) {
	w.u64(uint64(len(s)))
	w.raw(s)
}

func (w *writer) pad() {
	for w.b.Len()%alignment != 0 {
		w.b.WriteByte(0)
	}
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case uint32:
		w.u32(4)
		w.u32(v)
	case float32:
		w.u32(6)
		w.u32(math.Float32bits(v))
	case bool:
		w.u32(7)
		w.b.WriteByte(map[bool]byte{true: 1}[v])
	case string:
		w.u32(8)
		w.text(v)
	case []string:
		w.u32(9)
		w.u32(8)
		w.u64(uint64(len(v)))
		for _, s := range v {
			w.text(s)
		}
	case []int32:
		w.u32(9)
		w.u32(5)
		w.u64(uint64(len(v)))
		for _, n := range v {
			w.u32(uint32(n))
		}
	default:
		panic(fmt.Sprintf("weightstest: no value type for %T", v))
	}
}
