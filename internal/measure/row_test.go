package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/stream"
)

// asSample is a one-a-token stream sent at 1 s: n tokens from first on, gap apart.
func asSample(n int, first, gap time.Duration) Sample {
	return Request(sent(), stream.Transcript{Events: run(n, first, gap, stream.Content, " word", 1), Counts: output(n)}, Asked{OutputTokens: n})
}

// Trap 13. Stream one decodes from 1.1 to 3.1 s at 100 tok/s, stream two from 2.1 to 4.1 s. They overlap in (2.1, 3.1]:
// 100 tokens of each in 1 s. Over the whole span it is 402 tokens in 3.1 s, or 129.7, ramp-up and drain included.
func TestBatchOverlap(t *testing.T) {
	b := Batch([]Sample{asSample(201, 1100*msec, 10*msec), asSample(201, 2100*msec, 10*msec)})
	wantValue(t, "aggregate", b.Aggregate, 200)
	wantValue(t, "whole span", b.Span, 402/3.1)
	wantValue(t, "overlap", b.Overlap(), 1000)
	wantValue(t, "p50", b.PerStream, 100)
	wantValue(t, "p5", b.PerStreamP5, 100)
	wantValue(t, "fairness", b.Fairness, 1)
	if b.Parallelism != 2 || b.WindowTokens != 200 || len(b.Flags) != 0 {
		t.Errorf("%+v", b)
	}
}

func TestBatchOfOneIsItsStream(t *testing.T) {
	s := asSample(101, 1500*msec, 8*msec)
	b := Batch([]Sample{s})
	wantValue(t, "aggregate", b.Aggregate, 125)
	wantValue(t, "D", s.Decode, 125)
	if b.Parallelism != 1 {
		t.Errorf("parallelism %d", b.Parallelism)
	}
}

// Rates of 100 and 50: fairness 0.5, p50 75, p5 52.5.
func TestBatchOfUnequalStreams(t *testing.T) {
	b := Batch([]Sample{asSample(201, 1500*msec, 10*msec), asSample(101, 1500*msec, 20*msec)})
	wantValue(t, "aggregate", b.Aggregate, 150)
	wantValue(t, "fairness", b.Fairness, 0.5)
	wantValue(t, "p50", b.PerStream, 75)
	wantValue(t, "p5", b.PerStreamP5, 52.5)
}

// Trap 12. A server that runs one stream after the other has no overlap, and a parallelism of 1, also where one ends as
// the next begins.
func TestBatchThatQueues(t *testing.T) {
	for _, second := range []time.Duration{3100 * msec, 3500 * msec} {
		b := Batch([]Sample{asSample(201, 1100*msec, 10*msec), asSample(201, second, 10*msec)})
		wantUnknown(t, "aggregate", b.Aggregate, "no overlap")
		wantUnknown(t, "overlap", b.Overlap(), "no overlap")
		if b.Parallelism != 1 || len(b.Flags) != 1 || b.Flags[0].Name != ServerQueued || b.W0 != 0 {
			t.Errorf("%+v", b)
		}
	}
}

func TestBatchWithoutRates(t *testing.T) {
	good := asSample(201, 1100*msec, 10*msec)
	failed := good
	failed.Err = "connection reset"
	uncounted := Request(sent(), stream.Transcript{Events: run(201, 1100*msec, 10*msec, stream.Content, " word", -1)}, Asked{})
	for name, c := range map[string]struct {
		samples []Sample
		why     string
	}{
		"nothing":       {nil, "no streams"},
		"one failed":    {[]Sample{good, failed}, "stream 2 failed"},
		"one uncounted": {[]Sample{good, uncounted}, "stream 2"},
		"one silent":    {[]Sample{Request(sent(), stream.Transcript{}, Asked{}), good}, "stream 1: no text"},
		"a moment":      {[]Sample{good, asSample(201, 3050*msec, 10*msec)}, "too few tokens in the overlap"},
	} {
		b := Batch(c.samples)
		wantUnknown(t, name, b.Aggregate, c.why)
	}
	b := Batch([]Sample{good, asSample(1, 1200*msec, 0)})
	wantUnknown(t, "per stream", b.PerStream, "one text-bearing event")
}

