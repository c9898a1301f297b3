package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Traps are ways in which the simulator misbehaves as real servers, proxies and networks do, each with its truth in the
// log. The zero value has none; ParseTraps makes others.
type Traps struct {
	text string

	tokensPerEvent, firstEvent, coalesce   int
	roleFirst                              opt[time.Duration]
	reasoning, reasoningHidden             int
	reasoningField                         string
	noUsage, refuseUsage, noTimings, noIDs bool
	noTokenize                             bool
	tokenizeDrift                          float64
	splitUTF8, silentHidden, zeroTokens    bool
	silentFirst, silentTokens, silentEvery int
	keepCache, noCachedField, countCached  bool
	closeKeepalive                         opt[time.Duration]
	gzip                                   bool
	buffer                                 time.Duration
	slots                                  int
	earlyStop, errorIn, reset, truncate    opt[int]
	hang, garbage, toolHold                opt[int]
	noDone, crlf, noSpace, comments        bool
	commentFirst                           bool // a comment at once, with the headers, and no others; what some dialects always do
	trailingSpace, splitJSON               bool
	longLine                               int
	warmup                                 factorAt
	status                                 int
	retryAfter                             string
	wrongPromptCount                       int
	modelChange                            opt[int]
	stalls                                 []stall
	jitter                                 time.Duration
}

// opt is a value that may be absent although its zero means something.
type opt[T any] struct {
	set bool
	v   T
}

type stall struct {
	for_  time.Duration
	token int
}

type factorAt struct {
	factor   float64
	requests int
}

// TrapDoc tells what a trap does.
type TrapDoc struct {
	Form string // as it is written, with the kind of its value
	Help string
}

type trap struct {
	name, value, help string // value: "" where it takes none, "[X]" where it may be left out
	set               func(t *Traps, v string) error
}

