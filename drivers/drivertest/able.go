package drivertest

import (
	"slices"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// checkAble holds what the Spec declares (docs/backends.md shows it) to what is seen of a session and of one good stream:
// Yes must be there, No must not. Partly may go either way.
func checkAble(t *testing.T, s *Suite) {
	b := s.open(t)
	rec, tr, err, derr := b.run(t.Context(), t, Script{Writes: s.Good}, Ask())
	if err != nil || derr != nil {
		t.Fatalf("stream: %v, decode: %v", err, derr)
	}
	ableIs(t, s.Spec, b.ses, rec, tr)
	if (s.Spec.Live.Date == "") != (s.Spec.Live.Version == "" && s.Spec.Live.How == "") {
		t.Errorf("Spec.Live is half filled: %+v", s.Spec.Live)
	}
}

// ableIs holds the declarations to one session and one stream.
func ableIs(t *testing.T, spec drivers.Spec, ses drivers.Session, rec stream.Recording, tr stream.Transcript) {
	t.Helper()
	info, caps, a := ses.Info(), drivers.CapsOf(ses), spec.Able
	counted := !slices.ContainsFunc(tr.Events, func(e stream.Event) bool { return e.Kind != stream.Silent && e.Tokens == stream.NotStated })
	for _, c := range []struct {
		name string
		says drivers.Ability
		seen bool
	}{
		{"ExactLength", a.ExactLength, info.IgnoresEOS}, {"TokenPrompts", a.TokenPrompts, rec.PromptIDs > 0}, {"Tokenizer", a.Tokenizer, caps.Tokenizer != nil},
		{"Cached", a.Cached, tr.Counts.Cached.Known()}, {"Cold", a.Cold, info.ColdAsked}, {"PerEvent", a.PerEvent, counted},
		{"Timing", a.Timing, tr.Server.Prefill > 0 || tr.Server.Decode > 0}, {"CacheStats", a.CacheStats, caps.CacheStatser != nil}, {"Activity", a.Activity, caps.Activity != nil},
	} {
		switch {
		case c.says.Is == drivers.Has && !c.seen:
			t.Errorf("Spec.Able.%s says yes (%s), and it is not there; say drivers.Partly where it depends on something", c.name, c.says.How)
		case c.says.Is == drivers.HasNot && c.seen:
			t.Errorf("Spec.Able.%s says no (%s), and it is there", c.name, c.says.How)
		}
	}
}

// checkReuse holds the request to what the Spec says of cold prompts: where a cold prompt is asked for, the request differs
// from one that may reuse the cache.
func checkReuse(t *testing.T, s *Suite) {
	b := s.open(t)
	bodies := map[bool]string{}
	for _, reuse := range []bool{false, true} {
		r := Ask()
		r.Reuse = reuse
		before := len(b.srv.Requests(s.Stream))
		if _, _, err, _ := b.run(t.Context(), t, Script{Writes: s.Good}, r); err != nil {
			t.Fatal(err)
		}
		bodies[reuse] = string(b.srv.Requests(s.Stream)[before].Body)
	}
	flushes := drivers.CapsOf(b.ses).CacheFlusher != nil
	if b.ses.Info().ColdAsked && !flushes && bodies[false] == bodies[true] {
		t.Error("Info.ColdAsked is set, and the request of a cold prompt is that of a prompt that may be reused")
	}
}