// Traps 7 and 8. Section 5, with a template of 21 tokens and blocks of 16: up to 32 tokens are the template's.
func TestCold(t *testing.T) {
	for _, c := range []struct {
		name           string
		asked          Asked
		prompt, cached stream.Count
		want           Coldness
		flag           string
	}{
		{"nothing cached", Asked{Cold: true, Template: 21, CacheBlock: 16}, usage(4096), usage(0), ColdProved, ""},
		{"the template's blocks", Asked{Cold: true, Template: 21, CacheBlock: 16}, usage(4096), usage(32), ColdProved, ""},
		{"one more", Asked{Cold: true, Template: 21, CacheBlock: 16}, usage(4096), usage(33), ColdBroken, CacheContaminated},
		{"exact cache", Asked{Cold: true, Template: 21, CacheBlock: 1}, usage(4096), usage(22), ColdBroken, CacheContaminated},
		{"whole blocks", Asked{Cold: true, Template: 32, CacheBlock: 16}, usage(4096), usage(33), ColdBroken, CacheContaminated},
		{"not told", Asked{Cold: true, Template: 21}, usage(4096), stream.Count{}, ColdAssumed, ColdUnproved},
		{"template not known, a block", Asked{Cold: true, Template: -1, CacheBlock: 64}, usage(4096), usage(64), ColdProved, ""},
		{"template not known, some", Asked{Cold: true, Template: -1, CacheBlock: 1}, usage(4096), usage(40), ColdAssumed, ColdUnproved},
		{"template not known, much", Asked{Cold: true, Template: -1, CacheBlock: 1}, usage(4096), usage(300), ColdBroken, CacheContaminated},
		{"template not known, much of little", Asked{Cold: true, Template: -1, CacheBlock: 1}, usage(256), usage(40), ColdBroken, CacheContaminated},
		{"reuse", Asked{}, usage(4096), usage(4000), Reuse, ""},
	} {
		s := Request(sent(), stream.Transcript{Counts: stream.Counts{Prompt: c.prompt, Cached: c.cached}}, c.asked)
		if s.Cold != c.want {
			t.Errorf("%s: %q, want %q", c.name, s.Cold, c.want)
		}
		for _, f := range []string{CacheContaminated, ColdUnproved} {
			if hasFlag(s, f) != (f == c.flag) {
				t.Errorf("%s: flags %v, want %q", c.name, s.Flags, c.flag)
			}
		}
	}
	if got := WorstCold([]Coldness{Reuse, ColdProved, ColdAssumed}); got != ColdAssumed {
		t.Errorf("worst is %q", got)
	}
	if got := WorstCold([]Coldness{ColdAssumed, ColdBroken, ColdProved}); got != ColdBroken {
		t.Errorf("worst is %q", got)
	}
	if got := WorstCold([]Coldness{Reuse, Reuse}); got != Reuse {
		t.Errorf("worst is %q", got)
	}
}

// Trap 8. 8000 tokens in 1 s are 8000 tok/s; the same counter on a full hit, over 1.7 ms, would be 4,700,000.
func TestServerPrefill(t *testing.T) {
	second, hit := time.Second, 1700*time.Microsecond
	for _, c := range []struct {
		name           string
		asked          Asked
		prompt, cached stream.Count
		spent          int
		time           time.Duration
		want           float64
		why            string
	}{
		{"cold", Asked{Cold: true}, usage(8000), usage(0), 8000, second, 8000, ""},
		{"cold, cache not told", Asked{Cold: true}, usage(8000), stream.Count{}, 8000, second, 8000, ""},
		{"half cached", Asked{}, usage(8000), usage(4000), 4000, second, 4000, ""},
		{"counter holds the cached ones", Asked{}, usage(8000), usage(4000), 8000, second, 4000, ""},
		{"full hit", Asked{}, usage(8000), usage(7999), 1, hit, 0, "too few uncached prompt tokens (1 of 16)"},
		{"full hit, counter holds all", Asked{}, usage(8000), usage(7999), 8000, hit, 0, "too few uncached"},
		{"warm, cache not told", Asked{}, usage(8000), stream.Count{}, 8000, hit, 0, "does not say how many"},
		{"more cached than sent", Asked{}, usage(10), usage(20), 8000, hit, 0, "too few uncached prompt tokens (0 of 16)"},
		{"no time", Asked{Cold: true}, usage(8000), usage(0), 8000, 0, 0, "no prefill time"},
	} {
		tr := stream.Transcript{Counts: stream.Counts{Prompt: c.prompt, Cached: c.cached}, Server: stream.ServerTiming{PromptTokens: usage(c.spent), Prefill: c.time}}
		got := Request(sent(), tr, c.asked).ServerPrefill
		if c.why == "" {
			wantValue(t, c.name, got, c.want)
		} else {
			wantUnknown(t, c.name, got, c.why)
		}
	}
}

