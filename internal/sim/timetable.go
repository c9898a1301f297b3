package sim

import (
	"math"
	"slices"
	"sync"
	"time"
)

// timetable decides when each token is due and writes it then, on one goroutine. Due times follow from the arrival times
// and the profile alone: they are computed from one another and never from when something was in fact written, so that a
// late write delays nothing after it.
//
// Decoding streams share one speed, which changes when a stream joins or leaves. v is the decode work done since the
// origin, in seconds of a lone stream; a token is due at a value of v, so that a change of speed moves all due times at once.
type timetable struct {
	profile Profile
	now     func() time.Duration
	wait    *waiter
	cache   *cache
	journal *journal

	mu     sync.Mutex
	inbox  []any // *job, leave, resumed, flush
	closed bool
	state  Activity
	stats  CacheStats

	jobs        []*job  // in order of arrival
	t, v        float64 // up to where the timetable has been carried out, seconds; decode work done by then
	b           int     // streams decoding
	freed       float64 // when a slot was last given back
	prefillFree float64 // when the last prefill ended
	ended       chan struct{}
}

// Activity is what the server does at one moment.
type Activity struct {
	Running int `json:"running"` // requests in a slot
	Waiting int `json:"waiting"` // requests without one
}

type (
	leave   struct{ *job } // the client has gone
	resumed struct {       // a slow write has ended
		*job
		events  []Sent
		act     action
		err     error
		started time.Duration
		ended   time.Duration
		due     time.Duration
	}
	flush struct{ done chan struct{} }
)

func (t *timetable) post(m any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inbox = append(t.inbox, m)
	if !t.closed {
		t.wait.wake() // under the lock, so that it never wakes a descriptor that is another's by now
	}
}

// run is the loop; it returns after close.
func (t *timetable) run() {
	defer close(t.ended)
	t.wait.own()
	for {
		now := t.now()
		for t.advanceTo(now) {
		}
		if t.read(now) {
			return
		}
		for t.advanceTo(now) {
		}
		t.publish() // before a client can see what follows from it
		t.write()
		next := t.nextDue()
		if next == math.MaxInt64 {
			t.wait.wait(-1)
		} else if d := next - t.now(); d > 0 {
			t.wait.wait(d)
		}
	}
}

func (t *timetable) close() {
	t.mu.Lock()
	t.closed = true
	t.wait.wake()
	t.mu.Unlock()
	<-t.ended
	t.wait.close()
}

// read takes what came in; true means that the server closes.
func (t *timetable) read(now time.Duration) bool {
	t.mu.Lock()
	in, closed := t.inbox, t.closed
	t.inbox = nil
	t.mu.Unlock()
	for _, m := range in {
		switch m := m.(type) {
		case *job:
			m.blocked = t.full(m.slots)
			t.jobs = append(t.jobs, m)
			t.enqueue(m, m.arrived)
		case leave:
			t.drop(m.job, "client gone", now)
		case resumed:
			if !slices.Contains(t.jobs, m.job) { // dropped meanwhile
				continue
			}
			m.busy = false
			t.note(m.job, m.events, m.due, m.started, m.ended)
			t.wrote(m.job, m.act, m.err)
		case flush:
			t.cache.entries = nil
			t.publish()
			close(m.done)
		}
	}
	if closed {
		for _, j := range slices.Clone(t.jobs) {
			t.drop(j, "server closed", now)
		}
	}
	return closed
}

// full reports whether a request that comes now must wait for a slot.
func (t *timetable) full(slots int) bool {
	running := 0
	for _, j := range t.jobs {
		if j.stage == waiting {
			return true
		}
		if j.stage != finished {
			running++
		}
	}
	return running >= slots
}

func (t *timetable) publish() {
	var a Activity
	for _, j := range t.jobs {
		switch j.stage {
		case waiting:
			a.Waiting++
		case finished:
		default:
			a.Running++
		}
	}
	t.mu.Lock()
	t.state = a
	t.stats = CacheStats{t.cache.queried, t.cache.hit, len(t.cache.entries), t.cache.block}
	t.mu.Unlock()
}

// speed is how fast one stream decodes, beside a lone one.
func (t *timetable) speed() float64 {
	if t.b <= 1 {
		return 1
	}
	return math.Pow(float64(t.b), t.profile.BatchExponent-1)
}

