package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

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
	cols int    // columns that it takes
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
		v.a.errf("%s", v.erase())
		v.line = ""
	}
}

// erase takes away what stands on the terminal: a line, and what a terminal that has become narrower has wrapped it to.
func (v *view) erase() string {
	up := ""
	if width := v.width(); v.line != "" && v.cols > width {
		up = fmt.Sprintf("\x1b[%dA", (v.cols-1)/width)
	}
	return up + "\r\x1b[J"
}

// width is how many columns the terminal has.
func (v *view) width() int {
	if v.a.Width != nil {
		if n := v.a.Width(); n > 0 {
			return n
		}
	}
	return 80
}

// put draws a line with the terminal's wrapping off: characters of which terminals disagree how wide they are cut at its
// edge and don't begin a second line.
func (v *view) put(line string) {
	v.a.errf("%s\x1b[?7l%s\x1b[?7h", v.erase(), line)
	v.line, v.cols = line, columns(line)
}

// say writes a finished line.
func (v *view) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	line := v.line
	v.clear()
	v.a.errf(format+"\n", args...)
	if line != "" {
		v.put(clip(line, v.width()-1))
	}
}

func (v *view) draw(now time.Time) {
	s := v.live.Snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	line := clip(liveLine(s, v.rate.note(now, s.Events), now), v.width()-1)
	if line != v.line || v.cols > v.width() {
		v.put(line)
	}
}

// clip cuts a line to at most width columns, and takes out of it what would move the cursor.
func clip(line string, width int) string {
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, line)
	if columns(line) <= width {
		return line
	}
	var b strings.Builder
	left := width - 1 // for the mark of the cut
	for _, r := range line {
		if left -= runeColumns(r); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	if width < 1 {
		return ""
	}
	return b.String() + "…"
}

// columns is how wide a text is on a terminal.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is how wide a character is, roughly: two columns for East Asian ones and pictures, none for marks that stand
// on the character before.
func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), r >= 0xff01 && r <= 0xff60, r >= 0x3000 && r <= 0x303e, r >= 0x1f300 && r <= 0x1faff:
		return 2
	}
	return 1
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
		parts = append(parts, report.Count(s.Streams, "stream"))
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
