package cli

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/llm-speed/llm-speed/internal/hw"
	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// The marks that are planted where a machine says which one it is, and whose.
const (
	markUUID   = "5c0ffee1-aaaa-bbbb-cccc-0123456789ab"
	markBus    = "0000abcd:4d:00.0"
	markSerial = "SERIAL1234567MARK"
	markHost   = "host-mark-tower"
	markUser   = "usermarkanna"
	markUnique = "5c0ffee1dec0de01" // of a card, as AMD's driver shows it
)

// marked is a machine with a GPU, and with all the marks in the places where real ones have them.
func marked() hw.Machine {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"sys/class/dmi/id/sys_vendor": "Marked Maker", "sys/class/dmi/id/product_name": "Model M", "sys/class/dmi/id/product_serial": markSerial,
		"sys/class/dmi/id/product_uuid": markUUID, "sys/class/dmi/id/board_serial": markSerial, "sys/class/dmi/id/chassis_serial": markSerial,
		"etc/hostname": markHost, "proc/sys/kernel/hostname": markHost, "etc/machine-id": strings.ReplaceAll(markUUID, "-", ""),
		"proc/version": "Linux version 6.1.0 (" + markUser + "@" + markHost + ") #1 SMP", "proc/sys/kernel/version": "#1 SMP",
		"proc/driver/nvidia/gpus/" + markBus + "/information": "Model: NVIDIA Marked GPU\nGPU UUID: GPU-" + markUUID + "\nBus Location: " + markBus + "\n",
		"sys/class/drm/card1/device/vendor":                   "0x1002", "sys/class/drm/card1/device/unique_id": markUnique, "sys/class/drm/card1/device/product_name": "AMD Marked GPU",
		"sys/class/drm/card1/device/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:4e:00.0\n", "proc/cpuinfo": "processor\t: 0\n\nSerial\t\t: " + markSerial + "\n",
		"proc/self/cgroup": "0::/user.slice/" + markUser + "\n", "proc/loadavg": "0.5 0.5 0.5 1/2 3", "proc/meminfo": "MemAvailable: 1000000 kB",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	rows := func(args []string) string {
		values := map[string]string{"index": "0", "name": "NVIDIA Marked GPU", "uuid": "GPU-" + markUUID, "pci.bus_id": markBus, "driver_version": "590.48.01", "memory.total": "24564",
			"utilization.gpu": "0", "power.draw": "300.0", "memory.used": "100", "temperature.gpu": "40", "clocks_event_reasons.active": "0x0"}
		var row []string
		for _, f := range strings.Split(strings.TrimPrefix(args[0], "--query-gpu="), ",") {
			v := values[f]
			if v == "" {
				v = "[N/A]"
			}
			row = append(row, v)
		}
		return strings.Join(row, ", ") + "\n"
	}
	run := func(_ context.Context, name string, args ...string) (string, error) {
		switch name {
		case "nvidia-smi":
		case "amd-smi":
			return `[{"gpu": 0, "asic": {"market_name": "AMD Marked GPU", "asic_serial": "0x` + markUnique + `"}, "board": {"product_serial": "` + markSerial + `"}, "bus": {"bdf": "0000:4e:00.0"}}]`, nil
		default:
			return "", errors.New(name + ": not installed")
		}
		if len(args) > 0 && strings.HasPrefix(args[0], "--query-gpu=") {
			return rows(args), nil
		}
		return "NVIDIA-SMI 590.48.01  CUDA Version : 13.1\nSerial Number: " + markSerial + "\nhost " + markHost + "\n", nil
	}
	return hw.Replay(files, run, func(ctx context.Context, _ string, args ...string) (io.ReadCloser, error) {
		out, in := io.Pipe()
		go func() {
			for ctx.Err() == nil {
				if _, err := io.WriteString(in, rows(args)); err != nil {
					return
				}
				time.Sleep(200 * time.Millisecond)
			}
		}()
		context.AfterFunc(ctx, func() { in.Close() })
		return out, nil
	})
}

// babbling is a machine whose nvidia-smi fails, and names all the marks with it.
func babbling() hw.Machine {
	const words = "Unable to determine the device handle for GPU " + markBus + " (GPU-" + markUUID + ") of /home/" + markUser + "/x on " + markHost
	run := func(_ context.Context, name string, args ...string) (string, error) {
		switch {
		case name != "nvidia-smi":
			return "", errors.New(name + ": not installed")
		case len(args) > 0 && strings.HasPrefix(args[0], "--query-gpu=index,"): // once, for the sampler
			return "0" + strings.Repeat(", 1", strings.Count(args[0], ",")) + "\n", nil
		}
		return words, errors.New("run nvidia-smi: exit status 9")
	}
	return hw.Replay(fstest.MapFS{}, run, func(context.Context, string, ...string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Repeat(words+"\n", 20))), nil
	})
}

