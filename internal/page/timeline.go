package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/chart"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/report"
	"github.com/llm-speed/llm-speed/internal/stats"
)

// Pick names a stream: a row, a pass and a stream of that pass, both from 1.
type Pick struct {
	Row          string
	Pass, Stream int
}

// String is the pick as a user writes it.
func (p Pick) String() string { return fmt.Sprintf("%s/%d/%d", p.Row, p.Pass, p.Stream) }

// ParsePick understands ROW/PASS/STREAM, as W4/batch=8/2/3.
func ParsePick(text string) (Pick, error) {
	bad := fmt.Errorf("%q: want ROW/PASS/STREAM, as W1/1/1 or W4/batch=8/2/3", text)
	rest, stream, ok := cutLast(text)
	row, pass, ok2 := cutLast(rest)
	if !ok || !ok2 || row == "" {
		return Pick{}, bad
	}
	p := Pick{Row: row}
	var err error
	if p.Pass, err = strconv.Atoi(pass); err != nil || p.Pass < 1 {
		return Pick{}, bad
	}
	if p.Stream, err = strconv.Atoi(stream); err != nil || p.Stream < 1 {
		return Pick{}, bad
	}
	return p, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// pick checks the streams that were asked for: each must be in a run, with its recording.
func (b *builder) pick() error {
	b.options.Streams = slices.Clone(b.options.Streams)
	for n := range b.options.Streams {
		pick := &b.options.Streams[n]
		var why error
		found := false
		for i := range b.runs {
			row, err := report.FindRow(b.runs[i].Result, pick.Row)
			if err != nil {
				why = err
				continue
			}
			pick.Row = row.Key // the short form of a key is none in the document
			if s := b.find(i, &row, *pick); s != nil {
				found = true
				continue
			}
			if at := sampleOf(&row, *pick); at >= 0 {
				why = fmt.Errorf("stream %s: its recording can't be shown: %s", pick, cmp.Or(b.runs[i].Absent[row.Key], "it holds no text"))
			} else {
				why = fmt.Errorf("stream %s: row %s has %s in %s", pick, row.Key, report.Count(len(row.Samples), "stream"), report.Count(max(row.Passes, passesOf(&row)), "pass"))
			}
		}
		if !found {
			return why
		}
	}
	return nil
}

func passesOf(r *record.Row) int {
	most := 0
	for i := range r.Samples {
		most = max(most, r.Samples[i].Pass)
	}
	return most
}

// sampleOf is the place of a stream among a row's samples; -1 where it has no such stream.
func sampleOf(r *record.Row, pick Pick) int {
	n := 0
	for i := range r.Samples {
		if r.Samples[i].Pass != pick.Pass {
			continue
		}
		if n++; n == pick.Stream {
			return i
		}
	}
	return -1
}

// find gives a stream that was asked for; nil where its recording was not read or has no text.
func (b *builder) find(run int, r *record.Row, pick Pick) *Stream {
	at := sampleOf(r, pick)
	streams := b.runs[run].Streams[r.Key]
	for i := range streams {
		if at >= 0 && streams[i].Sample == at && len(streams[i].Steps) > 0 {
			return &streams[i]
		}
	}
	return nil
}

// shown is a stream with where it is from.
type shown struct {
	run    int
	row    *record.Row
	stream *Stream
}

// timelines shows streams token by token: those that were asked for, or of the workload's last row the one that is nearest
// to the middle of its streams.
func (p *pictures) timelines() {
	if len(p.options.Streams) > 0 {
		for _, pick := range p.options.Streams {
			var streams []shown
			for _, run := range p.runs {
				for _, r := range p.measured(run) {
					if s := p.find(run, r, pick); s != nil && r.Key == pick.Row {
						streams = append(streams, shown{run, r, s})
					}
				}
			}
			p.timeline(streams)
		}
		return
	}
	keys := p.keys()
	for _, key := range slices.Backward(keys) {
		var streams []shown
		for _, run := range p.runs {
			for _, r := range p.measured(run) {
				if r.Key != key {
					continue
				}
				if s := p.middle(run, r); s != nil {
					streams = append(streams, shown{run, r, s})
				}
			}
		}
		if len(streams) > 0 {
			p.timeline(streams)
			return
		}
	}
}

// middle is the stream whose decode rate is nearest to the median of its row.
func (p *pictures) middle(run int, r *record.Row) *Stream {
	var rates []float64
	streams := p.builder.runs[run].Streams[r.Key]
	rate := func(s *Stream) (float64, bool) {
		if s.Sample < 0 || s.Sample >= len(r.Samples) || len(s.Steps) < 2 {
			return 0, false
		}
		sample := &r.Samples[s.Sample]
		if sample.Error != "" || sample.DecodeTPS == nil {
			return 0, false
		}
		return *sample.DecodeTPS, true
	}
	for i := range streams {
		if x, ok := rate(&streams[i]); ok {
			rates = append(rates, x)
		}
	}
	var best *Stream
	nearest := math.Inf(1)
	if m, ok := stats.Median(rates); ok {
		for i := range streams {
			if x, ok := rate(&streams[i]); ok && math.Abs(x-m) < nearest {
				best, nearest = &streams[i], math.Abs(x-m)
			}
		}
		return best
	}
	for i := range streams { // no rate is known: any that has text
		if len(streams[i].Steps) > 1 {
			return &streams[i]
		}
	}
	return nil
}

// timeline draws the tokens of streams over time, with what stood still.
func (p *pictures) timeline(streams []shown) {
	if len(streams) == 0 {
		return
	}
	c := chart.Chart{Kind: chart.Steps, X: chart.Axis{Name: "time since the request was sent", Unit: "ms"}, Y: chart.Axis{Name: "tokens", Zero: true}}
	first, last := math.Inf(1), math.Inf(-1)
	for _, s := range streams {
		steps := s.stream.Steps
		first, last = min(first, steps[0].At), max(last, steps[len(steps)-1].At)
	}
	div := 1.0
	if last > 10_000 {
		div, c.X.Unit = 1000, "s"
	}
	var notes []string
	for n, s := range streams {
		counted := s.stream.Counted
		line := chart.Series{Name: p.name(s.run, ""), Style: p.style(s.run, n), Plain: true}
		sum := 0.0
		for i, step := range s.stream.Steps {
			if counted {
				sum += step.Tokens
			} else {
				sum = float64(i + 1)
			}
			line.Points = append(line.Points, chart.Point{X: step.At / div, Y: sum})
		}
		stalls := stallsOf(s.stream.Steps)
		if len(streams) == 1 {
			for k, at := range stalls {
				mark := chart.Mark{At: s.stream.Steps[at-1].At / div, To: s.stream.Steps[at].At / div}
				if k < 3 {
					mark.Label = "stood still " + report.Millis(s.stream.Steps[at].At-s.stream.Steps[at-1].At)
				}
				c.Marks = append(c.Marks, mark)
			}
		}
		line.Points = thin(&c, line.Points)
		c.Series = append(c.Series, line)
		notes = append(notes, strings.TrimSpace(p.name(s.run, "")+" "+streamNote(s, len(stalls))))
		if !counted {
			c.Y.Name = "reads with text (the tokens of each are not known)"
		}
	}
	// A long wait for the first token would leave no room for the others.
	if span := last - first; first > span/2 && span > 0 {
		c.X.From = number(max(0, (first-span*0.1)/div))
	} else {
		c.X.Zero = true
	}
	if len(streams) == 1 {
		c.Marks = append([]chart.Mark{{At: streams[0].stream.Steps[0].At / div, Label: "first token " + report.Millis(streams[0].stream.Steps[0].At)}}, c.Marks...)
	}
	c.Note = strings.TrimSpace(strings.Join(notes, " ") + " " + c.Note)
	c.Title = "Tokens of one stream over time"
	if text := report.PointText(streams[0].row.Point); text != "" {
		c.Title += ": " + text
	}
	p.chart("stream", c)
}

// streamNote says which stream it is.
func streamNote(s shown, stalls int) string {
	sample := &s.row.Samples[s.stream.Sample]
	n := 0
	for i := range s.stream.Sample + 1 {
		if s.row.Samples[i].Pass == sample.Pass {
			n++
		}
	}
	text := fmt.Sprintf("Stream %s, %s", Pick{s.row.Key, sample.Pass, n}, report.Count(stalls, "stall"))
	if sample.Error != "" {
		text += ", failed: " + sample.Error
	}
	return text + "."
}

// stallsOf are the steps before which a stream stood still, by the rule of measurement.md section 3.
func stallsOf(steps []Step) []int {
	var gaps []float64
	for i := 1; i < len(steps); i++ {
		gaps = append(gaps, steps[i].At-steps[i-1].At)
	}
	median, _ := stats.Median(gaps)
	var out []int
	for i, gap := range gaps {
		if gap > max(250, 5*median) {
			out = append(out, i+1)
		}
	}
	return out
}
