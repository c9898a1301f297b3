package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/weights"
)

// Rows with failed passes end a run with 1, as failed rows do.
func TestVerdict(t *testing.T) {
	ok := record.Row{Key: "W1", Status: record.OK}
	marred := record.Row{Key: "W2", Status: record.OK, Flags: []record.Flag{{Name: "errors"}}}
	skipped := record.Row{Key: "W4", Status: record.Skipped}
	failed := record.Row{Key: "W3", Status: record.Failed, Flags: []record.Flag{{Name: "errors"}}}
	for _, c := range []struct {
		name, text, hint string
		code             int
		rows             []record.Row
	}{
		{"all well", "", "", exitOK, []record.Row{ok}},
		{"a row skipped", "", "", exitOK, []record.Row{ok, skipped}},
		{"all skipped", "nothing was measured: 2 rows skipped", "llm-speed explain R W4", exitFailed, []record.Row{skipped, skipped}},
		{"failed passes", "1 row with failed passes; the rest is saved", "llm-speed explain R W2", exitFailed, []record.Row{ok, marred}},
		{"more of them", "2 rows with failed passes; the rest is saved", "llm-speed explain R W2", exitFailed, []record.Row{marred, marred}},
		{"failed rows", "some rows failed: 1 of 2; the rest is saved", "llm-speed bench --resume R", exitFailed, []record.Row{ok, failed}},
		{"both", "some rows failed: 1 of 3, and 1 row with failed passes; the rest is saved", "llm-speed bench --resume R", exitFailed, []record.Row{ok, marred, failed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &benchRun{app: &app{&Process{}}, official: true}
			err := b.verdict(context.Background(), &record.Result{RunID: "R", Rows: c.rows}, nil)
			if codeOf(err) != c.code {
				t.Errorf("exit %d, want %d", codeOf(err), c.code)
			}
			if err != nil && (err.Error() != c.text || !strings.HasPrefix(hintOf(err), c.hint)) {
				t.Errorf("%q, try %q", err, hintOf(err))
			}
		})
	}
}

// What can be done about a backend depends on what is wrong with it.
func TestBackendHint(t *testing.T) {
	spec := drivers.Spec{Start: "llama-server -m MODEL.gguf"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{drivers.ErrNoModel, "llm-speed list-models"},
		{drivers.ErrModelNotFound, "llm-speed list-models"},
		{drivers.ErrUnreachable, spec.Start},
		{drivers.ErrServerDied, ""},
		{weights.ErrCutOff, ""},
		{errors.New("anything"), ""},
	} {
		if got := backendHint(spec, fmt.Errorf("%w: %w", engine.ErrNoBackend, c.err)); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
