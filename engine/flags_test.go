package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	simdriver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// wanted is how a row with a flag should look.
type wanted struct {
	flag     string
	evidence string // regular expression
	rankable bool   // although flagged
	status   record.Status
}

func (w wanted) check(t *testing.T, row record.Row) {
	t.Helper()
	if w.status == "" {
		w.status = record.OK
	}
	said := evidence(row.Flags, w.flag)
	if !regexp.MustCompile(w.evidence).MatchString(said) || said == "" {
		t.Errorf("flag %s says %q; want %q (flags %v, row %s %s)", w.flag, said, w.evidence, row.Flags, row.Status, row.Reason)
	}
	if row.Status != w.status || row.Rankable != w.rankable {
		t.Errorf("row is %s (%s), rankable %t; want %s, %t (flags %v)", row.Status, row.Reason, row.Rankable, w.status, w.rankable, row.Flags)
	}
}

// clean checks that a row lacks a flag, and may be ranked.
func clean(t *testing.T, row record.Row, flag string) {
	t.Helper()
	if said := evidence(row.Flags, flag); said != "" {
		t.Errorf("flag %s without its cause: %s", flag, said)
	}
	if row.Status != record.OK || !row.Rankable {
		t.Errorf("row without a trap is %s (%s), rankable %t, with flags %v, reasons %v", row.Status, row.Reason, row.Rankable, row.Flags, row.Reasons)
	}
}

// TestFlagsOfTraps provokes flags by traps of the simulator, over both drivers, and looks for each on the same row without
// the trap.
func TestFlagsOfTraps(t *testing.T) {
	cases := []struct {
		traps    string
		workload string
		late     bool   // the trap is set when the session is open
		only     string // driver
		repeats  int
		want     wanted
	}{
		{traps: "no-cached-field", workload: "one", want: wanted{flag: "cold_unproved", evidence: "does not say how many"}},
		{traps: "early-stop=20", workload: "one", want: wanted{flag: "early_stop", evidence: `20 output tokens, 24 asked for; finish reason "stop"`}},
		{traps: "tokens-per-event=4", workload: "flow", want: wanted{flag: "coalesced", evidence: "(3.9|4)[0-9]* tokens in an event", rankable: true}},
		{traps: "coalesce=4", workload: "flow", want: wanted{flag: "coalesced", evidence: "60 events in [0-9]+ reads, several in", rankable: true}},
		{traps: "tokenize-drift=5", workload: "one", late: true, want: wanted{flag: "prompt_drift", evidence: `2[01][0-9] prompt tokens, 200 asked for \(\+[45]\.[0-9] %\)`}},
		{traps: "wrong-prompt-count=7", workload: "one", late: true, want: wanted{flag: "prompt_drift", evidence: `207 prompt tokens, 200 asked for`}},
		{traps: "no-usage,no-timings,no-token-ids", workload: "one", want: wanted{flag: "count_provenance_E", evidence: "24 events were counted"}},
		{traps: "slots=2", workload: "four", want: wanted{flag: "server_queued", evidence: "4 streams were released together, at most 2 sent tokens at one time"}},
		{traps: "error-in-stream=12", workload: "one", late: true, want: wanted{flag: "errors", evidence: "(?i)error", status: record.Failed}},
		{traps: "reset=12", workload: "one", late: true, want: wanted{flag: "errors", evidence: "reset", status: record.Failed}},
		{traps: "truncate=12", workload: "one", late: true, want: wanted{flag: "errors", evidence: "closed the connection", status: record.Failed}},
		{traps: "status=500", workload: "one", late: true, want: wanted{flag: "errors", evidence: "500", status: record.Failed}},
		// The warm-up and the first pass take twice as long as all later ones.
		{traps: "warmup-drift=2@2", workload: "one", only: "sim", repeats: 4, want: wanted{flag: "unstable", evidence: "warm-up drift: by [a-z_]+ the first pass was [0-9]+", rankable: true}},
	}
	for driver, spec := range specs() {
		without := map[string]record.Row{}
		for _, c := range cases {
			if c.only != "" && c.only != driver {
				continue
			}
			t.Run(driver+"/"+c.traps, func(t *testing.T) {
				server := startSim(t, "")
				if !c.late {
					server.SetTraps(trapsOf(t, c.traps))
				}
				b := bed{spec: spec, url: server.URL(), options: func(o *engine.Options) {
					o.Repeats = max(c.repeats, 1)
					o.Watch.Planned = func(engine.Plan) { server.SetTraps(trapsOf(t, c.traps)) }
				}}
				row, _ := b.run(t, c.workload)
				c.want.check(t, row)
				if c.want.flag == "unstable" {
					return // its absence is a matter of this machine's quiet: TestUnstable and TestWarmupDrift have it in virtual time
				}
				if _, done := without[c.workload]; !done {
					row, _ := bed{spec: spec, url: startSim(t, "").URL()}.run(t, c.workload)
					without[c.workload] = row
				}
				clean(t, without[c.workload], c.want.flag)
			})
		}
	}
}

