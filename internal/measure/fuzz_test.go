package measure

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/stats"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// script turns bytes into a stream, any stream at all: wild stamps, counts and kinds included.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) number() int64 {
	switch b := s.byte(); b % 8 {
	case 0:
		var w [8]byte
		for i := range w {
			w[i] = s.byte()
		}
		return int64(binary.LittleEndian.Uint64(w[:]))
	case 1:
		return -1
	case 2:
		return 0
	default:
		return int64(b) * 1000
	}
}

func (s *script) count() stream.Count {
	return stream.Count{N: int(s.number()), From: []stream.Provenance{"", "A", "B", "C", "D", "E"}[s.byte()%6]}
}

func (s *script) sample() Sample {
	d := func() time.Duration { return time.Duration(s.number()) }
	rec := stream.Recording{Sched: d(), Send: d(), FirstByte: d(), End: d(), ReadLag: d()}
	tr := stream.Transcript{
		Counts: stream.Counts{Prompt: s.count(), Cached: s.count(), Output: s.count(), Reasoning: s.count()},
		Server: stream.ServerTiming{PromptTokens: s.count(), Prefill: d(), DecodeTokens: int(s.number()), Decode: d(), Queue: d()},
		Finish: []string{"", "length", "stop"}[s.byte()%3],
	}
	asked := Asked{OutputTokens: int(s.number()), PromptTokens: int(s.number()), Cold: s.byte()%2 == 0, Template: int(s.number()), CacheBlock: int(s.number())}
	if s.byte()%8 == 7 {
		asked.Err = errors.New("failed")
	}
	at, read := time.Duration(0), 0
	for range s.byte() {
		step := s.byte()
		switch step % 8 {
		case 0:
		case 1:
			at = d()
		default:
			at += time.Duration(step) * time.Millisecond
			read++
		}
		tokens := int(s.number())
		if step >= 32 {
			tokens = int(step % 4)
		}
		e := stream.Event{At: at, Read: read, Kind: stream.Kind(s.byte() % 4), Tokens: tokens}
		e.Text = "some text"[:s.byte()%10]
		tr.Events = append(tr.Events, e)
		if s.byte()%4 == 0 {
			asked.PrefixTokens = append(asked.PrefixTokens, len(tr.Events))
		}
	}
	return Request(rec, tr, asked)
}

// check walks a result: every known figure is finite and not negative, every unknown one says why.
func check(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch x := v.Interface().(type) {
	case Value:
		if x.Known && (math.IsNaN(x.X) || math.IsInf(x.X, 0) || x.X < 0 || x.Why != "") || !x.Known && x.Why == "" {
			t.Errorf("%s = %+v", name, x)
		}
	case []stats.Weighted:
		for _, w := range x {
			if math.IsNaN(w.X) || math.IsInf(w.X, 0) || w.X < 0 || !(w.W > 0) || math.IsInf(w.W, 0) {
				t.Errorf("%s holds %+v", name, w)
			}
		}
	case []float64:
		for _, f := range x {
			if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
				t.Errorf("%s holds %v", name, f)
			}
		}
	}
}

func checkAll(t *testing.T, v any) {
	t.Helper()
	rv := reflect.ValueOf(v)
	for i := range rv.NumField() {
		if f := rv.Type().Field(i); f.IsExported() {
			check(t, f.Name, rv.Field(i))
		}
	}
}

func FuzzEveryFigureIsSane(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3, 4, 5, 6, 7, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1, 3, 3, 3, 3, 3, 1, 3, 3, 0, 3, 3, 0, 9, 40, 3, 1, 4, 1, 41, 3, 1, 4, 1, 42, 3, 1, 4, 1})
	seed := make([]byte, 900)
	for i := range seed {
		seed[i] = byte(i*i*31 + i*7 + 3)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := script(data)
		var samples []Sample
		for range 1 + s.byte()%4 {
			samples = append(samples, s.sample())
		}
		for i := range samples {
			checkAll(t, samples[i])
			if x := &samples[i]; x.Decode.Known && (x.Events < 2 || x.Window.X < MinTokens || x.Failed() || x.Output.From == stream.EventsCounted) {
				t.Errorf("a rate out of nothing: %+v", x)
			}
		}
		b := Batch(samples)
		checkAll(t, b)
		if b.Parallelism > len(samples) || b.W1 < b.W0 {
			t.Errorf("%+v", b)
		}
		checkAll(t, ITL(samples))
		h := HitRate(samples)
		check(t, "H", reflect.ValueOf(h))
		if h.Known && h.X > 1 {
			t.Errorf("H = %v", h.X)
		}
		check(t, "prefill", reflect.ValueOf(PrefillEstimate(&samples[0], &samples[len(samples)-1])))
		ttft := Over(Each(samples, func(s *Sample) Value { return s.TTFT }))
		checkAll(t, ttft)
	})
}
