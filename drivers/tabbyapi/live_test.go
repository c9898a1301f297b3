package tabbyapi

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
)

// TestLive measures a real server, whose URL is in LLM_SPEED_LIVE_TABBYAPI (its key in LLM_SPEED_LIVE_TABBYAPI_KEY).
func TestLive(t *testing.T) {
	drivertest.LiveCounts(t, Spec(), "LLM_SPEED_LIVE_TABBYAPI")
}