// TestUnstableServer: a server whose answers begin 60 ms late in some passes, over both drivers.
func TestUnstableServer(t *testing.T) {
	const slow = "stall=60@1"
	for driver, spec := range specs() {
		for _, c := range []struct {
			name     string
			passes   []string // traps of each
			evidence string
		}{
			{"every other pass", []string{"", slow, "", slow}, "ttft_ms varies by [3-9][0-9].* over 4 passes"},
			{"the first pass", []string{slow, "", "", ""}, "warm-up drift: by ttft_ms the first pass was [2-9][0-9.]* times as slow as the median of the 3 later ones"},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				server := startSim(t, "")
				b := bed{spec: spec, url: server.URL(), options: func(o *engine.Options) {
					o.Repeats = len(c.passes)
					o.Watch.Row = func(engine.RowPlan) { server.SetTraps(trapsOf(t, c.passes[0])) }
					o.Watch.Pass = func(p engine.PassDone) { server.SetTraps(trapsOf(t, c.passes[p.Pass%len(c.passes)])) }
				}}
				row, _ := b.run(t, "one")
				wanted{flag: "unstable", evidence: c.evidence, rankable: true}.check(t, row)
			})
		}
	}
}

// TestCacheContaminated: a server that keeps its cache although asked not to is found out as soon as a prompt comes that it
// knows. Within a run none does, for each has its own salt; a second run of the same seed sends the same prompts.
func TestCacheContaminated(t *testing.T) {
	for driver, spec := range specs() {
		for _, traps := range []string{"keep-cache", ""} {
			t.Run(driver+"/"+traps, func(t *testing.T) {
				b := bed{spec: spec, url: startSim(t, traps).URL()}
				row, _ := b.run(t, "one")
				clean(t, row, "cache_contaminated")
				if row.Cold != "proved" {
					t.Errorf("first run: cold is %q; want proved", row.Cold)
				}
				row, _ = b.run(t, "one")
				if traps == "" {
					clean(t, row, "cache_contaminated")
					return
				}
				wanted{flag: "cache_contaminated", evidence: "199 prompt tokens came from a cache; a cold prompt has at most [0-9]"}.check(t, row)
				if row.Cold != "broken" {
					t.Errorf("second run: cold is %q; want broken", row.Cold)
				}
			})
		}
	}
}

// TestTruncatedContext: a server that says with its last event that it cut the context.
func TestTruncatedContext(t *testing.T) {
	for driver, spec := range specs() {
		t.Run(driver, func(t *testing.T) {
			server := startSim(t, "")
			cut := before(t, server.URL(), rewrite(func(line string) string {
				if strings.Contains(line, `"finish_reason":"length"`) {
					return strings.Replace(line, "data: {", `data: {"truncated":true,`, 1)
				}
				return line
			}))
			row, _ := bed{spec: spec, url: cut}.run(t, "one")
			wanted{flag: "truncated_context", evidence: "cut the context"}.check(t, row)
			row, _ = bed{spec: spec, url: before(t, server.URL(), passOn)}.run(t, "one")
			clean(t, row, "truncated_context")
		})
	}
}

// TestBufferingProxy puts a proxy between client and server that gathers 30 ms of the stream. Bursts that come in several
// reads are proxy_buffered; a burst that comes in one read can't be told from a server that writes so: it is coalesced.
func TestBufferingProxy(t *testing.T) {
	for driver, spec := range specs() {
		t.Run(driver, func(t *testing.T) {
			server := startSim(t, "")
			bursts := bed{spec: spec, url: before(t, server.URL(), hold(30*time.Millisecond, true))}
			row, _ := bursts.run(t, "flow")
			for range 8 { // a busy machine reads a burst late, and then in one piece
				if evidence(row.Flags, "proxy_buffered") == "" {
					row, _ = bursts.run(t, "flow")
				}
			}
			wanted{flag: "proxy_buffered", evidence: "bursts of [0-9.]+ events, [23][0-9.]+ ms apart"}.check(t, row)

			row, _ = bed{spec: spec, url: before(t, server.URL(), hold(30*time.Millisecond, false))}.run(t, "flow")
			wanted{flag: "coalesced", evidence: "60 events in [0-9]+ reads", rankable: true}.check(t, row)
			if row.DecodeTPS == nil || *row.DecodeTPS < 200 || *row.DecodeTPS > 300 {
				t.Errorf("decode through the proxy is %s tok/s; want about 250", show(row.DecodeTPS))
			}

			row, _ = bed{spec: spec, url: before(t, server.URL(), passOn)}.run(t, "flow")
			clean(t, row, "proxy_buffered")
		})
	}
}

