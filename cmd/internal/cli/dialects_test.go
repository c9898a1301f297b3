package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/all"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
)

// spoken is a backend and the dialect of the simulator that it is tried against.
type spoken struct {
	backend string
	dialect string // empty: the backend's name
	model   string // what --model says, where the backend takes no model unasked
	base    string // of the base URL, where the driver can't do without
	whole   bool   // the whole suite is run too, not the quick one alone

	traps string // of the simulator, that change the driver's way

	// What the driver must know of each request, because the dialect says it.
	cached  bool   // prompt tokens from the cache
	prefill ending // the server's time of its prefill
	decode  bool   // its time of decoding, from the first token
	each    bool   // the tokens in each event
}

// ending is where the server's own prefill time ends, by what is documented.
type ending string

const (
	withPrompt ending = "prompt" // with the prompt's last token
	withFirst  ending = "first"  // with the first token of the answer
)

// spokens has a line for every driver that speaks HTTP.
func spokens() []spoken {
	return []spoken{
		{backend: "llamacpp", cached: true, prefill: withPrompt, decode: true, each: true},
		{backend: "ollama", whole: true, decode: true}, // what its prefill left out is not known
		{backend: "vllm", whole: true, cached: true, prefill: withFirst, decode: true, each: true},
		{backend: "vllm", traps: "no-timings,no-token-ids,no-cached-field", each: true},
		{backend: "sglang", cached: true, each: true},
		{backend: "sglang", traps: "no-tokenize", each: true},
		{backend: "trtllm", cached: true, each: true},
		{backend: "tabbyapi"},
		{backend: "lmstudio"},
		{backend: "mlx", cached: true},
		{backend: "anthropic", model: "sim-fast", whole: true, cached: true},
		{backend: "openai", model: "sim-fast", cached: true},
		{backend: "openrouter", model: "simulated/sim-fast", cached: true},
		{backend: "together", model: "sim-fast"},
		{backend: "fireworks", model: "accounts/fireworks/models/sim-fast", cached: true, prefill: withPrompt},
		{backend: "groq", model: "sim-fast", cached: true, prefill: withPrompt},
		{backend: "cerebras", model: "sim-fast", cached: true, prefill: withPrompt},
		{backend: "deepseek", model: "sim-fast", cached: true},
		{backend: "openai-compatible", dialect: "vllm", base: "/v1", cached: true, each: true},
		{backend: "openai-compatible", dialect: "sglang", base: "/v1", each: true},
		{backend: "openai-compatible", dialect: "llamacpp", base: "/v1", cached: true, prefill: withPrompt, decode: true},
		{backend: "openai-compatible", dialect: "ollama", base: "/v1"},
		{backend: "openai-compatible", dialect: "lmstudio", base: "/v1"},
		{backend: "openai-compatible", dialect: "mlx", base: "/v1", cached: true},
		{backend: "openai-compatible", dialect: "tabbyapi", base: "/v1"},
		{backend: "sim", cached: true, prefill: withPrompt, decode: true, each: true},
	}
}

// speechless are the drivers that speak no HTTP.
func speechless() []string { return []string{"exllamav2", "exllamav3"} }

func (l spoken) name() string {
	name := l.backend
	if l.dialect != "" {
		name += " on " + l.dialect
	}
	if l.traps != "" {
		name += " with " + l.traps
	}
	return name
}

func (l spoken) speaks() string {
	switch {
	case l.dialect != "":
		return l.dialect
	case l.backend == "sim":
		return sim.Own
	}
	return l.backend
}

// registered gives the driver of a line, if it is carried.
func (l spoken) registered(t *testing.T) (drivers.Spec, bool) {
	t.Helper()
	reg, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	s, err := reg.Lookup(l.backend)
	return s, err == nil
}

// TestEveryDriverHasADialect finds drivers that are tried against no simulator, and dialects that no driver is tried on.
func TestEveryDriverHasADialect(t *testing.T) {
	reg, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range reg.Specs() {
		if !slices.ContainsFunc(spokens(), func(l spoken) bool { return l.backend == s.Name }) && !slices.Contains(speechless(), s.Name) {
			t.Errorf("driver %s is tried against no dialect of the simulator: give it a line in spokens, or name it in speechless", s.Name)
		}
	}
	for _, d := range sim.Dialects() {
		if !slices.ContainsFunc(spokens(), func(l spoken) bool { return l.speaks() == d.Name }) {
			t.Errorf("no driver is tried on the dialect %s", d.Name)
		}
	}
}

