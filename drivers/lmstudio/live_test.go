package lmstudio

import (
	"os"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// TestLive runs against the LM Studio at LLM_SPEED_LIVE_LMSTUDIO, a base URL, by each of its endpoints.
func TestLive(t *testing.T) {
	url := os.Getenv("LLM_SPEED_LIVE_LMSTUDIO")
	if url == "" {
		t.Skip("LLM_SPEED_LIVE_LMSTUDIO names no server")
	}
	for _, endpoint := range []string{"auto", "chat", "v0", "native"} {
		t.Run(endpoint, func(t *testing.T) {
			s, err := Spec().Open(t.Context(), drivers.Config{URL: url, Options: map[string]string{optEndpoint: endpoint}, Clock: clock.New(), Log: t.Logf, Env: os.Getenv}, drivers.Need{Context: 2048, Parallel: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			t.Logf("%+v", s.Info())
			tr := drivertest.Said(t, s, one("Write a long story about the sea."))
			if !tr.Counts.Prompt.Known() || !tr.Counts.Output.Known() || tr.Counts.Output.N > 16 || len(tr.Events) == 0 || tr.Finish == "" {
				t.Errorf("%+v, %d events, finish %q", tr.Counts, len(tr.Events), tr.Finish)
			}
		})
	}
}