// TestClientBound: a client that was late between two reads, and one whose calibration failed or was over its limit.
func TestClientBound(t *testing.T) {
	for driver, spec := range specs() {
		server := startSim(t, "")
		for _, lag := range []time.Duration{3 * time.Millisecond, 100 * time.Microsecond} {
			t.Run(fmt.Sprintf("%s/lag %s", driver, lag), func(t *testing.T) {
				row, _ := bed{spec: spec, url: server.URL(), lag: lag}.run(t, "one")
				if lag > 2*time.Millisecond {
					wanted{flag: "client_bound", evidence: "up to 3 ms late between two reads"}.check(t, row)
				} else {
					clean(t, row, "client_bound")
				}
			})
		}
	}
	server := startSim(t, "")
	for name, calibrate := range map[string]func(context.Context, int) (json.RawMessage, []record.Flag, error){
		"calibration failed": func(context.Context, int) (json.RawMessage, []record.Flag, error) {
			return nil, []record.Flag{{Name: "client_bound", Evidence: "the calibration failed: no port"}}, errors.New("no port")
		},
		"over the limit": func(context.Context, int) (json.RawMessage, []record.Flag, error) {
			return json.RawMessage(`{"passed":false}`), []record.Flag{{Name: "client_bound", Evidence: "off by 9 ms"}}, nil
		},
		"passed": func(context.Context, int) (json.RawMessage, []record.Flag, error) {
			return json.RawMessage(`{"passed":true}`), nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			streams := 0
			b := bed{spec: simdriver.Spec(), url: server.URL(), options: func(o *engine.Options) {
				o.Calibrate = func(ctx context.Context, n int) (json.RawMessage, []record.Flag, error) {
					streams = n
					return calibrate(ctx, n)
				}
			}}
			row, res := b.run(t, "four")
			if streams != 4 {
				t.Errorf("calibrated with %d streams; the run uses 4", streams)
			}
			if name == "passed" {
				clean(t, row, "client_bound")
				if evidence(res.Flags, "client_bound") != "" || string(res.Calibration) != `{"passed":true}` {
					t.Errorf("flags of the run %v, receipt %s", res.Flags, res.Calibration)
				}
				return
			}
			wanted{flag: "client_bound", evidence: "calibration failed: no port|off by 9 ms"}.check(t, row)
			if evidence(res.Flags, "client_bound") == "" || res.Rankable {
				t.Errorf("flags of the run %v, rankable %t", res.Flags, res.Rankable)
			}
			if (res.Calibration == nil) != (res.Reasons["calibration"] != "") {
				t.Errorf("receipt %s, reason %q; want one of them", res.Calibration, res.Reasons["calibration"])
			}
		})
	}
}

// someoneElse streams on a simulator beside the run until it has its answer.
func someoneElse(t *testing.T, server *sim.Server, words, output int, reuse bool) (wait func()) {
	t.Helper()
	s, err := simdriver.Spec().Open(t.Context(), drivers.Config{
		URL: server.URL(), Clock: clock.New(), Env: func(string) string { return "" }, Log: t.Logf,
	}, drivers.Need{Context: 512, Parallel: 1})
	if err != nil {
		t.Error(err)
		return func() {}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := s.Stream(ctx, drivers.Request{
			Prompt:       drivers.Prompt{Messages: []chat.Message{{Role: "user", Content: strings.Repeat("else ", words)}}},
			OutputTokens: output, Slot: drivers.AnySlot, Reuse: reuse,
		})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}()
	return func() {
		if reuse {
			<-done
		}
		stop()
		<-done
		_ = s.Close()
	}
}

// TestOtherTraffic: another client streams before our request is sent and beyond, begins during it and outlasts it, or
// comes and goes while it runs.
func TestOtherTraffic(t *testing.T) {
	for _, c := range []struct {
		name     string
		during   bool
		words    int
		output   int
		reuse    bool // looked up in the prompt cache, and so counted
		evidence string
	}{
		{name: "before", output: 4000, words: 5, evidence: "1 requests of somebody else, 0 waiting, before ours was sent"},
		{name: "during and after", during: true, output: 4000, words: 5, evidence: "somebody else, 0 waiting, when all of ours had ended"},
		{name: "comes and goes", during: true, output: 1, words: 600, reuse: true, evidence: "took in [6-9][0-9]+ prompt tokens while ours had 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startSim(t, "")
			live := &engine.Live{}
			b := bed{spec: simdriver.Spec(), url: server.URL(), options: func(o *engine.Options) { o.Watch.Live = live }}
			if !c.during {
				wait := someoneElse(t, server, c.words, c.output, c.reuse)
				for server.Activity().Running == 0 {
					time.Sleep(time.Millisecond)
				}
				row, _ := b.run(t, "flow")
				wait()
				wanted{flag: "other_traffic", evidence: c.evidence}.check(t, row)
				return
			}
			came := make(chan func(), 1)
			go func() {
				for live.Snapshot().Doing != "streaming" || server.Activity().Running == 0 {
					time.Sleep(time.Millisecond)
				}
				came <- someoneElse(t, server, c.words, c.output, c.reuse)
			}()
			row, _ := b.run(t, "flow")
			(<-came)()
			wanted{flag: "other_traffic", evidence: c.evidence}.check(t, row)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		for driver, spec := range specs() {
			b := bed{spec: spec, url: startSim(t, "").URL(), options: func(o *engine.Options) { o.Repeats = 3 }}
			row, _ := b.run(t, "one")
			if said := evidence(row.Flags, "other_traffic"); said != "" {
				t.Errorf("%s: nobody else was there: %s", driver, said)
			}
		}
	})
}

