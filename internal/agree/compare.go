package agree

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// The names of the comparisons, and their units.
const (
	nameDecode      = "decode_tps"
	namePrefill     = "prefill_tps"
	namePrefillSame = "prefill_difference_tps"
	namePrompt      = "prompt_tokens"
	nameOutput      = "output_tokens"
	nameEvents      = "event_tokens"
	nameCold        = "cold_cached_tokens"
	nameCached      = "cached_tokens"
	nameHits        = "counter_cached_tokens"
	nameQueried     = "counter_prompt_tokens"
)

// The units of a Comparison: of a rate, and of a count.
const (
	Rate   = "tok/s"
	Tokens = "tokens"
)

func ptr[T any](x T) *T { return &x }

func (r *run) add(c Comparison) { r.report.Comparisons = append(r.report.Comparisons, c) }

// tokens names a prompt's length for people.
func tokens(n int) string { return strconv.Itoa(n) + " tokens" }

// pair is one request's figure on both sides.
type pair struct{ client, server measure.Value }

// rates compares rates: the median of the differences of the single requests, so that a machine that is now fast and now
// slow does not show as a difference between two clocks that saw the same.
func rates(c Comparison, pairs []pair) Comparison {
	var client, server, off []float64
	why := "no request of this length"
	for _, p := range pairs {
		switch {
		case !p.client.Known && !p.server.Known && p.client.Why != p.server.Why:
			why = "client: " + p.client.Why + "; server: " + p.server.Why
			continue
		case !p.client.Known:
			why = p.client.Why
			continue
		case !p.server.Known:
			why = p.server.Why
			continue
		case p.server.X == 0:
			why = "the server states a rate of 0"
			continue
		}
		client, server, off = append(client, p.client.X), append(server, p.server.X), append(off, p.client.X/p.server.X-1)
	}
	c.Requests = len(off)
	if len(off) == 0 {
		// What there is of one side is still shown.
		for _, p := range pairs {
			if p.client.Known {
				client = append(client, p.client.X)
			}
			if p.server.Known {
				server = append(server, p.server.X)
			}
		}
		c.Client, c.Server, c.Reason = median(client), median(server), why
		return c
	}
	c.Client, c.Server, c.Difference = median(client), median(server), median(off)
	if c.Limit != nil && c.Reason == "" {
		c.OK = ptr(math.Abs(*c.Difference) <= *c.Limit)
	}
	return c
}

func median(xs []float64) *float64 {
	if m, ok := stats.Median(xs); ok {
		return &m
	}
	return nil
}

// decode compares the decode rates of the requests of one length.
func (r *run) decode(n int, ms []sample) {
	pairs := make([]pair, len(ms))
	for i := range ms {
		pairs[i] = pair{ms[i].Decode, ms[i].ServerDecode}
	}
	r.add(rates(Comparison{Name: nameDecode, What: "decode, prompt of " + tokens(r.length(n, ms)), Unit: Rate, Limit: ptr(DecodeLimit)}, pairs))
}

// length is what the prompts of one length really have, where that is known.
func (r *run) length(n int, ms []sample) int {
	var xs []float64
	for i := range ms {
		if ms[i].Prompt.Known() {
			xs = append(xs, float64(ms[i].Prompt.N))
		}
	}
	if m := median(xs); m != nil {
		return int(*m)
	}
	return n
}

// maxRuleGap is how far the client's rule for prefill may differ from the server's by their definitions alone before the
// limit says nothing about the clocks. The client takes off all that a short prompt costs, its own prefill included.
const maxRuleGap = PrefillLimit / 2

// prefill compares the prefill rates of one length in two ways: the client's estimate with the server's rate as stated, and
// with what the client's rule gives on the server's own times, which leaves nothing but the clocks.
func (r *run) prefill(n int, ms []sample) {
	var plain, same []pair
	probeTokens, probeTime, known := r.serverProbe()
	gap := 0.0
	for i := range ms {
		m := &ms[i]
		client := r.clientPrefill(m)
		plain = append(plain, pair{client, m.ServerPrefill})
		span := m.ServerPrefillSpan
		server := m.ServerPrefill
		switch {
		case !server.Known:
		case !known:
			server = measure.Unknown("the server states no prefill time for the short probe")
		case span.Time <= probeTime || span.Tokens <= probeTokens:
			server = measure.Unknown("the server states no more time for this prompt than for the short probe")
		default:
			gap = (1-float64(probeTokens)/float64(span.Tokens))/(1-float64(probeTime)/float64(span.Time)) - 1
			server = measure.Known(float64(span.Tokens-probeTokens) / (span.Time - probeTime).Seconds())
		}
		same = append(same, pair{client, server})
	}
	of := "prompt of " + tokens(r.length(n, ms))
	c := Comparison{Name: namePrefill, What: "prefill, " + of, Unit: Rate, Limit: ptr(PrefillLimit)}
	if math.Abs(gap) > maxRuleGap {
		c.Reason = fmt.Sprintf("this prompt is too short to judge: by the server's own times the short probe of %d tokens took so much of it that the two rules differ by %+.1f %%", probeTokens, 100*gap)
	}
	r.add(rates(c, plain))
	r.add(rates(Comparison{Name: namePrefillSame, What: "the same less a short prompt, both", Unit: Rate, Limit: ptr(PrefillLimit)}, same))
}

