package measure

import (
	"fmt"
	"math"
	"time"

	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Flag is a name of section 6 and what was seen, in words with numbers.
type Flag struct{ Name, Evidence string }

// The flags that this package raises (section 6); the others come from the machine and the run.
const (
	CacheContaminated = "cache_contaminated"
	ColdUnproved      = "cold_unproved"
	EarlyStop         = "early_stop"
	Coalesced         = "coalesced"
	ProxyBuffered     = "proxy_buffered"
	ClientBound       = "client_bound"
	PromptDrift       = "prompt_drift"
	ProvenanceD       = "count_provenance_D"
	ProvenanceE       = "count_provenance_E"
	Unstable          = "unstable"
	Contradiction     = "contradiction" // two figures of the server can't both be true
	TruncatedContext  = "truncated_context"
	ServerQueued      = "server_queued"
	Errors            = "errors"
)

// The limits of the flags (section 6), and of what it leaves open.
const (
	maxTokensPerEvent = 1.1
	maxDrift          = 0.01
	driftTokens       = 2   // a salt's own tokens vary by so many: without a tokenizer no short prompt can be fitted closer
	burstGap          = 0.2 // ms: an ICL p50 below it is that of a buffer being emptied
	longGap           = 5.0 // ms: longer than a burst takes; a model that decodes below 0.2 ms a token makes none
	longGaps          = 3   // so many make it periodic
	longShare         = 0.8 // of the time from t_1 to t_L that a buffered stream spends in long gaps
	leastBurst        = 5   // events in a burst, on average: fewer are what speculative decoding brings at once
	queueTime         = 10 * time.Millisecond
	lagLimit          = 2 * time.Millisecond // of the client itself, p99
)

// flags are those of one request.
func (s *Sample) flags(tr stream.Transcript) []Flag {
	var fs []Flag
	add := func(name, evidence string, args ...any) { fs = append(fs, Flag{name, fmt.Sprintf(evidence, args...)}) }
	if s.Failed() {
		add(Errors, "%s", s.Err)
	} else if why := s.stoppedEarly(); why != "" {
		add(EarlyStop, "%s", why)
	}
	if f, ok := s.cacheFlag(); ok {
		fs = append(fs, f)
	}
	if s.TokensPerEvent.Known && s.TokensPerEvent.X > maxTokensPerEvent {
		add(Coalesced, "%.4g tokens in an event", s.TokensPerEvent.X)
	} else if s.coalesce > 0.5 {
		if len(s.Steps) == 1 {
			add(Coalesced, "all %d events came in one read", s.Events)
		} else {
			add(Coalesced, "%d events in %d reads, several in %.0f %% of them", s.Events, len(s.Steps), 100*s.coalesce)
		}
	}
	if why := s.buffered(); why != "" {
		add(ProxyBuffered, "%s", why)
	}
	switch Worst([]stream.Provenance{s.Output.From, s.Prompt.From}) {
	case stream.LocalTokenizer:
		add(ProvenanceD, "tokens were counted by a local tokenizer")
	case stream.EventsCounted:
		add(ProvenanceE, "the server counts no tokens; %d events were counted", s.Events)
	}
	if asked := s.Asked.PromptTokens; asked > 0 && s.Prompt.Known() {
		if d := float64(s.Prompt.N) - float64(asked); math.Abs(d) > max(maxDrift*float64(asked), driftTokens) {
			add(PromptDrift, "%d prompt tokens, %d asked for (%+.1f %%)", s.Prompt.N, asked, 100*d/float64(asked))
		}
	}
	for _, what := range s.contradictions(tr) {
		add(Contradiction, "%s", what)
	}
	if tr.Truncated {
		add(TruncatedContext, "the server says that it cut the context")
	}
	if tr.PutBack > 0 {
		add(ServerQueued, "the server put the request back into its queue %d times: what it had computed was done again", tr.PutBack)
	} else if q := tr.Server.Queue; q >= queueTime {
		add(ServerQueued, "the server states %.4g ms in its queue before prefill", ms(q))
	}
	return fs
}

// stoppedEarly says how a stream that did not fail missed the length asked for; empty where it did not.
func (s *Sample) stoppedEarly() string {
	asked := s.Asked.OutputTokens
	counted := countable(s.Output)
	off := math.Abs(float64(s.Output.N) - float64(asked))
	if s.Output.From == stream.LocalTokenizer && off <= slack(float64(asked)) {
		off = 0 // text that is tokenised again need not give the tokens that it was made of
	}
	switch {
	case asked <= 0:
		return ""
	case counted && off > 0:
		return fmt.Sprintf("%d output tokens, %d asked for; finish reason %q", s.Output.N, asked, s.Finish)
	case s.Finish == stream.FinishLength, s.Finish == "" && counted:
		return ""
	case !counted:
		return fmt.Sprintf("finish reason %q, output tokens not counted, %d asked for", s.Finish, asked)
	}
	return fmt.Sprintf("finish reason %q after %d output tokens", s.Finish, s.Output.N)
}

// buffered says why the gaps (ms) look like those of a buffer that is emptied now and then: most are nothing, and a few
// long ones are nearly all of the time. Empty where they do not. How many events of a burst one read brings is chance, so
// that those of one read count as gaps of 0 here, unlike in the ICL that is shown. Where every burst came in one read,
// nothing tells a buffer from a server that writes so: that is coalesced.
func (s *Sample) buffered() string {
	gaps := make([]float64, max(0, s.Events-len(s.Steps)), max(1, s.Events))
	gaps = append(gaps, s.ICL...)
	p50, ok := stats.Median(gaps)
	if !ok || p50 >= burstGap {
		return ""
	}
	var long, in, total float64
	for _, gap := range s.ICL {
		total += gap
		if gap >= longGap {
			long++
			in += gap
		}
	}
	if short := float64(len(s.ICL)) - long; short < longGaps || long < longGaps || in < longShare*total || float64(s.Events) < leastBurst*(long+1) {
		return ""
	}
	return fmt.Sprintf("bursts of %.3g events, %.4g ms apart on average, which is %.0f %% of the time; most gaps inside them are below %.3g ms",
		float64(s.Events)/(long+1), in/long, 100*in/total, burstGap)
}

// Worst is the worst of the provenances that are known; Unknown where none is.
func Worst(ps []stream.Provenance) stream.Provenance {
	worst := stream.Unknown
	for _, p := range ps {
		worst = max(worst, p)
	}
	return worst
}

// Provenance of a sample: the worst of its output and prompt counts.
func (s *Sample) Provenance() stream.Provenance {
	return Worst([]stream.Provenance{s.Output.From, s.Prompt.From})
}

// ClientLag raises client_bound where the client's own lag, p99 over streams, is above 2 ms (section 6). The lag of a
// stream is its longest time between two reads that the client itself spent.
func ClientLag(samples []Sample) (Flag, bool) {
	var lags []float64
	for i := range samples {
		lags = append(lags, ms(max(0, samples[i].ReadLag)))
	}
	p99, ok := stats.Percentile(lags, 0.99)
	if !ok || p99 <= ms(lagLimit) {
		return Flag{}, false
	}
	return Flag{ClientBound, fmt.Sprintf("the client was up to %.3g ms late between two reads (p99 over %d streams; limit 2)", p99, len(lags))}, true
}

// MergeFlags makes the flags of a row from those of its requests: each name once, in the order first seen, with the first
// evidence and the number of requests.
func MergeFlags(samples []Sample) []Flag {
	var out []Flag
	seen := map[string]int{} // index in out
	hits := map[string]int{}
	for i := range samples {
		for _, f := range samples[i].Flags {
			if _, ok := seen[f.Name]; !ok {
				seen[f.Name] = len(out)
				out = append(out, f)
			}
			hits[f.Name]++
		}
	}
	for i := range out {
		if len(samples) > 1 {
			out[i].Evidence = fmt.Sprintf("%d of %d requests: %s", hits[out[i].Name], len(samples), out[i].Evidence)
		}
	}
	return out
}
