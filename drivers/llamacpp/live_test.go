package llamacpp

import (
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
)

// TestLive measures a real server, whose base URL is in LLM_SPEED_LIVE_LLAMACPP; with -record it keeps what that answers.
func TestLive(t *testing.T) {
	drivertest.RunLive(t, drivertest.Live{Spec: Spec(), Env: "LLM_SPEED_LIVE_LLAMACPP"})
}