func TestServerDecode(t *testing.T) {
	at := func(n int, d time.Duration) Value {
		return Request(sent(), stream.Transcript{Server: stream.ServerTiming{DecodeTokens: n, Decode: d}}, Asked{}).ServerDecode
	}
	wantValue(t, "255 in 1.275 s", at(255, 1275*msec), 200)
	wantUnknown(t, "15 tokens", at(15, time.Second), "too few")
	wantUnknown(t, "no tokens", at(0, time.Second), "states no")
	wantUnknown(t, "no time", at(255, 0), "states no")
}

func TestPrefillByClient(t *testing.T) {
	// 4080 tokens more take 510 ms more: 8000 tok/s, whatever the network adds to both.
	wantValue(t, "rate", PrefillByClient(4096, 600*msec, Probe{Tokens: 16, TTFT: 90 * msec}), 8000)
	wantUnknown(t, "4.9 ms", PrefillByClient(4096, 14900*time.Microsecond, Probe{Tokens: 16, TTFT: 10 * msec}), "less than 5")
	wantValue(t, "5 ms", PrefillByClient(5016, 15*msec, Probe{Tokens: 16, TTFT: 10 * msec}), 1000000)
	wantUnknown(t, "19 %", PrefillByClient(4096, 100*msec, Probe{Tokens: 16, TTFT: 81 * msec}), "less than 20")
	wantValue(t, "20 %", PrefillByClient(2016, 100*msec, Probe{Tokens: 16, TTFT: 80 * msec}), 100000)
	wantUnknown(t, "slower probe", PrefillByClient(4096, 100*msec, Probe{Tokens: 16, TTFT: 120 * msec}), "less than 5")
	wantUnknown(t, "no longer than the probe", PrefillByClient(16, 100*msec, Probe{Tokens: 16, TTFT: 10 * msec}), "hardly longer")
	wantValue(t, "probes that differ by a twentieth", PrefillByClient(4096, 600*msec, Probe{16, 90 * msec, 25500 * time.Microsecond}), 8000)
	wantUnknown(t, "probes that differ by more", PrefillByClient(4096, 600*msec, Probe{16, 90 * msec, 26 * msec}), "can't be told from what the path does")
	wantUnknown(t, "no TTFT", PrefillByClient(4096, 0, Probe{Tokens: 16, TTFT: 10 * msec}), "no TTFT")
}

// On a path that is late by up to so much a rate is given only where it is near enough: of those that are given nineteen in
// twenty are within 10 % of the truth, and on a quiet path all are given.
func TestPrefillOnAnUnsteadyPath(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const truth = 40960.0 // tok/s: 4,096 tokens in 100 ms
	for _, late := range []time.Duration{0, 2 * msec, 5 * msec, 20 * msec, 50 * msec, 200 * msec} {
		at := func(d time.Duration) time.Duration { return d + 50*msec + time.Duration(r.Float64()*float64(late)) }
		given, far := 0, 0
		for range 2000 {
			p := []time.Duration{at(0), at(0), at(0), at(0), at(0)}
			slices.Sort(p)
			var rates []Value
			for range 3 {
				rates = append(rates, PrefillByClient(4112, at(100*msec), Probe{16, p[2], p[4] - p[0]}))
			}
			v := Over(rates).Headline
			if v.Known {
				given++
				if math.Abs(v.X/truth-1) > 0.1 {
					far++
				}
			}
		}
		t.Logf("up to %v late: %d of 2000 given, %d more than 10 %% off", late, given, far)
		if late <= 5*msec && given < 1990 || 20*far > max(given, 1) && far > 5 {
			t.Errorf("up to %v late: %d of 2000 given, %d of them far off", late, given, far)
		}
	}
}

