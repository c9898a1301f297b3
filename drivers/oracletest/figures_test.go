// Package oracletest plays the streams of package oracle through the drivers: replayed in virtual time, cut at other read
// boundaries, over sockets, and mutilated. It lies below drivers to reach their decoders, and holds tests only. What a driver's
// dialect says is played by that driver's own conformance test (drivertest).
package oracletest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// began is t_send of a replay.
const began = judge.Began

// record makes the recording of a case as the case's driver would.
func record(c *oracle.Case) stream.Recording {
	like := stream.Recording{Protocol: openai.ProtocolChat}
	switch c.Protocol {
	case oracle.Completions:
		like.Protocol = openai.ProtocolCompletions
	case oracle.LlamaCpp:
		like.Protocol, like.Sent = "llamacpp-completion", map[string]string{"thinking": "none"}
	}
	return judge.Recording(c, like)
}

// decode understands a recording as the case's driver does.
func decode(c *oracle.Case, rec stream.Recording) (stream.Transcript, error) {
	if c.Protocol == oracle.LlamaCpp {
		return llamacpp.Decode(rec)
	}
	return openai.Decode(rec)
}

// replay measures a recording of a case.
func replay(c *oracle.Case, rec stream.Recording) (measure.Sample, stream.Transcript, error) {
	tr, err := decode(c, rec)
	return measure.Request(rec, tr, judge.Asked(c, err)), tr, err
}

func sameWords(t *testing.T, want, got judge.Words) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(- want, + got)\n%s", d)
	}
}
