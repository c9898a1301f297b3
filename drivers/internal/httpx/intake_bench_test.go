package httpx

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
)

const benchEvent = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}` + "\n\n"

// benchServer answers every request with the same n events, each in a chunk of its own, as fast as the socket takes them:
// the answer is made beforehand and given to the kernel in pieces of so many events. It gives its URL.
func benchServer(tb testing.TB, n, perWrite int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	piece := bytes.Repeat([]byte(fmt.Sprintf("%x\r\n%s\r\n", len(benchEvent), benchEvent)), perWrite)
	go func() {
		for {
			k, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer k.Close()
				br := bufio.NewReader(k)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					_, _ = io.WriteString(k, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
					for range n / perWrite {
						if _, err := k.Write(piece); err != nil {
							return
						}
					}
					_, _ = io.WriteString(k, "0\r\n\r\n")
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// bare is what a plain Go client does: net/http, a buffered reader of 64 KiB, a stamp a line. It gives the events seen.
func bare(url string, c *clock.Clock) (int, error) {
	resp, err := http.Post(url, "application/json", bytes.NewReader([]byte("{}")))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	br, events := bufio.NewReaderSize(resp.Body, 64<<10), 0
	var last time.Duration
	for {
		line, err := br.ReadSlice('\n')
		last = c.Now()
		if len(line) > 1 {
			events++
		}
		if errors.Is(err, io.EOF) {
			_ = last
			return events, nil
		}
		if err != nil {
			return events, err
		}
	}
}

// BenchmarkIntake compares the read path of Stream with that of a bare client, on the same events from the same server in
// the same process, turn by turn. It reports events a second of both, their ratio, the read path's allocations an event, and
// the CPU time of a million events with either client. That is the whole process's: the server's part is in both, and grows
// where the client takes smaller portions. It is left out where the system does not tell. Ratio is of speeds, more is better;
// cpu-over-bare is of times, less is better.
func BenchmarkIntake(b *testing.B) {
	const events = 200_000
	for _, perWrite := range []int{1, 16, 1000} {
		b.Run(strconv.Itoa(perWrite)+"-a-write", func(b *testing.B) {
			url := benchServer(b, events, perWrite)
			ck := clock.New()
			c, err := New(url, drivers.Secret{}, nil, ck)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			want := events / perWrite * perWrite
			var ours, theirs, oursCPU, theirsCPU time.Duration
			_, told := cpu()
			var allocs, reads uint64
			for b.Loop() {
				used, _ := cpu()
				t := time.Now()
				n, err := bare(url, ck)
				theirs += time.Since(t)
				now, _ := cpu()
				theirsCPU += now - used
				if err != nil || n != want {
					b.Fatalf("bare client: %d events, %v", n, err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				used, _ = cpu()
				t = time.Now()
				rec, err := c.Stream(b.Context(), Post{Path: "/", Body: []byte("{}")})
				ours += time.Since(t)
				now, _ = cpu()
				oursCPU += now - used
				runtime.ReadMemStats(&after)
				if err != nil || bytes.Count(rec.Data, []byte("\n\n")) != want {
					b.Fatalf("stream: %d bytes, %v", len(rec.Data), err)
				}
				allocs += after.Mallocs - before.Mallocs
				reads += uint64(len(rec.Reads))
			}
			total := float64(want) * float64(b.N)
			b.ReportMetric(total/ours.Seconds(), "events/s")
			b.ReportMetric(total/theirs.Seconds(), "bare-events/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
			b.ReportMetric(float64(allocs)/total, "allocs/event")
			b.ReportMetric(total/float64(reads), "events/read")
			if told {
				perMillion := 1e6 / total * 1e3
				b.ReportMetric(oursCPU.Seconds()*perMillion, "cpu-ms/M-events")
				b.ReportMetric(theirsCPU.Seconds()*perMillion, "bare-cpu-ms/M-events")
				b.ReportMetric(oursCPU.Seconds()/theirsCPU.Seconds(), "cpu-over-bare")
			}
		})
	}
}
