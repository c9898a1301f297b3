package sandbox

import (
	"encoding/json"

	"github.com/llm-speed/llm-speed/builtins"
)

// The tasks of a worker. One worker does one.
const (
	evaluate = "evaluate" // jsonnet to JSON
	check    = "check"    // compile a program and all that it loads
	run      = "run"      // compile it and run one pass
	test     = "test"     // run a suite's tests on a result

	checkLibrary = "check-library" // compile a file that programs load
	checkTests   = "check-tests"   // compile a file of tests
)

// task is the parent's first message.
type task struct {
	Kind  string            `json:"kind"`
	Files map[string][]byte `json:"files"`           // of the suite, by path
	Main  string            `json:"main"`            // which of them to evaluate, check or run
	Point json.RawMessage   `json:"point,omitempty"` // of run; the result document for test
}

// The Host's methods on the wire.
const (
	callPrompt      = "prompt"
	callStream      = "stream"
	callCacheStats  = "cache_stats"
	callFingerprint = "fingerprint"
	callElapsed     = "elapsed"
	callRecord      = "record"
	callLog         = "log" // the only one without an answer
)

// fromWorker is a message of the worker: a call of the host, or the end.
type fromWorker struct {
	Call string          `json:"call,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	Done *outcome        `json:"done,omitempty"`
}

// toWorker is the answer to a call.
type toWorker struct {
	Result json.RawMessage `json:"result,omitempty"`
	Failed bool            `json:"failed,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// record is the argument of callRecord.
type recorded struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
}

// outcome is how a task ended.
type outcome struct {
	JSON   string                `json:"json,omitempty"`   // of evaluate
	Error  string                `json:"error,omitempty"`  // of evaluate, or what is no script's
	Script *builtins.ScriptError `json:"script,omitempty"` //
	Skip   *builtins.SkipError   `json:"skip,omitempty"`   //
	Host   string                `json:"host,omitempty"`   // the builtin whose host call the script's error came from
	Tests  []builtins.Tested     `json:"tests,omitempty"`  // of test
	Bug    string                `json:"bug,omitempty"`    // a panic that was recovered
}