// slowGauge is a server whose gauge still counts our own stream at the first look after it.
type slowGauge struct {
	drivers.Session
	drivers.Tokenizer
	running *atomic.Int64
}

func (s slowGauge) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec, err := s.Session.Stream(ctx, r)
	s.running.Store(1)
	return rec, err
}

func (s slowGauge) Activity(context.Context) (drivers.Activity, error) {
	return drivers.Activity{Running: int(s.running.Swap(0)), Waiting: drivers.NotKnown}, nil
}

// TestOurOwnStreamIsNoOtherTraffic: a server may take a moment to count our stream as ended.
func TestOurOwnStreamIsNoOtherTraffic(t *testing.T) {
	looks := &atomic.Int64{}
	b := bed{spec: simdriver.Spec(), url: startSim(t, "").URL()}
	b.options = func(o *engine.Options) {
		o.Repeats = 2
		open := o.Spec.Open
		o.Spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
			s, err := open(ctx, c, n)
			if err != nil {
				return nil, err
			}
			return slowGauge{s, drivers.CapsOf(s).Tokenizer, looks}, nil
		}
	}
	row, _ := b.run(t, "one")
	if said := evidence(row.Flags, "other_traffic"); said != "" || row.Status != record.OK {
		t.Errorf("row is %s (%s), other_traffic says %q", row.Status, row.Reason, said)
	}
}

// puttingBack is a server that puts back two requests during each stream, and has put back two before it was opened.
type puttingBack struct {
	drivers.Session
	drivers.Tokenizer
	count *atomic.Int64
	off   bool
}

func (s puttingBack) Stream(ctx context.Context, r drivers.Request) (stream.Recording, error) {
	rec, err := s.Session.Stream(ctx, r)
	s.count.Add(2)
	return rec, err
}

func (s puttingBack) Preemptions(context.Context) (int64, error) {
	if s.off {
		return 0, errors.New("no counter")
	}
	return s.count.Load(), nil
}

// TestRequestsPutBack: what a server threw away and did again inside a stream's times is said in the row, which is not ranked.
func TestRequestsPutBack(t *testing.T) {
	for _, off := range []bool{false, true} {
		count := &atomic.Int64{}
		count.Store(2)
		b := bed{spec: simdriver.Spec(), url: startSim(t, "").URL()}
		b.options = func(o *engine.Options) {
			open := o.Spec.Open
			o.Spec.Open = func(ctx context.Context, c drivers.Config, n drivers.Need) (drivers.Session, error) {
				s, err := open(ctx, c, n)
				if err != nil {
					return nil, err
				}
				return puttingBack{s, drivers.CapsOf(s).Tokenizer, count, off}, nil
			}
		}
		row, _ := b.run(t, "one")
		if off {
			if said := evidence(row.Flags, "server_queued"); said != "" {
				t.Errorf("nobody counts: %s", said)
			}
			continue
		}
		wanted{flag: "server_queued", evidence: "put 2 requests back into its queue"}.check(t, row)
	}
}

// TestSimulatedAndQuick: what comes from the simulator says so whichever driver reads it, and so do quick rows.
func TestSimulatedAndQuick(t *testing.T) {
	for driver, spec := range specs() {
		t.Run(driver, func(t *testing.T) {
			b := bed{spec: spec, url: startSim(t, "").URL()}
			undisguised := b
			undisguised.options = func(o *engine.Options) { o.Spec = spec }
			row, res := undisguised.run(t, "one")
			wanted{flag: "simulated", evidence: "simulator"}.check(t, row)
			if evidence(res.Flags, "simulated") == "" {
				t.Error("the run as a whole does not say that it is simulated")
			}
			quick := b
			quick.options = func(o *engine.Options) { o.Quick = true }
			row, _ = quick.run(t, "one")
			wanted{flag: "quick", evidence: "never compared"}.check(t, row)
			row, _ = b.run(t, "one")
			clean(t, row, "simulated")
			clean(t, row, "quick")
		})
	}
}