func TestPrefillEstimateNeedsBothCold(t *testing.T) {
	at := func(p, cached int, first time.Duration) *Sample {
		tr := stream.Transcript{Events: run(2, first, msec, stream.Content, "x", 1), Counts: stream.Counts{Prompt: usage(p), Cached: usage(cached)}}
		s := Request(sent(), tr, Asked{Cold: true})
		return &s
	}
	wantValue(t, "both cold", PrefillEstimate(at(4096, 0, 1600*msec), at(16, 0, 1090*msec)), 8000)
	wantUnknown(t, "a warm probe", PrefillEstimate(at(4096, 0, 1600*msec), at(16, 8, 1090*msec)), "not both cold")
	wantUnknown(t, "a warm prompt", PrefillEstimate(at(4096, 4000, 1600*msec), at(16, 0, 1090*msec)), "not both cold")
}

func TestHitRate(t *testing.T) {
	of := func(p, c stream.Count) Sample { return Sample{Prompt: p, Cached: c} }
	ss := []Sample{of(usage(1000), usage(0)), of(usage(3000), usage(2000))}
	h, hmax := HitRate(ss), HitRateMax(ss, []int{0, 2500})
	wantValue(t, "H", h, 0.5) // by tokens; the mean of rates would be 0.333
	wantValue(t, "H_max", hmax, 0.625)
	wantValue(t, "efficiency", Efficiency(h, hmax), 0.8)
	wantUnknown(t, "one not told", HitRate(append(ss, of(usage(10), stream.Count{}))), "request 3")
	wantUnknown(t, "no requests", HitRate(nil), "no prompt tokens")
	wantUnknown(t, "more cached than sent", HitRate([]Sample{of(usage(1), usage(2))}), "contradict")
	wantUnknown(t, "reuse not known", HitRateMax(ss, []int{0, -1}), "request 2")
	wantUnknown(t, "nothing to reuse", Efficiency(HitRate(ss[:1]), HitRateMax(ss[:1], []int{0})), "nothing could be reused")
}

func TestRequestFlags(t *testing.T) {
	es := run(100, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated)
	tr := func(change func(*stream.Transcript)) stream.Transcript {
		x := stream.Transcript{Events: es, Counts: stream.Counts{Prompt: usage(4096), Output: usage(100)}, Finish: stream.FinishLength}
		change(&x)
		return x
	}
	asked := Asked{OutputTokens: 100, PromptTokens: 4096}
	for _, c := range []struct {
		name, flag, evidence string
		tr                   stream.Transcript
	}{
		{"clean", "", "", tr(func(*stream.Transcript) {})},
		{"1 % off", "", "", tr(func(x *stream.Transcript) { x.Counts.Prompt.N = 4136 })},
		{"2 % off", PromptDrift, "4178 prompt tokens, 4096 asked for (+2.0 %)", tr(func(x *stream.Transcript) { x.Counts.Prompt.N = 4178 })},
		{"stop", EarlyStop, `finish reason "stop" after 100 output tokens`, tr(func(x *stream.Transcript) { x.Finish = stream.FinishStop })},
		{"tool call", EarlyStop, "tool_calls", tr(func(x *stream.Transcript) { x.Finish = stream.FinishTool })},
		{"one short", EarlyStop, "99 output tokens, 100 asked for", tr(func(x *stream.Transcript) { x.Counts.Output.N = 99 })},
		{"one over", EarlyStop, "101 output tokens, 100 asked for", tr(func(x *stream.Transcript) { x.Counts.Output.N = 101 })},
		{"cut", TruncatedContext, "cut the context", tr(func(x *stream.Transcript) { x.Truncated = true })},
		{"queued", ServerQueued, "350 ms", tr(func(x *stream.Transcript) { x.Server.Queue = 350 * msec })},
	} {
		s := Request(sent(), c.tr, asked)
		if c.flag == "" {
			if len(s.Flags) != 0 {
				t.Errorf("%s: flags %v", c.name, s.Flags)
			}
			continue
		}
		if len(s.Flags) != 1 || s.Flags[0].Name != c.flag || !strings.Contains(s.Flags[0].Evidence, c.evidence) {
			t.Errorf("%s: flags %v, want %s: %s", c.name, s.Flags, c.flag, c.evidence)
		}
	}
}

