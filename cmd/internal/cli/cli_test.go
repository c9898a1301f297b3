package cli

import (
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

var updateStories = flag.Bool("update", false, "write what the stories' cmp lines compare with anew")

// raceEnv holds the options of the race detector in the programs that tests start.
const raceEnv = "GORACE"

// TestMain lets the stories in testdata run this program as a user does: as a process of its own. A command that a test runs
// in memory starts this binary as its worker: without the first line that would be all tests once more, and so on.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "internal-") {
		os.Exit(Main(OS()))
	}
	if slowedDown && os.Getenv(raceEnv) == "" {
		_ = os.Setenv(raceEnv, "atexit_sleep_ms=50") // its second at the end of each program adds up to minutes
	}
	testscript.Main(m, map[string]func(){"llm-speed": func() { os.Exit(recorded(OS())) }})
}

// TestRealServerStories are the stories against a real llama-server with a small model of random weights.
func TestRealServerStories(t *testing.T) {
	server := weightstest.Server(t)
	model := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := weightstest.Write(model); err != nil {
		t.Fatal(err)
	}
	outputs := hold(t)
	var turn sync.Mutex // a model server takes every processor: two of them mostly wait for each other
	testscript.Run(t, testscript.Params{
		Dir: "testdata/llamacpp",
		Setup: func(e *testscript.Env) error {
			turn.Lock()
			e.Defer(turn.Unlock)
			if err := outputs.story(e); err != nil {
				return err
			}
			e.Setenv("LLAMA_SERVER", server)
			e.Setenv("MODEL", model)
			e.Setenv("PORT", strconv.Itoa(freePort(t)))
			return isolated(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"check": checkResult, "await": await},
	})
}

func TestStories(t *testing.T) {
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	outputs := hold(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: *updateStories,
		Setup: func(e *testscript.Env) error {
			if err := outputs.story(e); err != nil {
				return err
			}
			e.Setenv("LLAMA_BENCH_DATA", filepath.Join(repo, "internal", "llamabench", "testdata"))
			e.Setenv("SUITE_DATA", filepath.Join(repo, "suites", "suite-v1", "data"))
			e.Setenv("EXAMPLES", filepath.Join(repo, "examples", "suites"))
			return isolated(e)
		},
	})
}

// freePort is a loopback port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// await waits until a URL answers 200.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get(args[0]); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("%s does not answer", args[0])
}

// isolated takes away what is the machine's own: servers on PATH, models, saved runs.
func isolated(e *testscript.Env) error {
	for name, value := range map[string]string{
		"HOME": e.WorkDir, "XDG_DATA_HOME": e.WorkDir + "/data", "XDG_CACHE_HOME": e.WorkDir + "/cache", "XDG_CONFIG_HOME": e.WorkDir + "/config",
		"LOCALAPPDATA": e.WorkDir + "/data", "NO_COLOR": "1",
		raceEnv: os.Getenv(raceEnv),
	} {
		e.Setenv(name, value)
	}
	return nil
}

// checkResult holds a result document of a real server to what must be true whatever the machine's speed: every row ok, cold
// proved, exact prompts and lengths, counts by the server, client and server agreeing on what they both know.
func checkResult(ts *testscript.TestScript, neg bool, args []string) {
	var r record.Result
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
	for _, row := range r.Rows {
		if row.Status != record.OK {
			ts.Fatalf("%s is %s: %s", row.Key, row.Status, row.Reason)
		}
		if row.CountProvenance != "A" && row.CountProvenance != "B" {
			ts.Fatalf("%s: counts have provenance %q", row.Key, row.CountProvenance)
		}
		if row.Cold == "broken" || row.Cold == "assumed" {
			ts.Fatalf("%s: cold is %s", row.Key, row.Cold)
		}
		for i, s := range row.Samples {
			switch {
			case s.Output.N == nil || *s.Output.N != s.AskedOutput:
				ts.Fatalf("%s request %d: output %v of %d asked for", row.Key, i, s.Output.N, s.AskedOutput)
			case s.AskedPrompt > 0 && (s.Prompt.N == nil || *s.Prompt.N*100 < s.AskedPrompt*99 || *s.Prompt.N > s.AskedPrompt):
				ts.Fatalf("%s request %d: prompt %v of %d asked for", row.Key, i, s.Prompt.N, s.AskedPrompt)
			case s.AskedPrompt > 0 && (s.Cached.N == nil || *s.Cached.N != 0):
				ts.Fatalf("%s request %d: %v tokens cached of a cold prompt", row.Key, i, s.Cached.N)
			case s.TTFTms == nil || s.DecodeTPS == nil:
				ts.Fatalf("%s request %d: TTFT %v, decode %v: %v", row.Key, i, s.TTFTms, s.DecodeTPS, s.Reasons)
			}
		}
		if row.HitRate == nil {
			ts.Fatalf("%s: hit rate is null: %s", row.Key, row.Reasons["prefix_cache_hit_rate"])
		}
		if row.HitRateMax != nil && *row.HitRate > *row.HitRateMax+1e-9 {
			ts.Fatalf("%s: hit rate %g is over what was possible, %g", row.Key, *row.HitRate, *row.HitRateMax)
		}
	}
}
