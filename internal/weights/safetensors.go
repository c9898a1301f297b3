package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The bounds of what is read of a safetensors model.
const (
	maxTensorHeader = 48 << 20 // bytes; the format allows 100 MB, real ones stay under a tenth of that
	maxTensorEntry  = 64 << 10 // bytes of one tensor in it; a shape of numbers without end would take many times its text
	maxIndex        = 64 << 20 // bytes of an index of shards
	maxConfig       = 16 << 20 // bytes of a config.json
	maxShards       = 4096
	indexSuffix     = ".safetensors.index.json"
)

// isSafetensors tells by the name: a shard, an index, or a folder.
func isSafetensors(path string) bool {
	low := strings.ToLower(path)
	if strings.HasSuffix(low, ".safetensors") || strings.HasSuffix(low, indexSuffix) {
		return true
	}
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return false
	}
	found, err := safetensorsIn(path)
	return err == nil && len(found) > 0
}

func safetensorsIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if name := e.Name(); !e.IsDir() && (strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, indexSuffix)) {
			names = append(names, name)
		}
	}
	return names, nil
}

// shardPattern is the name of one of several files.
var shardPattern = regexp.MustCompile(`^(.+)-\d{5}-of-(\d{5})\.safetensors$`)

// shards lists the files of a safetensors model, sorted by name. A file of a model with an index means the whole model.
func shards(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Dir(path), filepath.Base(path)
	if st.IsDir() {
		dir, name = path, ""
		here, err := safetensorsIn(dir)
		if err != nil {
			return nil, err
		}
		for _, usual := range []string{"model" + indexSuffix, "model.safetensors"} {
			if slices.Contains(here, usual) {
				name = usual
				break
			}
		}
		if name == "" { // a folder of its own kind, as EXL2's output.safetensors
			here = slices.DeleteFunc(here, func(n string) bool {
				return strings.HasSuffix(n, indexSuffix) || strings.HasPrefix(n, "adapter") || strings.HasPrefix(n, "consolidated")
			})
			if len(here) == 0 {
				return nil, fmt.Errorf("%s: %w: no .safetensors file in it", filepath.Base(dir), ErrNotSafetensors)
			}
			name = here[0]
		}
	}
	if strings.HasSuffix(name, indexSuffix) {
		return indexed(dir, name)
	}
	m := shardPattern.FindStringSubmatch(name)
	if m == nil {
		return []string{filepath.Join(dir, name)}, nil
	}
	if index := m[1] + indexSuffix; exists(filepath.Join(dir, index)) {
		all, err := indexed(dir, index)
		if err == nil && slices.Contains(all, filepath.Join(dir, name)) {
			return all, nil
		}
	}
	of := 0
	if _, err := fmt.Sscanf(m[2], "%d", &of); err != nil || of < 1 || of > maxShards {
		return nil, fmt.Errorf("%s: %w: its name counts %s parts", name, ErrNotSafetensors, m[2])
	}
	var names []string
	for i := range of {
		names = append(names, fmt.Sprintf("%s-%05d-of-%s.safetensors", m[1], i+1, m[2]))
	}
	return present(dir, names)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// indexed lists the shards that an index names.
func indexed(dir, name string) ([]string, error) {
	b, err := readBounded(filepath.Join(dir, name), maxIndex)
	if err != nil {
		return nil, err
	}
	names, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return present(dir, names)
}

// parseIndex gives the names of the shards, sorted. A name that leads out of the folder, or to another index, is refused.
func parseIndex(b []byte) ([]string, error) {
	if !json.Valid(b) {
		return nil, fmt.Errorf("%w: its index is no JSON", ErrNotSafetensors)
	}
	seen := map[string]bool{}
	// Token by token: an index has a line for each of a hundred thousand tensors, and names a hundred files.
	d := json.NewDecoder(bytes.NewReader(b))
	if !enter(d, "weight_map") {
		return nil, fmt.Errorf("%w: its index names no file", ErrNotSafetensors)
	}
	for d.More() {
		_, err := d.Token()
		var shard string
		if err == nil {
			err = d.Decode(&shard)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: its index is not understood: %w", ErrNotSafetensors, err)
		}
		if seen[shard] {
			continue
		}
		if shard != filepath.Base(shard) || strings.ContainsAny(shard, `/\:`) || !strings.HasSuffix(shard, ".safetensors") {
			return nil, fmt.Errorf("%w: its index names a file %.80q", ErrNotSafetensors, shard)
		}
		if seen[shard] = true; len(seen) > maxShards {
			return nil, fmt.Errorf("%w: its index names over %d files", ErrNotSafetensors, maxShards)
		}
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%w: its index names no file", ErrNotSafetensors)
	}
	names := make([]string, 0, len(seen))
	for n := range seen {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// enter goes to the first value of the object that has that key; false where it is no object, or there is none.
func enter(d *json.Decoder, key string) bool {
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false
		}
		if name == key {
			open, err := d.Token()
			return err == nil && open == json.Delim('{')
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

func present(dir string, names []string) ([]string, error) {
	paths := make([]string, len(names))
	for i, n := range names {
		paths[i] = filepath.Join(dir, n)
		if _, err := os.Stat(paths[i]); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w: it is one of %d parts, and missing", n, ErrCutOff, len(names))
		} else if err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// readBounded reads a file that may not be large.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := open(path)
	if errors.Is(err, errNotRegular) {
		return nil, fmt.Errorf("%s: %w: %w", filepath.Base(path), ErrNotSafetensors, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: %w: it is larger than %d MiB", filepath.Base(path), ErrNotSafetensors, limit>>20)
	}
	return b, nil
}

// ReadSafetensors reads the headers of all shards of a model, and the config.json beside them. path is a shard, the index, or
// the folder. A configuration that can't be read is Info.Trouble; the rest is read all the same. The error wraps
// ErrNotSafetensors, ErrCutOff (also for a shard that is missing), or that of the file system.
func ReadSafetensors(path string) (Info, error) {
	info := Info{Format: FormatSafetensors, Types: map[string]int64{}}
	paths, err := shards(path)
	if err != nil {
		return info, err
	}
	info.Parts = len(paths)
	sum := tally{types: info.Types}
	for _, p := range paths {
		size, err := sum.file(p)
		if err != nil {
			return info, fmt.Errorf("%s: %w", filepath.Base(p), err)
		}
		info.SizeBytes = add(info.SizeBytes, size)
	}
	info.Tensors = sum.tensors
	dir := filepath.Dir(paths[0])
	var cfg modelConfig
	for _, name := range []string{"config.json", "hf_quant_config.json"} {
		b, err := readBounded(filepath.Join(dir, name), maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = cfg.merge(b)
		}
		if err != nil {
			info.Trouble = name + ": " + shown(strings.TrimPrefix(strings.TrimPrefix(withoutDir(err, dir), name+": "), ErrNotSafetensors.Error()+": "))
		}
	}
	cfg.describe(&info)
	info.Architecture, info.Quant = shown(info.Architecture), shown(info.Quant)
	// Packed weights whose configuration does not name their form are of a form that is not known.
	if info.Quant == "" && sum.packed == 0 && info.Trouble == "" {
		info.Quant = dtypeNames[mainType(info.Types)]
	}
	info.Parameters = sum.parameters(cfg.packedBits())
	return info, nil
}

// withoutDir is an error's text without the folder, which is the user's own business.
func withoutDir(err error, dir string) string {
	return strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
}

// dtypes are the format's types, by their bits an element. A type that is not here is counted and its size not checked.
var dtypes = map[string]uint64{
	"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
	"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

// dtypeNames are the usual names of models that have one type and no quantisation.
var dtypeNames = map[string]string{"F64": "F64", "F32": "F32", "F16": "F16", "BF16": "BF16", "F8_E4M3": "FP8", "F8_E5M2": "FP8"}

// tally sums headers up.
type tally struct {
	types   map[string]int64 // elements by type
	tensors int
	plain   int64 // elements of floating-point tensors that are weights
	packed  int64 // bits of integer tensors that are weights
}

// aside are the ends of names of tensors that belong to another's quantisation, or are buffers, and are no weights themselves.
var aside = regexp.MustCompile(`(?:[._](?:scales?|weight_scale|scale_inv|weight_scale_2|input_scale|output_scale|k_scale|v_scale|zeros|qzeros|zero_point|weight_zero_point|g_idx|` +
	`weight_shape|weight_global_scale|input_global_scale|weight_g_idx|absmax|quant_map|nested_absmax|nested_quant_map|q_groups|q_group_map|q_invperm|q_perm|q_scale|q_scale_max|` +
	`suh|svh|su|sv|position_ids|token_type_ids|inv_freq|masked_bias|num_batches_tracked)|\.biases|\.attn\.bias|\.quant_state\..+)$`)

// file reads one header and gives the file's size.
func (t *tally) file(path string) (int64, error) {
	f, err := open(path)
	if errors.Is(err, errNotRegular) {
		return 0, fmt.Errorf("%w: %w", ErrNotSafetensors, err)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), t.header(f, st.Size())
}

// header reads the header of a file of that size: its length as 8 bytes, little-endian, then JSON.
func (t *tally) header(r io.Reader, size int64) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("%w: it has %d bytes", ErrCutOff, size)
	}
	length := binary.LittleEndian.Uint64(head[:])
	if length > maxTensorHeader {
		return fmt.Errorf("%w: its header would have %d bytes", ErrNotSafetensors, length)
	}
	if int64(length) > size-8 {
		return fmt.Errorf("%w: it ends inside its header, at %d bytes", ErrCutOff, size)
	}
	end, err := t.tensorsOf(io.LimitReader(r, int64(length)))
	if err != nil {
		return err
	}
	if have := uint64(size-8) - length; end > have {
		return fmt.Errorf("%w: it has %d bytes and needs %d", ErrCutOff, size, 8+length+end)
	}
	return nil
}

// tensorsOf reads the JSON of a header, one tensor at a time, and gives where the data ends.
func (t *tally) tensorsOf(r io.Reader) (end uint64, err error) {
	bad := func(err error) error { return fmt.Errorf("%w: its header is damaged: %w", ErrNotSafetensors, err) }
	d := json.NewDecoder(r)
	var sum uint64
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return 0, fmt.Errorf("%w: its header is no JSON object", ErrNotSafetensors)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return 0, bad(err)
		}
		name, _ := key.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return 0, bad(err)
		}
		if name == "__metadata__" {
			continue
		}
		if len(raw) > maxTensorEntry {
			return 0, fmt.Errorf("%w: tensor %.80q is described in %d bytes", ErrNotSafetensors, name, len(raw))
		}
		var tensor struct {
			DType   string    `json:"dtype"`
			Shape   []uint64  `json:"shape"`
			Offsets [2]uint64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &tensor); err != nil {
			return 0, bad(err)
		}
		if len(tensor.Shape) > 64 || tensor.DType == "" || tensor.Offsets[0] > tensor.Offsets[1] || tensor.Offsets[1] > math.MaxInt64/8 {
			return 0, fmt.Errorf("%w: tensor %.80q has no sense", ErrNotSafetensors, name)
		}
		elements := uint64(1)
		for _, n := range tensor.Shape {
			over, product := bits.Mul64(elements, n)
			if over != 0 || product > math.MaxInt64/64 {
				return 0, fmt.Errorf("%w: the shape of tensor %.80q is absurd", ErrNotSafetensors, name)
			}
			elements = product
		}
		each, known := dtypes[tensor.DType]
		if known && (elements*each+7)/8 != tensor.Offsets[1]-tensor.Offsets[0] {
			return 0, fmt.Errorf("%w: tensor %.80q has %d bytes and %d elements of %s", ErrNotSafetensors, name, tensor.Offsets[1]-tensor.Offsets[0], elements, tensor.DType)
		}
		end = max(end, tensor.Offsets[1])
		if sum += tensor.Offsets[1] - tensor.Offsets[0]; sum > math.MaxInt64/8 {
			return 0, fmt.Errorf("%w: the sizes of its tensors are absurd", ErrNotSafetensors)
		}
		t.add(name, tensor.DType, elements, each)
	}
	if _, err := d.Token(); err != nil {
		return 0, bad(err)
	}
	if sum > end {
		return 0, fmt.Errorf("%w: its tensors lie over one another", ErrNotSafetensors)
	}
	return end, nil
}

func (t *tally) add(name, dtype string, elements, each uint64) {
	t.tensors++
	if dtypes[dtype] == 0 {
		dtype = shown(dtype)
	}
	if _, have := t.types[dtype]; have || len(t.types) < maxTypes {
		t.types[dtype] = add(t.types[dtype], int64(elements))
	}
	switch {
	case aside.MatchString(name):
	case dtypeNames[dtype] != "":
		t.plain = add(t.plain, int64(elements))
	default:
		t.packed = add(t.packed, int64(elements)*int64(max(each, 1)))
	}
}

// parameters counts weights; integer tensors hold that many bits for each. 0 where that is not known.
func (t *tally) parameters(packedBits float64) int64 {
	if t.packed == 0 {
		return t.plain
	}
	if packedBits <= 0 {
		return 0
	}
	return add(t.plain, int64(math.Min(float64(t.packed)/packedBits, math.MaxInt64/2)))
}

// utf8BOM begins some files that were written on Windows.
var utf8BOM = []byte("\ufeff")

func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, utf8BOM) }
