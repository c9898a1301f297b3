package ollama

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// casesDir is where streams lie that a real server was brought to: those that do not go well, and what they are beside.
const casesDir = "testdata/recorded/cases"

// TestRecord writes casesDir: streams of a real Ollama with the test models, as they were read. -update then writes what is
// made of them.
func TestRecord(t *testing.T) {
	if !drivertest.Recording() {
		t.Skip("only with -record")
	}
	dir := realHome(t)
	url, _ := serve(t, dir)
	keep := func(name string, i drivers.Info, rec stream.Recording) {
		t.Helper()
		rec.Conn, rec.Header = stream.Conn{}, map[string]string{"content-type": rec.Header["content-type"]}
		rec.Data = []byte(created.ReplaceAllString(string(rec.Data), `"created_at":"2026-11-24T00:00:00.000000000Z"`))
		if len(rec.Reads) > 0 && rec.Reads[len(rec.Reads)-1].End != len(rec.Data) {
			t.Fatalf("%s: the reads do not fit any more", name)
		}
		b, err := json.MarshalIndent(drivertest.Recorded{Backend: i.Backend, Version: i.Version, Model: i.Model.Name, Date: time.Now().UTC().Format(time.DateOnly), What: name, Recording: rec}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(rec.Data), dir) {
			t.Fatalf("%s holds a folder of this machine", name)
		}
		if err := os.WriteFile(filepath.Join(casesDir, name+".json"), append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(casesDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, model string
		ask         drivers.Request
		change      func(*session)
	}{
		{name: "length", model: "chatml", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 24}},
		{name: "cached", model: "chatml", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 24}},
		{name: "tools", model: "chatml", ask: drivers.Request{Prompt: probePrompt(), OutputTokens: 12}},
		{name: "thinking", model: "thinker", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 12}},
		{name: "held_bytes", model: "bytes", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 48, Seed: 3}},
		{name: "ends_at_once", model: "ends", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 12}, change: func(s *session) { s.chosen.temperature = 0 }},
		{name: "repeat_guard", model: "stuck", ask: drivers.Request{Prompt: words("record", 20), OutputTokens: 64}, change: func(s *session) { s.chosen.temperature = 0 }},
		{name: "context_full", model: "chatml", ask: drivers.Request{Prompt: words("full", 2000), OutputTokens: 64}},
		{name: "too_long", model: "chatml", ask: drivers.Request{Prompt: words("long", 3000), OutputTokens: 8}},
		{name: "model_gone", model: "chatml", ask: drivers.Request{Prompt: user("x"), OutputTokens: 8}, change: func(s *session) { s.model = "nobody" }},
		{name: "tools_refused", model: "bare", ask: drivers.Request{Prompt: probePrompt(), OutputTokens: 8}, change: func(s *session) { s.shape = shape{true, true} }},
	} {
		conf := realConfig(t, c.model)
		conf.URL = url
		opened, err := open(t.Context(), conf, drivers.Need{Context: 2048})
		if err != nil {
			t.Fatal(err)
		}
		s := opened.(*session)
		if c.change != nil {
			c.change(s)
			s.as.Store(&loaded{}) // nothing is looked after: the server is to be asked as it is
		}
		c.ask.FirstByteWithin = time.Minute
		rec, err := s.Stream(t.Context(), c.ask)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		keep(c.name, s.Info(), rec)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// created matches the server's stamps, of 30 bytes at the most: shorter ones end in zeros that Go leaves out.
var created = regexp.MustCompile(`"created_at":"[0-9TZ:.-]{30}"`)
