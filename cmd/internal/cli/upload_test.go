package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/mod/sumdb/note"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/sim"
	"github.com/llm-speed/llm-speed/internal/upload"
	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

// The marks that are planted where a user's secrets are.
const (
	markFlagKey  = "keyofflag-mark-4711"
	markEnvKey   = "keyofenv-mark-4712"
	markVendor   = "gsk-mark-vendor-4713"
	markURLUser  = "urlusermark"
	markURLPass  = "urlpassmark4714"
	markProxy    = "proxypassmark4715"
	markPrompt   = "promptmark"
	markFolder   = "foldermark"
	markHeader   = "headermark4716"
	markFineTune = "modelfoldermark"
)

// unnamed passes requests on to a simulator and hides that it is one, so that a run is an ordinary one. Every few long streams it
// fails, and quotes all that it was sent and more; its list of models has a path.
func unnamed(t *testing.T, target string) *httptest.Server {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Server", "unnamed/1.0 "+markHeader)
		return nil
	}
	var long atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var ask struct {
			Stream bool `json:"stream"`
			Max    int  `json:"max_tokens"`
		}
		_ = json.Unmarshal(body, &ask)
		if ask.Stream && ask.Max > 100 && long.Add(1)%3 == 2 {
			w.WriteHeader(http.StatusInternalServerError)
			words, _ := json.Marshal(fmt.Sprintf("error in /home/%s/%s on %s: key %s, %s; prompt %s", markUser, markFolder, markHost, r.Header.Get("Authorization"), markHeader, body))
			fmt.Fprintf(w, `{"error":{"message":%s}}`, words)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Del("Authorization")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestUploadLeaksNothing runs benchmarks with secrets wherever a user has some, against a server that quotes them, and looks for
// them in all that would be uploaded, in the queue, and in what was printed.
func TestUploadLeaksNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the marked machine is a Linux one")
	}
	i := &inside{t: t, root: t.TempDir(), may: exitFailed} // some rows fail, and that is the point
	i.env = map[string]string{
		"LLM_SPEED_API_KEY": markEnvKey, "GROQ_API_KEY": markVendor, "HTTPS_PROXY": "http://proxyuser:" + markProxy + "@127.0.0.1:1", "https_proxy": "http://proxyuser:" + markProxy + "@127.0.0.1:1",
	}
	backing, err := sim.Start(t.Context(), sim.Options{Profile: sim.Profiles()[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	server := unnamed(t, backing.URL())
	suite := filepath.Join(i.home(), markFolder, "suite")
	for name, text := range map[string]string{
		"suite.jsonnet": `{
  schema: 'llm-speed/suite/v1', name: 'mine', version: '0.1.0', title: 'own suite', engine: 1, generator: 'prose/1', budget: { default_s: 5, quick_s: 5 },
  workloads: [{ id: 'Q1', name: 'mine', doc: 'Own text.', program: 'w.star', points: [{ depth: 1 }, { depth: 2 }],
    needs: [{ context: 1024, parallel: 1, prompt: 128, output: 128 }], metrics: { leap_ms: { unit: 'ms', better: 'lower', stats: ['p50'] } }, reports: ['ttft_ms', 'leap_ms'] }],
}`,
		"w.star": `def run(w):
    """Own text."""
    r = stream(prompt(text = "` + markPrompt + ` tell me a long story"), output_tokens = 128)
    w.record("leap_ms", r.wall_ms)
`,
	} {
		if err := os.MkdirAll(suite, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(suite, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	model := filepath.Join(i.home(), markFineTune, "m.gguf")
	if err := errors.Join(os.MkdirAll(filepath.Dir(model), 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := weightstest.Write(model); err != nil {
		t.Fatal(err)
	}
	withKey := strings.Replace(server.URL, "http://", "http://"+markURLUser+":"+markURLPass+"@", 1)
	last := func() record.Result {
		t.Helper()
		st, err := (&app{&Process{Env: func(k string) string { return map[string]string{"LLM_SPEED_DATA": filepath.Join(i.root, "data")}[k] }, Home: i.home}}).store()
		if err != nil {
			t.Fatal(err)
		}
		saved, err := st.Load("last")
		if err != nil {
			t.Fatal(err)
		}
		return *saved.Result
	}
	failed := 0
	for _, args := range [][]string{
		{"--url", server.URL, "--api-key", markFlagKey},
		{"--url", server.URL, "--anon"},
		{"--url", withKey},
		{"--url", server.URL, "--forget-key"},
	} {
		i.do(append([]string{"bench", "--no-sandbox", "--suite", suite, "--repeats", "2", "--backend", "openai-compatible"}, args...)...)
		r := last()
		if simulated(&r) {
			t.Fatal("the run is a simulated one")
		}
		for _, row := range r.Rows {
			for _, s := range row.Samples {
				if s.Error != "" {
					failed++
					if !strings.Contains(s.Error, markPrompt) && !strings.Contains(row.Reason, markHeader) {
						t.Logf("an error without the quote: %s", s.Error)
					}
				}
			}
		}
		time.Sleep(time.Second) // ids have seconds, and the last is meant
	}
	if failed == 0 {
		t.Error("no request failed: nothing was quoted")
	}
	queue := filepath.Join(i.root, "data", "queue")
	files, err := os.ReadDir(queue)
	if err != nil || len(files) != 4 {
		t.Fatalf("%d documents are queued: %v\n%s", len(files), err, i.out.String())
	}
	found := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(queue, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		d, err := upload.Open(text)
		if err != nil {
			t.Fatal(err)
		}
		found["queue/"+f.Name()] = f.Name() + string(text) + string(d.Envelope.Payload)
		id := strings.TrimSuffix(f.Name(), ".json")
		for _, more := range [][]string{nil, {"--anon"}} {
			out := i.do(append([]string{"upload", "--dry-run", id}, more...)...)
			d, err := upload.Open([]byte(out))
			if err != nil {
				t.Fatal(err)
			}
			validUpload(t, d)
			found[strings.Join(append(more, id), " ")] = string(d.Envelope.Payload)
			if more == nil && out != string(text) {
				t.Errorf("%s: what is shown is not what is queued", id)
			}
			i.do(append([]string{"upload", "--show", id}, more...)...)
		}
	}
	i.do("upload", "--list")
	i.do("upload", "--list", "--json")
	for _, f := range files {
		i.do("upload", strings.TrimSuffix(f.Name(), ".json"))
	}
	// What a user typed is theirs to see; what a command prints of itself is not to hold it.
	found["what was printed"] = i.out.String()
	secrets := append(marks(), markFlagKey, markEnvKey, markVendor, markURLUser, markURLPass, markProxy, markPrompt, markFolder, markHeader, markFineTune)
	for where, text := range found {
		for _, mark := range secrets {
			if where == "what was printed" && (mark == markHeader || mark == markPrompt || mark == markFolder || mark == markUser || mark == markHost) {
				continue // a server's own words about a failed request are told to the user
			}
			if at := strings.Index(strings.ToLower(text), strings.ToLower(mark)); at >= 0 {
				t.Errorf("%q stands in %s: …%s…", mark, where, text[max(0, at-120):min(len(text), at+80)])
			}
		}
	}
}

// validUpload holds a document to the published schema.
func validUpload(t *testing.T, d upload.Document) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "..", "docs", "schema", "upload-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.Envelope.Payload))
	if err == nil {
		err = schema.Validate(doc)
	}
	if err != nil {
		t.Errorf("%s: %v", d.ID(), err)
	}
}

// TestUploadFigures holds figures that are computed from nothing but a document against those of the run itself.
func TestUploadFigures(t *testing.T) {
	i := &inside{t: t, root: t.TempDir(), may: exitFailed, env: map[string]string{"LLM_SPEED_API_KEY": "some-key"}}
	p, err := sim.Lookup("fast")
	if err != nil {
		t.Fatal(err)
	}
	for dialect, backend := range map[string]string{"sim": "openai-compatible", "vllm": "vllm"} {
		server, err := sim.Start(t.Context(), sim.Options{Profile: p, Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		var r record.Result
		text := i.do("bench", "--no-sandbox", "--quick", "--repeats", "2", "--backend", backend, "--url", server.URL(), "--json", "-")
		server.Close()
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		for _, anon := range []string{"--anon", "--anon=false"} {
			d, err := upload.Open([]byte(i.do("upload", "--dry-run", anon, r.RunID)))
			if err != nil {
				t.Fatal(err)
			}
			b, err := d.Body()
			if err != nil {
				t.Fatal(err)
			}
			validUpload(t, d)
			if !b.Simulated || b.Rankable {
				t.Error("the document does not say that it is simulated")
			}
			near := 1e-6 // the rounding to whole units
			if b.Anonymous {
				near = 2e-3
			}
			known := 0
			for n, row := range r.Rows {
				f := b.Rows[n].Figures()
				for name, pair := range map[string][2]*float64{
					"ttft": {f.TTFTms, row.TTFTms}, "ttfa": {f.TTFAms, row.TTFAms}, "prefill": {f.PrefillTPS, row.PrefillTPS}, "decode": {f.DecodeTPS, row.DecodeTPS}, "wall": {f.Wallms, row.Wallms},
					"hits": {f.HitRate, row.HitRate}, "aggregate": {f.AggregateTPS, row.AggregateTPS}, "span": {f.SpanTPS, row.SpanTPS},
				} {
					got, want := pair[0], pair[1]
					switch {
					case (got == nil) != (want == nil):
						t.Errorf("%s %s %s %s: known of one only: %v", dialect, anon, row.Key, name, row.Reasons)
					case got != nil && math.Abs(*got-*want) > near*math.Abs(*want):
						t.Errorf("%s %s %s %s: %v from the document, %v from the run", dialect, anon, row.Key, name, *got, *want)
					case got != nil:
						known++
					}
				}
			}
			if known < 20 {
				t.Errorf("%s: only %d figures were held against the run's", dialect, known)
			}
		}
	}
}

// TestUploadQueueBlocked: a run whose document can't be queued is as good as any.
func TestUploadQueueBlocked(t *testing.T) {
	i := &inside{t: t, root: t.TempDir()}
	backing, err := sim.Start(t.Context(), sim.Options{Profile: sim.Profiles()[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	to, err := url.Parse(backing.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval, proxy.ModifyResponse = -1, func(r *http.Response) error { r.Header.Del("Server"); return nil }
	server := httptest.NewServer(proxy)
	defer server.Close()
	queue := filepath.Join(i.root, "data", "queue")
	if err := os.MkdirAll(filepath.Dir(queue), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(queue, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bench := []string{"bench", "--no-sandbox", "--quick", "--workload", "W1", "--repeats", "1", "--backend", "openai-compatible", "--url", server.URL}
	i.do(bench...)
	if said := i.out.String(); !strings.Contains(said, "sealed: ") || !strings.Contains(said, "not queued for upload: ") || !strings.Contains(said, "the run is saved all the same") {
		t.Errorf("%s", said)
	}
	i.do("runs", "show", "last")
	if err := os.Remove(queue); err != nil {
		t.Fatal(err)
	}
	i.out.Reset()
	i.do(append(bench, "--no-upload")...)
	if said := i.out.String(); !strings.Contains(said, "not queued for upload, as asked") {
		t.Errorf("%s", said)
	}
	if list, err := upload.OpenQueue(filepath.Dir(queue)).List(); err != nil || len(list) != 0 {
		t.Errorf("--no-upload: %v, %v", list, err)
	}
	i.out.Reset()
	time.Sleep(time.Second) // ids have seconds
	i.do(bench...)
	if said := i.out.String(); !strings.Contains(said, "queued for upload: ") || !strings.Contains(said, "nothing was sent: "+noService) {
		t.Errorf("%s", said)
	}
	list, err := upload.OpenQueue(filepath.Dir(queue)).List()
	if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Body.RunID != list[0].RunID {
		t.Fatalf("%+v, %v", list, err)
	}
	receipts(t, i, list[0])
	i.do("runs", "rm", "--yes", list[0].RunID)
	if _, err := os.Stat(filepath.Join(queue, list[0].RunID+".json")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the document of a run that was removed is queued")
	}
}

// receipts puts the receipt of a service that does not exist beside a run, and has it verified.
func receipts(t *testing.T, i *inside, e upload.Entry) {
	t.Helper()
	private, public, err := note.GenerateKey(nil, "results.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	file, err := upload.Receipt{ID: e.Document.ID(), SHA256: e.Document.SHA256(), ReceivedAt: time.Unix(1_780_000_000, 0), LogIndex: 7}.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(i.root, "data", "runs", e.RunID)
	put := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(code int, args ...string) string {
		t.Helper()
		i.may = code
		i.out.Reset()
		i.do(append([]string{"verify"}, args...)...)
		i.may = exitOK
		return i.out.String()
	}
	put("receipt.note", file)
	if said := verify(exitOK, e.RunID); !strings.Contains(said, "good seal") || !strings.Contains(said, "NOT CHECKED") || !strings.Contains(said, "which is not here") {
		t.Errorf("%s", said)
	}
	put("upload.json", e.Document.Encode())
	for _, what := range []string{e.RunID, filepath.Join(dir, "receipt.note")} {
		if said := verify(exitOK, what, "--service-key", public); !strings.Contains(said, "good receipt") || !strings.Contains(said, "which is here, to the byte") || !strings.Contains(said, "entry 7 of the log") || strings.Contains(said, "NOT CHECKED") {
			t.Errorf("%s", said)
		}
	}
	put("receipt.note", bytes.Replace(file, []byte("log_index 7"), []byte("log_index 8"), 1))
	if said := verify(exitVerify, e.RunID, "--service-key", public); !strings.Contains(said, "the receipt: ") {
		t.Errorf("a receipt that was changed: %s", said)
	}
	put("receipt.note", file)
	// The run was sent by name: an anonymous document of it would be tied to that one.
	i.may = exitUsage
	i.out.Reset()
	i.do("upload", "--dry-run", "--anon", e.RunID)
	i.may = exitOK
	if said := i.out.String(); !strings.Contains(said, "tied to that one by its times") {
		t.Errorf("%s", said)
	}
	d, err := upload.Open([]byte(i.do("upload", "--dry-run", e.RunID)))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := d.Body(); err != nil || b.Supersedes != e.Document.ID() {
		t.Errorf("it supersedes %q, %v", b.Supersedes, err)
	}
}

// TestUploadResumed: the document of a run that went on takes the place of the one that was queued, and is of the same kind.
func TestUploadResumed(t *testing.T) {
	i := &inside{t: t, root: t.TempDir(), may: exitFailed}
	backing, err := sim.Start(t.Context(), sim.Options{Profile: sim.Profiles()[0]})
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	to, err := url.Parse(backing.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval, proxy.ModifyResponse = -1, func(r *http.Response) error { r.Header.Del("Server"); return nil }
	var failing atomic.Bool
	failing.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if failing.Load() && len(body) > 4000 { // W2's prompts, not W1's
			http.Error(w, `{"error":{"message":"not now"}}`, http.StatusInternalServerError)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	q := upload.OpenQueue(filepath.Join(i.root, "data"))
	only := func() upload.Entry {
		t.Helper()
		list, err := q.List()
		if err != nil || len(list) != 1 || list[0].Err != nil {
			t.Fatalf("%+v, %v\n%s", list, err, i.out.String())
		}
		return list[0]
	}
	statuses := func(e upload.Entry) string {
		validUpload(t, e.Document)
		text := ""
		for _, row := range e.Body.Rows {
			text += row.Key + " " + row.Status + ", "
		}
		return text
	}
	i.do("bench", "--no-sandbox", "--quick", "--workload", "W1,W2", "--repeats", "1", "--backend", "openai-compatible", "--url", server.URL)
	first := only()
	if got := statuses(first); got != "W1 ok, W2 failed, " || first.Body.Anonymous {
		t.Errorf("%s\n%s", got, i.out.String())
	}
	i.do("upload", "--anon", first.RunID)
	failing.Store(false)
	i.do("bench", "--no-sandbox", "--resume", first.RunID, "--url", server.URL)
	second := only()
	if got := statuses(second); got != "W1 ok, W2 ok, " || second.RunID != first.RunID || second.Document.ID() == first.Document.ID() || !second.Body.Anonymous {
		t.Errorf("%s, anonymous %v\n%s", got, second.Body.Anonymous, i.out.String())
	}
	// A run that is held back stays that.
	failing.Store(true)
	time.Sleep(time.Second) // ids have seconds
	i.do("bench", "--no-sandbox", "--quick", "--workload", "W1,W2", "--repeats", "1", "--backend", "openai-compatible", "--url", server.URL, "--no-upload")
	failing.Store(false)
	i.do("bench", "--no-sandbox", "--resume", "last", "--url", server.URL)
	if only().RunID != first.RunID || !strings.Contains(i.out.String(), "it was held back before") {
		t.Errorf("%s", i.out.String())
	}
}