// inside runs the command line in memory on the marked machine. The user's home folder has the mark of the user; data and
// cache are apart from it, since the program tells the user where it has put what.
type inside struct {
	t    *testing.T
	root string
	out  bytes.Buffer // of all commands, stdout and stderr

	babbles bool // the machine's tools fail, and say of what

	env map[string]string // beside the usual one
	may int               // an exit code that is as good as 0
}

func (i *inside) home() string { return filepath.Join(i.root, "home", markUser) }

func (i *inside) do(args ...string) string {
	i.t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{
		"HOME": i.home(), "USER": markUser, "LOGNAME": markUser, "USERNAME": markUser, "HOSTNAME": markHost, "COMPUTERNAME": markHost,
		"LLM_SPEED_DATA": filepath.Join(i.root, "data"), "XDG_CACHE_HOME": filepath.Join(i.root, "cache"), "LocalAppData": filepath.Join(i.root, "cache"), "NO_COLOR": "1",
	}
	maps.Copy(env, i.env)
	p := OS()
	p.Args, p.Stdout, p.Stderr, p.Env = args, &out, &errs, func(k string) string { return env[k] }
	p.Home, p.Machine = i.home, marked()
	if i.babbles {
		p.Machine = babbling()
	}
	p.OutTTY, p.ErrTTY, p.LimitMemory = false, false, nil
	if code := Main(p); code != exitOK && code != i.may {
		i.t.Fatalf("%v: exit code %d\n%s%s", args, code, out.String(), errs.String())
	}
	i.out.Write(out.Bytes())
	i.out.Write(errs.Bytes())
	return out.String()
}

// marks lists what may stand nowhere: the planted ones, and what is true of the machine that the test runs on.
func marks() []string {
	list := []string{markUUID, strings.ReplaceAll(markUUID, "-", ""), markBus, markBus[4:], "4d:00.0", markSerial, markHost, markUser, markUnique, "4e:00.0"}
	if host, err := os.Hostname(); err == nil && len(host) > 5 && host != "localhost" {
		list = append(list, host)
	}
	if u, err := user.Current(); err == nil && len(u.Username) > 5 {
		list = append(list, u.Username)
	}
	return list
}

