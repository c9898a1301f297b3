package oracletest

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/measure"
	"github.com/llm-speed/llm-speed/internal/oracle"
	"github.com/llm-speed/llm-speed/internal/oracle/judge"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// bareDecode is what a plain client makes of a body: each data line unmarshalled into the one field that it wants. It gives
// the texts' number.
func bareDecode(body []byte) (texts int, err error) {
	for line := range bytes.Lines(body) {
		data, is := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data: "))
		if !is || string(data) == "[DONE]" {
			continue
		}
		var c struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal(data, &c); err != nil {
			return texts, err
		}
		if len(c.Choices) > 0 && c.Choices[0].Delta.Content != "" {
			texts++
		}
	}
	return texts, nil
}

// BenchmarkLong decodes and measures a long stream, which happens after it, never in it, beside a plain client that only
// unmarshals. It reports the time a million events, both clients' and their ratio, and allocations and bytes an event.
func BenchmarkLong(b *testing.B) {
	for _, events := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(events)+"-events", func(b *testing.B) {
			c := long(time.Second, time.Millisecond, events, numbered)
			compare(b, &c, record(&c))
		})
	}
}

// BenchmarkLongLines is BenchmarkLong with a megabyte of padding in each line.
func BenchmarkLongLines(b *testing.B) {
	c := long(time.Second, time.Millisecond, 130, numbered)
	for i := range c.Want.Events {
		c.Writes[i].Data = event(c.Writes[i].Marks[0].Text, 1<<20)
	}
	rec := record(&c)
	b.SetBytes(int64(len(rec.Data)))
	compare(b, &c, rec)
}

func compare(b *testing.B, c *oracle.Case, rec stream.Recording) {
	var ours, theirs time.Duration
	var allocs, size uint64
	events := c.Want.Events
	for b.Loop() {
		t := time.Now()
		n, err := bareDecode(rec.Data)
		theirs += time.Since(t)
		if err != nil || n != events {
			b.Fatalf("bare client: %d events, %v", n, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		t = time.Now()
		tr, err := decode(c, rec)
		s := measure.Request(rec, tr, judge.Asked(c, err))
		ours += time.Since(t)
		runtime.ReadMemStats(&after)
		if err != nil || s.Events != events || s.Output.N != events || !s.Decode.Known {
			b.Fatalf("%d events, N %d, decode %+v, %v", s.Events, s.Output.N, s.Decode, err)
		}
		allocs += after.Mallocs - before.Mallocs
		size += after.TotalAlloc - before.TotalAlloc
	}
	total := float64(events) * float64(b.N)
	b.ReportMetric(ours.Seconds()*1e9/total, "ms/M-events")
	b.ReportMetric(theirs.Seconds()*1e9/total, "bare-ms/M-events")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(float64(allocs)/total, "allocs/event")
	b.ReportMetric(float64(size)/total, "B/event")
}
