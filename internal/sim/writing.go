package sim

import (
	"errors"
	"math"
	"net"
	"slices"
	"time"
)

// burst is when a buffering proxy lets go of what it got at `at`.
func (j *job) burst(at time.Duration) time.Duration {
	first, every := j.arrived+j.served.FirstToken, j.burstOf
	if at <= first || every <= 0 {
		return at
	}
	return first + time.Duration((int64(at-first)+int64(every)-1)/int64(every)*int64(every))
}

func (t *timetable) nextDue() time.Duration {
	next := time.Duration(math.MaxInt64)
	if _, at := t.nextIdeal(); !math.IsInf(at, 1) {
		next = seconds(at)
	}
	for _, j := range t.jobs {
		if len(j.out) > 0 && !j.busy {
			next = min(next, j.out[0].due)
		}
	}
	return next
}

// write writes what is due, the earliest first.
func (t *timetable) write() {
	for {
		var who *job
		now := t.now()
		for _, j := range t.jobs {
			if len(j.out) > 0 && !j.busy && j.out[0].due <= now && (who == nil || j.out[0].due < who.out[0].due) {
				who = j
			}
		}
		if who == nil {
			return
		}
		t.writeNext(who)
	}
}

func (t *timetable) writeNext(j *job) {
	n := 1
	for j.merge && n < len(j.out) && j.out[n].due == j.out[0].due {
		n++
	}
	var data []byte
	var events []Sent
	act, due := stay, j.out[0].due
	for _, s := range j.out[:n] {
		piece := s.data
		if s.late != nil {
			piece = s.late(j)
		}
		if n == 1 {
			data, events = piece, s.events
		} else {
			data, events = append(data, piece...), append(events, s.events...)
		}
		act = max(act, s.act)
	}
	j.out = j.out[n:]
	if len(j.out) == 0 && j.next == len(j.steps) && !j.hangs {
		t.journal.expect()
		j.pending = true
	}
	started := t.now()
	sent, err := 0, error(nil)
	if len(data) > 0 {
		sent, err = tryWrite(j.conn, j.raw, data)
	}
	ended := t.now()
	if err == nil && sent < len(data) {
		j.busy = true
		go func() {
			_, err := j.conn.Write(data[sent:])
			t.post(resumed{j, events, act, err, started, t.now(), due})
		}()
		return
	}
	t.note(j, events, due, started, ended)
	t.wrote(j, act, err)
}

func (t *timetable) note(j *job, events []Sent, due, started, ended time.Duration) {
	for _, e := range events {
		e.Due, e.Begin, e.End = due-j.arrived, started-j.arrived, ended-j.arrived
		j.served.Events = append(j.served.Events, e)
	}
}

// wrote follows up on a write that has ended.
func (t *timetable) wrote(j *job, act action, err error) {
	switch {
	case err != nil && !errors.Is(err, net.ErrClosed):
		t.drop(j, "client gone", t.now())
		return
	case err != nil:
		t.drop(j, "server closed", t.now())
		return
	case act == resetC:
		if c, ok := j.conn.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
		_ = j.conn.Close()
	case act == cut:
		_ = j.conn.Close()
	}
	if len(j.out) == 0 && j.next == len(j.steps) && !j.hangs {
		t.end(j)
	}
}

// drop ends a job before its time.
func (t *timetable) drop(j *job, why string, now time.Duration) {
	if !slices.Contains(t.jobs, j) {
		return
	}
	if !(j.hangs && j.stage == finished) {
		j.served.Ended = why
	}
	for t.advanceTo(now) {
	}
	t.pass(now.Seconds())
	was := j.stage
	j.stage, j.out, j.next = finished, nil, len(j.steps)
	switch was {
	case decoding:
		t.leaveBatch()
	case prefill:
		t.prefillFree = t.t
		t.startPrefill()
	}
	if was != waiting && was != finished {
		t.freed = t.t
	}
	t.end(j)
}

// end takes a job off the timetable and tells the journal, then the handler.
func (t *timetable) end(j *job) {
	if j.stage != finished { // its last step was written ahead of its last token: never for a plan that is right
		return
	}
	t.jobs = slices.DeleteFunc(t.jobs, func(o *job) bool { return o == j })
	t.journal.add(j.served, j.pending)
	t.publish()
	close(j.done)
}
