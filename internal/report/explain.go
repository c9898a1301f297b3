package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// UnknownError says that a row or a metric is not in the result, and what is.
type UnknownError struct {
	What, Name string
	Known      []string
}

// Error lists the valid names.
func (e *UnknownError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("unknown %s %q; this run has none", e.What, e.Name)
	}
	return fmt.Sprintf("unknown %s %q; this run has: %s", e.What, e.Name, strings.Join(e.Known, ", "))
}

// FindRow finds a row by its key (ID/key=value), by its id where that is the only such row, or by id and value (ID/value).
// The error is an *UnknownError.
func FindRow(r *record.Result, name string) (record.Row, error) {
	var found []record.Row
	var keys []string
	for _, row := range r.Rows {
		keys = append(keys, row.Key)
		if row.Key == name {
			return row, nil
		}
		if row.ID == name || shortKey(row, bareValue) == name || shortKey(row, pointValue) == name {
			found = append(found, row)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return record.Row{}, &UnknownError{"row", name, keys}
}

// bareValue shows a point's value as it stands in a key.
func bareValue(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// shortKey is a row's key without the names of its point: ID/32768.
func shortKey(row record.Row, show func(any) string) string {
	parts := []string{row.ID}
	for _, key := range slices.Sorted(maps.Keys(row.Point)) {
		parts = append(parts, show(row.Point[key]))
	}
	return strings.Join(parts, "/")
}

// Explain writes how the figures of one row came about: value, formula, the raw counts and stamps that went in with their
// provenance, how requests and passes were combined, and where the raw frames lie. metric names one figure; empty is all.
// load, which may be nil, reads a raw file whose digest is what the result says. The error is an *UnknownError where
// row or metric are not in the result.
func Explain(w io.Writer, r *record.Result, row, metric string, load Loader, style Style) error {
	found, err := FindRow(r, row)
	if err != nil {
		return err
	}
	v := view(found)
	names := v.figures()
	if metric != "" {
		if !slices.Contains(names, metric) {
			return &UnknownError{"metric", metric, names}
		}
		names = []string{metric}
	}
	p := &page{w: w, style: style}
	banner(p, r)
	p.line(bold, "%s %s", v.Key, v.Workload)
	p.packed(plain, "run      ", facts(r.RunID, join(" ", r.Suite.Name, r.Suite.Version), ShortDigest(r.Suite.Digest), "seed "+r.Seed), separator)
	p.packed(plain, "on       ", facts(backendText(r.Backend), modelText(r.Model)), separator)
	p.wrapped(plain, "status   ", join(": ", string(v.Status), v.Reason))
	if v.Status == record.OK {
		p.packed(plain, "counts   ", facts("provenance "+provenanceText(v.CountProvenance), tokensHow(v.TokensHow), coldText(v.Cold)), separator)
		p.wrapped(plain, "passes   ", fmt.Sprintf("%d, with %s", v.Passes, Count(v.Requests, "timed request")))
	}
	for _, name := range names {
		x := v.look(name)
		if metric == "" && !x.known() && v.Status != record.OK {
			continue
		}
		figure(p, v, x)
	}
	samples(p, v)
	batches(p, v)
	if len(v.Flags) > 0 {
		p.line(plain, "")
	}
	for _, f := range v.Flags {
		p.wrapped(yellow, "! ", f.Name+": "+FlagText(f.Name)+suffixIn(f.Evidence))
	}
	rawFiles(p, r, v, load)
	return p.err
}

// facts splits what is said in several parts into parts that a line is not broken in.
func facts(parts ...string) []string { return strings.Split(join(separator, parts...), separator) }

func suffixIn(evidence string) string {
	if evidence == "" {
		return ""
	}
	return " (" + evidence + ")"
}

// figures lists the names of all that a row says in numbers, and of what it leaves null with a reason: the catalogue's
// order, then the suite's own.
func (r rowView) figures() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, f := range catalogue() {
		if v := r.look(f.Name); v.known() || r.Reasons[f.Name] != "" || r.energyReason(f.Name) != "" || slices.Contains(r.Reports, f.Name) {
			add(f.Name)
		}
	}
	for _, name := range r.Reports {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Relative)) {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		add(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Reasons)) {
		if name != wholeRow && name != "cv" && name != "ci95" {
			add(name)
		}
	}
	return names
}

// figure explains one name.
func figure(p *page, r rowView, v value) {
	p.line(plain, "")
	p.line(bold, "%s = %s", v.Name, v.exact())
	k := fieldOf(v.Name)
	if !v.known() {
		p.wrapped(plain, "  null     ", v.Reason)
	}
	switch _, relative := r.Relative[v.Name]; {
	case relative:
		p.wrapped(plain, "  formula  ", "this row's figure / the same figure of the base row that the suite names")
	case k.Formula != "":
		p.wrapped(plain, "  formula  ", k.Formula)
	}
	if k.Combined != "" {
		p.wrapped(plain, "  then     ", k.Combined)
	}
	if v.Name == "prefill_tps" && r.PrefillHow != "" {
		p.wrapped(plain, "  method   ", r.PrefillHow)
		if c := r.ColdProbe; c != nil {
			cached := "cached tokens not stated"
			if c.Cached.N != nil {
				cached = Count(*c.Cached.N, "cached token") + ", provenance " + c.Cached.From
			}
			p.packed(plain, "  probe    ", []string{"P0 " + Count(c.Tokens, "token"), fmt.Sprintf("TTFT(P0) %.3f ms", c.TTFTms), cached}, separator)
		}
	}
	if e := r.Energy; e != nil && v.Num != nil && strings.HasPrefix(v.Name, "energy.") {
		p.wrapped(plain, "  method   ", e.Method)
		sum, seconds, tokens := e.DecodeJ, e.DecodeS, e.DecodeTokens
		if v.Name == "energy.per_prompt_token" {
			sum, seconds, tokens = e.PrefillJ, e.PrefillS, e.PrefillTokens
		}
		if sum != nil && seconds > 0 {
			p.packed(plain, "  sums     ", []string{fmt.Sprintf("%.1f J", *sum), fmt.Sprintf("%.1f s", seconds), fmt.Sprintf("%.0f tokens", tokens), fmt.Sprintf("%.1f W on average", *sum/seconds)}, separator)
		}
	}
	if cv, ok := r.CV[v.Name]; ok {
		p.wrapped(plain, "  spread   ", "CV "+percent(cv)+intervalText(r.CI95, v))
	}
	if values := r.sampleValues(v.Name); len(values) > 0 {
		p.wrapped(plain, "  requests ", strings.Join(values, " · "))
	}
	if m, ok := r.Metrics[v.Name]; ok {
		p.wrapped(plain, "  formula  ", "recorded by the suite's program with w.record, "+strconv.Itoa(m.N)+" values; each statistic over the values of a pass, then median over passes")
		for i, pass := range m.Values {
			var values []string
			for _, x := range pass {
				values = append(values, Number(x))
			}
			p.wrapped(plain, fmt.Sprintf("  pass %-4d ", i+1), strings.Join(values, " · "))
		}
	}
	if reason := r.Reasons[v.Name]; reason != "" && v.known() {
		p.wrapped(plain, "  note     ", reason)
	}
	p.line(plain, "  see      %s", r.see(v.Name))
}

// exact shows a value with more digits than the table.
func (v value) exact() string {
	if v.Num == nil {
		return v.String()
	}
	text := strconv.FormatFloat(*v.Num, 'f', -1, 64)
	if i := strings.IndexByte(text, '.'); i >= 0 && len(text) > i+5 {
		text = strconv.FormatFloat(*v.Num, 'f', 4, 64)
	}
	switch v.Unit {
	case "", "count":
		return text
	case "×":
		return text + "×"
	case inPercent:
		return text + " %"
	case "%":
		return text + " (" + v.String() + ")"
	}
	return text + " " + v.Unit
}

func intervalText(all map[string]record.CI, v value) string {
	ci, ok := all[v.Name]
	if !ok {
		return ""
	}
	return fmt.Sprintf(", 95 %% interval %s to %s", withUnit(ci.Low, v.Unit), withUnit(ci.High, v.Unit))
}

// sampleValues are the figure's values of single requests, pass by pass, where requests have it.
func (r rowView) sampleValues(name string) []string {
	of := map[string]func(record.Sample) *float64{
		"ttft_ms":     func(s record.Sample) *float64 { return s.TTFTms },
		"ttfa_ms":     func(s record.Sample) *float64 { return s.TTFAms },
		"prefill_tps": func(s record.Sample) *float64 { return s.PrefillTPS },
		"decode_tps":  func(s record.Sample) *float64 { return s.DecodeTPS },
		"max_gap_ms":  func(s record.Sample) *float64 { return s.MaxGapMs },
		"ttft_p95_ms": func(s record.Sample) *float64 { return s.TTFTms },
		"ttft_max_ms": func(s record.Sample) *float64 { return s.TTFTms },
		"turn_p50_ms": func(s record.Sample) *float64 { return s.WallMs },
		"turn_p95_ms": func(s record.Sample) *float64 { return s.WallMs },
		"wall_ms":     func(s record.Sample) *float64 { return s.WallMs },
	}[name]
	if of == nil {
		return nil
	}
	var values []string
	for _, s := range r.Samples {
		text := "–"
		if x := of(s); x != nil {
			text = strconv.FormatFloat(*x, 'f', 3, 64)
		} else if s.Reasons[name] != "" {
			text = "– (" + s.Reasons[name] + ")"
		}
		values = append(values, fmt.Sprintf("%d.%d: %s", s.Pass, s.Stream, text))
	}
	return values
}

// samples lists each timed request's stamps, relative to its own t_send, and counts.
func samples(p *page, r rowView) {
	if len(r.Samples) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "timed requests")
	p.wrapped(dim, "", "req: pass and stream; stamps in ms after the request's own t_send; t_send in ms on the run's clock; P, C, N: prompt, cached and output tokens with provenance; m: events with text; n1: tokens in the first of them; win: tokens known to fall in (t_1, t_L]")
	rows := [][]string{{"req", "t_send", "t_hdr", "t_1", "t_L", "P", "C", "N", "m", "n1", "win", "finish"}}
	for _, s := range r.Samples {
		rows = append(rows, []string{
			fmt.Sprintf("%d.%d", s.Pass, s.Stream), fixed(float64(s.SendNS) / 1e6), after(s, s.FirstByteNS), after(s, s.FirstNS), after(s, s.LastNS),
			countText(s.Prompt), countText(s.Cached), countText(s.Output), strconv.Itoa(s.Events), trim(s.FirstTokens), windowText(s),
			cmp.Or(s.Finish, "–"),
		})
	}
	grid(p, rows)
	for _, s := range r.Samples {
		if s.Error != "" {
			p.wrapped(red, fmt.Sprintf("  %d.%d ", s.Pass, s.Stream), s.Error)
		}
		if len(s.Flags) > 0 {
			p.wrapped(yellow, fmt.Sprintf("  %d.%d ", s.Pass, s.Stream), "flags: "+strings.Join(s.Flags, ", "))
		}
	}
	for _, why := range windowReasons(r.Samples) {
		p.wrapped(dim, "  win – ", why)
	}
	var server [][]string
	for _, s := range r.Samples {
		if s.ServerPrefill != nil || s.ServerDecode != nil {
			server = append(server, []string{fmt.Sprintf("%d.%d", s.Pass, s.Stream), spanText(s.ServerPrefill), spanText(s.ServerDecode)})
		}
	}
	if len(server) > 0 {
		p.line(plain, "")
		p.line(bold, "what the server says")
		grid(p, append([][]string{{"req", "prefill", "decode"}}, server...))
		if r.Server != nil && r.Server.Definition != "" {
			p.wrapped(dim, "", r.Server.Definition)
		}
	}
}

