package hw

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what comes out as what is expected")

// recorded replays a machine: files.txt are files under headings, the rest are outputs of tools, as these would print them.
func recorded(t *testing.T, dir string) source {
	t.Helper()
	files := fstest.MapFS{}
	for _, part := range strings.Split("\n"+text(t, dir, "files.txt"), "\n== ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		files[name] = &fstest.MapFile{Data: []byte(strings.TrimSuffix(body, "\n") + "\n")}
	}
	return source{files: files, run: func(ctx context.Context, name string, args ...string) (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if name == "nvidia-smi" {
			return replayNvidia(t, dir, args)
		}
		if out := text(t, dir, name+".refuses"); out != "" && slices.Contains(args, "--limit") {
			return out, errors.New("run " + name + ": exit status 2")
		}
		// Tools of AMD's are asked twice, for what a GPU is and for what it does.
		if name == "amd-smi" && args[0] == "metric" {
			name += "-metric"
		} else if name == "rocm-smi" && args[0] == rocmSMIState[0] {
			name += "-state"
		}
		for _, file := range []string{name + ".json", strings.ReplaceAll(name+strings.Join(append([]string{""}, args...), "-"), "--", "-") + ".txt", name + ".txt"} {
			if out := text(t, dir, file); out != "" {
				return out, nil
			}
		}
		return "", fmt.Errorf("%s: %w", name, errNoTool)
	}}
}

// replayed is a source whose tools answer with that function.
func replayed(files fs.FS, run func(name string, args ...string) (string, error)) source {
	return source{files: files, run: func(_ context.Context, name string, args ...string) (string, error) { return run(name, args...) }}
}

// fileOf is a file's text, for seeds; "" where it is not there.
func fileOf(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return string(b)
}

func text(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// replayNvidia answers queries from a recorded table with all fields that the recorded driver knows.
func replayNvidia(t *testing.T, dir string, args []string) (string, error) {
	failed := errors.New("run nvidia-smi: exit status 2")
	if out := text(t, dir, "nvidia-smi.fail"); out != "" {
		return out, failed
	}
	table := text(t, dir, "nvidia-smi.csv")
	if table == "" {
		return "", fmt.Errorf("nvidia-smi: %w", errNoTool)
	}
	r := csv.NewReader(strings.NewReader(table))
	r.TrimLeadingSpace = true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	head := rows[0]
	for i := range head {
		head[i], _, _ = strings.Cut(head[i], " [")
	}
	switch {
	case len(args) == 0:
		return text(t, dir, "nvidia-smi.txt"), nil
	case strings.HasPrefix(args[0], "--query-compute-apps="):
		return text(t, dir, "nvidia-smi-apps.csv"), nil
	case args[0] == "-L":
		return text(t, dir, "nvidia-smi-list.txt"), nil
	case args[0] == "--version":
		if out := text(t, dir, "nvidia-smi-version.txt"); out != "" {
			return out, nil
		}
		return "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", failed
	case args[0] == "--help-query-gpu":
		out := "List of valid properties to query for the switch \"--query-gpu\":\n\n"
		for _, h := range head {
			out += fmt.Sprintf("%q\nWords about \"pstate\" and the like.\n\n", h)
		}
		return out, nil
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	for _, row := range rows[1:] {
		var line []string
		for _, f := range strings.Split(strings.TrimPrefix(args[0], "--query-gpu="), ",") {
			i := slices.Index(head, f)
			if i < 0 {
				return fmt.Sprintf("Field \"%s\" is not a valid field to query.\n\n", f), failed
			}
			line = append(line, row[i])
		}
		if err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	return out.String(), nil
}

// TestRecordedMachines reads recorded machines and compares all that comes out. Nothing that tells one machine from another
// of its kind may be in it, and no null may be without its reason.
func TestRecordedMachines(t *testing.T) {
	dirs, err := filepath.Glob("testdata/machines/*")
	if err != nil || len(dirs) < 15 {
		t.Fatalf("only %d recorded machines, %v", len(dirs), err)
	}
	secret := regexp.MustCompile(`(?i)(?:GPU|MIG)-[0-9a-f]{8}|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d|692251000123|0xDEC0DE|76a08c|fd626d62|6922510001230abc`)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := recorded(t, dir)
			fp := Fingerprint{Reasons: map[string]string{}}
			c := Condition{Reasons: map[string]string{}}
			switch {
			case text(t, dir, "system_profiler.json") != "":
				gather(t.Context(), &fp, fp.Reasons, []probe[Fingerprint]{{keys: []string{"gpus", "runtimes.metal"}, run: func(ctx context.Context) (func(*Fingerprint, map[string]string), error) {
					return s.appleGPUs(ctx, "Apple M3 Max")
				}}})
				gather(t.Context(), &c, c.Reasons, s.darwinState())
			case text(t, dir, "powershell.json") != "":
				gather(t.Context(), &fp, fp.Reasons, []probe[Fingerprint]{{keys: gpuKeys, run: s.windowsAll}})
				gather(t.Context(), &c, c.Reasons, s.windowsState())
			default:
				gather(t.Context(), &fp, fp.Reasons, s.linuxProbes())
				gather(t.Context(), &c, c.Reasons, s.linuxState())
				probed := nulls(fp.CPU)
				for _, field := range probed {
					if !slices.Contains([]string{"model", "sockets", "cores", "threads", "usable_threads"}, field) && fp.Reasons["cpu."+field] == "" {
						t.Errorf("cpu.%s is null without a reason", field)
					}
				}
			}
			for i, g := range fp.GPUs {
				for _, field := range nulls(g) {
					if fp.Reasons[fmt.Sprintf("gpus[%d].%s", i, field)] == "" {
						t.Errorf("gpus[%d].%s is null without a reason", i, field)
					}
				}
			}
			got, err := json.MarshalIndent(map[string]any{"fingerprint": fp, "state": c}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if found := secret.Find(got); found != nil {
				t.Errorf("tells %s", found)
			}
			golden := filepath.Join("testdata", "golden", filepath.Base(dir)+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(strings.ReplaceAll(string(want), "\r\n", "\n")), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestBusIDsStayForTheProcess(t *testing.T) {
	enter, err := recorded(t, "testdata/machines/synthetic_rdna-rocm-smi").linuxGPUs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var fp Fingerprint
	enter(&fp, map[string]string{})
	if len(fp.GPUs) != 2 || fp.GPUs[0].BusID != "0000:79:00.0" || fp.GPUs[1].BusID != "0000:03:00.0" || fp.GPUs[1].UUID != "76a08c022586fed6" {
		t.Errorf("got %+v", fp.GPUs)
	}
	if enter, err = recorded(t, "testdata/machines/synthetic_h200-load").linuxGPUs(t.Context()); err != nil {
		t.Fatal(err)
	}
	enter(&fp, map[string]string{})
	if len(fp.GPUs) != 1 || fp.GPUs[0].BusID != "0000:5d:00.0" || fp.GPUs[0].UUID == "" {
		t.Errorf("got %+v", fp.GPUs)
	}
}
