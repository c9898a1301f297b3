package engine

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers/anthropic"
	"github.com/llm-speed/llm-speed/drivers/hosted"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// TestMaskedRecordingsMeasureTheSame: every figure of every case of the hosted dialects comes out of a recording without its
// text as it does with it.
func TestMaskedRecordingsMeasureTheSame(t *testing.T) {
	cases := 0
	for _, name := range []string{"openai", "openrouter", "together", "fireworks", "groq", "cerebras", "deepseek", "anthropic"} {
		d := oracle.DialectOf(name)
		if d == nil {
			t.Fatalf("no dialect %q", name)
		}
		decode := hosted.Decode
		if name == "anthropic" {
			decode = anthropic.Decode
		}
		for _, c := range d.Cases() {
			rec := judge.Recording(&c, stream.Recording{Sent: map[string]string{"service": name}})
			bare := maskText(rec)
			if len(bare.Data) != len(rec.Data) {
				t.Fatalf("%s, %s: %d bytes became %d", name, c.Name, len(rec.Data), len(bare.Data))
			}
			was, wasErr := decode(rec)
			now, nowErr := decode(bare)
			if (wasErr == nil) != (nowErr == nil) || wasErr != nil && wasErr.Error() != nowErr.Error() {
				t.Errorf("%s, %s: %v became %v", name, c.Name, wasErr, nowErr)
			}
			one, two := measure.Request(rec, was, judge.Asked(&c, wasErr)), measure.Request(bare, now, judge.Asked(&c, nowErr))
			if !reflect.DeepEqual(one, two) {
				t.Errorf("%s, %s: the figures differ: %s", name, c.Name, cmp.Diff(one.Flags, two.Flags))
			}
			text := 0
			for i, e := range now.Events {
				if e.Text == was.Events[i].Text && len(e.Text) > 2 {
					text++
				}
			}
			if text > 0 {
				t.Errorf("%s, %s: %d events kept their text", name, c.Name, text)
			}
			cases++
		}
	}
	if cases < 200 {
		t.Errorf("only %d cases", cases)
	}
}