// Trap 10. A buffer that lets 32 events out every 160 ms, in reads of their own, is told from a fast stream and from a
// slow one.
func TestProxyBuffered(t *testing.T) {
	bursts := run(256, 1500*msec, 0, stream.Content, " word", stream.NotStated)
	for i := range bursts {
		bursts[i].At += time.Duration(i/32)*160*msec + time.Duration(i%32)*20*time.Microsecond
		bursts[i].Read = i
	}
	fast := run(256, 1500*msec, 0, stream.Content, " word", stream.NotStated)
	for i := range fast {
		fast[i].At += time.Duration(i) * 100 * time.Microsecond
		fast[i].Read = i
	}
	hiccups := slices.Concat(fast[:60], later(fast[60:120], 6*msec), later(fast[120:180], 12*msec), later(fast[180:], 18*msec))
	merged := slices.Clone(bursts) // each burst in two reads
	for i := range merged {
		merged[i].Read, merged[i].At = i/16, 1500*msec+time.Duration(i/32)*160*msec+time.Duration(i/16%2)*300*time.Microsecond
	}
	blocks := slices.Clone(bursts) // each burst in one read
	for i := range blocks {
		blocks[i].Read, blocks[i].At = i/32, 1500*msec+time.Duration(i/32)*160*msec
	}
	fours := run(256, 1500*msec, 0, stream.Content, " word", stream.NotStated) // four accepted tokens at a time
	for i := range fours {
		fours[i].Read, fours[i].At = i/4, 1500*msec+time.Duration(i/4)*20*msec
	}
	for _, c := range []struct {
		name   string
		events []stream.Event
		want   bool
	}{{"bursts", bursts, true}, {"bursts in two reads", merged, true}, {"bursts in one read", blocks, false}, {"fours", fours, false}, {"fast", fast, false}, {"three hiccups of 6 ms", hiccups, false}, {"one hiccup", append(slices.Clone(fast[:200]), later(fast[200:], 300*msec)...), false},
		{"slow", run(256, 1500*msec, 10*msec, stream.Content, " word", stream.NotStated), false}} {
		s := Request(sent(), stream.Transcript{Events: c.events, Counts: output(256)}, Asked{})
		if hasFlag(s, ProxyBuffered) != c.want {
			t.Errorf("%s: flags %v", c.name, s.Flags)
		}
	}
}

func later(es []stream.Event, by time.Duration) []stream.Event {
	es = slices.Clone(es)
	for i := range es {
		es[i].At += by
	}
	return es
}

func TestClientLag(t *testing.T) {
	if f, ok := ClientLag([]Sample{{ReadLag: 2 * msec}, {ReadLag: msec}}); ok {
		t.Errorf("%v for 2 ms", f)
	}
	if f, ok := ClientLag([]Sample{{ReadLag: 3 * msec}}); !ok || f.Name != ClientBound || !strings.Contains(f.Evidence, "3 ms") {
		t.Errorf("%v, %v for 3 ms", f, ok)
	}
	if _, ok := ClientLag(nil); ok {
		t.Error("a lag of nothing")
	}
}

