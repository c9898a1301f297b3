// Package weights reads what model files say about themselves, finds them and digests them.
//
// It reads headers only, in bounded memory, and never loads a model. It writes nothing, starts nothing, and reads no
// environment but what it is handed.
package weights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"path/filepath"
	"strings"
)

// The formats of Info.
const (
	FormatGGUF        = "gguf"
	FormatSafetensors = "safetensors"
)

// Why a file is of no use, for errors.Is.
var (
	ErrNotGGUF        = errors.New("not a GGUF file")
	ErrNotSafetensors = errors.New("not a safetensors model")
	ErrCutOff         = errors.New("the file is cut off") // a download that did not finish
)

// The bounds of a header: real ones stay far below, and a broken file must not take the memory.
const (
	maxHeader = 128 << 20 // bytes; vocabularies of 260,000 words take a tenth of it
	maxKey    = 64 << 10  // bytes
	maxText   = 1 << 10   // bytes of a text value that is kept
	maxDims   = 8
	maxTypes  = 64 // of tensors
)

// Info is what the headers of a model's files say. A count that they do not state is 0.
type Info struct {
	Format       string           `json:"format"`  // FormatGGUF or FormatSafetensors
	Version      uint32           `json:"version"` // of the format; 0 where it has none
	Architecture string           `json:"architecture"`
	Name         string           `json:"name"`
	Quant        string           `json:"quant"`        // usual name, as Q4_K_M; empty where not known
	Context      int              `json:"context"`      // tokens the model was trained for
	Layers       int              `json:"layers"`       // block_count
	Experts      int              `json:"experts"`      // of a mixture, a layer
	ExpertsUsed  int              `json:"experts_used"` // for each token
	Parameters   int64            `json:"parameters"`   // elements of all tensors, over all parts that were read; unpacked
	Tensors      int              `json:"tensors"`
	Types        map[string]int64 `json:"types"`      // elements by tensor type, as {"Q4_K": …, "F32": …}
	SizeBytes    int64            `json:"size_bytes"` // of the file, or of all parts
	Parts        int              `json:"parts"`      // split.count; 1 for a file that is whole

	// Trouble says what beside the weights could not be read, as a config.json that is cut off: what it would have said is not
	// known, and what the weights themselves say is.
	Trouble string `json:"trouble,omitempty"`

	part  int    // split.no
	label string // the header's own name of its quantisation
}

// Read reads the headers of a model of either format: a GGUF file, a .safetensors file, its index, or the folder of one.
func Read(path string) (Info, error) {
	if isSafetensors(path) {
		return ReadSafetensors(path)
	}
	return ReadGGUF(path)
}

// BitsPerWeight is what a parameter takes on the disk, headers and all; 0 where the count is not known.
func (i Info) BitsPerWeight() float64 {
	if i.Parameters <= 0 {
		return 0
	}
	return float64(i.SizeBytes) * 8 / float64(i.Parameters)
}

// ReadGGUF reads the header of a model, and of its other parts where it is split. The error wraps ErrNotGGUF, ErrCutOff
// (also for a part that is missing), or that of the file system.
func ReadGGUF(path string) (Info, error) {
	info, err := readFile(path)
	if err != nil || info.Parts == 1 {
		return info, err
	}
	parts, err := Parts(path)
	if err != nil {
		return info, err
	}
	if len(parts) != info.Parts {
		return info, fmt.Errorf("%s: %w: its header says %d parts, its name %d", filepath.Base(path), ErrCutOff, info.Parts, len(parts))
	}
	for _, p := range parts {
		if p == path {
			continue
		}
		more, err := readFile(p)
		if err != nil {
			return info, err
		}
		if more.part == 0 { // the first part alone has the model's own metadata
			info, more = more, info
		}
		info = mergeInto(info, more)
	}
	info.Quant = usualName(info.label, info.Types, info.Experts)
	return info, nil
}

// mergeInto adds the tensors of b to a.
func mergeInto(a, b Info) Info {
	types := make(map[string]int64, len(a.Types))
	for k, v := range a.Types {
		types[k] = v
	}
	for k, v := range b.Types {
		if _, have := types[k]; have || len(types) < maxTypes {
			types[k] = add(types[k], v)
		}
	}
	a.Types = types
	a.Parameters = add(a.Parameters, b.Parameters)
	a.Tensors += b.Tensors
	a.SizeBytes = add(a.SizeBytes, b.SizeBytes)
	return a
}

func readFile(path string) (Info, error) {
	f, err := open(path)
	if errors.Is(err, errNotRegular) {
		return Info{}, fmt.Errorf("%s: %w: %w", filepath.Base(path), ErrNotGGUF, err)
	}
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	info, err := readHeader(f, st.Size())
	if err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return info, nil
}

// readHeader reads a header of a file of that size.
func readHeader(r io.Reader, size int64) (Info, error) {
	h := &header{in: bufio.NewReaderSize(io.LimitReader(r, min(size, maxHeader)), 64<<10), size: size}
	info, err := h.read()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends inside its header, at %d bytes", ErrCutOff, size)
		if size > maxHeader {
			err = fmt.Errorf("%w: its header is larger than %d MiB", ErrNotGGUF, maxHeader>>20)
		}
	}
	return info, err
}

