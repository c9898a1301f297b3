package ollama

import (
	"os"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// TestLive measures a real server: the one whose base URL is in LLM_SPEED_LIVE_OLLAMA, or else one that is started here. With
// -record it keeps what that answers. Short answers keep small models clear of the guard against repetition.
func TestLive(t *testing.T) {
	l := drivertest.Live{Spec: Spec(), Env: "LLM_SPEED_LIVE_OLLAMA", InCI: true, Output: 24, Options: map[string]string{optTemperature: "0.8"}}
	if os.Getenv(l.Env) == "" {
		url, _ := serve(t, t.TempDir(), "OLLAMA_NUM_PARALLEL=2")
		weightstest.OllamaCreate(t, url, "chatml", weightstest.OllamaTemplate, weightstest.Options{}.Bytes())
		t.Setenv(l.Env, url)
	}
	drivertest.RunLive(t, l)
}