// speaking starts a simulator of a line's dialect.
func speaking(t *testing.T, l spoken, o sim.Options) *sim.Server {
	t.Helper()
	o.Dialect = l.speaks()
	traps, err := sim.ParseTraps(l.traps)
	if err != nil {
		t.Fatal(err)
	}
	o.Traps = traps
	s, err := sim.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestDialects runs the quick suite, and for some backends the whole one, against a simulator that answers as the backend
// does, and holds every request to what the simulator knows of it.
func TestDialects(t *testing.T) {
	for _, l := range spokens() {
		t.Run(l.name(), func(t *testing.T) {
			t.Parallel() // nothing here is about time
			shapes := [][]string{{"--quick"}}
			if slowedDown && testing.Short() {
				shapes[0] = append(shapes[0], "--workload", "W1,W4,W5") // long prompts bring no other race
			}
			if l.whole && !testing.Short() {
				shapes = append(shapes, nil)
			}
			for _, shape := range shapes {
				p, err := sim.Lookup("fast")
				if err != nil {
					t.Fatal(err)
				}
				s := speaking(t, l, sim.Options{Profile: p})
				r := benched(t, append([]string{"bench", "--backend", l.backend, "--url", s.URL() + l.base, "--repeats", "1", "--max-time", "1s",
					"--seed", "5eed", "--max-tokens-total", "100000000", "--json", "-", "--model", l.model}, shape...))
				l.holds(t, r, s.Log())
			}
		})
	}
}

// benched runs this program as a user does and gives its result.
func benched(t *testing.T, args []string) record.Result {
	t.Helper()
	if slowedDown {
		args = append(args, "--no-sandbox") // the race detector alone takes more memory than the sandbox gives
	}
	cmd := exec.CommandContext(t.Context(), "llm-speed", args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CACHE_HOME="+home, "LOCALAPPDATA="+home, "LLM_SPEED_API_KEY=sk-simulated", "NO_COLOR=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	var r record.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return r
}

// bad are the flags that no honest server deserves. The others are about time, which a busy machine spoils, or about what the
// backend can't say.
func bad() []string {
	return []string{
		measure.CacheContaminated, measure.EarlyStop, measure.Errors, measure.TruncatedContext, "other_traffic", measure.Contradiction,
		measure.ProvenanceD, measure.ProvenanceE, "cpu_fallback",
	}
}

// holds compares a result with the simulator's log.
func (l spoken) holds(t *testing.T, r record.Result, log []sim.Served) {
	t.Helper()
	flagged := func(flags []record.Flag, name string) bool {
		return slices.ContainsFunc(flags, func(f record.Flag) bool { return f.Name == name })
	}
	if len(r.Rows) == 0 || !flagged(r.Flags, "simulated") || r.Rankable {
		t.Errorf("%d rows, rankable %v, flags of the run %v: want it marked as simulated", len(r.Rows), r.Rankable, r.Flags)
	}
	m := matcher{line: l, log: log, used: make([]bool, len(log))}
	for _, row := range r.Rows {
		if row.Status != record.OK {
			t.Errorf("%s is %s: %s", row.Key, row.Status, row.Reason)
			continue
		}
		if !flagged(row.Flags, "simulated") {
			t.Errorf("%s is not marked as simulated", row.Key)
		}
		for _, f := range row.Flags {
			if slices.Contains(bad(), f.Name) {
				t.Errorf("%s is flagged %s: %s", row.Key, f.Name, f.Evidence)
			}
		}
		m.from, m.alike = m.last, map[counts]int{}
		for i := range row.Samples {
			m.alike[countsOf(&row.Samples[i])]++
		}
		for i := range row.Samples {
			if err := m.matches(&row.Samples[i]); err != nil {
				t.Errorf("%s request %d: %v", row.Key, i, err)
			}
		}
	}
}

// counts are what tells one request of a row from another; -1 is not known.
type counts struct{ prompt, cached, output int }

func countsOf(s *record.Sample) counts {
	n := func(c record.Count) int {
		if c.N == nil {
			return -1
		}
		return *c.N
	}
	return counts{n(s.Prompt), n(s.Cached), n(s.Output)}
}

// matcher finds what the simulator served for each sample. Rows are run one after another, so that a row's requests come after
// those of the row before.
type matcher struct {
	line  spoken
	log   []sim.Served
	used  []bool
	from  int            // log[:from] is of the rows before
	last  int            // log[:last] is of this one too
	alike map[counts]int // samples of the row that are not matched yet
}

// find gives the number of the request of a sample: of those that it can have been, one whose times the server stated, if
// there is one, and the one that was written last before the client saw it, for then those that are left fit the others.
// -1: there is none.
func (m *matcher) find(s *record.Sample) int {
	of := countsOf(s)
	left := m.alike[of]
	m.alike[of]--
	rank := func(i int) (stated, seen bool, began float64) {
		began = inMS(firstText(m.log[i]).Begin)
		return m.line.misunderstood(s, m.log[i]) == nil, began <= *s.TTFTms, began
	}
	best := -1
	for i := m.from; i < len(m.log) && left > 0; i++ {
		truth := m.log[i]
		if m.used[i] || truth.Ended != "complete" || truth.PromptTokens != of.prompt || truth.OutputTokens != of.output || of.cached >= 0 && truth.CachedTokens != of.cached {
			continue
		}
		left--
		if best < 0 {
			best = i
			continue
		}
		stated, seen, began := rank(i)
		wasStated, wasSeen, was := rank(best)
		if stated && !wasStated || stated == wasStated && (seen && !wasSeen || seen && began > was) {
			best = i
		}
	}
	return best
}

// matches compares a sample with what the simulator served for it.
func (m *matcher) matches(s *record.Sample) error {
	l := m.line
	switch {
	case s.Error != "":
		return fmt.Errorf("failed: %s", s.Error)
	case s.Output.N == nil || s.Prompt.N == nil:
		return fmt.Errorf("output %s or prompt %s: %v", show(s.Output.N), show(s.Prompt.N), s.Reasons)
	case *s.Output.N != s.AskedOutput:
		return fmt.Errorf("%d tokens of %d asked for", *s.Output.N, s.AskedOutput)
	case l.cached && s.Cached.N == nil:
		return fmt.Errorf("cached tokens are not known: %v", s.Reasons)
	case s.TTFTms == nil:
		return fmt.Errorf("TTFT is not known: %v", s.Reasons)
	case l.prefill != "" && s.ServerPrefill == nil && *s.Prompt.N-*s.Cached.N >= measure.MinTokens, l.decode && s.ServerDecode == nil && *s.Output.N >= measure.MinTokens:
		return fmt.Errorf("the server's own times are not known: prefill %v, decode %v: %v", s.ServerPrefill, s.ServerDecode, s.Reasons)
	}
	best := m.find(s)
	if best < 0 {
		return fmt.Errorf("the simulator served no such request: prompt %d, cached %s, output %d", *s.Prompt.N, show(s.Cached.N), *s.Output.N)
	}
	m.last = max(m.last, best+1)
	m.used[best] = true
	truth := m.log[best]
	if began := inMS(firstText(truth).Begin); *s.TTFTms < began {
		return fmt.Errorf("TTFT is %g ms, before the first text was written, at %g ms", *s.TTFTms, began)
	}
	return l.misunderstood(s, truth)
}

// misunderstood says where the times that the server stated were not taken for what they are; nil where they were, or where
// what the server means by them is not documented.
func (l spoken) misunderstood(s *record.Sample, truth sim.Served) error {
	end := truth.PrefillEnd
	if l.prefill == withFirst {
		end = truth.FirstToken
	}
	for _, span := range []struct {
		what   string
		known  bool
		stated *record.ServerSpan
		tokens int
		took   time.Duration
	}{
		{"prefill", l.prefill != "", s.ServerPrefill, truth.PromptTokens - truth.CachedTokens, end - truth.PrefillStart},
		{"decode", l.decode, s.ServerDecode, truth.OutputTokens - 1, truth.LastToken - truth.FirstToken},
	} {
		if !span.known || span.stated == nil {
			continue
		}
		got, want := float64(span.stated.Tokens)/float64(span.stated.NS), float64(span.tokens)/float64(span.took)
		if math.Abs(got-want) > 0.005*want {
			return fmt.Errorf("the server's %s is understood as %d tokens in %d ns, %.6g tok/s; in truth it is %.6g", span.what, span.stated.Tokens, span.stated.NS, got*1e9, want*1e9)
		}
	}
	return nil
}

func inMS(d time.Duration) float64 { return float64(d) / 1e6 }

func show(n *int) string {
	if n == nil {
		return "not known"
	}
	return fmt.Sprint(*n)
}

// texts are the events of a request that have text.
func texts(s sim.Served) []sim.Sent {
	var list []sim.Sent
	for _, e := range s.Events {
		if e.TextBearing() {
			list = append(list, e)
		}
	}
	return list
}

func firstText(s sim.Served) sim.Sent {
	for _, e := range s.Events {
		if e.TextBearing() {
			return e
		}
	}
	return sim.Sent{}
}

// dialectTries is how often a stream is measured until its figures are right once: other programs on the machine make single ones
// late, a client that is wrong is wrong each time.
const dialectTries = 6

// hardships are traps of the wire that change no figure of one stream: those that any driver gets right, and those that take a
// server that says how many tokens each event holds. Anthropic may stream a summary of what was thought, so that no rate is known.
func (l spoken) hardships() []string {
	list := []string{"", "role-first=5,comments", "split-json,crlf"}
	if l.backend != "anthropic" {
		list = append(list, "reasoning=10")
	}
	if l.each {
		list = append(list, "tokens-per-event=4", "silent-first=2,silent-tokens=3")
	}
	return list
}

// TestDialectRates holds the decode rate and the TTFT of one stream at 200 tok/s, through the driver's own session, to what the
// simulator did when: 0.5 % and 1 ms. Under the race detector, which makes the client several times slower, counts alone.
func TestDialectRates(t *testing.T) {
	p := sim.Profile{Name: "fast", Title: "200 tok/s", PrefillTPS: 8000, PrefillHalf: 1e12, DecodeTPS: 200, DecodeHalf: 1e12,
		First: 10 * time.Millisecond, BatchExponent: 1, Context: 8192, Slots: 4, Speed: 1}
	for _, l := range spokens() {
		if slowedDown && testing.Short() && !l.whole {
			continue // each in the run without -short; TestDialects holds the counts of all
		}
		t.Run(l.name(), func(t *testing.T) {
			s := speaking(t, l, sim.Options{Profile: p})
			spec, is := l.registered(t)
			if !is {
				t.Fatalf("no driver is called %s", l.backend)
			}
			ses, err := spec.Open(t.Context(), drivers.Config{
				URL: s.URL() + l.base, Model: l.model, APIKey: drivers.NewSecret("sk-simulated"), Options: map[string]string{},
				Env: func(string) string { return "" }, Clock: clock.New(), Log: t.Logf,
			}, drivers.Need{Context: 2048, Parallel: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer ses.Close()
			if !ses.Info().Simulated {
				t.Error("the session does not know that it is simulated")
			}
			try := 0
			for _, traps := range l.hardships() {
				set, err := sim.ParseTraps(strings.Trim(l.traps+","+traps, ","))
				if err != nil {
					t.Fatal(err)
				}
				s.SetTraps(set)
				t.Run(traps, func(t *testing.T) {
					var wrong string
					for range dialectTries {
						try++
						if wrong = rateOf(t, s, ses, try); wrong == "" || t.Failed() || slowedDown {
							return
						}
					}
					t.Errorf("%d tries: %s", dialectTries, wrong)
				})
			}
		})
	}
}

// rateOf measures one stream and says what is wrong with it, by the clock.
func rateOf(t *testing.T, s *sim.Server, ses drivers.Session, try int) string {
	t.Helper()
	const tokens = 64
	s.ClearLog()
	req := drivers.Request{
		Prompt:       drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: fmt.Sprintf("%d: ", try) + strings.Repeat("Tell me about the lakes of the north. ", 12)}}},
		OutputTokens: tokens, Slot: drivers.AnySlot, FirstByteWithin: 20 * time.Second, IdleWithin: 20 * time.Second,
	}
	rec, err := ses.Stream(t.Context(), req)
	if err != nil {
		t.Error(err)
		return ""
	}
	tr, err := ses.Decode(rec)
	if err != nil {
		t.Error(err)
		return ""
	}
	got := measure.Request(rec, tr, measure.Asked{OutputTokens: tokens, Cold: true, Template: ses.Info().Template, CacheBlock: ses.Info().CacheBlock})
	log := s.Log()
	if len(log) != 1 {
		t.Errorf("%d requests for one stream", len(log))
		return ""
	}
	truth, said := log[0], texts(log[0])
	if got.Output.N != tokens || truth.OutputTokens != tokens || got.Prompt.N != truth.PromptTokens || !got.Decode.Known || !got.TTFT.Known {
		t.Errorf("output %v of %d, prompt %v of %d, decode %v, TTFT %v", got.Output, truth.OutputTokens, got.Prompt, truth.PromptTokens, got.Decode, got.TTFT)
		return ""
	}
	if text, want := drivertest.Text(tr), wantText(said); text != want {
		t.Errorf("text is %q, want %q", text, want)
	}
	first, last := said[0], said[len(said)-1]
	want := float64(within(truth)) / (last.End - first.End).Seconds()
	switch ttft := inMS(first.Begin); {
	case math.Abs(got.Decode.X-want) > 0.005*want:
		return fmt.Sprintf("decode is %.2f tok/s, want %.2f", got.Decode.X, want)
	case got.TTFT.X < ttft || got.TTFT.X > ttft+1+inMS(truth.Upload):
		return fmt.Sprintf("TTFT is %.3f ms, want %.3f and up to 1 ms more", got.TTFT.X, ttft)
	}
	return ""
}

// within counts the tokens after the first event with text, up to the last one: silent ones in between too.
func within(s sim.Served) (n int) {
	began, since := false, 0
	for _, e := range s.Events {
		if since += e.Tokens; !e.TextBearing() {
			continue
		}
		if began {
			n += since
		}
		began, since = true, 0
	}
	return n
}

func wantText(said []sim.Sent) string {
	var b strings.Builder
	for _, e := range said {
		b.WriteString(e.Text)
	}
	return b.String()
}
