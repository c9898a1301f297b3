package proc

import (
	"bytes"
	"strings"
	"sync"
)

// maxLine bounds a kept line, in bytes; what is longer is cut.
const maxLine = 4096

// tail keeps the last lines of several streams, and the notes of a guard apart from them.
type tail struct {
	mu    sync.Mutex
	max   int
	kept  []string
	first int // number of the line kept[0]
	notes map[string]string
	news  chan struct{} // closed when something is added
	open  []*lineWriter
}

func newTail(lines int) *tail {
	if lines <= 0 {
		lines = 200
	}
	return &tail{max: lines, notes: map[string]string{}, news: make(chan struct{})}
}

// stream gives a writer whose lines go to the tail.
func (t *tail) stream() *lineWriter {
	w := &lineWriter{t: t}
	t.open = append(t.open, w)
	return w
}

// flush adds the unfinished lines of all streams. No stream may write any more.
func (t *tail) flush() {
	for _, w := range t.open {
		w.end()
	}
}

func (t *tail) add(line string) {
	// A guard's note can stand behind the unfinished line of its child.
	before, note, isNote := strings.Cut(line, noteMark)
	t.mu.Lock()
	defer t.mu.Unlock()
	if isNote {
		name, text, _ := strings.Cut(note, " ")
		if _, known := t.notes[name]; !known {
			t.notes[name] = strings.TrimSpace(text)
		}
	}
	if !isNote || before != "" {
		t.kept = append(t.kept, clean(before))
		if len(t.kept) > t.max {
			t.first += len(t.kept) - t.max
			t.kept = append([]string(nil), t.kept[len(t.kept)-t.max:]...)
		}
	}
	close(t.news)
	t.news = make(chan struct{})
}

// clean makes a line safe to show: valid UTF-8 and no control characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.kept...)
}

// changed is closed at the next line after this call.
func (t *tail) changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.news
}

// find looks for a matching line from number next on, and gives the number to go on from.
func (t *tail) find(next int, match func(string) bool) (string, int, bool) {
	t.mu.Lock()
	from := max(next, t.first)
	lines := append([]string(nil), t.kept[from-t.first:]...)
	t.mu.Unlock()
	for i, l := range lines {
		if match(l) {
			return l, from + i + 1, true
		}
	}
	return "", from + len(lines), false
}

func (t *tail) control(name string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.notes[name]
	return s, ok
}

// lineWriter cuts one stream into lines. One goroutine writes to it.
type lineWriter struct {
	t    *tail
	rest []byte
}

// Write never fails: a child must not feel that nobody reads.
func (w *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			w.take(rest)
			break
		}
		w.take(rest[:i])
		w.t.add(strings.TrimSuffix(string(w.rest), "\r"))
		w.rest, rest = w.rest[:0], rest[i+1:]
	}
	return len(p), nil
}

func (w *lineWriter) take(p []byte) {
	w.rest = append(w.rest, p[:min(len(p), maxLine-len(w.rest))]...)
}

func (w *lineWriter) end() {
	if len(w.rest) > 0 {
		w.t.add(string(w.rest))
		w.rest = nil
	}
}
