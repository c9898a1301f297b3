package identity

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/llm-speed/llm-speed/internal/hw"
)

var update = flag.Bool("update", false, "write what comes out as what is expected")

func is[T any](v T) *T { return &v }

// machines are descriptions as package hw gives them.
func machines() map[string]hw.Fingerprint {
	os := hw.OS{Name: "linux", Arch: "amd64", Kernel: is("6.1.0"), Distribution: is("debian")}
	nvidia := func(uuid string) hw.GPU {
		return hw.GPU{Vendor: "nvidia", Name: "NVIDIA GeForce RTX 4090", VRAMTotal: is(int64(24564) << 20), Driver: is("590.48.01"), BusID: "0000:01:00.0", UUID: uuid}
	}
	cpu := hw.CPU{Model: is("AMD Ryzen 9 7950X 16-Core Processor"), Sockets: is(1), Cores: is(16), Threads: is(32)}
	return map[string]hw.Fingerprint{
		"desktop-two-gpus": {Machine: is("Micro-Star MS-7D70"), CPU: cpu, RAMTotal: is(int64(67_300_000_000)), OS: os,
			GPUs: []hw.GPU{nvidia("GPU-bbbbbbbb-0000-0000-0000-000000000002"), nvidia("GPU-aaaaaaaa-0000-0000-0000-000000000001")}},
		"no-gpu": {CPU: hw.CPU{Threads: is(2)}, RAMTotal: is(int64(4_120_000_000)), OS: os, GPUs: []hw.GPU{}},
		"odd-texts": {Machine: is(" Łódź \"Büro\"\t<&>\u2028 "), CPU: hw.CPU{Model: is("Cortex-A76\x00"), Threads: is(4)}, RAMTotal: is(int64(8) << 30),
			OS: hw.OS{Name: "linux", Arch: "arm64"}, GPUs: []hw.GPU{{Vendor: "amd", Name: strings.Repeat("x", 300)}}},
	}
}

// TestCanonicalForm holds the descriptor and the fp under a known secret: another form would make all machines strangers.
func TestCanonicalForm(t *testing.T) {
	s := Secret{}
	for i := range s.bytes {
		s.bytes[i] = byte(i)
	}
	for name, fp := range machines() {
		d, err := Of(fp)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Appendf(nil, "%s\n%s\n", d.canonical(), s.FP(d))
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")), got) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
		// Keys in order and texts of ASCII: a writer that sorts gives the same bytes.
		var sorted map[string]any
		if err := json.Unmarshal(d.canonical(), &sorted); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		e := json.NewEncoder(&again)
		e.SetEscapeHTML(false)
		if err := e.Encode(sorted); err != nil || strings.TrimSpace(again.String()) != string(d.canonical()) {
			t.Errorf("%s: sorted it is %s", name, again.String())
		}
		for _, b := range d.canonical() {
			if b < ' ' || b > '~' {
				t.Errorf("%s: byte %#x", name, b)
			}
		}
	}
}

// What an update or another order of probing changes is not part of the machine; what is another machine is.
func TestWhatChangesFP(t *testing.T) {
	s := Fresh()
	fpOf := func(fp hw.Fingerprint) string {
		t.Helper()
		d, err := Of(fp)
		if err != nil {
			t.Fatal(err)
		}
		return s.FP(d)
	}
	base := func() hw.Fingerprint { return machines()["desktop-two-gpus"] }
	want := fpOf(base())
	for name, c := range map[string]struct {
		change func(*hw.Fingerprint)
		same   bool
	}{
		"nothing":               {func(*hw.Fingerprint) {}, true},
		"kernel":                {func(f *hw.Fingerprint) { f.OS.Kernel = is("7.0") }, true},
		"driver":                {func(f *hw.Fingerprint) { f.GPUs[0].Driver = is("999") }, true},
		"order of GPUs":         {func(f *hw.Fingerprint) { f.GPUs[0], f.GPUs[1] = f.GPUs[1], f.GPUs[0] }, true},
		"slot of a GPU":         {func(f *hw.Fingerprint) { f.GPUs[0].BusID = "0000:02:00.0" }, true},
		"some memory less":      {func(f *hw.Fingerprint) { *f.RAMTotal -= 20 << 20 }, true},
		"container limit":       {func(f *hw.Fingerprint) { f.RAMLimit = is(int64(1 << 30)) }, true},
		"another GPU":           {func(f *hw.Fingerprint) { f.GPUs[0].UUID = "GPU-cccccccc" }, false},
		"a GPU less":            {func(f *hw.Fingerprint) { f.GPUs = f.GPUs[:1] }, false},
		"twice the memory":      {func(f *hw.Fingerprint) { *f.RAMTotal *= 2 }, false},
		"another processor":     {func(f *hw.Fingerprint) { f.CPU.Model = is("other") }, false},
		"another kind of board": {func(f *hw.Fingerprint) { f.Machine = is("other") }, false},
	} {
		f := base()
		c.change(&f)
		if got := fpOf(f); (got == want) != c.same {
			t.Errorf("%s: the same is %v", name, got == want)
		}
	}
	d, err := Of(base())
	if one, other := Fresh().FP(d), Fresh().FP(d); err != nil || one == want || one == other {
		t.Error("another secret gives the same fp")
	}
	for name, change := range map[string]func(*hw.Fingerprint){
		"GPUs in part": func(f *hw.Fingerprint) { f.Reasons = map[string]string{"gpus": "may be incomplete: no answer"} },
		"no GPUs":      func(f *hw.Fingerprint) { f.GPUs = nil },
		"no memory":    func(f *hw.Fingerprint) { f.RAMTotal = nil },
		"no threads":   func(f *hw.Fingerprint) { f.CPU.Threads = nil },
	} {
		f := base()
		change(&f)
		if _, err := Of(f); err == nil {
			t.Errorf("%s: no error, and the fp would change from run to run", name)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "llm-speed")
	// Many processes at once make one secret.
	all := make([]Secret, 16)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = Open(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		if s != all[0] || s == (Secret{}) {
			t.Fatal("two secrets")
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != secretFile {
		t.Errorf("%v %v", list, err)
	}
	st, err := os.Stat(filepath.Join(dir, secretFile))
	if err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if again, err := Open(dir); err != nil || again != all[0] {
		t.Errorf("opened again it is another: %v", err)
	}
	for _, text := range []string{fmt.Sprint(all[0]), fmt.Sprintf("%v %+v %#v %s", all[0], all[0], all[0], all[0])} {
		if strings.Trim(text, "* ") != "" {
			t.Errorf("it shows itself: %s", text)
		}
	}
	for _, bad := range []string{"", "zz", strings.Repeat("ab", 31), strings.Repeat("ab", 33), strings.Repeat("zz", 32)} {
		if err := os.WriteFile(filepath.Join(dir, secretFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v", bad, err)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, secretFile)); string(b) != bad {
			t.Errorf("%q was changed", bad)
		}
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(blocked, "below")); err == nil || strings.Contains(err.Error(), filepath.Dir(blocked)) {
		t.Errorf("a folder that can't be made: %v", err)
	}
}

// TestOpenRefusesWhatIsNoSecret: a folder in its place, or a file that is far too large, is an error and no wait.
func TestOpenRefusesWhatIsNoSecret(t *testing.T) {
	folder, large := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, secretFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(large, secretFile), make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{folder, large} {
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is no small file") || strings.Contains(err.Error(), dir) {
			t.Errorf("%v", err)
		}
	}
}
