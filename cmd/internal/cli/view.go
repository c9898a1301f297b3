package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/report"
)

// viewEvery is how often the live line is drawn.
const viewEvery = 200 * time.Millisecond

// view shows a run as it goes: on a terminal one line that is drawn anew five times a second, with finished lines above
// it; elsewhere the finished lines alone.
type view struct {
	a    *app
	live *engine.Live
	tty  bool

	mu   sync.Mutex
	line string // what stands on the terminal now
	rate speedometer
	done chan struct{}
	gone sync.WaitGroup
}

// newView starts the view.
func (a *app) newView() *view {
	v := &view{a: a, live: &engine.Live{}, tty: a.ErrTTY && a.Env("TERM") != "dumb", done: make(chan struct{})}
	if v.tty {
		v.gone.Go(func() {
			tick := time.NewTicker(viewEvery)
			defer tick.Stop()
			for {
				select {
				case <-v.done:
					return
				case now := <-tick.C:
					v.draw(now)
				}
			}
		})
	}
	return v
}

// close ends the view and takes its line away.
func (v *view) close() {
	select {
	case <-v.done:
		return
	default:
	}
	close(v.done)
	v.gone.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clear()
}

// clear takes the live line away. The caller holds the lock.
func (v *view) clear() {
	if v.line != "" {
		v.a.errf("\r\x1b[K")
		v.line = ""
	}
}

// say writes a finished line.
func (v *view) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	line := v.line
	v.clear()
	v.a.errf(format+"\n", args...)
	if line != "" {
		v.a.errf("%s", line)
		v.line = line
	}
}

func (v *view) draw(now time.Time) {
	s := v.live.Snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	width := 80
	if v.a.Width != nil {
		width = max(v.a.Width(), 20)
	}
	line := clip(liveLine(s, v.rate.note(now, s.Events), now), width-1)
	if line != v.line {
		v.a.errf("\r\x1b[K%s", line)
		v.line = line
	}
}

// clip cuts a line to at most width columns.
func clip(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(0, width-1)]) + "…"
}

// liveLine is the line of one moment.
func liveLine(s engine.Snapshot, tps float64, now time.Time) string {
	if s.Row == "" {
		spin := []string{"|", "/", "-", `\`}[now.UnixNano()/int64(viewEvery)%4]
		return spin + " " + orElse(s.Doing, "starting")
	}
	parts := []string{s.Row + " " + s.Name}
	if s.Of > 1 {
		parts = append(parts, fmt.Sprintf("pass %d of %d", s.Pass, s.Of))
	}
	if s.Doing != "" {
		parts = append(parts, s.Doing)
	}
	if s.Streams > 1 {
		parts = append(parts, fmt.Sprintf("%d streams", s.Streams))
	}
	if s.Streams > 0 && tps > 0 {
		parts = append(parts, "≈ "+report.Number(tps)+" tok/s")
	}
	time := short(s.Elapsed)
	if s.Left > 0 {
		time += ", about " + short(s.Left) + " left"
	}
	return bar(s) + " " + strings.Join(append(parts, time), " · ")
}

// barCells is the width of the bar.
const barCells = 12

// bar shows how much is done: by time where the end is predicted, else by rows.
func bar(s engine.Snapshot) string {
	part := 0.0
	switch {
	case s.Left > 0:
		part = float64(s.Elapsed) / float64(s.Elapsed+s.Left)
	case s.Rows > 0:
		part = float64(s.RowsDone) / float64(s.Rows)
	}
	full := min(barCells, max(0, int(part*barCells)))
	return strings.Repeat("█", full) + strings.Repeat("░", barCells-full)
}

// short is a time as 1:07.
func short(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// speedometer makes a rate out of a growing count: over about the last second.
type speedometer struct {
	at     []time.Time
	counts []int64
}

// window is how many looks the rate is taken over.
const window = 6

// note takes a count and gives the rate by it. A count that falls begins anew: streams have closed.
func (m *speedometer) note(now time.Time, count int64) float64 {
	if n := len(m.counts); n > 0 && count < m.counts[n-1] {
		m.at, m.counts = nil, nil
	}
	m.at, m.counts = append(m.at, now), append(m.counts, count)
	if len(m.at) > window {
		m.at, m.counts = m.at[1:], m.counts[1:]
	}
	n := len(m.at) - 1
	took := m.at[n].Sub(m.at[0]).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(m.counts[n]-m.counts[0]) / took
}