// windowReasons says why windows are unknown, each reason once with the requests that it is about.
func windowReasons(samples []record.Sample) []string {
	var order []string
	of := map[string][]string{}
	for _, s := range samples {
		why := s.Reasons["window_tokens"]
		if s.WindowKnown || why == "" {
			continue
		}
		if of[why] == nil {
			order = append(order, why)
		}
		of[why] = append(of[why], fmt.Sprintf("%d.%d", s.Pass, s.Stream))
	}
	for i, why := range order {
		order[i] = why + " (" + strings.Join(of[why], ", ") + ")"
	}
	return order
}

// batches lists each barrier release and its window.
func batches(p *page, r rowView) {
	if len(r.Batches) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "streams released together")
	rows := [][]string{{"pass", "streams", "w0 ms", "w1 ms", "tokens in [w0, w1]", "aggregate tok/s", "whole span tok/s", "parallel"}}
	for _, b := range r.Batches {
		rows = append(rows, []string{
			strconv.Itoa(b.Pass), strconv.Itoa(len(b.Streams)), fixed(float64(b.W0ns) / 1e6), fixed(float64(b.W1ns) / 1e6), trim(b.WindowTokens),
			pointer(b.AggregateTPS, b.Reason), pointer(b.SpanTPS, ""), strconv.Itoa(b.Parallelism),
		})
	}
	grid(p, rows)
}

