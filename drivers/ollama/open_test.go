package ollama

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// config is that of a user with a server at a URL, and nothing in the environment.
func config(t *testing.T, url string, env map[string]string) drivers.Config {
	return drivers.Config{URL: url, Clock: clock.New(), Env: func(k string) string { return env[k] }, Log: t.Logf, Options: map[string]string{}}
}

func TestOpenRefusals(t *testing.T) {
	cloudTags := `{"models":[{"name":"big:cloud","remote_model":"big","remote_host":"https://ollama.com:443","size":384}]}`
	for _, c := range []struct {
		name    string
		model   string
		options map[string]string
		play    map[string]drivertest.Script
		want    error
		text    string
	}{
		{name: "a cloud model by its tag", model: "gpt-oss:120b-cloud", want: drivers.ErrUnsupported, text: "cloud model"},
		{name: "a cloud model by its host", model: "big:cloud", play: map[string]drivertest.Script{"GET /api/tags": drivertest.JSON(cloudTags)}, want: drivers.ErrUnsupported, text: "cloud model"},
		{name: "a cloud model that only /api/show gives away", model: "m",
			play: map[string]drivertest.Script{"POST /api/show": drivertest.JSON(`{"remote_host":"https://ollama.com","details":{}}`)}, want: drivers.ErrUnsupported, text: "cloud model"},
		{name: "nothing but cloud models", play: map[string]drivertest.Script{"GET /api/tags": drivertest.JSON(cloudTags)}, want: drivers.ErrNoModel, text: "cloud model"},
		{name: "an embedding model", model: "m", play: map[string]drivertest.Script{"POST /api/show": drivertest.JSON(`{"capabilities":["embedding"]}`)}, want: drivers.ErrUnsupported, text: "generates no text"},
		{name: "no models", play: map[string]drivertest.Script{"GET /api/tags": drivertest.JSON(`{"models":[]}`)}, want: drivers.ErrNoModel, text: "ollama pull"},
		{name: "a model that is not there", model: "n", want: drivers.ErrModelNotFound, text: "did you mean m"},
		{name: "too old", play: map[string]drivertest.Script{"GET /api/version": drivertest.JSON(`{"version":"0.9.3"}`)}, want: drivers.ErrUnsupported, text: "0.12.6"},
		{name: "another server", play: map[string]drivertest.Script{"GET /api/version": {Status: 404, Writes: []string{"404 page not found"}}}, want: drivers.ErrProtocol, text: "no Ollama"},
		{name: "an option", options: map[string]string{optStart: "perhaps"}, text: "auto, always or never"},
		{name: "a temperature", options: map[string]string{optTemperature: "hot"}, text: "from 0 to 10"},
		{name: "layers", options: map[string]string{optGPULayers: "-1"}, text: "number of layers"},
		{name: "no memory at all", model: "m", play: map[string]drivertest.Script{"POST /api/generate": {Status: 500, Writes: []string{`{"error":"model requires more system memory (9.9 GiB) than is available (1.2 GiB)"}`}}}, want: errMemory, text: "9.9 GiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := drivertest.NewServer(t, answers())
			for route, script := range c.play {
				srv.Play(route, script)
			}
			conf := config(t, srv.URL, nil)
			conf.Model = c.model
			if c.options != nil {
				conf.Options = c.options
			}
			s, err := open(t.Context(), conf, drivers.Need{Context: 8192, Parallel: 1})
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOpenTells(t *testing.T) {
	ps := func(fields string) drivertest.Script {
		return drivertest.JSON(`{"models":[{"name":"m:latest","digest":"aa11",` + fields + `}]}`)
	}
	for _, c := range []struct {
		name string
		play map[string]drivertest.Script
		look func(*testing.T, drivers.Info)
	}{
		{"all on the GPU", nil, func(t *testing.T, i drivers.Info) {
			if len(i.Flags) != 0 || i.Metadata["on_gpu"] != "100 %" {
				t.Errorf("%v %v", i.Flags, i.Metadata)
			}
			if i.Model.Digest != "sha256:"+digestHex || i.Model.DigestKind == "" || i.Model.Quant != "Q4_K_M" || i.Model.ContextMax != 8192 || i.Model.Ref != "m:latest" || i.Model.Name != "m" {
				t.Errorf("model %+v", i.Model)
			}
			if i.ContextMax != 4096 || !i.Sized || !i.Attached || i.Parallel != 0 || i.Template != drivers.NotKnown {
				t.Errorf("%+v", i)
			}
		}},
		{"a part of it on the CPU", map[string]drivertest.Script{"GET /api/ps": ps(`"size":1000,"size_vram":600,"context_length":4096`)}, func(t *testing.T, i drivers.Info) {
			if !strings.Contains(i.Flags["cpu_fallback"], "60 %") || i.Metadata["on_gpu"] != "60 %" {
				t.Errorf("%v %v", i.Flags, i.Metadata)
			}
		}},
		{"no quantisation, and weights in several files", map[string]drivertest.Script{"POST /api/show": drivertest.JSON(`{"modelfile":"FROM m\n","details":{"quantization_level":"unknown"}}`)}, func(t *testing.T, i drivers.Info) {
			if i.Model.Digest != "" || i.Model.Quant != "" || i.WhyNot["model.digest"] == "" || i.WhyNot["model.quant"] == "" {
				t.Errorf("%+v, %v", i.Model, i.WhyNot)
			}
		}},
		{"the server has cut the context", map[string]drivertest.Script{"GET /api/ps": ps(`"size":1,"size_vram":1,"context_length":2048`)}, func(t *testing.T, i drivers.Info) {
			if i.ContextMax != 2048 {
				t.Errorf("context %d", i.ContextMax)
			}
		}},
		{"a build from source", map[string]drivertest.Script{"GET /api/version": drivertest.JSON(`{"version":"0.0.0"}`)}, func(t *testing.T, i drivers.Info) {
			if i.Version != "0.0.0" || i.Metadata["version"] == "" {
				t.Errorf("%q %v", i.Version, i.Metadata)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := drivertest.NewServer(t, answers())
			srv.Play("POST /api/chat", drivertest.JSON(`{"_debug_info":{"rendered_template":"<s>sysmarkword usermarkword toolmarkword callmarkword resultmarkword"}}`))
			for route, script := range c.play {
				srv.Play(route, script)
			}
			s, err := open(t.Context(), config(t, srv.URL, nil), drivers.Need{Context: 4000, Parallel: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c.look(t, s.Info())
		})
	}
}

// TestLoadsOnce holds what the server is asked to load to the options of the streams: others would make it load anew.
func TestLoadsOnce(t *testing.T) {
	srv := drivertest.NewServer(t, answers())
	srv.Play("POST /api/chat", drivertest.Script{Writes: []string{say(`"content":"a"`), lastLine}})
	conf := config(t, srv.URL, nil)
	conf.Options[optGPULayers] = "7"
	s, err := open(t.Context(), conf, drivers.Need{Context: 4000, Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stream(t.Context(), drivertest.Ask()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	type asked struct {
		KeepAlive any `json:"keep_alive"`
		Options   struct {
			Context int `json:"num_ctx"`
			Layers  int `json:"num_gpu"`
		} `json:"options"`
	}
	var all []asked
	for _, route := range []string{"POST /api/generate", "POST /api/chat"} {
		for _, r := range srv.Requests(route) {
			var a asked
			if err := json.Unmarshal(r.Body, &a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
	}
	if len(all) < 3 {
		t.Fatalf("%d requests", len(all))
	}
	for _, a := range all {
		if a.Options.Context != 4096 || a.Options.Layers != 7 {
			t.Errorf("%+v", a)
		}
	}
	// The model was there before: it stays as long as it would have.
	loads := srv.Requests("POST /api/generate")
	var end asked
	if err := json.Unmarshal(loads[len(loads)-1].Body, &end); err != nil || end.KeepAlive != "1s" {
		t.Errorf("left with keep_alive %v, %v; its time had passed", end.KeepAlive, err)
	}
}

func TestHome(t *testing.T) {
	for set, want := range map[string]string{
		"":                         "http://127.0.0.1:11434",
		"  127.0.0.1 ":             "http://127.0.0.1:11434",
		"0.0.0.0":                  "http://127.0.0.1:11434",
		"0.0.0.0:8000":             "http://127.0.0.1:8000",
		"[::]:8000":                "http://127.0.0.1:8000",
		"::1":                      "http://[::1]:11434",
		":7000":                    "http://127.0.0.1:7000",
		"box":                      "http://box:11434",
		"http://box":               "http://box:80",
		"https://box/x":            "https://box:443/x",
		"https://u:p@box:1":        "https://u:p@box:1",
		"box:99999":                "http://box:11434",
		`"http://localhost:11434"`: "http://localhost:11434",
	} {
		if got := home(config(t, "", map[string]string{"OLLAMA_HOST": set})); got != want {
			t.Errorf("OLLAMA_HOST=%q means %s, want %s", set, got, want)
		}
	}
	if got := shownURL("https://u:p@box:1"); strings.Contains(got, "p@") {
		t.Errorf("shown as %s", got)
	}
}

func TestVersions(t *testing.T) {
	for said, want := range map[string]version{"0.17.4": {0, 17, 4}, "v0.33.0-rc2": {0, 33, 0}, "0.12": {0, 12, 0}, "1.2.3+x": {1, 2, 3}} {
		if got, ok := parseVersion(said); !ok || got != want {
			t.Errorf("%s is %v, %v", said, got, ok)
		}
	}
	for _, said := range []string{"", "0.0.0", "latest", "1.2.3.4", "0.-1.2", "99999999999.1"} {
		if got, ok := parseVersion(said); ok {
			t.Errorf("%q is %v", said, got)
		}
	}
	if err := tooOld("0.12.5"); !errors.Is(err, drivers.ErrUnsupported) {
		t.Error(err)
	}
	for _, said := range []string{"0.12.6", "0.0.0", "1.0.0", "dev"} {
		if err := tooOld(said); err != nil {
			t.Error(err)
		}
	}
}

func TestShapes(t *testing.T) {
	roles := func(s shape) []string {
		messages, tools := s.messages(probePrompt())
		var out []string
		for _, m := range messages {
			out = append(out, m.Role+": "+strings.ReplaceAll(m.Content, "\n", " "))
		}
		if len(tools) > 0 {
			out = append(out, "tools")
		}
		return out
	}
	const tools = `Tools: {"name":"toolmarkword","description":"Reads a file.","parameters":{"type":"object","properties":{"path":{"type":"string"}}}}`
	const call = `assistant: Call toolmarkword {"path":"callmarkword"}`
	const result = "user: Result of toolmarkword: resultmarkword"
	for _, c := range []struct {
		shape shape
		want  []string
	}{
		{shape{true, true}, []string{"system: sysmarkword", "user: usermarkword", "assistant: ", "tool: resultmarkword", "tools"}},
		{shape{system: true}, []string{"system: sysmarkword  " + tools, "user: usermarkword", call, result}},
		{shape{tools: true}, []string{"user: sysmarkword  usermarkword", "assistant: ", "tool: resultmarkword", "tools"}},
		{shape{}, []string{"user: " + tools + "  sysmarkword  usermarkword", call, result}},
	} {
		if d := cmp.Diff(c.want, roles(c.shape)); d != "" {
			t.Errorf("%+v: %s", c.shape, d)
		}
	}
}

func TestLogs(t *testing.T) {
	// Written from the lines that v0.17.4 prints; the GPU's from its source, discover/types.go.
	lines := []string{
		`time=2026-11-24T02:21:40.048Z level=INFO source=routes.go:1663 msg="server config" env="map[HTTPS_PROXY:http://u:secret@proxy OLLAMA_NUM_PARALLEL:4]"`,
		`time=2026-11-24T02:21:40.074Z level=INFO source=types.go:42 msg="inference compute" id=GPU-1 library=CUDA compute=9.0 name=CUDA0 description="NVIDIA H200" total="139.8 GiB"`,
		`time=2026-11-24T02:22:06.984Z level=INFO source=runner.go:895 msg=load request="{Operation:fit LoraPath:[] Parallel:4 BatchSize:512 KvSize:16384}"`,
		`time=2026-11-24T02:22:06.984Z level=INFO source=runner.go:895 msg=load request="{Operation:commit LoraPath:[] Parallel:1 BatchSize:512 KvSize:16384}"`,
	}
	if got := computeOf(lines); got != "CUDA: NVIDIA H200" {
		t.Errorf("compute %q", got)
	}
	if got := computeOf([]string{`msg="inference compute" id=cpu library=cpu compute="" name=cpu description=cpu`}); got != onCPU {
		t.Errorf("compute %q", got)
	}
	if computeOf(nil) != "" || parallelOf(nil) != 0 {
		t.Error("an empty log tells something")
	}
	if got := parallelOf(lines); got != 1 {
		t.Errorf("%d streams", got)
	}
	if got := parallelOf([]string{`msg="starting llama-server" cmd="llama-server -c 8192 -np 2 --port 1"`}); got != 2 {
		t.Errorf("%d streams", got)
	}
	if all := strings.Join(told(lines), "\n") + lastLines(lines, 9); strings.Contains(all, "secret") {
		t.Error("the environment is shown")
	}
	if got := lastLines([]string{"x", `time=2026-11-24T02:21:40.048Z level=ERROR source=a.go:1 msg="no room"`, "y"}, 3); got != `msg="no room"` {
		t.Errorf("trouble %q", got)
	}
}

func TestStays(t *testing.T) {
	now := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
	for expires, want := range map[string]any{
		"2026-11-24T02:05:00Z":           "300s",
		"2026-11-24T03:05:00.5+01:00":    "301s",
		"2026-11-24T01:00:00Z":           "1s",
		"2318-11-24T01:00:00.123456789Z": -1,
		"":                               "5m",
	} {
		if got := stays(expires, now); got != want {
			t.Errorf("%s stays %v, want %v", expires, got, want)
		}
	}
}

func TestStore(t *testing.T) {
	for rel, want := range map[string]string{
		"registry.ollama.ai/library/llama3/8b":       "llama3:8b",
		"registry.ollama.ai/someone/llama3/latest":   "someone/llama3:latest",
		"hf.co/bartowski/Llama-3.2-1B-GGUF/Q4_K_M":   "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M",
		"registry.ollama.ai/library/llama3/.tmp":     "",
		"registry.ollama.ai/library/llama3":          "",
		"registry.ollama.ai/library/llama3/8b/extra": "",
	} {
		if got := manifestName(rel); got != want {
			t.Errorf("%s is %q, want %q", rel, got, want)
		}
	}
	dir := t.TempDir()
	write := func(rel, text string) {
		file := filepath.Join(dir, "manifests", filepath.FromSlash(rel))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("registry.ollama.ai/library/good/latest", `{"layers":[{"mediaType":"application/vnd.ollama.image.template"},{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:`+digestHex+`","size":77}]}`)
	write("registry.ollama.ai/library/rubbish/latest", `{"layers":7}`)
	write("registry.ollama.ai/library/outside/latest", `{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../../../../../../../../../../../../../../../../../../etc/passwd0"}]}`)
	write("registry.ollama.ai/library/big/cloud", `{"layers":[]}`)
	want := []drivers.Model{{Ref: "good:latest", Name: "good", SizeBytes: 77, Path: filepath.Join(dir, "blobs", "sha256-"+digestHex), Digest: "sha256:" + digestHex, DigestKind: digestKind}}
	if d := cmp.Diff(want, stored(t.Context(), dir)); d != "" {
		t.Error(d)
	}
	if got := stored(t.Context(), filepath.Join(dir, "nowhere")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestDetectFake(t *testing.T) {
	srv := drivertest.NewServer(t, answers())
	found, err := detect(t.Context(), config(t, "", map[string]string{"OLLAMA_HOST": srv.URL}))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %+v", err, found)
	}
	want := []drivers.Model{{Ref: "m:latest", Name: "m", Quant: "Q4_K_M", SizeBytes: 306150, ContextMax: 8192, Loaded: true, Path: "/models/blobs/sha256-" + digestHex, Digest: "sha256:" + digestHex, DigestKind: digestKind}}
	if d := cmp.Diff(want, found[0].Models); d != "" || !found[0].Usable || found[0].Version != "0.17.4" {
		t.Errorf("%+v %s", found[0], d)
	}
	for name, c := range map[string]struct {
		route  string
		answer string
		note   string
	}{
		"nothing pulled": {"GET /api/tags", `{"models":[]}`, "ollama pull"},
		"cloud only":     {"GET /api/tags", `{"models":[{"name":"a:cloud"}]}`, "cloud models only"},
		"too old":        {"GET /api/version", `{"version":"0.5.0"}`, "0.12.6"},
	} {
		srv := drivertest.NewServer(t, answers())
		srv.Play(c.route, drivertest.JSON(c.answer))
		found, err := detect(t.Context(), config(t, srv.URL, nil))
		if err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, c.note) {
			t.Errorf("%s: %v %+v", name, err, found)
		}
	}
	// LM Studio answers much, but is no Ollama.
	other := drivertest.NewServer(t, map[string]drivertest.Script{"GET /api/version": drivertest.JSON(`{"error":"Unexpected endpoint or method. (GET /api/version)"}`)})
	if found, err := detect(t.Context(), config(t, other.URL, nil)); err != nil || len(found) != 0 {
		t.Errorf("%v %+v", err, found)
	}
}

// TestBlob: which of a Modelfile's files is the weights.
func TestBlob(t *testing.T) {
	file := func(c string) string { return "FROM /m/blobs/sha256-" + strings.Repeat(c, 64) + "\n" }
	for _, c := range []struct{ modelfile, projector, want string }{
		{"# made by show\n" + file("a") + "TEMPLATE x\n", "", "a"},
		{file("a") + file("b"), `{"clip.has_vision_encoder":true}`, "a"},
		{file("a") + file("b"), "", ""}, // a model in two parts: neither is the whole
		{file("a") + file("b") + file("c"), `{"clip.has_vision_encoder":true}`, ""},
		{"FROM tiny:latest\n", "", ""},
	} {
		s := shown{Modelfile: c.modelfile}
		if c.projector != "" {
			if err := json.Unmarshal([]byte(`{"projector_info":`+c.projector+`}`), &s); err != nil {
				t.Fatal(err)
			}
		}
		if _, hex := s.blob(); hex != strings.Repeat(c.want, 64) {
			t.Errorf("%q %s: %q, want %q", c.modelfile, c.projector, hex, c.want)
		}
	}
}

// FuzzWords: whatever a server, its log or its store says, reading it ends, and gives nothing absurd.
func FuzzWords(f *testing.F) {
	f.Add(showAnswer)
	f.Add("0.33.0-rc2")
	f.Add(`msg=load request="{Operation:commit Parallel:4}"` + "\n" + `msg="inference compute" id=GPU-1 library=CUDA description="NVIDIA H200"`)
	f.Add(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:` + digestHex + `","size":77}]}`)
	f.Add("http://[::1]:99")
	f.Fuzz(func(t *testing.T, text string) {
		var s shown
		if json.Unmarshal([]byte(text), &s) == nil {
			if _, hex := s.blob(); hex != "" && len(hex) != 64 {
				t.Errorf("digest %q", hex)
			}
			if s.context() < 0 {
				t.Errorf("context %d", s.context())
			}
		}
		if v, ok := parseVersion(text); ok && (v[0] < 0 || v == version{}) {
			t.Errorf("version %v", v)
		}
		lines := strings.Split(text, "\n")
		if n := parallelOf(lines); n < 0 || n > 1024 {
			t.Errorf("%d streams", n)
		}
		_, _ = computeOf(lines), lastLines(lines, 3)
		if got := home(config(t, "", map[string]string{"OLLAMA_HOST": text})); !strings.Contains(got, "://") {
			t.Errorf("host %q", got)
		}
		_ = shownURL(home(config(t, "", map[string]string{"OLLAMA_HOST": text})))
		_ = manifestName(text)
		_ = stays(text, time.Unix(0, 0))
		_ = mapped(&drivers.APIError{Kind: drivers.ErrServer, Message: text})
	})
}
