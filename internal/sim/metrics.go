package sim

import (
	"fmt"
	"strings"
	"time"
)

// totals sums up all completions since the start, whatever was cleared from the journal.
type totals struct {
	requests, refused      int64
	lengths                int64 // requests that ended because of their length
	prompt, cached, output int64 // tokens
	gaps                   int64 // tokens that followed another one
	queue, prefill, first  time.Duration
	decode, wall           time.Duration
	promptWork             time.Duration // prefill alone
}

func (t *totals) add(s *Served) {
	if s.Ended == "refused" {
		t.refused++
		return
	}
	t.requests++
	if s.Finish == "length" {
		t.lengths++
	}
	t.prompt += int64(s.PromptTokens)
	t.cached += int64(s.CachedTokens)
	t.output += int64(s.OutputTokens)
	t.gaps += int64(max(s.OutputTokens-1, 0))
	t.queue += s.PrefillStart
	t.prefill += s.FirstToken - s.PrefillStart
	t.promptWork += s.PrefillEnd - s.PrefillStart
	t.first += s.FirstToken
	t.decode += s.LastToken - s.FirstToken
	t.wall += s.LastToken
}

// exposition writes metrics in Prometheus's text format, all of them with the same labels.
type exposition struct {
	b      strings.Builder
	prefix string
	labels string // `model_name="m",engine="0"`
}

func (x *exposition) counter(name string, v any, labels ...string) { x.one("counter", name, v, labels) }
func (x *exposition) gauge(name string, v any, labels ...string)   { x.one("gauge", name, v, labels) }

func (x *exposition) one(kind, name string, v any, labels []string) {
	if x.labels != "" {
		labels = append(labels, x.labels)
	}
	of := ""
	if len(labels) > 0 {
		of = "{" + strings.Join(labels, ",") + "}"
	}
	fmt.Fprintf(&x.b, "# HELP %s%s Simulated.\n# TYPE %s%s %s\n%s%s%s %v\n", x.prefix, name, x.prefix, name, kind, x.prefix, name, of, v)
}

// histogram writes a histogram of durations with one bucket, in seconds.
func (x *exposition) histogram(name string, sum time.Duration, count int64) {
	fmt.Fprintf(&x.b, "# HELP %s%s Simulated.\n# TYPE %s%s histogram\n", x.prefix, name, x.prefix, name)
	fmt.Fprintf(&x.b, "%s%s_bucket{le=\"+Inf\",%s} %d\n%s%s_sum{%s} %g\n%s%s_count{%s} %d\n", x.prefix, name, x.labels, count,
		x.prefix, name, x.labels, sum.Seconds(), x.prefix, name, x.labels, count)
}

// reply is the exposition as an answer.
func (x *exposition) reply() reply {
	return reply{kind: "text/plain; version=0.0.4; charset=utf-8", text: x.b.String()}
}
