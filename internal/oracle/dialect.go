package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Talent is what a protocol can say, as a set.
type Talent uint32

// The talents.
const (
	Each       Talent = 1 << iota // states how many tokens there are with every event, and sends one for tokens without text
	Thinks                        // has a field for reasoning
	Calls                         // has tool calls
	Reasons                       // counts reasoning tokens
	Caches                        // counts cached prompt tokens
	Pinging                       // keeps the connection alive with something that is no event
	Progress                      // says how far the prompt is
	Prefills                      // states the time of the prompt
	Decodes                       // states the time of the output
	AllOfThem                     // and that begins before the first token: all tokens fall in it
	Early                         // states the prompt's tokens with the first event, not at the end only
	EarlyCache                    // and the cached ones too
	Optional                      // may leave its counts out
	EventSSE                      // Server-Sent Events
	ZeroLess                      // leaves out numbers that are 0
	Summarises                    // streams a summary of the reasoning at most
	Sheds                         // states inside a stream that it has too much to do
	IDs                           // sends token ids too, which count by themselves
	Raw                           // sends the model's output as it is: no token is hidden
)

// NoModel is the Dialect.Model of a server that does not say which model answers.
const NoModel = "-"

// Dialect is how a backend says what a Scene does.
type Dialect struct {
	Name   string
	Source string // where its shapes come from
	Can    Talent
	From   string                      // provenance of its counts, A or B
	Type   string                      // content type of a stream
	Model  string                      // what answers; m where empty
	Status func(message string) string // the body of an answer with an HTTP error status

	// voice makes the bytes of each beat of one stream.
	voice func(*Scene) voice
}

// voice makes bytes; what a dialect does not say is empty.
type voice struct {
	opens    func() string
	says     func(b Beat, cum int) string
	hushes   func(b Beat, cum int) string
	pings    func() string
	progress func(done, total int) string
	closes   func(t Totals, output, reasoning int) string
	fails    func(message, kind string, code int) string
	half     string
}

// can reports whether a dialect has all of the talents.
func (d *Dialect) can(t Talent) bool { return d.Can&t == t }

