package trtllm

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
)

// TestLive measures a real server, whose URL is in LLM_SPEED_LIVE_TRTLLM (its key in LLM_SPEED_LIVE_TRTLLM_KEY).
func TestLive(t *testing.T) {
	drivertest.LiveCounts(t, Spec(), "LLM_SPEED_LIVE_TRTLLM")
}
