package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestTokensAWord(t *testing.T) {
	const text = `The committee that was set up last year has now published its first report, and it recommends several changes to the way in which the
region's water is managed. Most of the older pipes were laid before anybody measured how much of the water was lost on its way, so the engineers began with a
simple question: where does it go? They found that a small number of streets, about one in twenty, accounted for nearly half of the loss.`
	words := len(strings.FieldsFunc(text, unicode.IsSpace))
	if r := float64(len(Tokenize(text))) / float64(words); r < 1.2 || r > 1.5 {
		t.Errorf("%.2f tokens a word", r)
	}
}

func TestTokenEnd(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"hello there,  x", []string{"hello", " there", ",", " ", " x"}},
		{"extraordinary", []string{"extrao", "rdinar", "y"}},
		{"a 12345 b", []string{"a", " 123", "45", " b"}},
		{"a\n\n  if (x)", []string{"a", "\n\n", " ", " if", " (", "x", ")"}},
		{"é語", []string{"é", "語"}},
		{"a  \n", []string{"a", "  ", "\n"}},
	} {
		var got []string
		for i := 0; i < len(tt.text); {
			j := tokenEnd(tt.text, i)
			got = append(got, tt.text[i:j])
			i = j
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%q is cut into %q, want %q", tt.text, got, tt.want)
		}
	}
}

func FuzzTokenize(f *testing.F) {
	for _, s := range []string{"", "hello  there,\n\tx", "  \n ", "é\xff語", "12345 -- abcdefghijkl"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := 0; i < len(s); {
			j := tokenEnd(s, i)
			if j <= i || j > len(s) {
				t.Fatalf("token of %q from %d ends at %d", s, i, j)
			}
			i = j
		}
		for _, id := range Tokenize(s) {
			if id < 0 {
				t.Fatalf("id %d", id)
			}
		}
	})
}

// FuzzRequest gives the completion endpoints any body under some traps: it is refused, or it has a plan that fits.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true,"stream_options":{"include_usage":true}}`,
		`{"prompt":[1,2,3],"max_tokens":2}`, `{"prompt":"a b c","stream":true,"ignore_eos":true,"max_completion_tokens":30}`,
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}],"tools":[{}]}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"return_token_ids":true,"cache_prompt":false,"seed":7}`,
	} {
		f.Add([]byte(s), "", true)
		f.Add([]byte(s), "tool-hold=2,split-utf8,tokens-per-event=3,silent-every=2,reasoning=1,coalesce=2", true)
		f.Add([]byte(s), "hang=1,comments,gzip", false)
	}
	p := Profiles()[0]
	p.Context = 400
	f.Fuzz(func(t *testing.T, body []byte, traps string, chat bool) {
		tr, err := ParseTraps(traps)
		if err != nil || tr.longLine > 1<<20 {
			return
		}
		s := &Server{o: Options{Profile: p}, origin: time.Now()}
		s.dialect = ownDialect(s)
		c := s.completion(&s.dialect.generates[map[bool]int{true: 0, false: 1}[chat]], tr)
		if err := s.understand(c, &request{Request: &http.Request{}, body: body}); err != nil {
			return
		}
		fits(t, c)
	})
}

// fits looks at the plan of a completion: its steps go with tokens that there are, in their order.
func fits(t *testing.T, c *completion) {
	t.Helper()
	steps := c.whole()
	if c.stream {
		steps = c.plan()
	}
	stop, _, _ := c.stop()
	j := &job{served: c.served}
	after := 0
	for _, st := range steps {
		if st.after < after || st.after > max(stop, 1) {
			t.Fatalf("a step goes with token %d, after one with %d, of %d", st.after, after, stop)
		}
		after = st.after
		if st.late != nil {
			st.late(j)
		}
	}
	sum := 0
	for _, st := range steps {
		for _, e := range st.events {
			sum += e.Tokens
		}
	}
	if sum > stop {
		t.Fatalf("%d tokens in events, %d generated", sum, stop)
	}
}

func BenchmarkPlan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := &Server{o: Options{Profile: Profiles()[0]}}
		s.dialect = ownDialect(s)
		c := s.completion(&s.dialect.generates[0], Traps{})
		c.chat, c.stream, c.prompt = true, true, make([]int32, 30)
		c.out = generate(200, 1, Traps{})
		if steps := c.plan(); len(steps) != 201 {
			b.Fatal(len(steps))
		}
	}
}

func BenchmarkTokenize(b *testing.B) {
	var text []byte
	for len(text) < 600<<10 {
		for _, t := range say(100, uint64(len(text))) {
			text = append(text, t.text...)
		}
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Tokenize(string(text))
	}
}

// FuzzDialects gives every dialect's endpoints any body: it is refused or answered at once, or it has a plan that fits.
func FuzzDialects(f *testing.F) {
	dialects := dialectTable()
	for i := range dialects {
		for _, b := range []string{
			`{"model":"sim-fast","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true,"input":"hi","prompt":"hi","text":"hi","max_output_tokens":5}`,
			`{"model":"sim-fast","prompt":[1,2,3],"input_ids":[1,2],"max_tokens":5,"n_predict":5,"stream":true,"options":{"num_predict":5,"num_ctx":64}}`,
			`{"model":"sim-fast","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}]}`,
			`{"model":"sim-fast","prompt":["a",7],"text":"","keep_alive":"5m"}`,
			`{"model":"sim-fast","prompt":"a b c d e f","raw":true,"options":{"num_ctx":1}}`,
		} {
			f.Add([]byte(b), uint8(i), uint8(0), "")
			f.Add([]byte(b), uint8(i), uint8(1), "reasoning=1,tool-hold=2,split-utf8,tokens-per-event=3,silent-first=1")
			f.Add([]byte(b), uint8(i), uint8(2), "error-in-stream=2,comments,gzip,no-done")
		}
	}
	p := Profiles()[1]
	p.Context = 300
	f.Fuzz(func(t *testing.T, body []byte, which, at uint8, traps string) {
		tr, err := ParseTraps(traps)
		if err != nil || tr.longLine > 1<<20 {
			return
		}
		s := &Server{o: Options{Profile: p}, origin: time.Now(), journal: &journal{}}
		d, err := newDialect(s, dialects[int(which)%len(dialects)].doc.Name)
		if err != nil {
			t.Fatal(err)
		}
		s.dialect = d
		c := s.completion(&d.generates[int(at)%len(d.generates)], tr)
		if err := s.understand(c, &request{Request: &http.Request{}, body: body}); err != nil {
			var no *refusal
			if errors.As(err, &no) && !json.Valid(d.refusal(no)) {
				t.Fatalf("refused with %q", d.refusal(no))
			}
			return
		}
		fits(t, c)
	})
}
