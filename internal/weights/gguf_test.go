package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

func put(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// le appends values in the format's byte order: strings with their length, the rest as they are.
func le(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(p)))
			b.WriteString(p)
		case []byte:
			b.Write(p)
		default:
			if err := binary.Write(&b, binary.LittleEndian, p); err != nil {
				panic(err)
			}
		}
	}
	return b.Bytes()
}

// file makes a GGUF file of metadata and tensors that are encoded already, with n bytes of data.
func file(version uint32, tensors uint64, infos []byte, pairs uint64, meta []byte, n int) []byte {
	head := le([]byte("GGUF"), version, tensors, pairs, meta, infos)
	head = append(head, make([]byte, (32-len(head)%32)%32)...)
	return append(head, make([]byte, n)...)
}

func text(key, value string) []byte          { return le(key, uint32(8), value) }
func number(key string, value uint32) []byte { return le(key, uint32(4), value) }

func tensor(name string, kind uint32, offset uint64, dims ...uint64) []byte {
	return le(name, uint32(len(dims)), dims, kind, offset)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestReadGGUF(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "m.gguf"), weightstest.Options{}.Bytes())
	got, err := ReadGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{
		Format: FormatGGUF, Version: 3, Architecture: "llama", Name: weightstest.Name, Quant: "F16", Context: weightstest.Context, Layers: 2,
		Parameters: 144704, // as llama-server counts them
		Tensors:    21, Types: map[string]int64{"F16": 144384, "F32": 320}, SizeBytes: st.Size(), Parts: 1,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Info{})); d != "" {
		t.Error(d)
	}
}

func TestReadGGUFKinds(t *testing.T) {
	meta := join(text("general.architecture", "qwen3"), number("qwen3.context_length", 40960), number("qwen3.block_count", 28),
		le("tokenizer.ggml.tokens", uint32(9), uint32(8), uint64(2), "a", "b"), le("x.f", uint32(6), float32(1)), le("x.nums", uint32(9), uint32(5), uint64(3), []int32{1, 2, 3}),
		le("general.big", uint32(10), uint64(1<<63)))
	infos := join(tensor("a", 12, 0, 256, 2), tensor("b", 0, 288, 10), tensor("c", 14, 352, 256))
	for _, version := range []uint32{2, 3} {
		for _, c := range []struct {
			fileType uint32
			quant    string
		}{{15, "Q4_K_M"}, {1024 + 7, "Q8_0"}, {0, "F32"}, {9999, "Q4_K"}} {
			data := file(version, 3, infos, 8, join(meta, number("general.file_type", c.fileType)), 352+210)
			got, err := ReadGGUF(put(t, filepath.Join(t.TempDir(), "m.gguf"), data))
			if err != nil {
				t.Fatal(err)
			}
			if got.Quant != c.quant || got.Context != 40960 || got.Layers != 28 || got.Parameters != 512+10+256 || got.Types["Q4_K"] != 512 || got.Version != version {
				t.Errorf("version %d, type %d: %+v", version, c.fileType, got)
			}
			// One byte less, and the last tensor does not fit.
			if _, err := ReadGGUF(put(t, filepath.Join(t.TempDir(), "m.gguf"), data[:len(data)-1])); !errors.Is(err, ErrCutOff) {
				t.Errorf("one byte less: %v", err)
			}
		}
	}
}