// serverProbe is what the server says of the short probes: their tokens, and the median of their prefill times.
func (r *run) serverProbe() (tokens int, prefill time.Duration, ok bool) {
	var times []float64
	for i := range r.probes {
		p := &r.probes[i]
		if p.server.Prefill <= 0 || !p.server.PromptTokens.Known() {
			return 0, 0, false
		}
		times, tokens = append(times, float64(p.server.Prefill)), tokens+p.server.PromptTokens.N
	}
	if m := median(times); m != nil {
		return tokens / len(r.probes), time.Duration(*m), true
	}
	return 0, 0, false
}

// equal adds up two counts over requests and compares them one by one. Each gives its pair, or the reason why there is none.
func equal(c Comparison, n int, each func(i int) (client, server int, why string)) Comparison {
	c.Unit, c.Limit = Tokens, ptr(0.0)
	var client, server float64
	wrong := ""
	for i := range n {
		a, b, why := each(i)
		if why != "" {
			c.Reason = why
			c.Requests = 0
			return c
		}
		if a != b && wrong == "" {
			wrong = fmt.Sprintf("request %d of %d: %d here, %d by the server", i+1, n, a, b)
		}
		client, server = client+float64(a), server+float64(b)
		c.Requests++
	}
	if n == 0 {
		c.Reason = "no request"
		return c
	}
	c.Client, c.Server, c.Reason, c.OK = &client, &server, wrong, ptr(wrong == "")
	switch {
	case server != 0:
		c.Difference = ptr(client/server - 1)
	case client == 0:
		c.Difference = ptr(0.0)
	}
	return c
}

// counts compares prompt and output tokens over all requests, and the cached tokens of the cold ones.
func (r *run) counts() {
	stated := func(c stream.Count) bool { return c.Known() && c.From != stream.EventsCounted }
	r.add(equal(Comparison{Name: namePrompt, What: "prompt tokens: ids, stated"}, len(r.all), func(i int) (int, int, string) {
		m := &r.all[i]
		switch {
		case m.ids == nil:
			return 0, 0, "the server has no tokenizer to count a prompt with"
		case !stated(m.Prompt):
			return 0, 0, "the server states no prompt tokens"
		}
		return len(m.ids), m.Prompt.N, ""
	}))
	r.add(equal(Comparison{Name: nameOutput, What: "output tokens: asked, stated"}, len(r.all), func(i int) (int, int, string) {
		m := &r.all[i]
		switch {
		case !stated(m.Output):
			return 0, 0, "the server states no output tokens"
		case !r.info.IgnoresEOS:
			return 0, 0, "the server can't be told to generate an exact number of tokens"
		}
		return m.Asked.OutputTokens, m.Output.N, ""
	}))
	r.add(equal(Comparison{Name: nameEvents, What: "output tokens: event by event, stated"}, len(r.all), func(i int) (int, int, string) {
		m := &r.all[i]
		switch {
		case !stated(m.Output):
			return 0, 0, "the server states no output tokens"
		case m.each == nil:
			return 0, 0, "the server does not say how many tokens each event holds"
		}
		return *m.each, m.Output.N, ""
	}))
	var cold []sample
	for _, m := range r.all {
		if m.kind != kindTurn {
			cold = append(cold, m)
		}
	}
	r.add(equal(Comparison{Name: nameCold, What: "cached tokens of cold prompts"}, len(cold), func(i int) (int, int, string) {
		m := &cold[i]
		switch {
		case !stated(m.Cached):
			return 0, 0, "the server does not say how many prompt tokens came from a cache"
		case !r.info.ColdAsked:
			return 0, 0, "the server can't be told to reuse nothing, so that the chat template may come from its cache"
		}
		return 0, m.Cached.N, ""
	}))
}

// reuse compares what the server took from its cache with what each prompt's ids have in common with the turn before.
func (r *run) reuse(turns []sample) {
	warm := turns[min(1, len(turns)):]
	r.add(equal(Comparison{Name: nameCached, What: "cached tokens of turns: shared ids, stated"}, len(warm), func(i int) (int, int, string) {
		m := &warm[i]
		switch {
		case !m.Cached.Known():
			return 0, 0, "the server does not say how many prompt tokens came from a cache"
		case m.shared == nil:
			return 0, 0, "the server has no tokenizer, so that what a prompt shares with the one before is not known"
		}
		return *m.shared, m.Cached.N, ""
	}))
}

// against compares the counts stated request by request with the server's own counters over the conversation.
func (r *run) against(turns []sample, before, after *drivers.CacheStats) {
	var cached, prompt int
	why := ""
	for i := range turns {
		if !turns[i].Cached.Known() || !turns[i].Prompt.Known() {
			why = "the server does not say how many prompt tokens came from a cache"
		}
		cached, prompt = cached+turns[i].Cached.N, prompt+turns[i].Prompt.N
	}
	if before == nil || after == nil {
		why = "the server has no counters of its prompt cache"
	}
	row := func(name, what string, client int, server func() int64) {
		c := equal(Comparison{Name: name, What: what}, 1, func(int) (int, int, string) {
			if why != "" {
				return 0, 0, why
			}
			return client, int(server()), ""
		})
		c.Requests = len(turns)
		if c.OK != nil && !*c.OK {
			c.Reason = "the counters moved by another number than the requests state: another client used the server, or one of the two is wrong"
		}
		r.add(c)
	}
	row(nameHits, "cached tokens of turns: stated, counters", cached, func() int64 { return after.HitTokens - before.HitTokens })
	row(nameQueried, "prompt tokens of turns: stated, counters", prompt, func() int64 { return after.QueriedTokens - before.QueriedTokens })
}