// TestNothingOfTheMachineLeaks runs a benchmark, and all commands that show its result or the machine, on a machine that says
// who it is wherever it can; then it looks for these marks in every file and every line that has come out.
func TestNothingOfTheMachineLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the marked machine is a Linux one")
	}
	i := &inside{t: t, root: t.TempDir()}
	server, err := sim.Start(t.Context(), sim.Options{Profile: sim.Profiles()[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	model := filepath.Join(i.home(), "models", "m.gguf")
	if err := os.MkdirAll(filepath.Dir(model), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weightstest.Write(model); err != nil {
		t.Fatal(err)
	}
	bench := func(more ...string) record.Result {
		t.Helper()
		var r record.Result
		text := i.do(append([]string{"bench", "--no-sandbox", "--quick", "--workload", "W1", "--repeats", "1", "--backend", "openai-compatible", "--url", server.URL(), "--json", "-"}, more...)...)
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second, anon, again := bench(), bench(), bench("--anon"), bench("--anon")
	if len(first.FP) != 64 || first.FP != second.FP || anon.FP == first.FP || anon.FP == again.FP || len(anon.FP) != 64 {
		t.Errorf("fps %q %q, anonymous %q %q; %v", first.FP, second.FP, anon.FP, again.FP, first.Reasons)
	}
	if !bytes.Contains(first.Fingerprint, []byte("NVIDIA Marked GPU")) || len(first.Environment.Series) != 1 || first.Rows[0].Energy == nil {
		t.Errorf("the marked machine was not the one that was read: %s", first.Fingerprint)
	}
	i.babbles = true
	if failed := bench(); failed.FP != "" || !strings.Contains(failed.Reasons["fp"], "Unable to determine") || !strings.Contains(string(failed.Environment.Before), "Unable to determine") {
		t.Errorf("fp %q, %v: the tool's words are not there, cleaned or not", failed.FP, failed.Reasons)
	}
	i.do("detect")
	i.do("detect", "--json")
	i.babbles = false
	i.do("runs")
	i.do("runs", "--json")
	i.do("explain", first.RunID, "W1")
	i.do("runs", "show", first.RunID)
	i.do("runs", "recompute", first.RunID)
	for _, format := range []string{"table", "md", "csv", "json", "benchstat"} {
		i.do("compare", first.RunID, second.RunID, "--force", "--format", format)
	}
	out := func(name string) string { return filepath.Join(i.root, "data", name) }
	for _, name := range []string{"r.html", "r.md", "r.csv", "r.json", "r.svg"} {
		i.do("report", first.RunID, second.RunID, "--force", "-o", out(name))
	}
	i.do("seal", first.RunID, "-o", out("sealed.json"))
	i.do("runs", "export", first.RunID, anon.RunID, "-o", out("runs.tar"))
	i.do("runs", "import", out("runs.tar"))
	i.do("verify", first.RunID)
	i.do("verify", out("sealed.json"))
	i.do("verify", out("runs.tar"))
	for _, id := range []string{first.RunID, anon.RunID} {
		if err := os.WriteFile(out("upload.json"), []byte(i.do("upload", "--dry-run", id)), 0o600); err != nil {
			t.Fatal(err)
		}
		i.do("verify", out("upload.json"))
		i.do("upload", "--show", id)
		i.do("upload", "--show", "--anon", id)
	}
	i.may = exitFailed // there is no service to send to
	i.do("upload", first.RunID, anon.RunID)
	i.may = exitOK
	i.do("upload", "--list")
	i.do("detect")
	i.do("detect", "--json")
	i.do("list-models")

	found := map[string]string{"what was printed": i.out.String()}
	for _, dir := range []string{"data", "cache"} {
		err := filepath.WalkDir(filepath.Join(i.root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if strings.HasSuffix(path, ".gz") {
				zip, err := gzip.NewReader(bytes.NewReader(b))
				if err != nil {
					return err
				}
				if b, err = io.ReadAll(zip); err != nil {
					return err
				}
			}
			found[path[len(i.root):]] = path[len(i.root):] + string(b)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if len(found) < 8 {
		t.Errorf("only %d files were looked at", len(found))
	}
	for where, text := range found {
		for _, mark := range marks() {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(mark)); at >= 0 {
				t.Errorf("%q stands in %s: …%s…", mark, where, text[max(0, at-80):min(len(text), at+80)])
			}
		}
	}
}

// A bundle holds what the machine said, without what says whose it is.
func TestBundle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the marked machine is a Linux one")
	}
	dir := t.TempDir()
	env := map[string]string{
		"USER": markUser, "HOSTNAME": markHost, "CUDA_VISIBLE_DEVICES": "GPU-" + markUUID, "OLLAMA_MODELS": "/home/" + markUser + "/ollama", "HTTPS_PROXY": "http://" + markHost + ":3128",
		"OPENAI_API_KEY": "sk-" + markSerial,
	}
	var errs bytes.Buffer
	p := OS()
	p.Env, p.Stderr, p.Machine = func(k string) string { return env[k] }, &errs, marked()
	p.Home = func() string { return "/home/" + markUser }
	a := &app{p}
	m, err := a.seeMachine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.zip", "b.tar.gz", "b.TGZ"} {
		file := filepath.Join(dir, name)
		if err := a.bundle(file, m, map[string]any{"path": "/home/" + markUser + "/models/x.gguf", "machine": m}); err != nil {
			t.Fatal(err)
		}
		content := unpacked(t, file)
		for _, want := range []string{"README.txt", "machine.txt", "detect.json", "client.json", "files.txt", "environment.txt"} {
			if content["llm-speed-detect/"+want] == "" {
				t.Errorf("%s: %s is missing or empty", name, want)
			}
		}
		all := ""
		for file, text := range content {
			all += file + "\n" + text + "\n"
		}
		for _, want := range []string{"NVIDIA Marked GPU", "$ nvidia-smi --query-gpu=name,", "~/models/x.gguf", "GPU-(uuid)", "(serial)", "(host)", "CUDA Version", "CUDA_VISIBLE_DEVICES=GPU-(uuid)", "OLLAMA_MODELS=~/ollama", "HTTPS_PROXY is set", "AMD Marked GPU", `"(bus)"`} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: %q is missing", name, want)
			}
		}
		for _, mark := range marks() {
			if at := strings.Index(strings.ToLower(all), strings.ToLower(mark)); at >= 0 {
				t.Errorf("%s: %q is in it: …%s…", name, mark, all[max(0, at-80):min(len(all), at+80)])
			}
		}
		if st, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	if err := a.bundle(filepath.Join(dir, "b.rar"), m, nil); codeOf(err) != exitUsage {
		t.Errorf("an unknown kind of archive: %v", err)
	}
	if err := a.bundle(filepath.Join(dir, "none", "b.zip"), m, nil); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	if strings.HasSuffix(file, ".zip") {
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			in, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			content[f.Name] = string(text)
		}
		return content
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return content
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		content[h.Name] = string(text)
	}
}