func TestReadGGUFErrors(t *testing.T) {
	good := weightstest.Options{}.Bytes()
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrNotGGUF},
		{"three bytes", []byte("GGU"), ErrNotGGUF},
		{"text", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), ErrNotGGUF},
		{"zeros", make([]byte, 4096), ErrNotGGUF},
		{"version 1", le([]byte("GGUF"), uint32(1), uint32(0), uint32(0)), ErrNotGGUF},
		{"version 9", le([]byte("GGUF"), uint32(9), uint64(0), uint64(0)), ErrNotGGUF},
		{"other byte order", le([]byte("GGUF"), []byte{0, 0, 0, 3}, uint64(0), uint64(0)), ErrNotGGUF},
		{"only the magic", []byte("GGUF"), ErrCutOff},
		{"inside the metadata", good[:3000], ErrCutOff},
		{"after the header", good[:len(good)/2], ErrCutOff},
		{"one byte short", good[:len(good)-40], ErrCutOff},
		{"absurd shape", file(3, 1, tensor("a", 0, 0, 1<<40, 1<<40), 0, nil, 64), ErrNotGGUF},
		{"absurd offset", file(3, 1, tensor("a", 0, 1<<62, 4), 0, nil, 64), ErrNotGGUF},
		{"many dimensions", file(3, 1, le("a", uint32(1<<30)), 0, nil, 64), ErrNotGGUF},
		{"unknown value type", file(3, 0, nil, 1, le("a", uint32(77)), 64), ErrNotGGUF},
		{"long text", file(3, 0, nil, 1, le("general.name", uint32(8), uint64(1<<62)), 64), ErrCutOff},
		{"alignment", file(3, 0, nil, 1, number("general.alignment", 3), 64), ErrNotGGUF},
		{"tensors over one another", file(3, 2, join(tensor("a", 1, 0, 16), tensor("b", 1, 0, 16)), 0, nil, 64), ErrNotGGUF},
		{"more texts than bytes", file(3, 0, nil, 1, le("a", uint32(9), uint32(8), uint64(1<<40)), 64), ErrCutOff},
		{"nested arrays", file(3, 0, nil, 1, join(le("a", uint32(9)), bytes.Repeat(le(uint32(9), uint64(1)), 9)), 640), ErrNotGGUF},
	} {
		_, err := ReadGGUF(put(t, filepath.Join(t.TempDir(), "x.gguf"), c.data))
		if !errors.Is(err, c.want) || errors.Is(err, ErrNotGGUF) == errors.Is(err, ErrCutOff) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := ReadGGUF(filepath.Join(t.TempDir(), "none.gguf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := ReadGGUF(t.TempDir()); !errors.Is(err, ErrNotGGUF) {
		t.Errorf("folder: %v", err)
	}
}

func TestReadGGUFSplit(t *testing.T) {
	dir := t.TempDir()
	part := func(i int) string { return filepath.Join(dir, fmt.Sprintf("big-%05d-of-00002.gguf", i)) }
	put(t, part(1), file(3, 1, tensor("a", 1, 0, 100), 4,
		join(text("general.architecture", "llama"), number("general.file_type", 1), number("split.count", 2), number("split.no", 0)), 200))
	if _, err := ReadGGUF(part(1)); !errors.Is(err, ErrCutOff) || !strings.Contains(err.Error(), "part 2 of 2 is missing") {
		t.Errorf("got %v", err)
	}
	put(t, part(2), file(3, 1, tensor("b", 1, 0, 50), 2, join(number("split.count", 2), number("split.no", 1)), 100))
	for _, p := range []string{part(1), part(2)} {
		got, err := ReadGGUF(p)
		if err != nil {
			t.Fatal(err)
		}
		if got.Parameters != 150 || got.Tensors != 2 || got.Architecture != "llama" || got.Quant != "F16" || got.Parts != 2 || got.Types["F16"] != 150 {
			t.Errorf("%s: %+v", filepath.Base(p), got)
		}
	}
}

func FuzzReadGGUF(f *testing.F) {
	good := weightstest.Options{}.Bytes()
	f.Add(good[:8000])
	f.Add(file(3, 1, tensor("a", 12, 0, 256, 2), 1, text("general.architecture", "x"), 300))
	f.Add(file(2, 1<<60, nil, 1<<60, nil, 0))
	f.Add(file(3, 0, nil, 1, le("a", uint32(9), uint32(8), uint64(1<<60)), 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := readHeader(bytes.NewReader(data), int64(len(data)))
		if err != nil && !errors.Is(err, ErrNotGGUF) && !errors.Is(err, ErrCutOff) {
			t.Errorf("an error of no kind: %v", err)
		}
		if err == nil && (info.Parameters < 0 || info.Tensors < 0 || info.Parts < 1 || info.SizeBytes != int64(len(data))) {
			t.Errorf("%+v", info)
		}
	})
}

// Models that were trained in MXFP4 are called so, whatever the file's label says of the tensors around the experts.
func TestUsualName(t *testing.T) {
	mixed := map[string]int64{"MXFP4": 19e9, "Q8_0": 1e9, "F32": 1e6}
	for _, c := range []struct {
		label   string
		types   map[string]int64
		experts int
		want    string
	}{
		{"F16", mixed, 32, "MXFP4_MOE"}, {"Q8_0", mixed, 32, "MXFP4_MOE"}, {"", mixed, 32, "MXFP4_MOE"}, {"MXFP4_MOE", mixed, 32, "MXFP4_MOE"}, {"MXFP4", mixed, 32, "MXFP4_MOE"},
		{"F16", mixed, 0, "MXFP4"}, {"Q4_K_M", map[string]int64{"Q4_K": 5, "MXFP4": 4}, 8, "Q4_K_M"}, {"", map[string]int64{"Q4_K": 5}, 0, "Q4_K"}, {"F16", nil, 0, "F16"}, {"", nil, 0, ""},
	} {
		if got := usualName(c.label, c.types, c.experts); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	meta := join(text("general.architecture", "gpt-oss"), number("gpt-oss.expert_count", 32), number("general.file_type", 1))
	for _, kind := range []uint32{39, 4} { // ggml's number, and Ollama's first
		infos := join(tensor("experts", kind, 0, 3200), tensor("rest", 1, 1728, 16))
		info, err := ReadGGUF(put(t, filepath.Join(t.TempDir(), "gpt-oss-20b-F16.gguf"), file(3, 2, infos, 3, meta, 1760)))
		if err != nil || info.Quant != "MXFP4_MOE" || info.Types["MXFP4"] != 3200 || Mismatch("gpt-F16.gguf", info) != "" {
			t.Errorf("type %d: %+v, %v", kind, info, err)
		}
	}
}
