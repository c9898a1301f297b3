package report

import (
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Line is a row in one line, for the log of a run: "W1 chat-short: TTFT 33.2 ms · prefill 8,421 tok/s · decode 187.4 tok/s".
func Line(row record.Row) string {
	r := view(row)
	head := row.Key + " " + row.Workload + ": "
	if row.Status != record.OK {
		return head + join(": ", string(row.Status), row.Reason)
	}
	var parts []string
	for _, c := range columns()[:3] {
		if v := r.look(c.name); v.known() {
			parts = append(parts, v.Title+" "+v.String())
		}
	}
	if len(parts) == 0 {
		parts = append(parts, string(row.Status))
	}
	if row.Passes > 1 {
		parts = append(parts, Count(row.Passes, "pass"))
	}
	return head + strings.Join(parts, separator)
}
