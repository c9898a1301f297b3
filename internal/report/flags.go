package report

// FlagText says in plain English what a flag means; of a name that it has never heard of it says that.
func FlagText(name string) string {
	for _, f := range []struct{ name, text string }{
		{"simulated", "numbers of the built-in simulator: they say nothing about any real model or machine"},
		{"quick", "short form of the workload: never ranked, and not to be compared with full runs"},
		{"cache_contaminated", "a prompt that should have been new was partly served from the cache"},
		{"cold_unproved", "the server does not say what it cached, so that prompts are assumed, not proved, to be new to it"},
		{"contradiction", "the server states two figures that can't both be true"},
		{"early_stop", "a reply ended before the number of tokens that was asked for"},
		{"coalesced", "several tokens arrive at once, so that latencies of single tokens are spread over them"},
		{"proxy_buffered", "replies arrive in bursts, as through a buffering proxy"},
		{"client_bound", "this program may have been the bottleneck, not the server"},
		{"prompt_drift", "prompt length is more than 1 % off what the suite asks for"},
		{"count_provenance_D", "tokens were counted by a local tokenizer, not by the server"},
		{"count_provenance_E", "tokens are not counted by anybody: events were, and no rate is given"},
		{"model_mismatch", "the model is not what its name, or the server, says it is"},
		{"thermal", "the machine throttled, or came close to it"},
		{"on_battery", "the machine ran on battery"},
		{"gpu_busy", "something else used the GPU before the run"},
		{"cpu_busy", "other programs used the processors while the server answered"},
		{"cpu_fallback", "there is a GPU, and the model ran on the CPU"},
		{"other_traffic", "the server worked on requests of others during the run"},
		{"unstable", "passes differ by more than 5 %, and the time to repeat them was used up"},
		{"truncated_context", "the server cut the prompt"},
		{"server_queued", "the server let requests wait before it worked on them"},
		{"errors", "some requests failed"},
		{llamaBenchFlag, "figures of llama-bench, by its own definitions: never ranked, and not to be compared with llm-speed's"},
		{"figures_disagree", "an average in the file does not follow from the times in it; shown is what the times give"},
	} {
		if f.name == name {
			return f.text
		}
	}
	return "a flag that this version does not know"
}
