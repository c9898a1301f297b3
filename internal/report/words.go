package report

import (
	"cmp"
	"strconv"

	"github.com/llm-speed/llm-speed/internal/record"
)

func countText(c record.Count) string {
	if c.N == nil {
		return "–"
	}
	return strconv.Itoa(*c.N) + " " + c.From
}

// provenanceText says in words what a provenance letter means.
func provenanceText(letter string) string {
	meaning := map[string]string{
		"A": "usage in the stream", "B": "the server's timing block", "C": "the same server's tokenizer on the whole text",
		"D": "a local tokenizer", "E": "events counted, never a rate",
	}[letter]
	if meaning == "" {
		return cmp.Or(letter, "unknown")
	}
	return letter + " (" + meaning + ")"
}

func tokensHow(how string) string {
	if how == "" {
		return ""
	}
	return "tokens per event: " + how
}

func coldText(cold string) string {
	switch cold {
	case "proved":
		return "prompt proved new to the server's cache"
	case "assumed":
		return "prompt assumed new to the server's cache"
	case "broken":
		return "prompt was partly served from the cache"
	case "reuse":
		return "reuse of the prefix is the point"
	}
	return cold
}
