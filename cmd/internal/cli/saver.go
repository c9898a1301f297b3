package cli

import (
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// saver saves a run and keeps in mind what is on disk. A failure is told once: it ends the run, whose end then tries again
// and says by told what came of it.
type saver struct {
	to     func(*record.Result) error
	failed bool           // a failure has been told
	behind bool           // the last try failed: the disk holds an older state, or none
	onDisk map[string]int // passes of the rows as last saved, by key
}

func (s *saver) save(r *record.Result) error {
	err := s.to(r)
	if s.behind = err != nil; !s.behind {
		s.onDisk = map[string]int{}
		for _, row := range r.Rows {
			s.onDisk[row.Key] = row.Passes
		}
		return nil
	}
	if s.failed {
		return nil
	}
	s.failed = true
	return err
}

// rawSaver stores the recordings of one pass.
type rawSaver func(rowKey string, pass int, recs []stream.Recording) (record.RawFile, error)

// raw is to with its failure kept in mind.
func (s *saver) raw(to rawSaver) rawSaver {
	return func(rowKey string, pass int, recs []stream.Recording) (record.RawFile, error) {
		f, err := to(rowKey, pass, recs)
		s.failed = s.failed || err != nil
		return f, err
	}
}

// told says where the run is saved, or what of it is.
func (s *saver) told(r *record.Result, dir string) string {
	if !s.behind {
		return "saved: " + dir
	}
	var saved, not, fewer []string
	for _, row := range r.Rows {
		passes, there := s.onDisk[row.Key]
		switch {
		case !there:
			not = append(not, row.Key)
			continue
		case passes < row.Passes:
			fewer = append(fewer, row.Key)
		}
		saved = append(saved, row.Key)
	}
	if len(saved) == 0 {
		return "NOT saved: no row of this run is in " + dir
	}
	text := "saved: " + dir + ", rows " + strings.Join(saved, ", ")
	if len(fewer) > 0 {
		text += "; with fewer passes than shown: " + strings.Join(fewer, ", ")
	}
	if len(not) > 0 {
		text += "; NOT saved: " + strings.Join(not, ", ")
	}
	return text
}
