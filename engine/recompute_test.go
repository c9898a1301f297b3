package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// Documents that do not fit their recordings are told, and never computed halfway; that those which fit give their figures to
// the byte is held by the stories of the command line.
func TestRecomputeRefuses(t *testing.T) {
	inputs := &record.Inputs{Template: -1, CacheBlock: 1}
	decode := func(stream.Recording) (stream.Transcript, error) { return stream.Transcript{}, nil }
	load := func(f record.RawFile) ([]stream.Recording, error) {
		if f.SHA256 != "good" {
			return nil, errors.New("the file was changed")
		}
		return make([]stream.Recording, 1), nil
	}
	for _, c := range []struct {
		name   string
		sample record.Sample
		passes int
		batch  []int
		sum    string
		want   string
	}{
		{"no inputs", record.Sample{Pass: 1, Raw: "raw/a#0"}, 1, nil, "good", "earlier version"},
		{"a changed file", record.Sample{Pass: 1, Raw: "raw/a#0", Inputs: inputs}, 1, nil, "bad", "was changed"},
		{"a file that is not listed", record.Sample{Pass: 1, Raw: "raw/b#0", Inputs: inputs}, 1, nil, "good", "does not list"},
		{"another recording", record.Sample{Pass: 1, Raw: "raw/a#1", Inputs: inputs}, 1, nil, "good", "no recording of it"},
		{"no recording", record.Sample{Pass: 1, Raw: "", Inputs: inputs}, 1, nil, "good", "does not list"},
		{"another stream", record.Sample{Pass: 1, Stream: 1, Raw: "raw/a#0", Inputs: inputs}, 1, nil, "good", "no recording of it"},
		{"more passes", record.Sample{Pass: 1, Raw: "raw/a#0", Inputs: inputs}, 2, nil, "good", "2 passes were finished"},
		{"a failed pass that counts", record.Sample{Pass: 1, Raw: "raw/a#0", Inputs: inputs, Error: "reset"}, 1, nil, "good", "1 passes were finished, and 0"},
		{"a release of streams that are not there", record.Sample{Pass: 1, Raw: "raw/a#0", Inputs: inputs}, 1, []int{0, 7}, "good", "stream 7"},
		{"a release before the pass", record.Sample{Pass: 1, Raw: "raw/a#0", Inputs: inputs}, 1, []int{-1}, "good", "stream -1"},
	} {
		row := record.Row{ID: "W1", Key: "W1", Status: record.OK, Passes: c.passes, Samples: []record.Sample{c.sample}}
		if c.batch != nil {
			row.Batches = []record.Batch{{Pass: 1, Streams: c.batch}}
		}
		doc := &record.Result{Rows: []record.Row{row}, Raw: []record.RawFile{{Path: "raw/a", SHA256: c.sum}}}
		got := Recompute(doc, Sources{Decode: decode, Load: load})
		if len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, got[0].Err, c.want)
		}
	}
}

// A figure that the document has and the recordings do not bear out is not the document's any more.
func TestRecomputeTakesNoFigureOver(t *testing.T) {
	x := 123.0
	row := record.Row{ID: "W1", Key: "W1", Status: record.OK, Passes: 1, TTFTms: &x, DecodeTPS: &x, HitRate: &x,
		Samples: []record.Sample{{Pass: 1, Raw: "raw/a#0", TTFTms: &x, DecodeTPS: &x, PrefillTPS: &x, Inputs: &record.Inputs{Template: -1, CacheBlock: 1}}}}
	doc := &record.Result{Rows: []record.Row{row}, Raw: []record.RawFile{{Path: "raw/a"}}}
	rb := Recompute(doc, Sources{
		Decode: func(stream.Recording) (stream.Transcript, error) { return stream.Transcript{}, nil },
		Load:   func(record.RawFile) ([]stream.Recording, error) { return make([]stream.Recording, 1), nil },
	})
	got := rb[0].Row
	if s := got.Samples; got.TTFTms != nil || got.DecodeTPS != nil || got.HitRate != nil || len(s) != 1 || s[0].TTFTms != nil || s[0].DecodeTPS != nil || s[0].PrefillTPS != nil {
		t.Errorf("figures of an empty recording: %+v", got)
	}
}

// A document of before the base rows of ratios were recorded is had again as it is.
func TestRecomputeWithoutBases(t *testing.T) {
	bases := map[string]record.Base{"scaling": {Row: "W4/batch=1", Metric: "aggregate_tps"}}
	for name, had := range map[string]map[string]record.Base{"before": nil, "since": bases} {
		rb := &rebuild{from: Sources{Suite: &suite.Suite{}}}
		row := &record.Row{Reasons: record.Reasons{}, RelativeTo: bases}
		if err := rb.takeOver(row, &record.Row{RelativeTo: had}); err != nil || len(row.RelativeTo) != len(had) {
			t.Errorf("%s: %v, %v", name, row.RelativeTo, err)
		}
	}
}
