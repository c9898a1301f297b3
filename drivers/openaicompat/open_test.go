package openaicompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/clock"
)

// odd is a server with ways of its own. It generates nothing: its answers only obey the request's fields.
type odd struct {
	models      string            // body of /v1/models; "" for none
	header      string            // Server header
	refuse      map[string]string // field of the request -> what the 400 says
	noChat      bool
	tokenizer   int  // tokens that /tokenize gives; 0 for none
	honoursEOS  bool // runs on with ignore_eos
	noUsage     bool
	template    bool   // /apply-template is there
	fails       int    // status of every stream
	path        string // of the weights, in /props
	mu          sync.Mutex
	requests    []map[string]any
	authorities []string
}

func (o *odd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.header != "" {
		w.Header().Set("Server", o.header)
	}
	o.mu.Lock()
	o.authorities = append(o.authorities, r.Header.Get("Authorization"))
	o.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	_ = json.Unmarshal(body, &in)
	path := strings.TrimPrefix(r.URL.Path, "/api")
	switch {
	case path == "/v1/models" && o.models != "":
		_, _ = io.WriteString(w, o.models)
	case path == "/props" && o.path != "":
		_ = json.NewEncoder(w).Encode(map[string]any{"model_path": o.path, "total_slots": 2, "default_generation_settings": map[string]int{"n_ctx": 2048}})
	case path == "/tokenize" && o.tokenizer > 0 && (in["content"] != nil) == o.template:
		_ = json.NewEncoder(w).Encode(map[string]any{"tokens": make([]int, o.tokenizer)})
	case path == "/apply-template" && o.template:
		_, _ = io.WriteString(w, `{"prompt":"<user>x"}`)
	case path == "/v1/chat/completions" && !o.noChat, path == "/v1/completions":
		o.stream(w, in, path)
	default:
		http.NotFound(w, r)
	}
}

func (o *odd) stream(w http.ResponseWriter, in map[string]any, path string) {
	o.mu.Lock()
	o.requests = append(o.requests, in)
	o.mu.Unlock()
	if o.fails > 0 {
		w.WriteHeader(o.fails)
		_, _ = io.WriteString(w, `{"error":{"message":"it is broken"}}`)
		return
	}
	for field, says := range o.refuse {
		if _, is := in[field]; is {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":{"message":%q}}`, says)
			return
		}
	}
	asked, _ := in["max_tokens"].(float64)
	if n, is := in["max_completion_tokens"].(float64); is {
		asked = n
	}
	n, finish := int(asked), "length"
	if eos, _ := in["ignore_eos"].(bool); asked > 4 && !(eos && o.honoursEOS) {
		n, finish = 2, "stop"
	}
	delta := `"delta":{"content":"x"}`
	if path == "/v1/completions" {
		delta = `"text":"x"`
	}
	_, _ = fmt.Fprintf(w, "data: {\"model\":\"answered\",\"system_fingerprint\":\"b7\",\"choices\":[{%s,\"finish_reason\":%q}]}\n\n", delta, finish)
	if _, is := in["stream_options"]; is && !o.noUsage {
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%d}}\n\n", n)
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

func start(t *testing.T, o *odd, change func(*drivers.Config)) (drivers.Session, error) {
	t.Helper()
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	c := drivers.Config{URL: srv.URL + "/v1", Clock: clock.New(), Log: t.Logf, Env: func(name string) string {
		if name == "OPENAI_API_KEY" {
			return "sk-of-someone-else"
		}
		return ""
	}}
	if change != nil {
		change(&c)
	}
	if strings.HasPrefix(c.URL, "/") {
		c.URL = strings.TrimPrefix(srv.URL, "http://") + c.URL
	}
	ses, err := Spec().Open(t.Context(), c, drivers.Need{Context: 100, Parallel: 1})
	if err == nil {
		t.Cleanup(func() { _ = ses.Close() })
	}
	return ses, err
}

const twoModels = `{"object":"list","data":[{"id":"text-embedding-x","object":"model"},{"id":"llama-8b","max_model_len":8192},{"id":"qwen-7b","context_length":null}]}`

const trained = `{"object":"list","data":[{"id":"x","owned_by":"llamacpp","meta":{"n_ctx":2048,"n_ctx_train":32768,"size":7}}]}`

