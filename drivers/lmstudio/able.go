package lmstudio

import "github.com/llm-speed/llm-speed/drivers"

// able says what LM Studio lets the driver fix, count and prove.
func able() drivers.Able {
	return drivers.Able{
		ExactLength: drivers.No("it can't be told to ignore the end of text"), TokenPrompts: drivers.No(""), Tokenizer: drivers.No(""),
		Cached: drivers.No("it never says"), Cold: drivers.Partly("a new prompt; its cache can't be put off"), PerEvent: drivers.No(""),
		Timing: drivers.No("its tokens_per_second is kept as stated: how it is defined is not documented"), CacheStats: drivers.No(""),
		Activity: drivers.No(""), Starts: drivers.No(""),
	}
}

func limits() []string {
	return []string{
		"A model that ends early gives rows flagged early_stop: the output's length can't be forced.",
		"How much of a prompt was cached is not known: the hit rate of W5 is null, and rows are cold_unproved.",
	}
}
