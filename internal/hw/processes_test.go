package hw

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crowd is a machine whose server (100, started by 90) listens on port 8080, with a worker 101; 200 is somebody else's.
func crowd() fstest.MapFS {
	files := tree(map[string]string{
		"proc/90/stat": "90 (launcher) S 1 90 90 0", "proc/100/stat": "100 (a) b (server) S 90 90 90 0", "proc/101/stat": "101 (worker) R 100 90 90 0",
		"proc/200/stat": "200 (other) R 1 200 200 0", "proc/300/stat": "300 (loop) R 301 1", "proc/301/stat": "301 (loop) R 300 1", "proc/400/stat": "rubbish",
		"proc/net/tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
			"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 100 0 0 10 0\n" +
			"   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 7777 1 0000000000000000 100 0 0 10 0\n",
		"proc/net/tcp6": "garbage\n",
	})
	link := func(name, to string) { files[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	link("proc/100/fd/3", "socket:[4242]")
	link("proc/200/fd/5", "socket:[7777]")
	return files
}

func TestListeners(t *testing.T) {
	if got := listeners(crowd(), 8080); !slices.Equal(got, []int{100}) {
		t.Errorf("%v", got)
	}
	if got := listeners(crowd(), 8081); got != nil {
		t.Errorf("%v", got)
	}
	for pid, want := range map[int][]int{101: {101, 100, 90}, 200: {200}, 300: {300, 301}, 400: {400}, 999: {999}} {
		if diff := cmp.Diff(want, lineage(crowd(), pid)); diff != "" {
			t.Errorf("%d: -want +got:\n%s", pid, diff)
		}
	}
}

// A program that comes to the GPU while streams run is told of, where the server is known; the server's own worker is not.
func TestNewcomers(t *testing.T) {
	streams := []Span{{3 * time.Second, 12 * time.Second}}
	for _, c := range []struct {
		name   string
		serves string
		lines  map[int]string // by second
		want   string
		others int // at the last look; -1 where it can't be told
	}{
		{"the server alone", "http://127.0.0.1:8080", map[int]string{4: "101\n", 6: "101\n", 8: "101\n"}, "", 0},
		{"somebody comes", "http://127.0.0.1:8080", map[int]string{4: "101\n", 6: "101\n200\n200\n", 8: "101\n200\n"}, "another program began to compute on NVIDIA's GPUs after this run had begun, seen in 3 readings while streams ran", 1},
		{"somebody was there before", "http://127.0.0.1:8080", map[int]string{1: "200\n", 4: "101\n200\n", 6: "101\n200\n"}, "", 1},
		{"somebody comes after the streams", "http://127.0.0.1:8080", map[int]string{4: "101\n", 14: "101\n200\n"}, "", 1},
		{"the server is not known", "http://127.0.0.1:9999", map[int]string{4: "101\n", 6: "101\n200\n"}, "", -1},
		{"the server does not compute here", "http://127.0.0.1:8080", map[int]string{4: "200\n", 6: "200\n"}, "", -1},
		{"rubbish", "\x00", map[int]string{4: "No running processes found\n", 6: "-1\n0\n99999999999\n"}, "", -2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, in := io.Pipe()
				began := time.Now()
				s := source{files: crowd(), follow: func(context.Context, string, ...string) (io.ReadCloser, error) { return out, nil }}
				w := told(nil, nil)
				w.now, w.files, w.self = func() time.Duration { return time.Since(began) }, s.files, 1<<30
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.apps(ctx, s) }()
				w.Serves(c.serves)
				for second := range 15 {
					if text := c.lines[second]; text != "" {
						if _, err := io.WriteString(in, text); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Second)
				}
				cancel()
				if err := <-done; err == nil {
					t.Error("an end is no end")
				}
				var got string
				for _, f := range w.Findings(streams, nil) {
					got += f.Name + ": " + f.Evidence
				}
				if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
				list := w.processSamples()
				if c.others == -2 {
					if len(list) != 0 {
						t.Errorf("%+v", list)
					}
					return
				}
				last := list[len(list)-1]
				if (last.Others == nil) != (c.others < 0) || last.Others != nil && *last.Others != c.others {
					t.Errorf("%+v", last)
				}
			})
		})
	}
}