// Loader reads the recordings in a raw file and checks its digest.
type Loader func(record.RawFile) ([]stream.Recording, error)

// rawFiles names the files that the row can be rebuilt from, and shows of each recording its first and last stamps.
func rawFiles(p *page, r *record.Result, v rowView, load Loader) {
	var used []string
	for _, s := range v.Samples {
		if file, _, _ := strings.Cut(s.Raw, "#"); file != "" && !slices.Contains(used, file) {
			used = append(used, file)
		}
	}
	if len(used) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "raw frames, every byte and stamp")
	missing := false
	for _, name := range used {
		i := slices.IndexFunc(r.Raw, func(f record.RawFile) bool { return f.Path == name })
		if i < 0 {
			p.line(red, "  %s: not listed in the result", name)
			continue
		}
		f := r.Raw[i]
		p.line(plain, "  %s", f.Path)
		about := []string{thousands(strconv.FormatInt(f.Bytes, 10)) + " bytes", "sha256 " + strings.TrimPrefix(f.SHA256, "sha256:")}
		if load == nil {
			p.packed(dim, "    ", about, separator)
			continue
		}
		recs, err := load(f)
		if err != nil {
			p.packed(dim, "    ", about, separator)
			if absent := errors.Is(err, fs.ErrNotExist); !absent {
				p.wrapped(red, "    ", err.Error())
			} else if !missing {
				missing = true
				p.wrapped(yellow, "    ", "not here: raw files stay in the folder of run "+r.RunID+" on the machine that it was made on")
			}
			continue
		}
		p.packed(dim, "    ", append(about, "the file matches"), separator)
		shown := 0
		for _, s := range v.Samples {
			file, index, _ := strings.Cut(s.Raw, "#")
			n, err := strconv.Atoi(index)
			if file != name || err != nil || n < 0 || n >= len(recs) {
				continue
			}
			if shown++; shown <= shownRecordings {
				p.wrapped(plain, fmt.Sprintf("    %d.%d reads ", s.Pass, s.Stream), readsText(recs[n]))
			}
		}
		if more := shown - shownRecordings; more > 0 {
			p.line(dim, "    and %s", strings.Replace(Count(more, "stream"), " ", " more ", 1))
		}
	}
}

