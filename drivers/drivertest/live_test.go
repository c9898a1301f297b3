package drivertest_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	driver "github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/internal/sim"
)

// TestLiveOnSimulator runs the live checks on a server that needs no machine of its own, and keeps what it answers.
func TestLiveOnSimulator(t *testing.T) {
	p, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sim.Start(context.Background(), sim.Options{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	t.Chdir(t.TempDir())
	t.Setenv("LLM_SPEED_LIVE_SIM", s.URL())
	if err := flag.Set("record", "true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("record", "false") })
	t.Run("live", func(t *testing.T) {
		drivertest.RunLive(t, drivertest.Live{Spec: driver.Spec(), Env: "LLM_SPEED_LIVE_SIM"})
	})
	files, err := os.ReadDir("testdata/recorded")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	drivertest.CheckRecorded(t, openai.Decode)
}
