package httpx

import (
	"net/http"
	"slices"
	"strings"
)

// keptNames and keptPrefixes are the response headers that tell something about speed, limits or identity of an answer.
var (
	keptNames = []string{
		"content-type", "server", "retry-after", "retry-after-ms", "content-encoding", "date", "via", "request-id", "x-generation-id", "x-should-retry",
	}
	keptPrefixes = []string{"x-request-id", "x-ratelimit", "x-tokenlimit", "anthropic-ratelimit", "openai-", "fireworks-", "x-groq", "x-openrouter"}
	// privateNames say whose account it is.
	privateNames = []string{"openai-organization", "openai-project", "anthropic-organization-id"}
)

// keptHeaders picks the response headers that tell something about speed, limits or identity; none that names an account.
func keptHeaders(h http.Header) map[string]string {
	kept := map[string]string{}
	for name, values := range h {
		n := strings.ToLower(name)
		begins := func(prefix string) bool { return strings.HasPrefix(n, prefix) }
		if slices.Contains(privateNames, n) || !slices.Contains(keptNames, n) && !slices.ContainsFunc(keptPrefixes, begins) {
			continue
		}
		kept[n] = strings.Join(values, ", ")
	}
	return kept
}