// pass moves the timetable's time on, and the decode work done with it.
func (t *timetable) pass(to float64) {
	if to <= t.t {
		return
	}
	if t.b > 0 {
		t.v += (to - t.t) * t.speed()
	}
	t.t = to
}

// nextIdeal is the job whose stage ends next, and when, in seconds since the origin.
func (t *timetable) nextIdeal() (*job, float64) {
	var who *job
	when := math.Inf(1)
	running, speed := 0, t.speed()
	for _, j := range t.jobs {
		if j.stage != waiting && j.stage != finished {
			running++
		}
	}
	first := true
	for _, j := range t.jobs {
		at := math.Inf(1)
		switch j.stage {
		case waiting:
			if first && running < j.slots {
				at = j.arrived.Seconds()
				if j.blocked {
					at = t.freed
				}
			}
			first = false
		case prefill, starting:
			at = j.at
		case decoding:
			at = t.t + (j.vDue-t.v)/speed
		}
		if at < when {
			who, when = j, at
		}
	}
	return who, when
}

// advanceTo ends the next stage that ends by now; false where there is none.
func (t *timetable) advanceTo(now time.Duration) bool {
	j, at := t.nextIdeal()
	if j == nil || at > now.Seconds() {
		return false
	}
	vDue := j.vDue
	t.pass(at)
	switch j.stage {
	case waiting:
		j.stage, j.at = queued, at+j.load.Seconds()
		t.startPrefill()
	case prefill:
		j.stage, j.at = starting, at+t.profile.FirstToken().Seconds()*j.slow
		j.served.PrefillEnd = seconds(at) - j.arrived
		t.prefillFree = at
		t.startPrefill()
	case starting:
		j.served.FirstToken = seconds(at) - j.arrived
		t.token(j, at)
	case decoding:
		t.v = vDue // exactly, so that rounding never adds up
		t.token(j, at)
	}
	return true
}

// startPrefill starts the next prefill where none runs.
func (t *timetable) startPrefill() {
	var next *job
	for _, j := range t.jobs {
		if j.stage == prefill {
			return
		}
		if j.stage == queued && next == nil {
			next = j
		}
	}
	if next == nil {
		return
	}
	if next.reuse {
		next.served.CachedTokens = t.cache.match(next.salt, next.prompt)
	}
	start := max(next.at, t.prefillFree)
	next.served.PrefillStart = seconds(start) - next.arrived
	next.stage = prefill
	next.at = start + t.profile.Prefill(len(next.prompt), next.served.CachedTokens).Seconds()*next.slow
}

// token: the next token of j is generated now.
func (t *timetable) token(j *job, at float64) {
	j.tick++
	due := seconds(at)
	j.served.LastToken = due - j.arrived
	if j.tick >= j.ticks {
		if j.stage == decoding {
			t.leaveBatch()
		}
		j.stage, t.freed = finished, at
		if j.reuse {
			t.cache.store(j.salt, j.ids)
		}
	} else {
		if j.stage == starting {
			j.stage, j.vDue = decoding, t.v
			t.b++
			j.served.Batch = max(j.served.Batch, t.b)
			for _, o := range t.jobs {
				if o.stage == decoding {
					o.served.Batch = max(o.served.Batch, t.b)
				}
			}
		}
		j.vDue += t.profile.work(len(j.prompt), j.tick+1) * j.slow
	}
	t.enqueue(j, due)
}

func (t *timetable) leaveBatch() {
	if t.b--; t.b == 0 {
		t.v = 0 // nobody's due time refers to it
	}
}

// enqueue puts the steps that go with what has been generated by now into the job's output.
func (t *timetable) enqueue(j *job, at time.Duration) {
	for j.next < len(j.steps) && j.steps[j.next].after <= j.tick {
		s := &j.steps[j.next]
		j.next++
		base := at
		if s.after == 0 {
			base = j.arrived
		}
		j.last = max(j.last, base+s.delay)
		if j.merge && s.after > 0 {
			j.last = max(j.last, j.burst(base+s.delay))
		}
		j.out = append(j.out, timed{j.last, s})
	}
}
