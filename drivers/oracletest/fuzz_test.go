package oracletest

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// checkSane walks a result: every known figure is finite and not negative, every unknown one says why.
func checkSane(t *testing.T, v any) {
	t.Helper()
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		if !rv.Type().Field(i).IsExported() {
			continue
		}
		name := rv.Type().Field(i).Name
		bad := func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) || x < 0 }
		switch x := rv.Field(i).Interface().(type) {
		case measure.Value:
			if x.Known && (bad(x.X) || x.Why != "") || !x.Known && x.Why == "" {
				t.Errorf("%s is %+v", name, x)
			}
		case stream.Count:
			if x.Known() && x.N < 0 {
				t.Errorf("%s is %+v", name, x)
			}
		case []float64:
			for _, f := range x {
				if bad(f) {
					t.Errorf("%s holds %v", name, f)
				}
			}
		case []stats.Weighted:
			for _, w := range x {
				if bad(w.X) || bad(w.W) {
					t.Errorf("%s holds %+v", name, w)
				}
			}
		}
	}
}

// wild makes a recording of any bytes: cuts says where reads end and when, two bytes a read.
func wild(body, cuts []byte, status uint16, outcome uint8) stream.Recording {
	rec := stream.Recording{
		Status: int(status), Header: map[string]string{"content-type": "text/event-stream"}, Data: body, Send: began, Sched: began,
		Outcome: []stream.Outcome{stream.Complete, stream.Cut, stream.Deadline, stream.Canceled}[outcome%4], Fault: "lost",
	}
	at, end := began, 0
	for ; len(cuts) >= 2 && end < len(body); cuts = cuts[2:] {
		end = min(len(body), end+1+int(cuts[0]))
		switch b := cuts[1]; {
		case b < 240: // 0 too: two reads of one moment
			at += time.Duration(b) * 100 * time.Microsecond
		case b < 250: // a clock that goes back
			at -= time.Duration(b) * time.Second / 100
		default:
			at += time.Duration(b) * time.Hour
		}
		rec.Reads = append(rec.Reads, stream.Read{End: end, At: at})
		if rec.FirstByte == 0 {
			rec.FirstByte = at
		}
	}
	if end < len(body) && len(rec.Reads) > 0 {
		rec.Reads[len(rec.Reads)-1].End = len(body)
	}
	rec.End = at
	return rec
}

// FuzzStream reads any bytes in any portions at any moments, as each protocol: nothing panics, no figure is nonsense, no
// rate is made of less than it needs, and neither the counts nor the text depend on how the bytes were cut.
func FuzzStream(f *testing.F) {
	for i, c := range oracle.Cases() {
		body := []byte(c.Body())
		if len(body) > 64<<10 {
			continue
		}
		var cuts []byte
		for range c.Writes {
			cuts = append(cuts, byte(len(body)/len(c.Writes)), byte(i+20))
		}
		f.Add(body, cuts, uint16(200), uint8(c.End), c.Protocol == oracle.LlamaCpp)
	}
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"completion_tokens\":-1,\"prompt_tokens\":1e300}}\n\n"), []byte{9, 245, 9, 255}, uint16(200), uint8(0), false)
	f.Add([]byte("data: {\"content\":\"a\",\"tokens_predicted\":9223372036854775807,\"stop\":true,\"timings\":{\"prompt_n\":5,\"prompt_ms\":1e-300,\"predicted_n\":99,\"predicted_ms\":1e308}}\n\n"), []byte{200, 1}, uint16(200), uint8(0), true)
	f.Fuzz(func(t *testing.T, body, cuts []byte, status uint16, outcome uint8, native bool) {
		if len(body) > 1<<20 {
			return
		}
		understand := openai.Decode
		if native {
			understand = llamacpp.Decode
		}
		rec := wild(body, cuts, status, outcome)
		tr, err := understand(rec)
		ask := measure.Asked{Err: err, OutputTokens: int(status) % 300, PromptTokens: 1000, Cold: outcome < 128, Template: int(outcome%40) - 1, CacheBlock: int(outcome % 17)}
		s := measure.Request(rec, tr, ask)
		checkSane(t, s)
		checkSane(t, measure.ITL([]measure.Sample{s}))
		checkSane(t, measure.Batch([]measure.Sample{s, s}))
		if s.Decode.Known && (s.Events < 2 || len(s.Steps) < 2 || err != nil || !s.Output.Known() || s.Output.From == stream.EventsCounted) {
			t.Errorf("decode %v out of %d events, %+v, %v", s.Decode.X, s.Events, s.Output, err)
		}
		if s.First > 0 && (s.Last < s.First || s.Answer != 0 && (s.Answer < s.First || s.Answer > s.Last)) {
			t.Errorf("first %v, answer %v, last %v", s.First, s.Answer, s.Last)
		}

		whole := rec
		whole.Reads = []stream.Read{{End: len(body), At: began + time.Second}}
		again, errAgain := understand(whole)
		one := measure.Request(whole, again, ask)
		if (err == nil) != (errAgain == nil) {
			t.Fatalf("in one read the error is %v, in %d it is %v", errAgain, len(rec.Reads), err)
		}
		if judge.WordsOf(&s, &tr) != judge.WordsOf(&one, &again) {
			t.Errorf("in one read: %+v\nin %d: %+v", judge.WordsOf(&one, &again), len(rec.Reads), judge.WordsOf(&s, &tr))
		}
		if one.Decode.Known {
			t.Errorf("decode %v out of one read", one.Decode.X)
		}
	})
}
