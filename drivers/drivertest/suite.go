// Package drivertest is what every driver has to pass: one suite of checks, run against a server whose answers, write
// boundaries, pace and faults are chosen.
//
// A driver's own test names the paths and bodies of its backend, and the dialects of package oracle that it understands, in a
// Suite and calls Run, which never talks to a real backend. RunLive does, where a variable names one, and with -record keeps
// what that answers below testdata/recorded; CheckRecorded reads it again.
package drivertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Suite is a backend as the checks need to know it.
type Suite struct {
	Spec    drivers.Spec
	Model   string            // Config.Model; may be empty
	Options map[string]string // Config.Options
	Answers map[string]Script // what the server answers outside of streams, by "METHOD /path"
	Stream  string            // route of streams, as "POST /v1/chat/completions"
	Good    []string          // a whole good stream, event by event; needs two events with text at least, one of them not ASCII
	Text    string            // what its text joins to, all kinds of event in order
	Counts  stream.Counts     // what it states
	Failure string            // body of a 200 stream with an error object in it
	Golden  string            // file that holds the JSON of Ask as sent; "" where there is none
	Update  bool              // write Golden instead of comparing
	KeyIn   string            // header that carries the key by itself; "" is Authorization, as a bearer token
	Caps    []string          // names of the optional abilities that the session must have, as Caps.Names gives them
	Oracle  []string          // dialects of package oracle that its streams speak, by name; every case of them is played
}

// key is the secret that must never be seen.
const key = "sk-very-secret-0123456789"

// Ask is the request that every check sends, but for what it says itself.
func Ask() drivers.Request {
	return drivers.Request{
		Prompt: drivers.Prompt{
			Messages: []chat.Message{
				{Role: "system", Content: "Be brief."},
				{Role: "user", Content: "Read <a.txt> & say what it says — 東京."},
				{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "call_1", Name: "read", Arguments: json.RawMessage(`{"path":"a.txt"}`)}}},
				{Role: "tool", ToolCallID: "call_1", Name: "read", Content: "hello"},
			},
			Tools: []chat.Tool{{Name: "read", Description: "Read a file.", Parameters: json.RawMessage(`{"type":"object","properties":{"path":{"type":"string"}}}`)}},
		},
		OutputTokens: 64, Seed: 7, Slot: drivers.AnySlot,
	}
}

// bench is a server with an open session.
type bench struct {
	*Suite
	srv *Server
	ses drivers.Session
	clk *clock.Clock
}

// config is the driver's configuration against a URL.
func (s *Suite) config(t *testing.T, url string, clk *clock.Clock) drivers.Config {
	return drivers.Config{URL: url, Model: s.Model, APIKey: drivers.NewSecret(key), Options: s.Options,
		Env: func(string) string { return "" }, Clock: clk,
		Log: func(format string, args ...any) {
			if line := fmt.Sprintf(format, args...); strings.Contains(line, key) {
				t.Errorf("the key is in a log line: %s", line)
			}
		}}
}

// open starts a server that answers every stream well, and opens a session to it.
func (s *Suite) open(t *testing.T) *bench {
	t.Helper()
	srv := NewServer(t, s.Answers)
	srv.Play(s.Stream, Script{Writes: s.Good})
	clk := clock.New()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ses, err := s.Spec.Open(ctx, s.config(t, srv.URL, clk), drivers.Need{Context: 4096, Parallel: 1})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = ses.Close() })
	return &bench{s, srv, ses, clk}
}

// run plays a script for one stream and decodes what was read. The key must be in no error.
func (b *bench) run(ctx context.Context, t *testing.T, script Script, r drivers.Request) (rec stream.Recording, got stream.Transcript, streamErr, decodeErr error) {
	t.Helper()
	b.srv.Play(b.Stream, script)
	rec, streamErr = b.ses.Stream(ctx, r)
	got, decodeErr = b.ses.Decode(rec)
	noKey(t, streamErr)
	noKey(t, decodeErr)
	return rec, got, streamErr, decodeErr
}

func noKey(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), key) || strings.Contains(fmt.Sprintf("%+v", err), key)) {
		t.Errorf("the key is in an error: %v", err)
	}
}

// golden compares JSON with a file, or writes it.
func golden(t *testing.T, file string, update bool, body []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatalf("the request is not JSON: %v", err)
	}
	pretty.WriteByte('\n')
	if update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // the path is the test's own
	if err != nil {
		t.Fatalf("%v; run with -update to write it", err)
	}
	if !bytes.Equal(want, pretty.Bytes()) {
		t.Errorf("request differs from %s:\n%s", file, pretty.Bytes())
	}
}