// trapTable lists the traps in the order of help.
func trapTable() []trap {
	flag := func(p func(*Traps) *bool) func(*Traps, string) error {
		return func(t *Traps, _ string) error { *p(t) = true; return nil }
	}
	count := func(least int, p func(*Traps) *int) func(*Traps, string) error {
		return func(t *Traps, v string) error { return parseCount(v, least, p(t)) }
	}
	optCount := func(p func(*Traps) *opt[int]) func(*Traps, string) error {
		return func(t *Traps, v string) error { p(t).set = true; return parseCount(v, 0, &p(t).v) }
	}
	ms := func(p func(*Traps) *time.Duration) func(*Traps, string) error {
		return func(t *Traps, v string) error { return parseMS(v, p(t)) }
	}
	return []trap{
		{"tokens-per-event", "N", "N tokens in each event after the first", count(1, func(t *Traps) *int { return &t.tokensPerEvent })},
		{"first-event-tokens", "N", "N tokens in the first event", count(1, func(t *Traps) *int { return &t.firstEvent })},
		{"coalesce", "N", "N events in each write after the first", count(1, func(t *Traps) *int { return &t.coalesce })},
		{"role-first", "MS", "headers and a role-only event MS after the request, long before the first token", func(t *Traps, v string) error {
			t.roleFirst.set = true
			return parseMS(v, &t.roleFirst.v)
		}},
		{"reasoning", "N", "the first N tokens are reasoning (in chats)", count(0, func(t *Traps) *int { return &t.reasoning })},
		{"reasoning-field", "NAME", "where reasoning is put: reasoning_content, reasoning, thinking or reasoning_text (as of OpenAI's API)", func(t *Traps, v string) error {
			if !slices.Contains([]string{"reasoning_content", "reasoning", "thinking", "reasoning_text"}, v) {
				return fmt.Errorf("%q is none of reasoning_content, reasoning, thinking, reasoning_text", v)
			}
			t.reasoningField = v
			return nil
		}},
		{"reasoning-hidden", "N", "N reasoning tokens come first that are counted but never streamed (in chats)", count(0, func(t *Traps) *int { return &t.reasoningHidden })},
		{"no-usage", "", "no usage, although asked for; no counts in ollama and anthropic; llamacpp and sglang state them in each event all the same", flag(func(t *Traps) *bool { return &t.noUsage })},
		{"refuse-usage", "", "400 on stream_options (where a dialect has them)", flag(func(t *Traps) *bool { return &t.refuseUsage })},
		{"no-timings", "", "no timings block, nor other times of the server", flag(func(t *Traps) *bool { return &t.noTimings })},
		{"no-token-ids", "", "return_token_ids is ignored, or return_tokens (vllm, llamacpp, fireworks)", flag(func(t *Traps) *bool { return &t.noIDs })},
		{"no-tokenize", "", "404 on /tokenize and /apply-template, or what a dialect has for them", flag(func(t *Traps) *bool { return &t.noTokenize })},
		{"tokenize-drift", "PERCENT", "/tokenize gives that much fewer tokens than the prompt will have", func(t *Traps, v string) error {
			return parseFloat(v, 0, 90, &t.tokenizeDrift)
		}},
		{"wrong-prompt-count", "N", "usage states N prompt tokens more than there are", func(t *Traps, v string) error {
			n, err := strconv.Atoi(v)
			t.wrongPromptCount = n
			return err
		}},
		{"split-utf8", "", "characters of several bytes, each cut by a write boundary, after a token that yields no text", flag(func(t *Traps) *bool { return &t.splitUTF8 })},
		{"silent-first", "N", "the first N tokens have no text", count(0, func(t *Traps) *int { return &t.silentFirst })},
		{"silent-tokens", "N", "the last N tokens have no text", count(0, func(t *Traps) *int { return &t.silentTokens })},
		{"silent-every", "N", "every N-th token has no text", count(1, func(t *Traps) *int { return &t.silentEvery })},
		{"silent-hidden", "", "tokens without text have no event either; always so in ollama and mlx", flag(func(t *Traps) *bool { return &t.silentHidden })},
		{"zero-tokens", "", "no token has any text", flag(func(t *Traps) *bool { return &t.zeroTokens })},
		{"keep-cache", "", "the prompt cache is used although cache_prompt is false, or a salt tells prompts apart", flag(func(t *Traps) *bool { return &t.keepCache })},
		{"no-cached-field", "", "cached tokens are not stated", flag(func(t *Traps) *bool { return &t.noCachedField })},
		{"count-cached", "", "timings.prompt_n counts cached tokens as if they had been evaluated (sim, llamacpp)", flag(func(t *Traps) *bool { return &t.countCached })},
		{"close-keepalive", "[MS]", "the server closes an idle connection, at once or after MS", func(t *Traps, v string) error {
			t.closeKeepalive.set = true
			if v == "" {
				return nil
			}
			return parseMS(v, &t.closeKeepalive.v)
		}},
		{"gzip", "", "the stream is gzipped although identity was asked for", flag(func(t *Traps) *bool { return &t.gzip })},
		{"buffer", "MS", "a buffering proxy: what was written in MS goes out in one burst", ms(func(t *Traps) *time.Duration { return &t.buffer })},
		{"slots", "N", "N streams at once, more wait", count(1, func(t *Traps) *int { return &t.slots })},
		{"early-stop", "N", "generation ends by itself after N tokens", optCount(func(t *Traps) *opt[int] { return &t.earlyStop })},
		{"tool-hold", "[N]", "after N tokens (0) of text all else is one tool call, in one event at the end (in chats)", func(t *Traps, v string) error {
			t.toolHold.set = true
			if v == "" {
				return nil
			}
			return parseCount(v, 0, &t.toolHold.v)
		}},
		{"error-in-stream", "N", "after N tokens an error object inside the 200 stream", optCount(func(t *Traps) *opt[int] { return &t.errorIn })},
		{"no-done", "", "no [DONE], or whatever a dialect has for an end mark", flag(func(t *Traps) *bool { return &t.noDone })},
		{"reset", "N", "TCP reset after N tokens", optCount(func(t *Traps) *opt[int] { return &t.reset })},
		{"truncate", "N", "TCP closed, cleanly but inside the body, after N tokens", optCount(func(t *Traps) *opt[int] { return &t.truncate })},
		{"hang", "N", "nothing more after N tokens", optCount(func(t *Traps) *opt[int] { return &t.hang })},
		{"garbage", "[N]", "a data line that is not JSON after N tokens (3)", func(t *Traps, v string) error {
			t.garbage = opt[int]{true, 3}
			if v == "" {
				return nil
			}
			return parseCount(v, 1, &t.garbage.v)
		}},
		{"crlf", "", "lines end in CRLF", flag(func(t *Traps) *bool { return &t.crlf })},
		{"no-space", "", "data: without a space (event streams)", flag(func(t *Traps) *bool { return &t.noSpace })},
		{"comments", "", "comment lines: one at once, with the headers, and one in front of every fourth event (event streams)", flag(func(t *Traps) *bool { return &t.comments })},
		{"trailing-space", "", "a space at the end of each data line (event streams)", flag(func(t *Traps) *bool { return &t.trailingSpace })},
		{"split-json", "", "each event is split over three writes", flag(func(t *Traps) *bool { return &t.splitJSON })},
		{"long-line", "[BYTES]", "the second event has a padding field of that size (8 MiB)", func(t *Traps, v string) error {
			t.longLine = 8 << 20
			if v == "" {
				return nil
			}
			return parseCount(v, 1, &t.longLine)
		}},
		{"warmup-drift", "FACTOR[@K]", "the first K requests (3) are that many times slower", func(t *Traps, v string) error {
			f, k, found := strings.Cut(v, "@")
			t.warmup.requests = 3
			if found {
				if err := parseCount(k, 1, &t.warmup.requests); err != nil {
					return err
				}
			}
			return parseFloat(f, 0.01, 1000, &t.warmup.factor)
		}},
		{"status", "CODE", "every completion is refused with 401, 404, 413, 429, 500 or 503", func(t *Traps, v string) error {
			if !slices.Contains([]string{"401", "404", "413", "429", "500", "503"}, v) {
				return fmt.Errorf("%q is none of 401, 404, 413, 429, 500, 503", v)
			}
			return parseCount(v, 0, &t.status)
		}},
		{"retry-after", "S", "with status: a Retry-After header", func(t *Traps, v string) error {
			var n int
			t.retryAfter = v
			return parseCount(v, 0, &n)
		}},
		{"model-change", "N", "after N requests another model answers (where answers name it)", optCount(func(t *Traps) *opt[int] { return &t.modelChange })},
		{"stall", "MS@TOKEN", "from TOKEN on everything is MS late; may be given several times", func(t *Traps, v string) error {
			d, at, _ := strings.Cut(v, "@")
			var s stall
			if err := parseMS(d, &s.for_); err != nil {
				return err
			}
			if err := parseCount(at, 1, &s.token); err != nil {
				return err
			}
			t.stalls = append(t.stalls, s)
			return nil
		}},
		{"jitter", "MS", "each event is late by up to MS", ms(func(t *Traps) *time.Duration { return &t.jitter })},
	}
}

