package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/llm-speed/llm-speed/internal/proc"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// serveOllama starts `ollama serve` as a user would, with the test model in a store of its own, and gives its URL and the
// store's folder.
func serveOllama(t *testing.T) (url, store string) {
	t.Helper()
	bin, dir := weightstest.Ollama(t), t.TempDir()
	store = filepath.Join(dir, "models")
	address := "127.0.0.1:" + strconv.Itoa(freePort(t))
	p, err := proc.Start(context.WithoutCancel(t.Context()), proc.Options{Path: bin, Args: []string{"serve"}, Add: []string{
		"HOME=" + dir, "OLLAMA_MODELS=" + store, "OLLAMA_HOST=" + address, "OLLAMA_NUM_PARALLEL=4", "OLLAMA_NOPRUNE=1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(5 * time.Second) })
	url = "http://" + address
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(url + "/api/version"); err == nil {
			_ = res.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("ollama does not answer: %s", strings.Join(p.Tail(), "\n"))
		}
	}
	weightstest.OllamaCreate(t, url, "tiny", weightstest.OllamaTemplate, weightstest.Options{}.Bytes())
	return url, store
}

// TestRealOllamaStories are the stories against a real Ollama with a small model of random weights.
func TestRealOllamaStories(t *testing.T) {
	bin := weightstest.Ollama(t)
	url, store := serveOllama(t)
	outputs := hold(t)
	var turn sync.Mutex // all speak with one server
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "ollama"),
		Setup: func(e *testscript.Env) error {
			turn.Lock()
			e.Defer(turn.Unlock)
			e.Setenv("OLLAMA", bin)
			e.Setenv("SERVER", url)
			e.Setenv("OLLAMA_MODELS", store)
			e.Setenv("NOBODY", "127.0.0.1:"+strconv.Itoa(freePort(t)))
			return errors.Join(isolated(e), outputs.story(e))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"checkollama": checkOllama},
	})
}

// checkOllama holds a result of Ollama to what must be true whatever the machine's speed: every row ok, lengths as asked and
// counted by the server, nothing claimed about a cache of which this version says nothing.
func checkOllama(ts *testscript.TestScript, _ bool, args []string) {
	var r record.Result
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
	if r.Backend.Name != "ollama" || r.Backend.Version == "" || !strings.HasPrefix(r.Model.Digest, "sha256:") || r.Model.Quant != "F16" || len(r.Rows) == 0 {
		ts.Fatalf("backend %+v, model %+v, %d rows", r.Backend, r.Model, len(r.Rows))
	}
	if strings.Contains(ts.ReadFile(args[0]), ts.Getenv("OLLAMA_MODELS")) {
		ts.Fatalf("the folder of the models is in the result")
	}
	for _, row := range r.Rows {
		if row.Status != record.OK {
			ts.Fatalf("%s is %s: %s", row.Key, row.Status, row.Reason)
		}
		if row.CountProvenance != "B" {
			ts.Fatalf("%s: counts have provenance %q", row.Key, row.CountProvenance)
		}
		if row.HitRate != nil || row.Reasons["prefix_cache_hit_rate"] == "" {
			ts.Fatalf("%s: hit rate %v, reason %q", row.Key, row.HitRate, row.Reasons["prefix_cache_hit_rate"])
		}
		if row.Cold == "proved" || row.Cold == "broken" {
			ts.Fatalf("%s: cold is %s, and nobody can know", row.Key, row.Cold)
		}
		if i := slices.IndexFunc(row.Flags, func(f record.Flag) bool {
			return f.Name == "early_stop" || f.Name == "errors" || f.Name == "truncated_context"
		}); i >= 0 {
			ts.Fatalf("%s: %s: %s", row.Key, row.Flags[i].Name, row.Flags[i].Evidence)
		}
		// The model's tokenizer knows 150 words, so that a short prompt can't be fitted by counts alone: then the row says so.
		drifts := slices.ContainsFunc(row.Flags, func(f record.Flag) bool { return f.Name == "prompt_drift" })
		for i, s := range row.Samples {
			switch {
			case s.Output.N == nil || *s.Output.N != s.AskedOutput:
				ts.Fatalf("%s request %d: output %v of %d asked for", row.Key, i, s.Output.N, s.AskedOutput)
			case s.Prompt.N == nil || s.AskedPrompt > 0 && !drifts && max(*s.Prompt.N-s.AskedPrompt, s.AskedPrompt-*s.Prompt.N) > max(2, s.AskedPrompt/100):
				ts.Fatalf("%s request %d: prompt %v of %d asked for, more than 1 %% and 2 tokens off", row.Key, i, s.Prompt, s.AskedPrompt)
			case s.Cached.N != nil:
				ts.Fatalf("%s request %d: %d tokens cached, which nobody has said", row.Key, i, *s.Cached.N)
			case s.TTFTms == nil || s.AskedPrompt > 0 && s.DecodeTPS == nil:
				ts.Fatalf("%s request %d: TTFT %v, decode %v: %v", row.Key, i, s.TTFTms, s.DecodeTPS, s.Reasons)
			}
		}
	}
}