// header reads the parts of a GGUF header in order. All numbers are little-endian.
type header struct {
	in   *bufio.Reader
	size int64
	at   int64 // bytes read
}

func (h *header) read() (Info, error) {
	info := Info{Format: FormatGGUF, Types: map[string]int64{}, Parts: 1}
	var magic [4]byte
	if err := h.full(magic[:]); err != nil || string(magic[:]) != "GGUF" {
		if h.size < 4 || err == nil {
			err = fmt.Errorf("%w: it does not begin with the letters GGUF", ErrNotGGUF)
		}
		return info, err
	}
	version, err := h.u32()
	if err != nil {
		return info, err
	}
	switch info.Version = version; {
	case version == 2, version == 3:
	case version == 1:
		return info, fmt.Errorf("%w of version 2 or 3: version 1 is no longer used", ErrNotGGUF)
	case version != 0 && version&0xffff == 0:
		return info, fmt.Errorf("%w for this machine: its byte order is the other one", ErrNotGGUF)
	default:
		return info, fmt.Errorf("%w of version 2 or 3: it says version %d", ErrNotGGUF, version)
	}
	tensors, err := h.u64()
	if err != nil {
		return info, err
	}
	pairs, err := h.u64()
	if err != nil {
		return info, err
	}
	// Each takes at least this much room; a count that can't fit is damage, and so is not looped over.
	if tensors > uint64(h.size)/24 || pairs > uint64(h.size)/13 {
		if h.size < 1<<20 {
			return info, fmt.Errorf("%w: its header announces more than its %d bytes hold", ErrCutOff, h.size)
		}
		return info, fmt.Errorf("%w: its header announces %d tensors and %d metadata entries", ErrNotGGUF, tensors, pairs)
	}
	meta, err := h.metadata(pairs)
	if err != nil {
		return info, err
	}
	align := meta.number("general.alignment", 32)
	if align <= 0 || align > 1<<20 || align&(align-1) != 0 {
		return info, fmt.Errorf("%w: its alignment is %d", ErrNotGGUF, align)
	}
	info.Architecture = meta.text["general.architecture"]
	info.Name = meta.text["general.name"]
	info.Context = meta.count(info.Architecture + ".context_length")
	info.Layers = meta.count(info.Architecture + ".block_count")
	info.Experts = meta.count(info.Architecture + ".expert_count")
	info.ExpertsUsed = meta.count(info.Architecture + ".expert_used_count")
	info.Parts = max(1, meta.count("split.count"))
	info.part = meta.count("split.no")
	info.SizeBytes = h.size
	info.Architecture, info.Name = shown(info.Architecture), shown(info.Name)
	end, sum, err := h.tensors(tensors, &info)
	if err != nil {
		return info, err
	}
	start := (h.at + align - 1) &^ (align - 1)
	if sum > end {
		return info, fmt.Errorf("%w: its tensors lie over one another", ErrNotGGUF)
	}
	if tensors > 0 && end > h.size-start {
		return info, fmt.Errorf("%w: it has %d bytes and needs %d", ErrCutOff, h.size, add(start, end))
	}
	if ft := meta.number("general.file_type", -1); ft >= 0 {
		info.label = fileTypes[ft&^fileTypeGuessed]
	}
	info.Quant = usualName(info.label, info.Types, info.Experts)
	return info, nil
}

// tensors reads the tensor infos and gives where the last byte of their data lies, counted from the data's start, and how
// many bytes they take together.
func (h *header) tensors(count uint64, info *Info) (end, sum int64, err error) {
	for range count {
		if _, err := h.text(maxKey); err != nil {
			return 0, 0, err
		}
		dims, err := h.u32()
		if err != nil {
			return 0, 0, err
		}
		if dims > maxDims {
			return 0, 0, fmt.Errorf("%w: a tensor has %d dimensions", ErrNotGGUF, dims)
		}
		elements := uint64(1)
		for range dims {
			n, err := h.u64()
			if err != nil {
				return 0, 0, err
			}
			over, product := bits.Mul64(elements, n)
			if over != 0 || product > math.MaxInt64/8 {
				return 0, 0, fmt.Errorf("%w: a tensor's shape is absurd", ErrNotGGUF)
			}
			elements = product
		}
		kind, err := h.u32()
		if err != nil {
			return 0, 0, err
		}
		offset, err := h.u64()
		if err != nil {
			return 0, 0, err
		}
		if offset > math.MaxInt64/8 {
			return 0, 0, fmt.Errorf("%w: a tensor's offset is absurd", ErrNotGGUF)
		}
		t := tensorTypes[kind]
		if t.name == "" {
			t.name = fmt.Sprintf("type %d", kind)
		}
		info.Tensors++
		info.Parameters = add(info.Parameters, int64(elements))
		if _, have := info.Types[t.name]; have || len(info.Types) < maxTypes {
			info.Types[t.name] = add(info.Types[t.name], int64(elements))
		}
		last := int64(offset) // of a type without a known size only the start is checked
		if t.block > 0 {
			over, bytes := bits.Mul64((elements+t.block-1)/t.block, t.bytes)
			if over != 0 || bytes > math.MaxInt64/2 {
				return 0, 0, fmt.Errorf("%w: a tensor's size is absurd", ErrNotGGUF)
			}
			last, sum = add(last, int64(bytes)), add(sum, int64(bytes))
		}
		end = max(end, last)
	}
	return end, sum, nil
}

