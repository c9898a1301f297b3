package oracle

// Cases are all streams, in the order of the traps.
func Cases() []Case {
	var all []Case
	for _, part := range [][]Case{countCases(), reasoningCases(), shortCases(), serverCases(), wireCases(), clientCases(), faultCases(), combinedCases()} {
		all = append(all, part...)
	}
	return all
}

func is(x float64) Fig    { return Fig{X: x} }
func no(why string) Fig   { return Fig{Why: why} }
func usageOf(n int) Count { return Count{n, "A"} }
func timing(n int) Count  { return Count{n, "B"} }

// Reasons that many cases share.
var (
	unknown      Count
	noPrefill    = no("states no prefill time")
	noDecodeTime = no("states no decode time")
	fewTokens    = no("of 130")
	oneRead      = no("came in one read")
	noGaps       = no("no gaps")
	failed       = no("the stream failed")
	noText       = no("no text-bearing event")
	uncounted    = no("does not say how many tokens")
	onlyThinking = no("no text but reasoning")
	summary      = no("at most a summary")
)

// cold is what most cases ask for: a cold prompt of 1000 tokens.
func cold(output int) Asked { return Asked{Output: output, Prompt: 1000, Template: 20, CacheBlock: 1} }

// plain is what is true of most cases; the rest is said case by case.
func plain(w Want) Want {
	if w.Prompt == unknown && w.Output != unknown && w.Output.From != "E" {
		w.Prompt, w.Cached = Count{1000, w.Output.From}, Count{0, w.Output.From}
	}
	if w.Cold == "" {
		w.Cold = "proved"
	}
	if w.Finish == "" {
		w.Finish = "length"
	}
	if w.ServerPrefill == (Fig{}) {
		w.ServerPrefill = noPrefill
	}
	if w.ServerDecode == (Fig{}) {
		w.ServerDecode = noDecodeTime
	}
	return w
}
