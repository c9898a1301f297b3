package report

import (
	"fmt"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// Paused says what a row has waited for a service's rate limits, and what of it was sent again; empty where nothing was.
func Paused(row *record.Row) string {
	p := row.Pauses
	if p == nil {
		return ""
	}
	var parts []string
	if p.WaitedS > 0 {
		parts = append(parts, fmt.Sprintf("waited %.0f s for the service's rate limits", p.WaitedS))
	}
	if p.Repeated > 0 {
		parts = append(parts, "sent again what the service had refused, "+Count(p.Repeated, "time"))
	}
	text := strings.Join(parts, ", ") + "; that is in none of its times"
	if len(p.Why) > 0 {
		text += " (" + strings.Join(p.Why[:min(2, len(p.Why))], "; ") + ")"
	}
	return text
}
