package engine

import (
	"bytes"
	"net/http"
	"strings"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// A refusal may repeat what it refuses. Of hosted services no text is kept unless the user wants it, so that what an error has of
// the prompt is taken out of it.

// leastEcho is how many bytes of a prompt in a row no error has by chance; shorter pieces stay.
const leastEcho = 24

// mostEchoes bounds the prompts that are remembered, in bytes. The latest one is kept whatever its length.
const mostEchoes = 4 << 20

// echoes remembers what was sent last.
type echoes struct {
	mu    sync.Mutex
	texts []string
	size  int
}

// sent remembers a prompt.
func (e *echoes) sent(p drivers.Prompt) {
	text := plainText(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts, e.size = append(e.texts, text), e.size+len(text)
	for len(e.texts) > 1 && e.size > mostEchoes {
		e.size -= len(e.texts[0])
		e.texts = e.texts[1:]
	}
}

// sending keeps what is sent to a service, where its errors shall not repeat it.
func (r *run) sending(p drivers.Prompt) {
	if r.masksText() {
		r.echoes.sent(p)
	}
}

// without puts … for what a text has of the prompts.
func (e *echoes) without(text string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out strings.Builder
	at := 0
	eachEcho([]byte(text), e.texts, func(from, to int) {
		out.WriteString(text[at:from] + "…")
		at = to
	})
	if at == 0 {
		return text
	}
	return out.String() + text[at:]
}

// plainText is what a prompt says, with single blanks between words, as errors have it.
func plainText(p drivers.Prompt) string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, strings.Fields(m.Content)...)
	}
	return strings.Join(all, " ")
}

// eachEcho calls found for each part of a text that stands in one of the prompts, leastEcho bytes at the least.
func eachEcho(text []byte, prompts []string, found func(from, to int)) {
next:
	for i := 0; i+leastEcho <= len(text); i++ {
		window := string(text[i : i+leastEcho])
		for _, p := range prompts {
			at := strings.Index(p, window)
			if at < 0 {
				continue
			}
			n := leastEcho
			for i+n < len(text) && at+n < len(p) && text[i+n] == p[at+n] {
				n++
			}
			found(i, i+n)
			i += n - 1
			continue next
		}
	}
}

// maskEchoes puts x for what the errors of a masked recording have of its prompt: the words of an error inside a stream, and a whole
// body that is one.
func maskEchoes(rec stream.Recording, p drivers.Prompt) stream.Recording {
	prompts := []string{plainText(p)}
	blank := func(b []byte) {
		eachEcho(b, prompts, func(from, to int) {
			for i := from; i < to; i++ {
				b[i] = 'x'
			}
		})
	}
	if rec.Status >= http.StatusBadRequest {
		blank(rec.Data)
		return rec
	}
	for line := range bytes.Lines(rec.Data) {
		if bytes.Contains(line, []byte(`"error"`)) || bytes.Contains(line, []byte(`"message"`)) {
			blank(line)
		}
	}
	return rec
}
