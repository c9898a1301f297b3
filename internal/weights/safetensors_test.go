package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shard makes a safetensors file of tensors as "name dtype dims…", with as many zeros as they take.
func shard(t *testing.T, tensors ...string) []byte {
	t.Helper()
	head := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := uint64(0)
	for _, text := range tensors {
		f := strings.Fields(text)
		n, shape := uint64(1), []uint64{}
		for _, d := range f[2:] {
			var size uint64
			if _, err := fmt.Sscan(d, &size); err != nil {
				t.Fatal(err)
			}
			n, shape = n*size, append(shape, size)
		}
		size := (n*dtypes[f[1]] + 7) / 8
		head[f[0]] = map[string]any{"dtype": f[1], "shape": shape, "data_offsets": []uint64{at, at + size}}
		at += size
	}
	b, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	return append(headed(b), make([]byte, at)...)
}

// headed puts the length in front.
func headed(header []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
}

// Configurations are of the shapes that the tools document: Transformers' quantization_config, MLX's quantization, ModelOpt's
// hf_quant_config.json.
func TestReadSafetensors(t *testing.T) {
	plain := []string{"model.embed_tokens.weight BF16 10 4", "model.layers.0.mlp.weight BF16 4 4"}
	for _, c := range []struct {
		name, config, modelopt string
		tensors                []string
		want                   Info
	}{
		{"plain", `{"model_type":"llama","num_hidden_layers":2,"max_position_embeddings":4096}`, "", plain,
			Info{Architecture: "llama", Quant: "BF16", Layers: 2, Context: 4096, Parameters: 56, Tensors: 2, Types: map[string]int64{"BF16": 56}}},
		{"no configuration", "", "", plain, Info{Quant: "BF16", Parameters: 56, Tensors: 2, Types: map[string]int64{"BF16": 56}}},
		{"packed, and nobody says how", "", "", append([]string{"a.qweight I32 4 4"}, plain...),
			Info{Tensors: 3, Types: map[string]int64{"BF16": 56, "I32": 16}}},
		{"awq", `{"model_type":"qwen3","num_hidden_layers":1,"quantization_config":{"quant_method":"awq","bits":4}}`, "",
			[]string{"e.weight F16 10 4", "l.qweight I32 4 4", "l.qzeros I32 1 4", "l.scales F16 1 32"},
			Info{Architecture: "qwen3", Quant: "AWQ-INT4", Layers: 1, Parameters: 40 + 128, Tensors: 4, Types: map[string]int64{"F16": 72, "I32": 20}}},
		{"gptq", `{"quantization_config":{"quant_method":"gptq","bits":8}}`, "", []string{"l.qweight I32 4 4", "l.g_idx I32 16", "l.scales F16 4"},
			Info{Quant: "GPTQ-INT8", Parameters: 64, Tensors: 3, Types: map[string]int64{"F16": 4, "I32": 32}}},
		{"gptq with other layers", `{"quantization_config":{"quant_method":"gptq","bits":4,"dynamic":{"-:lm_head":{}}}}`, "", []string{"l.qweight I32 4 4"},
			Info{Quant: "GPTQ-INT4", Tensors: 1, Types: map[string]int64{"I32": 16}}},
		{"exl2", `{"model_type":"llama","quantization_config":{"quant_method":"exl2","bits":4.65}}`, "", []string{"l.q_weight I32 4 4", "l.q_scale I32 1 1"},
			Info{Architecture: "llama", Quant: "EXL2-4.65bpw", Tensors: 2, Types: map[string]int64{"I32": 17}}},
		{"exl3", `{"quantization_config":{"quant_method":"exl3","bits":3.0}}`, "", []string{"l.trellis I16 4 4 48", "l.suh F16 4", "l.svh F16 4"},
			Info{Quant: "EXL3-3bpw", Tensors: 3, Types: map[string]int64{"I16": 768, "F16": 8}}},
		{"mlx", `{"model_type":"qwen3","quantization":{"group_size":64,"bits":4},"quantization_config":{"group_size":64,"bits":4}}`, "",
			[]string{"l.weight U32 4 8", "l.scales BF16 4 1", "l.biases BF16 4 1"},
			Info{Architecture: "qwen3", Quant: "MLX-4bit", Parameters: 256, Tensors: 3, Types: map[string]int64{"U32": 32, "BF16": 8}}},
		{"mlx with other layers", `{"quantization":{"group_size":64,"bits":4,"model.embed":{"bits":8}}}`, "", []string{"l.weight U32 4 8"},
			Info{Quant: "MLX-4bit", Tensors: 1, Types: map[string]int64{"U32": 32}}},
		{"mlx mxfp4", `{"quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}}`, "", []string{"l.weight U32 4 8", "l.scales U8 4 2"},
			Info{Quant: "MLX-4bit-mxfp4", Parameters: 256, Tensors: 2, Types: map[string]int64{"U32": 32, "U8": 8}}},
		{"fp8 of blocks", `{"model_type":"deepseek_v3","num_hidden_layers":61,"n_routed_experts":256,"num_experts_per_tok":8,"quantization_config":{"quant_method":"fp8"}}`, "",
			[]string{"l.weight F8_E4M3 4 8", "l.weight_scale_inv F32 1 1"},
			Info{Architecture: "deepseek_v3", Quant: "FP8", Layers: 61, Experts: 256, ExpertsUsed: 8, Parameters: 32, Tensors: 2, Types: map[string]int64{"F8_E4M3": 32, "F32": 1}}},
		{"mxfp4", `{"num_local_experts":32,"num_experts_per_tok":4,"quantization_config":{"quant_method":"mxfp4"}}`, "", []string{"e.mlp_blocks U8 4 16", "e.mlp_scales U8 4 1", "x.weight BF16 3"},
			Info{Quant: "MXFP4", Experts: 32, ExpertsUsed: 4, Parameters: 128 + 3, Tensors: 3, Types: map[string]int64{"U8": 68, "BF16": 3}}},
		{"bitsandbytes", `{"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4"}}`, "",
			[]string{"l.weight U8 16 1", "l.weight.absmax U8 1", "l.weight.quant_state.bitsandbytes__nf4 U8 50"},
			Info{Quant: "BNB-NF4", Parameters: 32, Tensors: 3, Types: map[string]int64{"U8": 67}}},
		{"compressed", `{"quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"type":"int"},"input_activations":null}}}}`, "",
			[]string{"l.weight_packed I32 4 4", "l.weight_scale BF16 4", "l.weight_shape I64 2"},
			Info{Quant: "W4A16", Parameters: 128, Tensors: 3, Types: map[string]int64{"I32": 16, "BF16": 4, "I64": 2}}},
		{"modelopt", `{"model_type":"llama"}`, `{"producer":{"name":"modelopt"},"quantization":{"quant_algo":"NVFP4","group_size":16}}`, []string{"l.weight U8 4 8", "l.weight_scale F8_E4M3 4 1", "l.weight_scale_2 F32 1"},
			Info{Architecture: "llama", Quant: "NVFP4", Parameters: 64, Tensors: 3, Types: map[string]int64{"U8": 32, "F8_E4M3": 4, "F32": 1}}},
		{"a part that reads", `{"model_type":"gemma3","text_config":{"num_hidden_layers":34,"max_position_embeddings":131072}}`, "", plain,
			Info{Architecture: "gemma3", Quant: "BF16", Layers: 34, Context: 131072, Parameters: 56, Tensors: 2, Types: map[string]int64{"BF16": 56}}},
		{"odd types", `{"model_type":7,"architectures":["A"],"num_hidden_layers":"x","max_position_embeddings":1e99,"num_experts":-3,"quantization_config":true}`, "", plain,
			Info{Architecture: "A", Parameters: 56, Tensors: 2, Types: map[string]int64{"BF16": 56}, Quant: "quantised"}},
		{"buffers", "", "", append([]string{"p.position_ids I64 1 9", "r.rotary_emb.inv_freq F32 3", "h.0.attn.bias BOOL 1 1 4 4"}, plain...),
			Info{Quant: "BF16", Parameters: 56, Tensors: 5, Types: map[string]int64{"BF16": 56, "I64": 9, "F32": 3, "BOOL": 16}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			data := shard(t, c.tensors...)
			file := put(t, filepath.Join(dir, "model.safetensors"), data)
			if c.config != "" {
				put(t, filepath.Join(dir, "config.json"), []byte("\ufeff"+c.config))
			}
			if c.modelopt != "" {
				put(t, filepath.Join(dir, "hf_quant_config.json"), []byte(c.modelopt))
			}
			c.want.Format, c.want.Parts, c.want.SizeBytes = FormatSafetensors, 1, int64(len(data))
			for _, path := range []string{dir, file} {
				got, err := Read(path)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(Info{})); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestSafetensorsErrors(t *testing.T) {
	good := shard(t, "a BF16 4 4")
	one := func(fields string) []byte { return append(headed([]byte(`{"a":{`+fields+`}}`)), make([]byte, 64)...) }
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrCutOff},
		{"seven bytes", good[:7], ErrCutOff},
		{"inside the header", good[:20], ErrCutOff},
		{"one byte short", good[:len(good)-1], ErrCutOff},
		{"a length of 2^63", append(binary.LittleEndian.AppendUint64(nil, 1<<63), good...), ErrNotSafetensors},
		{"a length of 2^64-1", append(binary.LittleEndian.AppendUint64(nil, math.MaxUint64), good...), ErrNotSafetensors},
		{"a page", []byte("<!DOCTYPE html><html><body>404"), ErrNotSafetensors},
		{"a list", headed([]byte("[]")), ErrNotSafetensors},
		{"half an object", headed([]byte(`{"a":`)), ErrNotSafetensors},
		{"no object's end", headed([]byte(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}`)), ErrNotSafetensors},
		{"a tensor that is a number", headed([]byte(`{"a":1}`)), ErrNotSafetensors},
		{"absurd shape", one(`"dtype":"BF16","shape":[9223372036854775808,4],"data_offsets":[0,32]`), ErrNotSafetensors},
		{"negative shape", one(`"dtype":"BF16","shape":[-4],"data_offsets":[0,32]`), ErrNotSafetensors},
		{"offsets past the end", one(`"dtype":"U8","shape":[999],"data_offsets":[0,999]`), ErrCutOff},
		{"offsets of 2^63", one(`"dtype":"odd","shape":[4],"data_offsets":[0,9223372036854775808]`), ErrNotSafetensors},
		{"offsets backwards", one(`"dtype":"BF16","shape":[4],"data_offsets":[8,0]`), ErrNotSafetensors},
		{"wrong size", one(`"dtype":"BF16","shape":[4],"data_offsets":[0,7]`), ErrNotSafetensors},
		{"tensors over one another", append(headed([]byte(`{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}}`)), make([]byte, 64)...), ErrNotSafetensors},
		{"deep", headed(bytes.Repeat([]byte(`{"a":`), 20000)), ErrNotSafetensors},
	} {
		info, err := Read(put(t, filepath.Join(t.TempDir(), "model.safetensors"), c.data))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v; want %v", c.name, info, err, c.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.safetensors")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "model.safetensors"), good)
	// A configuration that is of no use costs what it would have said, and nothing of what the weights say.
	whole, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"half a configuration": `{"model_type":"qwen3","num_hidden`, "a huge one": strings.Repeat(" ", maxConfig+1), "a web page": "<html>"} {
		put(t, filepath.Join(dir, "config.json"), []byte(text))
		got, err := Read(dir)
		if err != nil || !strings.HasPrefix(got.Trouble, "config.json: ") || strings.Contains(got.Trouble, dir) || got.Quant != "" || got.Architecture != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got.Parameters != whole.Parameters || !cmp.Equal(got.Types, whole.Types) || got.SizeBytes != whole.SizeBytes || got.Parameters == 0 {
			t.Errorf("%s: %+v, want what the headers say: %+v", name, got, whole)
		}
	}
}

func TestShards(t *testing.T) {
	a, b := shard(t, "a BF16 4 4"), shard(t, "b BF16 8")
	index := `{"metadata":{"total_size":1},"weight_map":{"b":"model-00002-of-00002.safetensors","a":"model-00001-of-00002.safetensors"}}`
	dir := t.TempDir()
	one := put(t, filepath.Join(dir, "model-00001-of-00002.safetensors"), a)
	if _, err := Read(one); !errors.Is(err, ErrCutOff) {
		t.Errorf("a part is missing: %v", err)
	}
	two := put(t, filepath.Join(dir, "model-00002-of-00002.safetensors"), b)
	check := func(path string) {
		t.Helper()
		parts, err := Parts(path)
		if err != nil || !cmp.Equal(parts, []string{one, two}) {
			t.Errorf("%v, %v", parts, err)
		}
		info, err := Read(path)
		if err != nil || info.Parameters != 24 || info.Parts != 2 || info.SizeBytes != int64(len(a)+len(b)) {
			t.Errorf("%+v, %v", info, err)
		}
	}
	check(one) // by its name alone
	list := put(t, filepath.Join(dir, "model.safetensors.index.json"), []byte(index))
	for _, path := range []string{one, two, list, dir} {
		check(path)
	}
	sums := hashOf([]byte(hashOf(a) + "\n" + hashOf(b) + "\n"))
	if sum, kind, err := Digest(t.Context(), dir, nil); err != nil || sum != sums || kind != KindParts {
		t.Errorf("digest %s %q, %v; want %s", sum, kind, err, sums)
	}
	// An adapter beside the model is not the model.
	put(t, filepath.Join(dir, "adapter_model.safetensors"), a)
	check(dir)

	for _, c := range []struct{ name, index string }{
		{"no JSON", "{"}, {"a list", "[]"}, {"no map", `{"metadata":{}}`}, {"an empty map", `{"weight_map":{}}`},
		{"a map of numbers", `{"weight_map":{"a":1}}`}, {"a map that is a text", `{"weight_map":"x"}`},
		{"upwards", `{"weight_map":{"a":"../model-00001-of-00002.safetensors"}}`},
		{"from the root", `{"weight_map":{"a":"/etc/passwd.safetensors"}}`},
		{"another drive", `{"weight_map":{"a":"c:x.safetensors"}}`},
		{"backwards", `{"weight_map":{"a":"..\\x.safetensors"}}`},
		{"another kind", `{"weight_map":{"a":"config.json"}}`},
		{"itself", `{"weight_map":{"a":"model.safetensors.index.json"}}`},
		{"another index", `{"weight_map":{"a":"other.safetensors.index.json"}}`},
		{"deep", strings.Repeat(`{"weight_map":`, 20000)},
	} {
		dir := t.TempDir()
		list := put(t, filepath.Join(dir, "model.safetensors.index.json"), []byte(c.index))
		put(t, filepath.Join(dir, "other.safetensors.index.json"), []byte(`{"weight_map":{"a":"model.safetensors.index.json"}}`))
		for _, path := range []string{list, dir} {
			if _, err := Read(path); !errors.Is(err, ErrNotSafetensors) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	many := []byte(`{"weight_map":{`)
	for i := range maxShards + 2 {
		many = fmt.Appendf(many, `"t%d":"s%d.safetensors",`, i, i)
	}
	if _, err := parseIndex(append(many, `"x":"x.safetensors"}}`...)); !errors.Is(err, ErrNotSafetensors) {
		t.Errorf("many shards: %v", err)
	}
	if runtime.GOOS == "windows" {
		return // links need a right of their own there
	}
	loop := t.TempDir()
	put(t, filepath.Join(loop, "model.safetensors.index.json"), []byte(`{"weight_map":{"a":"x.safetensors","b":"y.safetensors"}}`))
	for from, to := range map[string]string{"x.safetensors": "y.safetensors", "y.safetensors": "x.safetensors"} {
		if err := os.Symlink(to, filepath.Join(loop, from)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(loop); err == nil {
		t.Error("links in a circle are read")
	}
}

func FuzzSafetensorsHeader(f *testing.F) {
	f.Add(headed([]byte(`{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}        `)))
	f.Add(headed([]byte(`{"a":{"dtype":"F4","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}`)))
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<63))
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := tally{types: map[string]int64{}}
		err := sum.header(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, ErrNotSafetensors) && !errors.Is(err, ErrCutOff) {
			t.Errorf("an error of no kind: %v", err)
		}
		for _, bits := range []float64{0, 0.5, 4, 64} {
			if sum.parameters(bits) < 0 {
				t.Errorf("%+v", sum)
			}
		}
		for name, n := range sum.types {
			if n < 0 {
				t.Errorf("%d of %s", n, name)
			}
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"a":[1,{}]},"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseIndex(data)
		if err != nil {
			if !errors.Is(err, ErrNotSafetensors) {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		for _, n := range names {
			if n != filepath.Base(n) || !strings.HasSuffix(n, ".safetensors") {
				t.Errorf("%q", n)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"model_type":"x","quantization_config":{"quant_method":"gptq","bits":4,"dynamic":{"a":1}},"text_config":{"text_config":{}}}`))
	f.Add([]byte(`{"quantization":{"bits":4,"a.b":{"bits":8}},"num_hidden_layers":1e99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c modelConfig
		if err := c.merge(data); err != nil && !errors.Is(err, ErrNotSafetensors) {
			t.Errorf("an error of no kind: %v", err)
		}
		var info Info
		c.describe(&info)
		if info.Layers < 0 || info.Context < 0 || info.Experts < 0 || c.packedBits() < 0 || math.IsNaN(c.packedBits()) {
			t.Errorf("%+v", info)
		}
	})
}