// String lists the names of what a dialect can say, for people.
func (t Talent) String() string {
	names := [...]string{"each", "thinks", "calls", "reasons", "caches", "pings", "progress", "prefills", "decodes", "all-of-them", "early", "early-cache", "optional", "sse", "zeroless", "summarises", "sheds", "ids", "raw"}
	var out []string
	for i, n := range names {
		if t&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// Dialects are all dialects.
func Dialects() []*Dialect {
	return slices.Concat(openAIDialects(), []*Dialect{ollamaChat(), ollamaGenerate(), llamaCpp(), sglang("sglang", false), sglang("sglang-incremental", true), anthropic(), lmStudio()})
}

// DialectOf finds a dialect by its name; nil where there is none.
func DialectOf(name string) *Dialect {
	for _, d := range Dialects() {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Cases are the scenes that the dialect can express.
func (d *Dialect) Cases() []Case {
	var out []Case
	for _, s := range Scenes() {
		if d.can(s.Needs) && d.Can&s.Spoilt == 0 {
			out = append(out, d.Case(&s))
		}
	}
	return out
}

// Case says a scene in the dialect.
func (d *Dialect) Case(s *Scene) Case {
	c := Case{Name: s.Name, Traps: s.Traps, Naive: s.Naive, Says: s.Says, Protocol: Protocol(d.Name), Asked: s.Asked, HeadAt: s.HeadAt,
		End: s.End, Status: s.Status, Framing: s.frame, Header: map[string]string{"Content-Type": d.Type}}
	if s.Status != 0 {
		c.Header["Content-Type"], c.Framing = "application/json", Length
		c.Writes = []Write{{At: s.Beats[0].At, Data: d.Status("slow down")}}
	} else {
		c.Writes = d.render(s)
	}
	t := tape{writes: c.Writes}
	if s.bytes != nil {
		t.rewrite(s.bytes)
	}
	if s.cut != nil {
		s.cut(&t)
	}
	c.Writes = t.writes
	if s.bytes != nil || s.cut != nil {
		for i := range c.Writes {
			c.Writes[i].Ends = nil // the ends of lines say it: these scenes have one event a write
		}
	}
	c.Want = d.want(s)
	if c.Want.How == "estimated" || c.Want.How == "one a token" {
		d.spread(&c, s)
	}
	return c
}

// render makes the writes of a scene's beats.
func (d *Dialect) render(s *Scene) []Write {
	v := d.voice(s)
	var out []Write
	cum, silent := s.Totals.Hidden, s.Totals.Hidden
	for _, b := range s.Beats {
		data, marks := "", []Mark(nil)
		switch b.Act {
		case Opens:
			data = call(v.opens)
		case Says:
			cum += b.Tokens
			data = v.says(b, cum)
			marks = []Mark{{b.Kind, b.Text, float64(b.Tokens + silent)}}
			silent = 0
		case Hushes:
			if cum += b.Tokens; d.can(Each) {
				data, marks = v.hushes(b, cum), []Mark{{Silent, "", float64(b.Tokens + silent)}}
				silent = 0
			}
		case Forgets:
			cum = b.Tokens
		case Pings:
			data = call(v.pings)
		case Progresses:
			if v.progress != nil {
				data = v.progress(512, s.Totals.Prompt)
			}
		case Closes:
			data = v.closes(s.Totals, s.output(), s.reasoning())
		case Breaks:
			data = v.fails("compute failed", "server_error", 500)
		case Overloads:
			data = v.fails("too much to do", "overloaded_error", 529)
		case Babbles:
			data = "{not json}\n"
			if d.can(EventSSE) {
				data = "data: {not json}\n\n"
			}
		case Halves:
			data = v.half
		}
		if data == "" {
			continue
		}
		switch d.Model {
		case "":
		case NoModel:
			data = strings.ReplaceAll(data, `"model":"m",`, "")
		default:
			data = strings.ReplaceAll(data, `"model":"m"`, `"model":`+quote(d.Model))
		}
		ends := make([]int, len(marks))
		for i := range marks {
			ends[i] = len(strings.TrimRight(data, "\n")) + 1
		}
		if n := len(out); n > 0 && out[n-1].At == b.At {
			for i := range ends {
				ends[i] += len(out[n-1].Data)
			}
			out[n-1].Data += data
			out[n-1].Marks, out[n-1].Ends = append(out[n-1].Marks, marks...), append(out[n-1].Ends, ends...)
			continue
		}
		out = append(out, Write{At: b.At, Data: data, Marks: marks, Ends: ends})
	}
	return out
}

func call(f func() string) string {
	if f == nil {
		return ""
	}
	return f()
}

// spread puts the tokens on the events of a dialect that does not say how many each holds, by the rule of measurement.md
// section 2: one each where there are as many, alike otherwise. What was counted and is hidden is left out.
func (d *Dialect) spread(c *Case, s *Scene) {
	events, tokens := 0, float64(s.output())
	for _, w := range c.Writes {
		for _, m := range w.Marks {
			if m.Kind != Silent {
				events++
			}
		}
	}
	if c.Want.How == "one a token" {
		tokens = float64(events)
	}
	for i := range c.Writes {
		for j := range c.Writes[i].Marks {
			if m := &c.Writes[i].Marks[j]; m.Kind != Silent {
				m.Tokens = tokens / float64(events)
			} else {
				m.Tokens = 0
			}
		}
	}
}

// want completes what a scene says is true by what the dialect states: counts with their provenance, what is known of the
// cache, and the server's own rates, from the raw figures by the rule of N-1 tokens.
func (d *Dialect) want(s *Scene) Want {
	w := s.Want(d)
	fails := w.Err != nil
	told := !s.Totals.Uncounted && s.Status == 0
	if told && (!fails || d.can(Early)) {
		w.Prompt = Count{s.Totals.Prompt, d.From}
		if d.can(Caches) && (!fails || d.can(EarlyCache)) {
			w.Cached = Count{s.Totals.Cached, d.From}
		}
	}
	if told && !fails {
		w.Output = Count{s.output(), d.From}
		if d.can(Reasons) {
			w.Reasoning = Count{s.reasoning(), d.From}
		}
	}
	switch {
	case s.Asked.Reuse:
		w.Cold = "reuse"
	case !d.can(Caches) || w.Cached == unknown:
		w.Cold, w.Flags = "assumed", append(w.Flags, "cold_unproved")
	case w.Cached.N > s.Asked.Template:
		w.Cold, w.Flags = "broken", append(w.Flags, "cache_contaminated")
	default:
		w.Cold = "proved"
	}
	if w.Finish == "" {
		w.Finish = s.Totals.Finish
	}
	w.ServerPrefill, w.ServerDecode = d.rates(s, told && !fails && s.ends())
	return w
}

// rates are the server's own, tokens a second.
func (d *Dialect) rates(s *Scene, told bool) (prefill, decode Fig) {
	prefill, decode = noPrefill, noDecodeTime
	if !told {
		return prefill, decode
	}
	t := s.Totals
	if d.can(Prefills) && t.PromptMS > 0 {
		worked := t.Prompt - t.Cached
		switch {
		case !d.can(Caches):
			prefill = no("how many tokens its prefill took")
		case worked < 16:
			prefill = no("too few uncached")
		default:
			prefill = is(float64(worked) / t.PromptMS * 1000)
		}
	}
	if d.can(Decodes) && t.DecodeMS > 0 {
		n := s.output() - 1
		if d.can(AllOfThem) {
			n++
		}
		switch {
		case n < 1:
		case n < 16:
			decode = no("too few tokens")
		default:
			decode = is(float64(n) / t.DecodeMS * 1000)
		}
	}
	return prefill, decode
}

// nanoseconds of a number of milliseconds.
func nanoseconds(ms float64) int64 { return int64(ms * float64(time.Millisecond)) }

// seconds of a number of milliseconds, as they stand in JSON.
func seconds(ms float64) string { return fmt.Sprintf("%.9f", ms/1000) }