// add adds two numbers that are not negative, and stops at the largest.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// metadata is what of the key-value pairs is kept: texts and whole numbers that are no arrays.
type metadata struct {
	text map[string]string
	nums map[string]int64
}

func (m metadata) number(key string, absent int64) int64 {
	if n, ok := m.nums[key]; ok {
		return n
	}
	return absent
}

// count is a number that counts something; 0 where it is absent or can't be one.
func (m metadata) count(key string) int {
	n := m.number(key, 0)
	if n < 0 || n > math.MaxInt32 {
		return 0
	}
	return int(n)
}

// maxKept bounds how many of the metadata's values are kept: a real file has a few dozen of those that matter.
const maxKept = 1024

// The value types of the format.
const (
	typeText  = 8
	typeArray = 9
)

// widths are the bytes of the value types of fixed size.
var widths = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

func (h *header) metadata(pairs uint64) (metadata, error) {
	m := metadata{map[string]string{}, map[string]int64{}}
	for range pairs {
		key, err := h.text(maxKey)
		if err != nil {
			return m, err
		}
		kind, err := h.u32()
		if err != nil {
			return m, err
		}
		wanted := len(m.text)+len(m.nums) < maxKept && (strings.HasPrefix(key, "general.") || strings.HasPrefix(key, "split.") ||
			strings.HasSuffix(key, ".context_length") || strings.HasSuffix(key, ".block_count") ||
			strings.HasSuffix(key, ".expert_count") || strings.HasSuffix(key, ".expert_used_count"))
		switch {
		case kind == typeText && wanted:
			if m.text[key], err = h.text(maxText); err != nil {
				return m, err
			}
		case wanted && (kind <= 5 || kind == 10 || kind == 11):
			if m.nums[key], err = h.whole(kind); err != nil {
				return m, err
			}
		default:
			if err := h.skipValue(kind, 0); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// whole reads a whole number; one that does not fit is the largest.
func (h *header) whole(kind uint32) (int64, error) {
	var b [8]byte
	if err := h.full(b[:widths[kind]]); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(b[:])
	switch kind {
	case 1:
		return int64(int8(n)), nil
	case 3:
		return int64(int16(n)), nil
	case 5:
		return int64(int32(n)), nil
	}
	if kind == 10 && n > math.MaxInt64 {
		return math.MaxInt64, nil
	}
	return int64(n), nil
}

func (h *header) skipValue(kind uint32, depth int) error {
	if w := widths[kind]; w > 0 {
		return h.skip(uint64(w))
	}
	switch kind {
	case typeText:
		n, err := h.u64()
		if err != nil {
			return err
		}
		return h.skip(n)
	case typeArray:
		of, err := h.u32()
		if err != nil {
			return err
		}
		n, err := h.u64()
		if err != nil {
			return err
		}
		if w := widths[of]; w > 0 {
			if n > math.MaxInt64/8 {
				return io.ErrUnexpectedEOF
			}
			return h.skip(n * uint64(w))
		}
		if depth > 3 {
			return fmt.Errorf("%w: its metadata is nested too deep", ErrNotGGUF)
		}
		if n > uint64(h.size-h.at)/8 { // a text takes 8 bytes and more, an array 12
			return io.ErrUnexpectedEOF
		}
		for range n { // each element takes bytes, and those run out
			if err := h.skipValue(of, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: its metadata has a value of unknown type %d", ErrNotGGUF, kind)
}

func (h *header) full(b []byte) error {
	n, err := io.ReadFull(h.in, b)
	h.at += int64(n)
	return err
}

func (h *header) skip(n uint64) error {
	if n > uint64(h.size-h.at) {
		return io.ErrUnexpectedEOF
	}
	for n > 0 {
		step, err := h.in.Discard(int(min(n, 1<<20)))
		h.at += int64(step)
		n -= uint64(step)
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *header) u32() (uint32, error) {
	var b [4]byte
	err := h.full(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (h *header) u64() (uint64, error) {
	var b [8]byte
	err := h.full(b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// text reads a text and keeps at most limit bytes of it.
func (h *header) text(limit uint64) (string, error) {
	n, err := h.u64()
	if err != nil {
		return "", err
	}
	if n > uint64(h.size-h.at) {
		return "", io.ErrUnexpectedEOF
	}
	b := make([]byte, min(n, limit))
	if err := h.full(b); err != nil {
		return "", err
	}
	return strings.ToValidUTF8(string(b), "\uFFFD"), h.skip(n - uint64(len(b)))
}
