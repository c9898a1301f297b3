package vllm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/proc"
)

// died says how a server process ended and what it showed last.
func died(p *proc.Process) error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%w: vLLM (%s); its log: %s", drivers.ErrServerDied, how, lastLines(p.Tail(), 3))
}

// noise is how vLLM's log lines begin: the process, a level, a time, and the place in the source.
var noise = regexp.MustCompile(`^(?:\([^)]*pid=\d+\)\s*)?(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s*)?`)

// cause is how Python names what went wrong; symptom is what follows from a cause that the log names before it.
var (
	cause   = regexp.MustCompile(`^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b|out of memory|^vllm: error|error: unrecognized`)
	symptom = regexp.MustCompile(`Engine core initialization failed|See root cause above|Engine process failed to start`)
)

// lastLines joins the lines that say what went wrong, at most n, or, where none does, the last that say anything, each cut to
// a sensible length.
func lastLines(lines []string, n int) string {
	var said, bad []string
	for _, l := range lines {
		l = strings.TrimSpace(noise.ReplaceAllString(strings.TrimSpace(l), ""))
		if l == "" {
			continue
		}
		if len(l) > 300 {
			l = strings.ToValidUTF8(l[:300], "") + "…"
		}
		said = append(said, l)
		if cause.MatchString(l) && !symptom.MatchString(l) && !slices.Contains(bad, l) {
			bad = append(bad, l)
		}
	}
	if len(bad) > 0 {
		said = bad[:min(n, len(bad))] // the first trouble is the cause
	}
	if len(said) == 0 {
		return "nothing"
	}
	return strings.Join(said[max(0, len(said)-n):], " | ")
}
