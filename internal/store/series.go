package store

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/llm-speed/llm-speed/internal/record"
)

// maxSeries bounds how often a run can be gone on with.
const maxSeries = 1000

// SaveSeries stores what was seen of the machine while the run went on: state.1.json.gz beside result.json, JSON in gzip, of
// the schema that it names itself (hw.Series). A run that is gone on with gets state.2.json.gz, and so on.
func (r *Run) SaveSeries(series any) (record.RawFile, error) {
	var name, full string
	for n := 1; ; n++ {
		name = fmt.Sprintf("state.%d.json.gz", n)
		full = filepath.Join(r.dir, name)
		if _, err := os.Lstat(full); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if n == maxSeries {
			return record.RawFile{}, fmt.Errorf("save %s: there are %d such files already", name, n)
		}
	}
	if r.lock == nil {
		return record.RawFile{}, fmt.Errorf("save %s: the run is closed", name)
	}
	sum := sha256.New()
	var size counter
	err := replace(full, func(w io.Writer) error {
		zip := gzip.NewWriter(io.MultiWriter(w, sum, &size))
		if err := json.NewEncoder(zip).Encode(series); err != nil {
			return err
		}
		return zip.Close()
	})
	if err != nil {
		return record.RawFile{}, err
	}
	return record.RawFile{Path: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Bytes: int64(size)}, nil
}
