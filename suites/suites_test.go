package suites

import (
	"encoding/json"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) || !slices.Contains(names, "suite-v1") {
		t.Errorf("names are %v", names)
	}
	for _, name := range names {
		fsys, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(fsys, "suite.jsonnet"); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "suite-v9", "../suites", "suite-v1/data"} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "built in: suite-v1") {
			t.Errorf("Open(%q): %v; want the list of names", name, err)
		}
	}
}

// A backend refuses a conversation whose tool results don't answer its tool calls, so the recorded session must be whole.
func TestRecordedSessionIsWhole(t *testing.T) {
	raw, err := embedded.ReadFile("suite-v1/data/trace.json")
	if err != nil {
		t.Fatal(err)
	}
	type message struct {
		Role      string `json:"role"`
		Content   string `json:"content"`
		ToolCalls []struct {
			ID        string         `json:"id"`
			Name      string         `json:"name"`
			Arguments map[string]any `json:"arguments"`
		} `json:"tool_calls"`
		ToolCallID string `json:"tool_call_id"`
		Name       string `json:"name"`
	}
	var trace struct {
		Start []message `json:"start"`
		Tools []struct {
			Name        string `json:"name"`
			Description string `json:"description"`
			Parameters  struct {
				Type                 string         `json:"type"`
				Properties           map[string]any `json:"properties"`
				Required             []string       `json:"required"`
				AdditionalProperties bool           `json:"additionalProperties"`
			} `json:"parameters"`
		} `json:"tools"`
		Turns []struct {
			OutputTokens int       `json:"output_tokens"`
			Messages     []message `json:"messages"`
		} `json:"turns"`
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&trace); err != nil {
		t.Fatal(err)
	}
	if len(trace.Start) != 2 || trace.Start[0].Role != "system" || trace.Start[1].Role != "user" {
		t.Errorf("the start is not a system and a user message")
	}
	parameters := map[string][2][]string{} // of a tool: all, required
	for _, tool := range trace.Tools {
		var all []string
		for p := range tool.Parameters.Properties {
			all = append(all, p)
		}
		parameters[tool.Name] = [2][]string{all, tool.Parameters.Required}
	}
	ids := map[string]bool{}
	for i, turn := range trace.Turns {
		if turn.OutputTokens < 40 || turn.OutputTokens > 250 {
			t.Errorf("turn %d asks for %d tokens", i, turn.OutputTokens)
		}
		reply, results := turn.Messages[0], turn.Messages[1:]
		if reply.Role != "assistant" || reply.Content == "" {
			t.Errorf("turn %d does not begin with the assistant's words", i)
		}
		if len(reply.ToolCalls) != len(results) {
			t.Fatalf("turn %d has %d calls and %d results", i, len(reply.ToolCalls), len(results))
		}
		// Templates of widespread models refuse more than one call a message, or ids of another form.
		if len(results) > 1 {
			t.Errorf("turn %d has %d calls at once", i, len(results))
		}
		if last := i == len(trace.Turns)-1; last != (len(results) == 0) {
			t.Errorf("turn %d: only the last has no calls", i)
		}
		for j, call := range reply.ToolCalls {
			known, ok := parameters[call.Name]
			if !ok {
				t.Errorf("turn %d calls %s, which is no tool", i, call.Name)
			}
			for name := range call.Arguments {
				if !slices.Contains(known[0], name) {
					t.Errorf("turn %d: %s has no parameter %s", i, call.Name, name)
				}
			}
			for _, name := range known[1] {
				if _, ok := call.Arguments[name]; !ok {
					t.Errorf("turn %d: %s wants %s", i, call.Name, name)
				}
			}
			if r := results[j]; r.Role != "tool" || r.ToolCallID != call.ID || r.Name != call.Name {
				t.Errorf("turn %d: result %d is not that of %s", i, j, call.ID)
			}
			if !regexp.MustCompile(`^[0-9A-Za-z]{9}$`).MatchString(call.ID) {
				t.Errorf("turn %d: the id %s is not of nine letters and digits", i, call.ID)
			}
			if ids[call.ID] {
				t.Errorf("turn %d: the id %s comes twice", i, call.ID)
			}
			ids[call.ID] = true
		}
	}
}
