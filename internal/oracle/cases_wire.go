package oracle

import (
	"fmt"
	"strings"
	"time"
)

// wireCases are about the same stream in other bytes: traps 5, 16 and 19. All have 40 tokens, 200 a second, from 40 ms on.
func wireCases() []Case {
	steady := func() *tape { return new(tape).add(15*ms, role()).run(40*ms, 5*ms, 40, 1, content) }
	whole := func() *tape { return steady().end(1000, 40, 0, -1) }
	want := plain(Want{Output: usageOf(40), Events: 40, How: "one a token", TTFT: is(40), TTFA: is(40), E2E: is(235),
		Decode: is(200), P50: is(5), P95: fewTokens, TokensPerEvent: is(1), Stalls: is(0)})
	replace := func(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

	wide := new(tape)
	for i := range 40 {
		text := fmt.Sprintf(" é東%c", '🐀'+rune(i%20))
		wide.add(40*ms+time.Duration(i)*5*ms, choice(`"content":"`+text+`"`, "null", ""), Mark{Answer, text, 1})
	}
	wide.end(1000, 40, 0, -1)
	inside := func(s string) int { return strings.Index(s, "東") + 2 }
	pieces := func(t *tape) *tape { // every event in three writes
		middle := func(s string) int { return len(s) / 2 }
		return t.split(2*ms, middle).split(ms, middle)
	}
	clock := whole()
	for i := range clock.writes {
		at := 1_700_000_000 + i
		if i > 20 {
			at -= 3600
		}
		clock.writes[i].Data = strings.ReplaceAll(clock.writes[i].Data, `"id":"c1"`, fmt.Sprintf(`"id":"c1","created":%d`, at))
	}
	long := new(tape).add(15*ms, strings.Replace(role(), `"id":"c1"`, `"pad":"`+strings.Repeat("x", 8<<20)+`"`, 1)).run(60*ms, 5*ms, 40, 1, content)
	long.writes[20].Data = ": " + strings.Repeat("y", 1<<20) + "\n" + long.writes[20].Data
	long.end(1000, 40, 0, -1)
	longWant := want
	longWant.TTFT, longWant.TTFA, longWant.E2E = is(60), is(60), is(255)

	lines := whole()
	for i := range lines.writes { // the text is complete before the blank line comes with the next write
		if i > 0 {
			lines.writes[i].Data = "\n" + lines.writes[i].Data
		}
		lines.writes[i].Data = strings.TrimSuffix(lines.writes[i].Data, "\n")
	}
	utf := func() []Write {
		return (&tape{writes: append([]Write(nil), wide.writes...)}).split(2*ms, inside).writes
	}
	c := func(name, naive string, trap int, writes []Write) Case {
		return Case{Name: name, Traps: []int{trap}, Protocol: Chat, Asked: cold(40), HeadAt: 10 * ms,
			Naive: naive, Says: "all figures, as if nothing were odd", Writes: writes, Want: want}
	}
	closes := c("body until the connection closes", "waits for a length", 19, whole().writes)
	closes.Framing = UntilClose
	length := c("body with a length", "nothing", 19, whole().writes)
	length.Framing = Length
	oneChunk := c("one chunk filled by many writes", "waits for the chunk to be whole: TTFT 236 ms", 19, whole().writes)
	oneChunk.Framing = OneChunk
	crumbs := c("chunks of seven bytes", "takes a chunk for an event", 19, whole().writes)
	crumbs.Framing = Crumbs
	noDone := c("no end mark, but a finish reason", "calls the stream cut, or waits", 18, steady().add(236*ms, finish("length")+usage(1000, 40, 0, -1)).writes)
	dates := c("a wall clock that steps an hour back", "takes the server's dates for times", 16, clock.writes)
	dates.Header = map[string]string{"Date": "Mon, 01 Jan 2001 00:00:00 GMT"}
	longest := c("lines of 8 MiB and 1 MiB", "gives up at 64 KiB", 19, long.writes)
	longest.Want = longWant
	return []Case{
		c("cut inside a UTF-8 character", "loses the character, or stamps the first half", 5, utf()),
		c("events in three writes", "stamps an event before it is whole, or loses it", 19, pieces(whole()).writes),
		c("blank line with the next write", "waits for the blank line: every stamp one event late", 19, lines.writes),
		c("CRLF", "finds no blank line", 19, whole().rewrite(replace("\n", "\r\n")).writes),
		c("no space after data:", "looks for \"data: \"", 19, whole().rewrite(replace("data: ", "data:")).writes),
		c("comments and other fields", "takes them for events", 19, whole().rewrite(func(s string) string { return ": keep-alive\n\nid: 7\nretry: 10\n" + s }).writes),
		c("trailing space", "fails on the end mark", 19, whole().rewrite(func(s string) string { return strings.ReplaceAll(s, "\n\n", " \n\n") }).writes),
		c("JSON over several data lines", "fails on half an object", 19, whole().rewrite(replace(`"choices"`, "\ndata: \"choices\"")).writes),
		c("byte order mark", "loses the first event", 19, whole().rewrite(func() func(string) string {
			first := true
			return func(s string) string {
				if first {
					first, s = false, "\xef\xbb\xbf"+s
				}
				return s
			}
		}()).writes),
		longest, closes, length, oneChunk, crumbs, noDone, dates,
	}
}
