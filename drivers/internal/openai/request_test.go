package openai

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

var update = flag.Bool("update", false, "write golden files")

func TestEncode(t *testing.T) {
	talk := drivers.Prompt{
		Messages: []chat.Message{
			{Role: "system", Content: "Be brief."},
			{Role: "user", Content: "if a < b && c > d { 東京 }"},
			{Role: "assistant", Content: "", ToolCalls: []chat.ToolCall{{ID: "c1", Name: "read", Arguments: json.RawMessage(`{"path": "a\"b"}`)}, {ID: "c2", Name: "list"}}},
			{Role: "tool", ToolCallID: "c1", Name: "read", Content: ""},
			{Role: "assistant", Content: ""},
		},
		Tools: []chat.Tool{{Name: "read", Description: "Read.", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "list"}},
	}
	for _, c := range []struct {
		name   string
		encode func() ([]byte, error)
	}{
		{"chat", Chat{Call: Call{Model: "m", MaxTokens: 64, Seed: 1 << 40, IncludeUsage: true}, Prompt: talk}.Encode},
		{"chat_extra", Chat{Call: Call{Model: "m", MaxTokens: 64, MaxTokensKey: "max_completion_tokens", NoSeed: true, NoSampling: true, EachUsage: true,
			Extra: map[string]any{"ignore_eos": true, "cache_prompt": false}}, Prompt: drivers.Prompt{Messages: talk.Messages[:2]}}.Encode},
		{"completion", Completion{Call: Call{MaxTokens: 1, Seed: 3, NoStream: true, IncludeUsage: true}, Prompt: "a\n<b>"}.Encode},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, err := c.encode()
			if err != nil {
				t.Fatal(err)
			}
			again, _ := c.encode()
			if !bytes.Equal(body, again) {
				t.Error("the same call gave other bytes")
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, body, "", "  "); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", c.name+".json")
			if *update {
				if err := os.WriteFile(file, pretty.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
