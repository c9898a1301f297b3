package mlx

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/drivertest"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
	"github.com/llm-speed/llm-speed/internal/clock"
	"github.com/llm-speed/llm-speed/internal/stream"
)

var update = flag.Bool("update", false, "write golden files")

// The shapes are those of mlx_lm/server.py (mlx-lm 0.32): comments during the prefill, a role in every delta, a finish chunk,
// and a usage chunk whose object is chat.completion.
func event(json string) string { return "data: " + json + "\n\n" }

const fingerprint = `"system_fingerprint":"0.32.0-0.30.1-macOS-15.1-arm64-arm-64bit-applegpu_g15s"`

func delta(content string) string {
	return event(`{"id":"chatcmpl-1",` + fingerprint + `,"object":"chat.completion.chunk","model":"default_model","created":1,"choices":[{"index":0,"finish_reason":null,"delta":{"role":"assistant","content":"` + content + `"}}]}`)
}

func syntheticGood() []string {
	return []string{
		": keepalive 5/5\n\n",
		delta("Bonjour, é"), delta(" 東京"), delta("!"),
		event(`{"id":"chatcmpl-1",` + fingerprint + `,"object":"chat.completion.chunk","model":"default_model","created":1,"choices":[{"index":0,"finish_reason":"length","delta":{"role":"assistant","content":""}}]}`),
		event(`{"id":"chatcmpl-1",` + fingerprint + `,"object":"chat.completion","model":"default_model","created":1,"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":0}}}`),
		"data: [DONE]\n\n",
	}
}

// answer is a JSON answer under the Server header of Python's http.server.
func answer(body string) drivertest.Script {
	s := drivertest.JSON(body)
	s.Header["Server"] = "BaseHTTP/0.6 Python/3.12.7"
	return s
}

func answers(models string) map[string]drivertest.Script {
	return map[string]drivertest.Script{
		"GET /health":    answer(`{"status": "ok"}`),
		"GET /v1/models": answer(models),
	}
}

const twoModels = `{"object":"list","data":[{"id":"mlx-community/Llama-3.2-1B-Instruct-4bit","object":"model","created":1},{"id":"mlx-community/Qwen3-4B-4bit","object":"model","created":1}]}`

func TestServerConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Suite{
		Spec:    Spec(),
		Answers: answers(twoModels),
		Stream:  "POST /v1/chat/completions",
		Good:    syntheticGood(),
		Text:    "Bonjour, é 東京!",
		Counts:  stream.Counts{Prompt: used(5), Cached: used(0), Output: used(4)},
		Failure: delta("x") + event(`{"error":"out of memory"}`) + "data: [DONE]\n\n",
		Golden:  "testdata/request_server.json",
		Update:  *update,
		Oracle:  []string{"mlx-server"},
	})
}

// attached opens a session to a scripted server, with a Hugging Face cache of one model that the server lists.
func attached(t *testing.T, model string, scripts map[string]drivertest.Script, stream drivertest.Script) (drivers.Session, *drivertest.Server, error) {
	t.Helper()
	cache := t.TempDir()
	dir := filepath.Join(cache, "models--mlx-community--Qwen3-4B-4bit", "snapshots", "abc")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder(t, nil), dir); err != nil {
		t.Fatal(err)
	}
	srv := drivertest.NewServer(t, scripts)
	srv.Play("POST /v1/chat/completions", stream)
	env := func(k string) string {
		if k == "HF_HUB_CACHE" {
			return cache
		}
		return ""
	}
	ses, err := Spec().Open(t.Context(), drivers.Config{URL: srv.URL + "/v1", Model: model, Env: env, Clock: clock.New()}, drivers.Need{Context: 1024, Parallel: 1})
	if err == nil {
		t.Cleanup(func() { _ = ses.Close() })
	}
	return ses, srv, err
}

func TestServerModelOnThisMachine(t *testing.T) {
	ses, srv, err := attached(t, "Qwen3-4B-4bit", answers(twoModels), drivertest.Script{Writes: syntheticGood()})
	if err != nil {
		t.Fatal(err)
	}
	i := ses.Info()
	if i.Version != "0.32.0" || i.Metadata["mlx"] != "0.30.1" || i.Build != "applegpu_g15s" || !i.Attached || i.ColdAsked || i.Simulated {
		t.Errorf("info: %+v", i)
	}
	if i.Model.Ref != "mlx-community/Qwen3-4B-4bit" || i.Model.Quant != "MLX-4bit" || i.Model.Path == "" || i.ContextMax != 4096 || len(i.WhyNot) != 0 {
		t.Errorf("model: %+v, why not %v", i.Model, i.WhyNot)
	}
	if i.IgnoresEOS || !strings.Contains(i.Metadata["ignore_eos"], "effect not seen") {
		t.Errorf("ignores EOS %v: %s", i.IgnoresEOS, i.Metadata["ignore_eos"])
	}
	reqs := srv.Requests("POST /v1/chat/completions")
	first := string(reqs[0].Body)
	if !strings.Contains(first, `"logit_bias":{"2":-100}`) || !strings.Contains(first, `"model":"mlx-community/Qwen3-4B-4bit"`) || strings.Contains(first, "seed") {
		t.Errorf("request: %s", first)
	}
	for _, s := range ses.(drivers.SecretLister).Secrets() {
		if strings.Contains(i.Model.Path, s) {
			return
		}
	}
	t.Error("the model's folder is no secret")
}

