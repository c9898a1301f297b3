package cli

import (
	"testing"
	"time"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ text, first, last string }{
		{"2026-11-23", "2026-11-23T00:00:00Z", "2026-11-23T23:59:59.999999999Z"},
		{"2026-11-23T14:25", "2026-11-23T14:25:00Z", "2026-11-23T14:25:59.999999999Z"},
		{"2026-11-23T14:25:01", "2026-11-23T14:25:01Z", "2026-11-23T14:25:01Z"},
		{"2026-11-23T14:25:01+02:00", "2026-11-23T12:25:01Z", "2026-11-23T12:25:01Z"},
		{"90m", "2026-11-24T10:30:00Z", "2026-11-24T10:30:00Z"},
		{"2w", "2026-11-10T12:00:00Z", "2026-11-10T12:00:00Z"},
	} {
		first, last, err := parseWhen("--since", c.text, now)
		if f, l := first.UTC().Format(time.RFC3339Nano), last.UTC().Format(time.RFC3339Nano); err != nil || f != c.first || l != c.last {
			t.Errorf("%s: %s to %s, %v; want %s to %s", c.text, f, l, err, c.first, c.last)
		}
	}
	for _, bad := range []string{"yesterday", "d", "-7d", "7", "7y", "2026-13-01", "99999999d", "ü", "1.5h"} {
		if first, _, err := parseWhen("--since", bad, now); err == nil {
			t.Errorf("%q is taken for %v", bad, first)
		}
	}
}

func TestDifferences(t *testing.T) {
	want := map[string]any{"a": 1.0, "b": []any{1.0, map[string]any{"c": "x"}}, "gone": nil, "e": map[string]any{}, "zero": 0.0}
	got := map[string]any{"a": 1.0, "b": []any{1.0, map[string]any{"c": "y"}}, "new": 2.0, "zero": nil}
	diffs := differences("", want, got)
	if len(diffs) != 3 || diffs[0] != `b[1].c: saved "x", computed "y"` || diffs[1] != "new: saved null, computed 2" || diffs[2] != "zero: saved 0, computed null" {
		t.Errorf("%q", diffs)
	}
}
