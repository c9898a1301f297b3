package plain

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

func TestText(t *testing.T) {
	got := Text(drivers.Prompt{
		Messages: []chat.Message{
			{Role: "system", Content: "Be brief."},
			{Role: "user", Content: "Read it."},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "1", Name: "read", Arguments: json.RawMessage(`{"path":"a"}`)}}},
			{Role: "tool", ToolCallID: "1", Name: "read", Content: "hello"},
		},
		Tools: []chat.Tool{{Name: "read", Description: "Reads.", Parameters: json.RawMessage(`{}`)}},
	})
	want := `Tools:
{"name":"read","description":"Reads.","parameters":{}}

system:
Be brief.

user:
Read it.

assistant:

call read {"path":"a"}

tool:
hello

assistant:
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWithoutSystem(t *testing.T) {
	p := drivers.Prompt{Messages: []chat.Message{{Role: "system", Content: "S"}, {Role: "user", Content: "U"}, {Role: "assistant", Content: "A"}}}
	got, ok := WithoutSystem(p)
	if want := []chat.Message{{Role: "user", Content: "S\n\nU"}, {Role: "assistant", Content: "A"}}; !ok || cmp.Diff(want, got.Messages) != "" {
		t.Errorf("%v, %+v", ok, got)
	}
	if p.Messages[1].Content != "U" {
		t.Error("the prompt given was changed")
	}
	for _, m := range [][]chat.Message{nil, {{Role: "system"}}, {{Role: "user"}, {Role: "system"}}, {{Role: "system"}, {Role: "assistant"}}} {
		if _, ok := WithoutSystem(drivers.Prompt{Messages: m}); ok {
			t.Errorf("%+v: something was moved", m)
		}
	}
}
