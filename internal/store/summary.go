package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Summary is what a list shows of a run. It is made from the run's document and holds nothing that is not in it, but for
// Imported, which never changes in a run's life.
type Summary struct {
	RunID     string       `json:"run_id"`
	Started   time.Time    `json:"started_at"`
	State     record.State `json:"state"`
	Kind      record.Kind  `json:"kind,omitempty"` // of another program's figures; absent: llm-speed's own
	Mode      string       `json:"mode"`
	Suite     string       `json:"suite"`
	Version   string       `json:"suite_version"`
	Backend   string       `json:"backend"`
	Model     string       `json:"model"`
	Quant     string       `json:"quant"`
	Rankable  bool         `json:"rankable"`
	Simulated bool         `json:"simulated"`
	Imported  bool         `json:"imported"` // it was not measured here
	OK        int          `json:"ok"`
	Skipped   int          `json:"skipped"`
	Failed    int          `json:"failed"`
	Workloads []Workload   `json:"workloads"` // that the run has rows of, each once
}

// Workload is a workload as a suite names it.
type Workload struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Listed is a run in a list. Err says why a damaged one can't be read; only ID is set then.
type Listed struct {
	ID      string
	Summary Summary
	Err     error
}

// The index: summaries of runs whose documents have not changed since they were read. It makes lists fast and nothing
// else: it may be deleted at any time, and one that is damaged, or of another version, is passed over and made anew.
const (
	indexName   = "index.json"
	indexSchema = "llm-speed/index/v1"
	maxIndex    = 64 << 20
)

// settled is how old a document must be to be kept in the index: two writes within the file system's granularity of time
// would look alike.
const settled = 3 * time.Second

type index struct {
	Schema string             `json:"schema"`
	Runs   map[string]indexed `json:"runs"`
}

// indexed is a run in the index. Size and ModNS are the document's; they tell whether it is still the same.
type indexed struct {
	Size    int64   `json:"size"`
	ModNS   int64   `json:"mtime_ns"`
	Summary Summary `json:"run"`
}

// Summaries lists every run, newest first, without reading the documents that the index knows. A damaged run is in the list
// with its error. What can't be written into the index, in a folder that is read-only, is no error.
func (s *Store) Summaries() ([]Listed, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	old := s.readIndex()
	fresh := index{Schema: indexSchema, Runs: make(map[string]indexed, len(ids))}
	list := make([]Listed, len(ids))
	changed := false
	for i, id := range ids {
		list[i].ID = id
		at, known := old.Runs[id]
		found, err := s.summary(id, at, known)
		if err != nil {
			list[i].Err = err
			continue
		}
		list[i].Summary = found.Summary
		if known && found.Size == at.Size && found.ModNS == at.ModNS {
			fresh.Runs[id] = at
		} else if time.Since(time.Unix(0, found.ModNS)) > settled {
			fresh.Runs[id], changed = found, true
		}
	}
	if changed || len(fresh.Runs) != len(old.Runs) {
		s.writeIndex(fresh)
	}
	return list, nil
}

// summary gives the summary of a run: from the index where its document is the one that the index has read.
func (s *Store) summary(id string, at indexed, known bool) (indexed, error) {
	path := filepath.Join(s.runDir(id), resultName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return indexed{}, fmt.Errorf("run %s: %w", id, ErrNoResult)
	case err != nil:
		return indexed{}, fmt.Errorf("run %s: %w", id, err)
	case known && info.Size() == at.Size && info.ModTime().UnixNano() == at.ModNS && at.Summary.RunID != "":
		return at, nil
	}
	saved, err := readRun(s.runDir(id))
	if err != nil {
		return indexed{}, err
	}
	found := summarise(saved.Result)
	found.Imported = saved.Imported() != nil
	return indexed{info.Size(), info.ModTime().UnixNano(), found}, nil
}

func summarise(r *record.Result) Summary {
	out := Summary{
		RunID: r.RunID, Started: r.StartedAt, State: r.State, Kind: r.Kind, Mode: r.Mode, Suite: r.Suite.Name, Version: r.Suite.Version,
		Backend: r.Backend.Name, Model: cmp.Or(r.Model.Name, r.Model.Ref), Quant: r.Model.Quant, Rankable: r.Rankable, Workloads: []Workload{},
	}
	simulated := func(flags []record.Flag) bool {
		return slices.ContainsFunc(flags, func(f record.Flag) bool { return f.Name == "simulated" })
	}
	out.Simulated = simulated(r.Flags)
	for i := range r.Rows {
		row := &r.Rows[i]
		out.Simulated = out.Simulated || simulated(row.Flags)
		switch row.Status {
		case record.OK:
			out.OK++
		case record.Skipped:
			out.Skipped++
		default:
			out.Failed++
		}
		if w := (Workload{row.ID, row.Workload}); !slices.Contains(out.Workloads, w) {
			out.Workloads = append(out.Workloads, w)
		}
	}
	return out
}

// readIndex gives the index; an empty one where it can't be read.
func (s *Store) readIndex() index {
	f, err := os.Open(filepath.Join(s.dir, indexName))
	if err != nil {
		return index{}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return index{}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	var x index
	if err != nil || len(text) > maxIndex || json.Unmarshal(text, &x) != nil || x.Schema != indexSchema {
		return index{}
	}
	return x
}

// writeIndex keeps the index for the next list.
func (s *Store) writeIndex(x index) {
	// Without it the next list is slow and as right.
	_ = replace(filepath.Join(s.dir, indexName), func(w io.Writer) error { return json.NewEncoder(w).Encode(x) })
}
