package agree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/proc"
)

// Bench is what llama-bench says of the same model file, beside our figures. It is shown and held against nothing.
type Bench struct {
	Command   string      `json:"command"` // as it was run, without folders
	Build     string      `json:"build,omitempty"`
	Threads   int         `json:"threads,omitempty"`
	GPULayers *int        `json:"n_gpu_layers"`
	Tests     []BenchTest `json:"tests"`
	Reason    string      `json:"reason,omitempty"` // why there are no tests
	Note      string      `json:"note"`
}

// BenchTest is one of its tests.
type BenchTest struct {
	Name         string   `json:"name"` // pp512, tg128
	TPS          float64  `json:"tps"`
	StddevTPS    *float64 `json:"stddev_tps"`
	Samples      int      `json:"samples"`
	Beside       string   `json:"beside"` // our comparison that stands nearest
	Client       *float64 `json:"client_tps"`
	Server       *float64 `json:"server_tps"`
	ClientRatio  *float64 `json:"client_difference_ratio"` // client / llama-bench - 1
	ServerRatio  *float64 `json:"server_difference_ratio"`
	Incomparable bool     `json:"not_comparable"` // always true
}

// benchNote is why the figures differ.
const benchNote = "not comparable: llama-bench feeds random tokens straight to the model; it leaves out sampling, detokenising, HTTP, the chat template and the prompt that a token of ours comes after, and counts the first token"

// BenchNear finds the llama-bench that belongs to a llama-server: in the folder of path (the program or its folder) or,
// where path is empty, beside the server that is first on a PATH list; "" where there is none.
func BenchNear(path, server, pathList string) string {
	if path == "" {
		if path = proc.Find(server, pathList); path == "" {
			return ""
		}
	}
	// Find takes a list of folders; a file in it is a folder without the program.
	return proc.Find("llama-bench", path+string(filepath.ListSeparator)+filepath.Dir(path))
}

// BenchArgs takes what changes llama-bench's figures too out of the arguments that a llama-server was started with: the
// number of threads, and the layers on the GPU.
func BenchArgs(args, layers string) []string {
	var out []string
	words := strings.Fields(args)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "-t", "--threads":
			out = append(out, "-t", words[i+1])
		case "-ngl", "--gpu-layers", "--n-gpu-layers":
			if layers == "" {
				out = append(out, "-ngl", words[i+1])
			}
		}
	}
	if layers != "" {
		out = append(out, "-ngl", layers)
	}
	return out
}

// RunBench runs llama-bench on a model file. more are further arguments. What went wrong is in the Bench's Reason; the
// error is of ctx alone.
func RunBench(ctx context.Context, path, model string, more ...string) (*Bench, error) {
	args := append([]string{"-m", model, "-p", "512", "-n", "128", "-o", "jsonl", "-r", "3"}, more...)
	b := &Bench{Note: benchNote, Tests: []BenchTest{}}
	shown := append([]string{filepath.Base(path), "-m", filepath.Base(model)}, args[2:]...)
	b.Command = strings.Join(shown, " ")
	text, err := proc.Output(ctx, path, args...)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if perr := b.parse(text); perr != nil && err == nil {
		err = perr
	}
	if len(b.Tests) == 0 {
		b.Reason = fmt.Sprintf("llama-bench gave no figures: %v", err)
	}
	return b, nil
}

// number reads a JSON number however a build writes it: as a number, a quoted one, or a truth value.
type number struct {
	x  float64
	ok bool
}

// UnmarshalJSON never fails: what is no number is unknown.
func (n *number) UnmarshalJSON(b []byte) error {
	x, err := strconv.ParseFloat(strings.Trim(string(b), `"`), 64)
	*n = number{x, err == nil && math.Abs(x) < 1e15}
	return nil
}

// parse reads the JSON lines among what was printed; other lines are its log.
func (b *Bench) parse(text string) error {
	rows := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var row struct {
			Commit    any    `json:"build_commit"`
			Build     number `json:"build_number"`
			Threads   number `json:"n_threads"`
			GPULayers number `json:"n_gpu_layers"`
			Prompt    number `json:"n_prompt"`
			Gen       number `json:"n_gen"`
			TPS       number `json:"avg_ts"`
			Stddev    number `json:"stddev_ts"`
			Samples   []any  `json:"samples_ts"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			var odd *json.UnmarshalTypeError
			if !errors.As(err, &odd) {
				continue // a line of the log that begins as an object does
			}
		}
		rows++
		t := BenchTest{Samples: len(row.Samples), TPS: row.TPS.x, Incomparable: true}
		switch {
		case !row.TPS.ok || row.TPS.x <= 0:
			continue
		case row.Prompt.x > 0 && row.Gen.x == 0:
			t.Name, t.Beside = fmt.Sprintf("pp%.0f", row.Prompt.x), namePrefill
		case row.Gen.x > 0 && row.Prompt.x == 0:
			t.Name, t.Beside = fmt.Sprintf("tg%.0f", row.Gen.x), nameDecode
		default:
			continue
		}
		if row.Stddev.ok && row.Stddev.x >= 0 {
			t.StddevTPS = ptr(row.Stddev.x)
		}
		if row.Build.ok && row.Build.x > 0 {
			b.Build = fmt.Sprintf("%.0f", row.Build.x)
			if s, ok := row.Commit.(string); ok && s != "" {
				b.Build += " (" + s + ")"
			}
		}
		if row.Threads.ok && row.Threads.x > 0 {
			b.Threads = int(row.Threads.x)
		}
		if row.GPULayers.ok {
			b.GPULayers = ptr(int(row.GPULayers.x))
		}
		b.Tests = append(b.Tests, t)
	}
	if rows == 0 {
		return errors.New("no line of JSON in what it printed")
	}
	return nil
}

// Beside puts llama-bench's figures next to ours, those of the shortest prompt.
func (r *Report) Beside(b *Bench) {
	r.Bench, r.BenchReason = b, ""
	for i := range b.Tests {
		t := &b.Tests[i]
		for _, c := range r.Comparisons {
			if c.Name != t.Beside || c.Difference == nil {
				continue
			}
			t.Client, t.Server = c.Client, c.Server
			t.ClientRatio, t.ServerRatio = ptr(*c.Client/t.TPS-1), ptr(*c.Server/t.TPS-1)
			break
		}
	}
}