// TrapDocs lists every trap.
func TrapDocs() []TrapDoc {
	var docs []TrapDoc
	for _, d := range trapTable() {
		form := d.name
		switch {
		case strings.HasPrefix(d.value, "["):
			form += "[=" + d.value[1:]
		case d.value != "":
			form += "=" + d.value
		}
		docs = append(docs, TrapDoc{form, d.help})
	}
	return docs
}

// ParseTraps reads traps as they are written: name or name=value, separated by commas. An empty text is no traps. The
// error for a name that is not known lists those that are.
func ParseTraps(text string) (Traps, error) {
	var t Traps
	var written []string
	table := trapTable()
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, value, given := strings.Cut(item, "=")
		i := slices.IndexFunc(table, func(d trap) bool { return d.name == name })
		if i < 0 {
			var names []string
			for _, d := range table {
				names = append(names, d.name)
			}
			return Traps{}, fmt.Errorf("unknown trap %q; known: %s", name, strings.Join(names, ", "))
		}
		d := table[i]
		switch {
		case given && d.value == "":
			return Traps{}, fmt.Errorf("trap %s takes no value", name)
		case (!given || value == "") && d.value != "" && d.value[0] != '[':
			return Traps{}, fmt.Errorf("trap %s needs a value: %s=%s", name, name, d.value)
		}
		if err := d.set(&t, value); err != nil {
			return Traps{}, fmt.Errorf("trap %s: %w", item, err)
		}
		written = append(written, item)
	}
	if t.retryAfter != "" && t.status == 0 {
		return Traps{}, fmt.Errorf("trap retry-after needs status=429 or another one beside it")
	}
	t.text = strings.Join(written, ",")
	return t, nil
}

// String gives the traps as ParseTraps reads them.
func (t Traps) String() string { return t.text }

func parseCount(v string, least int, to *int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > 1<<30 {
		return fmt.Errorf("%q is not a whole number from %d up", v, least)
	}
	*to = n
	return nil
}

func parseMS(v string, to *time.Duration) error {
	var f float64
	if err := parseFloat(v, 0, 3.6e6, &f); err != nil {
		return err
	}
	*to = time.Duration(f * float64(time.Millisecond))
	return nil
}

func parseFloat(v string, least, most float64, to *float64) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= least && f <= most) {
		return fmt.Errorf("%q is not a number from %g to %g", v, least, most)
	}
	*to = f
	return nil
}