func TestServerDefaultModelIsNotGuessed(t *testing.T) {
	ses, _, err := attached(t, "", answers(twoModels), drivertest.Script{Writes: syntheticGood()})
	if err != nil {
		t.Fatal(err)
	}
	i := ses.Info()
	if i.Model.Ref != defaultModel || i.Model.Quant != "" || i.Model.Path != "" || i.WhyNot["model.digest"] == "" || i.WhyNot["model.quant"] == "" || i.IgnoresEOS {
		t.Errorf("info: %+v", i)
	}
	if i.Template != 4 {
		t.Errorf("template %d, want the server's count less one", i.Template)
	}
}

func TestServerRefusals(t *testing.T) {
	llama := answers(twoModels)
	for k, s := range llama {
		s.Header = map[string]string{"Content-Type": "application/json", "Server": "llama.cpp"}
		llama[k] = s
	}
	vllm := answers(`{"object":"list","data":[{"id":"m","owned_by":"vllm"}]}`)
	page := answers(`<html>`)
	loading := answers(twoModels)
	loading["GET /health"] = drivertest.Script{Status: 503, Writes: []string{`{"error":{"message":"Loading model"}}`}}
	good := drivertest.Script{Writes: syntheticGood()}
	none := drivertest.JSON(`{"error": "Repository not found for model"}`)
	none.Status = 404
	for name, c := range map[string]struct {
		model   string
		scripts map[string]drivertest.Script
		stream  drivertest.Script
		want    error
		says    string
	}{
		"a llama-server":          {"", llama, good, drivers.ErrProtocol, "llama.cpp"},
		"a vLLM":                  {"", vllm, good, drivers.ErrProtocol, "vllm"},
		"a web page":              {"", page, good, drivers.ErrProtocol, "/v1/models"},
		"nothing of the kind":     {"", nil, good, drivers.ErrProtocol, "another server"},
		"loading":                 {"", loading, good, drivers.ErrProtocol, "another server"},
		"a model that is near":    {"mlx-community/Qwen3-4B-4bti", answers(twoModels), good, drivers.ErrModelNotFound, "did you mean mlx-community/Qwen3-4B-4bit"},
		"no default model":        {"", answers(twoModels), none, drivers.ErrModelNotFound, "--model"},
		"an empty body":           {"", answers(twoModels), drivertest.Script{}, drivers.ErrTruncated, ""},
		"a list of other objects": {"x", answers(`{"data":[{"nid":3}]}`), good, drivers.ErrModelNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := attached(t, c.model, c.scripts, c.stream)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v with %q", err, c.want, c.says)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	python(t)
	srv := drivertest.NewServer(t, answers(twoModels))
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Env: os.Getenv, Clock: clock.New()})
	if err != nil || len(found) != 1 || found[0].URL != srv.URL || len(found[0].Models) != 2 || !found[0].Usable {
		t.Errorf("a server: %+v, %v", found, err)
	}
	cache := t.TempDir()
	if err := os.Rename(folder(t, nil), filepath.Join(cache, "other-mlx-model")); err != nil {
		t.Fatal(err)
	}
	env := func(k string) string {
		switch k {
		case "HF_HUB_CACHE":
			return cache
		case "PATH":
			return os.Getenv("PATH")
		}
		return ""
	}
	c := drivers.Config{Env: env, Clock: clock.New(), Options: map[string]string{optHelper: "always"}}
	f := patiently(t, c)
	if f == nil || !f.Usable || f.Version != "0.0.0+standin" || len(f.Models) != 1 || f.Models[0].Quant != "MLX-4bit" || f.Models[0].Ref != "other-mlx-model" {
		t.Errorf("always: %+v", f)
	}
	c.Options = map[string]string{optPython: filepath.Join(cache, "no-python")}
	if f := patiently(t, c); f == nil || f.Usable || !strings.Contains(f.Note, "no Python interpreter there") {
		t.Errorf("a Python that is not there: %+v", f)
	}
	c.Options = map[string]string{optHelper: "never"}
	if f := patiently(t, c); f != nil {
		t.Errorf("never: %+v", f)
	}
	t.Setenv("PYTHONPATH", cache)
	c.Options = map[string]string{optHelper: "always"}
	if _, _, err := interpreter(t.Context(), c, pyhelper.LookToOpen); !errors.Is(err, errNoHelper) || !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), "pip install mlx-lm") {
		t.Errorf("without mlx_lm: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Spec().Detect(ctx, drivers.Config{Env: env, Clock: clock.New()}); err != nil {
		t.Errorf("out of time: %v", err)
	}
}

// patiently looks again where a busy machine did not let Python answer in time.
func patiently(t *testing.T, c drivers.Config) *drivers.Found {
	t.Helper()
	f := detectHelper(t.Context(), c)
	for range 20 {
		if f == nil || !strings.Contains(f.Note, "did not answer within") {
			break
		}
		f = detectHelper(t.Context(), c)
	}
	return f
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Spec().Open(t.Context(), drivers.Config{Options: map[string]string{optHelper: "perhaps"}, Clock: clock.New()}, drivers.Need{})
	if err == nil || !strings.Contains(err.Error(), "always or never") {
		t.Errorf("%v", err)
	}
}
