package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
)

// built is the stripped binary, as released.
func built(b *testing.B) string {
	b.Helper()
	out := filepath.Join(b.TempDir(), "llm-speed")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "github.com/llm-speed/llm-speed/cmd/llm-speed")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, text)
	}
	st, err := os.Stat(out)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(st.Size())/1e6, "binary-MB")
	return out
}

// simulator starts `llm-speed sim` and gives its URL.
func simulator(b *testing.B, binary string, args ...string) string {
	b.Helper()
	cmd := exec.Command(binary, append([]string{"sim", "--listen", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// client runs the binary away from the user's own data.
func client(b *testing.B, binary string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	b.Helper()
	home := b.TempDir()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home)
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

// BenchmarkVersion times `llm-speed version` (limit 30 ms).
func BenchmarkVersion(b *testing.B) {
	binary := built(b)
	for b.Loop() {
		cmd, _ := client(b, binary, "version")
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFirstRequest times the way from the start of the process to the first request of an attached server, the
// calibration aside (limit 300 ms).
func BenchmarkFirstRequest(b *testing.B) {
	binary := built(b)
	url := simulator(b, binary, "--profile", "fast")
	var sum float64
	n := 0
	for b.Loop() {
		through, first := stampingProxy(b, strings.TrimPrefix(url, "http://"), "POST /v1/chat/completions")
		cmd, out := client(b, binary, "bench", "--backend", "sim", "--url", through, "--workload", "W1", "--quick", "--repeats", "1", "--json", "-")
		began := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		var r record.Result
		var receipt struct {
			TookS float64 `json:"took_s"`
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			b.Fatal(err)
		}
		if err := json.Unmarshal(r.Calibration, &receipt); err != nil {
			b.Fatal(err)
		}
		sum += first().Sub(began).Seconds() - receipt.TookS
		n++
	}
	b.ReportMetric(1000*sum/float64(n), "first-request-ms")
	b.ReportMetric(0, "ns/op")
}

// stampingProxy passes connections on and keeps the time of the first that carries the mark.
func stampingProxy(b *testing.B, to, mark string) (url string, first func() time.Time) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	var mu sync.Mutex
	var at time.Time
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer s.Close()
				go func() { _, _ = io.Copy(c, s) }()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if bytes.HasPrefix(buf[:n], []byte(mark)) {
						mu.Lock()
						if at.IsZero() {
							at = time.Now()
						}
						mu.Unlock()
					}
					if n > 0 {
						_, _ = s.Write(buf[:n])
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
}

// BenchmarkPeakMemory reports the client's peak resident memory through the whole suite with its 128k point (limit 64 MiB).
// The simulator is another process.
func BenchmarkPeakMemory(b *testing.B) {
	if runtime.GOOS == "windows" {
		b.Skip("the operating system does not report it here")
	}
	binary := built(b)
	url := simulator(b, binary, "--profile", "fast")
	var most int64
	for b.Loop() {
		cmd, _ := client(b, binary, "bench", "--backend", "sim", "--url", url, "--repeats", "1")
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		most = max(most, peakBytes(cmd.ProcessState))
	}
	b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
}