// How much is shown of a raw file: recordings, and of each the stamps of reads at its beginning.
const (
	shownRecordings = 3
	shownReads      = 6
)

// readsText shows when the reads of a recording returned, in ms after its t_send.
func readsText(rec stream.Recording) string {
	stamp := func(r stream.Read) string { return strconv.FormatFloat(float64(r.At-rec.Send)/1e6, 'f', 3, 64) }
	var parts []string
	for i, read := range rec.Reads {
		switch {
		case i < shownReads || i == len(rec.Reads)-1:
			parts = append(parts, stamp(read))
		case i == shownReads:
			parts = append(parts, "…")
		}
	}
	text := fmt.Sprintf("%d, %s bytes", len(rec.Reads), thousands(strconv.Itoa(len(rec.Data))))
	if len(parts) > 0 {
		text += ", returned at " + strings.Join(parts, " ") + " ms"
	}
	return text
}

// grid writes right-aligned columns two spaces apart.
func grid(p *page, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], runes(cell))
		}
	}
	for n, row := range rows {
		line := " "
		for i, cell := range row {
			line += " " + padLeft(cell, widths[i])
		}
		p.line(map[bool]string{true: dim, false: plain}[n == 0], "%s", line)
	}
}

func fixed(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func trim(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// after is a stamp relative to the sample's t_send; – where it was never reached.
func after(s record.Sample, at int64) string {
	if at == 0 {
		return "–"
	}
	return strconv.FormatFloat(float64(at-s.SendNS)/1e6, 'f', 3, 64)
}

func countText(c record.Count) string {
	if c.N == nil {
		return "–"
	}
	return strconv.Itoa(*c.N) + " " + c.From
}

func windowText(s record.Sample) string {
	if !s.WindowKnown {
		return "–"
	}
	return trim(s.WindowTokens)
}

func spanText(s *record.ServerSpan) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%d tokens in %.3f ms", s.Tokens, float64(s.NS)/1e6)
}

func pointer(v *float64, reason string) string {
	if v == nil {
		return strings.TrimSpace("– " + reason)
	}
	return Number(*v)
}

// provenanceText says in words what a provenance letter means.
func provenanceText(letter string) string {
	meaning := map[string]string{
		"A": "usage in the stream", "B": "the server's timing block", "C": "the same server's tokenizer on the whole text",
		"D": "a local tokenizer", "E": "events counted, never a rate",
	}[letter]
	if meaning == "" {
		return cmp.Or(letter, "unknown")
	}
	return letter + " (" + meaning + ")"
}

func tokensHow(how string) string {
	if how == "" {
		return ""
	}
	return "tokens per event: " + how
}

func coldText(cold string) string {
	switch cold {
	case "proved":
		return "prompt proved new to the server's cache"
	case "assumed":
		return "prompt assumed new to the server's cache"
	case "broken":
		return "prompt was partly served from the cache"
	case "reuse":
		return "reuse of the prefix is the point"
	}
	return cold
}