func TestOpenLearns(t *testing.T) {
	weights := filepath.Join(t.TempDir(), "x.gguf")
	for _, c := range []struct {
		name   string
		server *odd
		config func(*drivers.Config)
		fields string // of a stream's request
		check  func(drivers.Info) any
		want   any
		caps   []string
	}{
		{"plain", &odd{models: twoModels}, nil, "ignore_eos max_tokens messages model seed stream stream_options temperature",
			func(i drivers.Info) any {
				return []any{i.Model.Ref, i.ContextMax, i.IgnoresEOS, i.ColdAsked, i.Template, i.Metadata["ignore_eos"]}
			}, []any{"llama-8b", 8192, false, false, 11, "accepted, not honoured"}, nil},
		{"end of text ignored", &odd{models: twoModels, honoursEOS: true}, nil, "ignore_eos max_tokens messages model seed stream stream_options temperature",
			func(i drivers.Info) any { return i.IgnoresEOS }, true, nil},
		{"ignore_eos refused by name", &odd{models: twoModels, refuse: map[string]string{"ignore_eos": "Unrecognized request argument: ignore_eos"}}, nil,
			"max_tokens messages model seed stream stream_options temperature", func(i drivers.Info) any { return []any{i.IgnoresEOS, i.Metadata["ignore_eos"]} }, []any{false, "refused"}, nil},
		{"include_usage refused", &odd{models: twoModels, refuse: map[string]string{"stream_options": "stream_options: extra fields not permitted"}}, nil,
			"ignore_eos max_tokens messages model seed stream temperature", func(i drivers.Info) any { return []any{i.Metadata["usage"], i.Template} }, []any{"none", drivers.NotKnown}, nil},
		{"a refusal that names nothing costs only what was refused", &odd{models: twoModels, refuse: map[string]string{"seed": "bad request"}}, nil,
			"ignore_eos max_tokens messages model stream stream_options temperature", func(i drivers.Info) any { return i.Metadata["usage"] }, "in the stream", nil},
		{"max_completion_tokens", &odd{models: twoModels, refuse: map[string]string{"max_tokens": "Unsupported parameter: use 'max_completion_tokens' instead", "temperature": "temperature is not supported"}}, nil,
			"ignore_eos max_completion_tokens messages model seed stream stream_options", func(i drivers.Info) any { return i.Metadata["max_tokens_field"] }, "max_completion_tokens", nil},
		{"completions only", &odd{models: twoModels, noChat: true}, nil, "ignore_eos max_tokens model prompt seed stream stream_options temperature",
			func(i drivers.Info) any { return i.Metadata["endpoint"] }, "completions", nil},
		{"completions asked for", &odd{models: twoModels}, func(c *drivers.Config) { c.Options = map[string]string{"endpoint": "completions"} },
			"ignore_eos max_tokens model prompt seed stream stream_options temperature", func(i drivers.Info) any { return i.Metadata["endpoint"] }, "completions", nil},
		{"no list of models", &odd{}, func(c *drivers.Config) { c.Model = "mine" }, "ignore_eos max_tokens messages model seed stream stream_options temperature",
			func(i drivers.Info) any { return i.Model.Ref }, "mine", nil},
		{"no list and no name", &odd{}, nil, "ignore_eos max_tokens messages seed stream stream_options temperature",
			func(i drivers.Info) any { return []any{i.Model.Ref, i.ContextMax} }, []any{"answered", 0}, nil},
		{"context given", &odd{models: twoModels}, func(c *drivers.Config) { c.Options = map[string]string{"model-context": "1234"} }, "",
			func(i drivers.Info) any { return i.ContextMax }, 1234, nil},
		{"below a path, without a scheme", &odd{models: twoModels}, func(c *drivers.Config) { c.URL = "/api/v1/" }, "",
			func(i drivers.Info) any { return strings.HasSuffix(i.URL, "/api") }, true, nil},
		{"llama.cpp", &odd{models: twoModels, header: "llama.cpp"}, nil, "cache_prompt ignore_eos max_tokens messages model seed stream stream_options temperature timings_per_token",
			func(i drivers.Info) any {
				return []any{i.IgnoresEOS, i.ColdAsked, i.Metadata["server_kind"], i.Metadata["system_fingerprint"]}
			}, []any{true, true, "llama.cpp", "b7"}, nil},
		{"llama.cpp's own files", &odd{models: trained, header: "llama.cpp", path: weights}, nil, "",
			func(i drivers.Info) any { return []any{i.Model.Path, i.ContextMax, i.Model.ContextMax, i.Parallel} }, []any{weights, 2048, 32768, 2}, nil},
		{"a path in another program's folder is no file of ours", &odd{models: trained, header: "llama.cpp", path: "models/x.gguf"}, nil, "",
			func(i drivers.Info) any { return i.Model.Path }, "", nil},
		{"tokenizer of messages", &odd{models: twoModels, tokenizer: 12}, nil, "", func(i drivers.Info) any { return i.Template }, 12, []string{"tokenizer"}},
		{"tokenizer of text", &odd{models: twoModels, tokenizer: 12, template: true}, nil, "", func(i drivers.Info) any { return i.Template }, 12, []string{"tokenizer"}},
		{"a tokenizer that counts otherwise is not offered", &odd{models: twoModels, tokenizer: 13}, nil, "", func(i drivers.Info) any { return i.Template }, 11, nil},
		{"a tokenizer that nothing proves is not offered", &odd{models: twoModels, tokenizer: 12, noUsage: true}, nil, "", func(i drivers.Info) any { return i.Template }, drivers.NotKnown, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ses, err := start(t, c.server, c.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.check(ses.Info())); diff != "" {
				t.Errorf("info: %s\n%+v", diff, ses.Info())
			}
			if diff := cmp.Diff(c.caps, drivers.CapsOf(ses).Names()); diff != "" {
				t.Errorf("abilities: %s", diff)
			}
			before := len(c.server.requests)
			rec, err := ses.Stream(t.Context(), drivers.Request{Prompt: user("hi"), OutputTokens: 3, Slot: drivers.AnySlot})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ses.Decode(rec); err != nil {
				t.Error(err)
			}
			if len(c.server.requests) != before+1 {
				t.Fatalf("%d requests for one stream", len(c.server.requests)-before)
			}
			if c.fields != "" {
				if diff := cmp.Diff(c.fields, strings.Join(sortedKeys(c.server.requests[before]), " ")); diff != "" {
					t.Errorf("fields: %s", diff)
				}
			}
			for _, a := range c.server.authorities {
				if a != "" {
					t.Fatalf("a key was sent that nobody gave: %q", a)
				}
			}
		})
	}
}

func TestOpenFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		server *odd
		config func(*drivers.Config)
		want   error
		text   string
	}{
		{"model not served", &odd{models: twoModels}, func(c *drivers.Config) { c.Model = "lama-8b" }, drivers.ErrModelNotFound, "did you mean llama-8b?"},
		{"nothing like it", &odd{models: twoModels}, func(c *drivers.Config) { c.Model = "zzzzzz" }, drivers.ErrModelNotFound, "it serves text-embedding-x, llama-8b, qwen-7b"},
		{"no URL", &odd{}, func(c *drivers.Config) { c.URL = "" }, drivers.ErrUnreachable, "--url"},
		{"no such endpoint", &odd{noChat: true}, func(c *drivers.Config) { c.Options = map[string]string{"endpoint": "chat"} }, drivers.ErrNotFound, "nothing OpenAI-like"},
		{"broken", &odd{models: twoModels, fails: 500}, nil, drivers.ErrServer, "it is broken"},
		{"refuses everything", &odd{models: twoModels, fails: 400}, nil, drivers.ErrBadRequest, "it is broken"},
		{"loading", &odd{models: twoModels, fails: 503}, nil, drivers.ErrOverloaded, "wait until the model is loaded"},
		{"wants a key", &odd{models: twoModels, fails: 401}, nil, drivers.ErrAuth, "--api-key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := start(t, c.server, c.config)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.text)
			}
		})
	}
	for name, value := range map[string]string{"endpoint": "both", "model-context": "many"} {
		if _, err := start(t, &odd{models: twoModels}, func(c *drivers.Config) { c.Options = map[string]string{name: value} }); err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

func TestDetect(t *testing.T) {
	if found, err := Spec().Detect(t.Context(), drivers.Config{Clock: clock.New()}); err != nil || len(found) > 0 {
		t.Errorf("without a URL: %v, %v", found, err)
	}
	srv := httptest.NewServer(&odd{models: twoModels})
	found, err := Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
	if err != nil || len(found) != 1 || !found[0].Usable || len(found[0].Models) != 3 || found[0].Models[1].ContextMax != 8192 {
		t.Errorf("%+v, %v", found, err)
	}
	srv.Close()
	found, err = Spec().Detect(t.Context(), drivers.Config{URL: srv.URL, Clock: clock.New()})
	if err != nil || len(found) != 1 || found[0].Usable || !strings.Contains(found[0].Note, "not reachable") {
		t.Errorf("closed: %+v, %v", found, err)
	}
}

func TestPlainText(t *testing.T) {
	got, err := plainText(user("just this"))
	if err != nil || got != "just this" {
		t.Errorf("%q, %v", got, err)
	}
	p := user("one")
	p.Messages = append(p.Messages, p.Messages[0])
	if got, err = plainText(p); err != nil || got != "user: one\n\nuser: one\n\nassistant:" {
		t.Errorf("%q, %v", got, err)
	}
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
