// Package plain writes conversations as text for models whose chat template is missing or refuses them.
package plain

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/chat"
)

// Text renders a conversation without a template: its tools, then each message under its role.
func Text(p drivers.Prompt) string {
	var b strings.Builder
	if len(p.Tools) > 0 {
		b.WriteString("Tools:\n")
		for _, t := range p.Tools {
			if j, err := json.Marshal(t); err == nil {
				b.Write(j)
				b.WriteByte('\n')
			}
		}
		b.WriteByte('\n')
	}
	for _, m := range p.Messages {
		fmt.Fprintf(&b, "%s:\n%s\n", m.Role, m.Content)
		for _, c := range m.ToolCalls {
			fmt.Fprintf(&b, "call %s %s\n", c.Name, c.Arguments)
		}
		b.WriteByte('\n')
	}
	b.WriteString("assistant:\n")
	return b.String()
}

// WithoutSystem moves the first system message into the first user message, for templates that know no system message; false
// where there is nothing to move.
func WithoutSystem(p drivers.Prompt) (drivers.Prompt, bool) {
	if len(p.Messages) < 2 || p.Messages[0].Role != "system" || p.Messages[1].Role != "user" {
		return p, false
	}
	m := append([]chat.Message(nil), p.Messages[1:]...)
	m[0].Content = p.Messages[0].Content + "\n\n" + m[0].Content
	return drivers.Prompt{Messages: m, Tools: p.Tools}, true
}
