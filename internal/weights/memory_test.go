package weights

import (
	"bytes"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
)

// A header that is made to take memory takes what its own text takes, a few times over, and no more.
func TestHostileHeadersAreBounded(t *testing.T) {
	numbers := func(n int) []byte { return append(bytes.Repeat([]byte("1,"), n), '1') }
	wrap := func(before string, body []byte, after string) []byte {
		return append(append([]byte(before), body...), after...)
	}
	const some = 8 << 20
	config := wrap(`{"model_type":"x","architectures":[`, bytes.Repeat([]byte(`"a",`), some/4), `"a"]}`)
	for _, c := range []struct {
		name string
		file string
		data []byte
		most uint64 // MiB that may be allocated, garbage included
		want error  // nil: any
	}{
		{"a shape of 4 million numbers", "model.safetensors", headed(wrap(`{"a":{"dtype":"U8","shape":[`, numbers(some/2), `],"data_offsets":[0,1]}}`)), 80, ErrNotSafetensors},
		{"a million tensors", "model.safetensors", headed(wrap(`{`, bytes.Repeat([]byte(`"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`), some/52), `"b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`)), 300, nil},
		{"metadata without end", "model.safetensors", headed(wrap(`{"__metadata__":{"a":"`, bytes.Repeat([]byte("x"), some), `"}}`)), 80, nil},
		{"types without end", "model.safetensors", headed(types(20000)), 80, nil},
		{"an index of a million lines", "model.safetensors.index.json", wrap(`{"weight_map":{`, bytes.Repeat([]byte(`"a":"m.safetensors",`), some/20), `"b":"m.safetensors"}}`), 200, ErrCutOff},
		{"a list of names without end", "config.json", config, 400, nil},
		{"an array of texts in a GGUF", "m.gguf", file(3, 0, nil, 1, join(le("a", uint32(typeArray), uint32(typeText), uint64(some/8)), make([]byte, some)), 64), 32, nil},
		{"metadata without end in a GGUF", "m.gguf", file(3, 0, nil, 100_000, bytes.Repeat(le("general.x", uint32(4), uint32(7)), 100_000), 64), 40, nil},
	} {
		dir := t.TempDir()
		path := put(t, filepath.Join(dir, c.file), c.data)
		if c.file == "config.json" {
			path = put(t, filepath.Join(dir, "model.safetensors"), shard(t, "a BF16 4 4"))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		info, err := Read(path)
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > slack*c.most {
			t.Errorf("%s: %d MiB allocated, for %d MiB of text", c.name, got, len(c.data)>>20)
		}
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(info.Types) > maxTypes {
			t.Errorf("%s: %d types are kept", c.name, len(info.Types))
		}
	}
}

// types is a header with that many types of tensors, all made up.
func types(n int) []byte {
	b := []byte("{")
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		name := []byte{'t', byte('a' + i%26), byte('a' + i/26%26), byte('a' + i/676%26), byte('a' + i/17576)}
		b = append(append(append(append(append(b, '"'), name...), `":{"dtype":"`...), name...), `","shape":[1],"data_offsets":[0,1]}`...)
	}
	return append(b, '}')
}
