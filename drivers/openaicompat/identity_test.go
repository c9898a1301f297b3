package openaicompat

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// answering is a good stream whose events name a model; "" leaves the field out.
func answering(model string) drivertest.Script {
	field := ""
	if model != "" {
		b, _ := json.Marshal(model)
		field = `"model":` + string(b) + `,`
	}
	var writes []string
	for _, w := range good {
		writes = append(writes, strings.Replace(w, `"model":"m",`, field, 1))
	}
	return drivertest.Script{Writes: writes}
}

func TestModelChanges(t *testing.T) {
	for _, c := range []struct {
		name, open, later string
		want              error
	}{
		{"the same", "m", "m", nil},
		{"another name than the one asked for, always the same", "m-2026-01", "m-2026-01", nil},
		{"another model", "m", "n", drivers.ErrModelNotFound},
		{"another model of the same last part", "a/m", "b/m", drivers.ErrModelNotFound},
		{"the name that was asked for, where another one answered", "m-2026-01", "m", drivers.ErrModelNotFound},
		{"no word later", "m", "", nil},
		{"no word at open", "", "m", nil},
		{"no word ever", "", "", nil},
		{"a path", "/home/u/models/m.gguf", "/home/u/models/m.gguf", nil},
		{"another path", "/home/u/models/m.gguf", "/home/u/models/n.gguf", drivers.ErrModelNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := suite()
			srv := drivertest.NewServer(t, s.Answers)
			srv.Play(s.Stream, answering(c.open))
			ses, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New(), Log: t.Logf}, drivers.Need{})
			if err != nil {
				t.Fatal(err)
			}
			defer ses.Close()
			srv.Play(s.Stream, answering(c.later))
			rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("hi"), OutputTokens: 4, Slot: drivers.AnySlot})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(rec.Sent["model"], "/home") {
				t.Errorf("sent %v", rec.Sent)
			}
			_, err = ses.Decode(rec)
			if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), "the session began with") {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestPathsAreHidden has a server name its model by its path, as llama-server does without --alias.
func TestPathsAreHidden(t *testing.T) {
	const id = "/home/u/models/m.gguf"
	s := suite()
	s.Answers["GET /v1/models"] = drivertest.JSON(`{"data":[{"id":"` + id + `","max_model_len":4096}]}`)
	srv := drivertest.NewServer(t, s.Answers)
	srv.Play(s.Stream, answering(id))
	for _, ref := range []string{"", id, "m.gguf"} {
		url := strings.Replace(srv.URL, "//", "//bob:hunter22@", 1)
		ses, err := Spec().Open(t.Context(), drivers.Config{URL: url, Model: ref, Clock: clock.New(), Log: t.Logf}, drivers.Need{})
		if err != nil {
			t.Fatal(err)
		}
		defer ses.Close()
		if m := ses.Info().Model; m.Ref != "m.gguf" || m.Name != "m.gguf" {
			t.Errorf("model %+v", m)
		}
		secrets := drivers.CapsOf(ses).Secrets.Secrets()
		for _, want := range []string{"/home/u/models/", "hunter22", "bob:hunter22"} {
			if !slices.Contains(secrets, want) {
				t.Errorf("secrets %q lack %q", secrets, want)
			}
		}
		rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("hi"), OutputTokens: 4, Slot: drivers.AnySlot})
		if err != nil {
			t.Fatal(err)
		}
		reqs := srv.Requests(s.Stream)
		if body := reqs[len(reqs)-1].Body; !bytes.Contains(body, []byte(`"model":"`+id+`"`)) {
			t.Errorf("asked for another model: %s", body)
		}
		want, err := ses.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets { // as a recording is kept
			rec.Data = bytes.ReplaceAll(rec.Data, []byte(secret), bytes.Repeat([]byte("*"), len(secret)))
		}
		got, err := ses.Decode(rec)
		if diff := cmp.Diff(want, got); err != nil || diff != "" || bytes.Contains(rec.Data, []byte("/home")) {
			t.Errorf("the kept recording: %v\n%s", err, diff)
		}
	}
}

// TestPrefillAfterTheRole is a server that sends the role at once and then works on the prompt for longer than the idle limit.
func TestPrefillAfterTheRole(t *testing.T) {
	for _, role := range []string{good[0], ": ping\n\n",
		event(`{"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":5,"completion_tokens":0}}`)} {
		s := suite()
		srv := drivertest.NewServer(t, s.Answers)
		srv.Play(s.Stream, drivertest.Script{Writes: good})
		ses, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New(), Log: t.Logf}, drivers.Need{})
		if err != nil {
			t.Fatal(err)
		}
		defer ses.Close()
		srv.Play(s.Stream, drivertest.Script{Writes: []string{role, strings.Join(good[1:], "")}, Pause: 200 * time.Millisecond})
		rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("hi"), OutputTokens: 4, Slot: drivers.AnySlot,
			FirstByteWithin: 10 * time.Second, IdleWithin: 50 * time.Millisecond})
		if err != nil || rec.Outcome != stream.Complete {
			t.Errorf("after %q: %v", role, err)
		}
	}
}
