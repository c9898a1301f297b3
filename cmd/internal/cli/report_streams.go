package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/drivers/all"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/page"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// reported is a saved run with what its recordings tell of each stream.
func (a *app) reported(saved *store.Saved) page.Run {
	run := page.Run{Result: saved.Result, Streams: map[string][]page.Stream{}, Absent: map[string]string{}, Seal: sealText(saved)}
	for i := range saved.Result.Rows {
		row := &saved.Result.Rows[i]
		err := eachStream(saved, row, func(sample int, m *measure.Sample) {
			s := page.Stream{Sample: sample, ITL: m.ITL, Counted: m.Window.Known}
			for _, step := range m.Steps {
				s.Steps = append(s.Steps, page.Step{At: float64(step.At-m.Send) / 1e6, Tokens: step.Tokens})
			}
			run.Streams[row.Key] = append(run.Streams[row.Key], s)
		})
		if err != nil {
			run.Absent[row.Key] = err.Error()
		}
	}
	return run
}

// eachStream measures the recordings of a row's requests as the run did, in the order of its samples. One file is held at a
// time. The error says why recordings of the row are missing; what was read before has been given to take.
func eachStream(saved *store.Saved, row *record.Row, take func(sample int, m *measure.Sample)) error {
	decode := all.Decoder(saved.Result.Backend.Name)
	switch {
	case len(row.Samples) == 0:
		return nil
	case decode == nil:
		return fmt.Errorf("this version has no driver %q that could read the recordings", saved.Result.Backend.Name)
	}
	var recs []stream.Recording
	held := ""
	for i := range row.Samples {
		s := &row.Samples[i]
		name, at, _ := strings.Cut(s.Raw, "#")
		if name == "" {
			return errors.New("the result names no recordings: the run kept none, or was imported without them")
		}
		if name != held {
			n := slices.IndexFunc(saved.Result.Raw, func(f record.RawFile) bool { return f.Path == name })
			if n < 0 {
				return fmt.Errorf("the result does not list its recordings %s", name)
			}
			var err error
			if recs, err = saved.LoadRaw(saved.Result.Raw[n]); err != nil {
				return pathless(err)
			}
			held = name
		}
		n, err := strconv.Atoi(at)
		if err != nil || n < 0 || n >= len(recs) {
			return fmt.Errorf("%s is no recording", s.Raw)
		}
		m := again(decode, recs[n], s)
		take(i, &m)
	}
	return nil
}

// pathless is the error of a file of recordings without the folder that it lies in: reports are shown to others.
func pathless(err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the recordings are not beside the result")
	case errors.As(err, &at):
		return fmt.Errorf("the recordings can't be read: %w", at.Err)
	case errors.Unwrap(err) != nil:
		return errors.Unwrap(err)
	}
	return err
}

// again measures a recording with what its request was asked for.
func again(decode func(stream.Recording) (stream.Transcript, error), rec stream.Recording, s *record.Sample) measure.Sample {
	tr, err := decode(rec)
	if s.Error != "" {
		err = errors.New(s.Error) // it may have failed outside of what was read
	}
	asked := measure.Asked{Err: err, OutputTokens: s.AskedOutput, PromptTokens: s.AskedPrompt}
	if in := s.Inputs; in != nil {
		asked.Cold, asked.Template, asked.CacheBlock, asked.TextTokens, asked.FirstTokens = in.Cold, in.Template, in.CacheBlock, in.TextTokens, in.FirstTokens
	}
	return measure.Request(rec, tr, asked)
}