func TestMergeFlags(t *testing.T) {
	got := MergeFlags([]Sample{{Flags: []Flag{{EarlyStop, "99"}}}, {}, {Flags: []Flag{{Errors, "reset"}, {EarlyStop, "98"}}}})
	want := []Flag{{EarlyStop, "2 of 3 requests: 99"}, {Errors, "1 of 3 requests: reset"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Section 4: p95 of ITL from 130 tokens, p99 from 662; of TTFT from 130 requests.
func TestFloors(t *testing.T) {
	l := ITL([]Sample{asSample(66, 1500*msec, 10*msec), asSample(65, 1500*msec, 10*msec)}) // 65 + 64 latencies
	wantValue(t, "p50", l.P50, 10)
	wantUnknown(t, "p95", l.P95, "p95: too few (129 of 130)")
	l = ITL([]Sample{asSample(66, 1500*msec, 10*msec), asSample(66, 1500*msec, 20*msec)})
	wantValue(t, "p50", l.P50, 15)
	wantValue(t, "p95", l.P95, 20)
	wantUnknown(t, "p99", l.P99, "p99: too few (130 of 662)")
	wantValue(t, "p99", ITL([]Sample{asSample(663, 1500*msec, 10*msec)}).P99, 10)
	wantUnknown(t, "p50 of nothing", ITL(nil).P50, "no samples")

	vs := slices.Repeat([]Value{Known(7)}, 129)
	wantUnknown(t, "ttft p95", P95(vs), "p95: too few (129 of 130)")
	wantValue(t, "ttft p95", P95(append(vs, Known(7))), 7)
	p95, n := TurnP95([]Value{Known(10), Known(20), Unknown("failed")})
	wantValue(t, "turn p95", p95, 19.5)
	if n != 2 {
		t.Errorf("n = %d", n)
	}
}

func TestOverPasses(t *testing.T) {
	s := Over([]Value{Known(90), Known(100), Known(110)})
	wantValue(t, "headline", s.Headline, 100)
	wantValue(t, "CV", s.CV, 0.1)
	wantValue(t, "low", s.Low, 100-4.3027*10/1.7320508)
	wantValue(t, "high", s.High, 100+4.3027*10/1.7320508)
	if f, ok := s.Unstable("decode_tps"); !ok || f.Evidence != "decode_tps varies by 10.0 % over 3 passes (limit 5)" {
		t.Errorf("%v, %v", f, ok)
	}
	s = Over([]Value{Known(90)})
	wantValue(t, "headline", s.Headline, 90)
	wantUnknown(t, "CV", s.CV, "one pass")
	wantUnknown(t, "low", s.Low, "one pass")
	if _, ok := s.Unstable("decode_tps"); ok || !s.Wanting() {
		t.Error("one pass can't be unstable, and wants another")
	}
	s = Over([]Value{Unknown("no overlap")})
	wantUnknown(t, "headline", s.Headline, "no overlap")
	wantValue(t, "low", Over([]Value{Known(1), Known(3)}).Low, 0)
}

// However reads are merged on the way, counts stay: N, m, R, and the tokens put on the stream.
func TestRechunkingChangesNoCount(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		n := 60 + r.IntN(100)
		stated := r.IntN(2) == 0
		es := run(n, 1500*msec, 7*msec, stream.Content, " word", stream.NotStated)
		total := n
		if stated {
			total = 0
			for i := range es {
				es[i].Tokens = 1 + r.IntN(3)
				total += es[i].Tokens
				es[i].Kind = stream.Kind(1 + r.IntN(3))
			}
		}
		merged := slices.Clone(es)
		for i := len(merged) - 2; i >= 0; i-- {
			if r.IntN(3) == 0 {
				merged[i].At, merged[i].Read = merged[i+1].At, merged[i+1].Read
			}
		}
		a := Request(sent(), stream.Transcript{Events: es, Counts: output(total)}, Asked{})
		b := Request(sent(), stream.Transcript{Events: merged, Counts: output(total)}, Asked{})
		if a.Output != b.Output || a.Events != b.Events || a.TokensHow != b.TokensHow || a.TokensPerEvent != b.TokensPerEvent || a.Last != b.Last {
			t.Fatalf("%+v\n%+v", a, b)
		}
		wantValue(t, "tokens", Known(b.FirstTokens.X+b.Window.X), float64(total))
		steps := 0
		for _, st := range b.Steps {
			steps += st.Events
		}
		if steps != n || a.First > b.First {
			t.Fatalf("%d events in steps, want %d; t_1 %v, was %v", steps, n, b.First, a.First)
		}
	}
}
