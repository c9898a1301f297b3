package oracle

import "time"

// Pair is a long prompt and the short probe that its prefill is estimated with by the client.
type Pair struct {
	Name        string
	Traps       []int
	Naive, Says string
	Long, Probe Case
	Prefill     Fig // tok/s
	Flags       []string
}

// Batch is a set of streams that one barrier releases.
type Batch struct {
	Name        string
	Traps       []int
	Naive, Says string
	Streams     []Case // moments after the release, which is every stream's t_send
	Aggregate   Fig    // tok/s over the overlap
	Span        Fig    // tok/s over the whole
	PerStream   Fig
	Fairness    Fig
	Parallelism int
	Flags       []string // of the batch
}

// Row is a workload's passes.
type Row struct {
	Name        string
	Traps       []int
	Naive, Says string
	Passes      []Case
	Decode      Fig // headline
	Mean        float64
	Unstable    bool
}

// stream is a chat stream of single tokens.
func stream(prompt, cached int, first, gap time.Duration, n int) Case {
	return Case{Name: "stream", Protocol: Chat, Asked: Asked{Output: n, Template: 20, CacheBlock: 1}, HeadAt: first - ms, Want: Want{Prompt: usageOf(prompt)},
		Writes: new(tape).run(first, gap, n, 1, content).end(prompt, n, cached, -1).writes}
}

// Pairs are about the client's own prefill rate.
func Pairs() []Pair {
	p := func(name string, traps []int, naive, says string, long, probe Case, want Fig) Pair {
		return Pair{Name: name, Traps: traps, Naive: naive, Says: says, Long: long, Probe: probe, Prefill: want}
	}
	return []Pair{
		p("prefill by a probe", []int{2}, "divides by TTFT, what does not grow with the prompt included: 7,280", "8,000 tok/s, named `estimated`",
			stream(1456, 0, 200*ms, 5*ms, 20), stream(16, 0, 20*ms, 5*ms, 20), is(8000)),
		p("prefill that does not show", []int{17}, "360,000 tok/s from a difference of 4 ms", "null: the difference is under 5 ms",
			stream(1456, 0, 24*ms, 5*ms, 20), stream(16, 0, 20*ms, 5*ms, 20), no("less than 5")),
		p("prefill under a long fixed part", []int{17}, "a rate from a tenth of TTFT", "null: the difference is under 20 %",
			stream(176, 0, 220*ms, 5*ms, 20), stream(16, 0, 200*ms, 5*ms, 20), no("less than 20")),
		p("prefill of a prompt from the cache", []int{7, 8}, "48,000 tok/s", "null: not both cold",
			stream(1456, 1400, 50*ms, 5*ms, 20), stream(16, 0, 20*ms, 5*ms, 20), no("not both cold")),
	}
}

// Batches are about streams at once.
func Batches() []Batch {
	var ramp, queue []Case
	for i := range 4 {
		// t_1 = 10, 20, 30, 40; 60 tokens, 5 ms apart.
		ramp = append(ramp, stream(1000, 0, time.Duration(10*(i+1))*ms, 5*ms, 60))
		// Two slots: the last two begin when the first two have ended.
		queue = append(queue, stream(1000, 0, 10*ms+time.Duration(i/2)*200*ms+time.Duration(i%2)*ms, 5*ms, 30))
	}
	return []Batch{
		{
			Name: "ramp-up and drain", Traps: []int{13}, Naive: "716.4 instead of 800 tok/s: all tokens over the whole time", Says: "800 tok/s in the overlap, the whole-span rate beside it",
			// The overlap is 40 to 305 ms; each stream has 53 tokens in it.
			Streams: ramp, Aggregate: is(212 / 0.265), Span: is(240 / 0.335), PerStream: is(200), Fairness: is(1), Parallelism: 4,
		},
		{
			Name: "a server with two slots for four streams", Traps: []int{12, 13}, Naive: "adds up the rates: 800 tok/s", Says: "null: no overlap; parallelism 2, `server_queued`",
			Streams: queue, Aggregate: no("no overlap"), Span: is(120 / 0.356), PerStream: is(200), Fairness: is(1), Parallelism: 2, Flags: []string{"server_queued"},
		},
	}
}

// Rows are about several passes.
func Rows() []Row {
	pass := func(gap time.Duration) Case { return stream(1000, 0, 40*ms, gap, 20) }
	return []Row{
		{
			Name: "a first pass that warms up", Traps: []int{20}, Naive: "the mean: 96", Says: "the median: 100 tok/s, `unstable`",
			Passes: []Case{pass(12500 * us), pass(10 * ms), pass(10 * ms), pass(10 * ms), pass(10 * ms)}, Decode: is(100), Mean: 96, Unstable: true,
		},
		{
			Name: "five even passes", Traps: []int{20}, Naive: "nothing", Says: "100 tok/s",
			Passes: []Case{pass(10 * ms), pass(10 * ms), pass(10 * ms), pass(10 * ms), pass(10 * ms)}, Decode: is(100), Mean: 100,
		},
	}
}
