package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Own is the dialect that a simulator speaks unless told otherwise: OpenAI's routes with llama-server's timings and /props.
const Own = "sim"

// DialectDoc tells what a dialect is.
type DialectDoc struct {
	Name  string // as in --dialect, and the backend's name
	Title string // for people
	Base  string // path that a client's base URL ends with; empty: none
	Key   bool   // requests without a key are refused; any key will do
}

// Dialects lists the dialects, Own first.
func Dialects() []DialectDoc {
	var docs []DialectDoc
	for _, d := range dialectTable() {
		docs = append(docs, d.doc)
	}
	return docs
}

// dialectTable is every dialect there is, in the order of help.
func dialectTable() []maker {
	return []maker{
		{DialectDoc{Own, "llm-speed's own mix of OpenAI's API and llama-server's", "", false}, ownDialect},
		{DialectDoc{"llamacpp", "llama.cpp's llama-server 0.7.0", "", false}, llamaCpp},
		{DialectDoc{"ollama", "Ollama 0.33", "", false}, ollama},
		{DialectDoc{"vllm", "vLLM", "", false}, vLLM},
		{DialectDoc{"sglang", "SGLang", "", false}, sgLang},
		{DialectDoc{"trtllm", "TensorRT-LLM's trtllm-serve", "", false}, trtLLM},
		{DialectDoc{"tabbyapi", "TabbyAPI (exllamav2)", "", true}, tabbyAPI},
		{DialectDoc{"lmstudio", "LM Studio", "", false}, lmStudio},
		{DialectDoc{"mlx", "mlx_lm.server", "", false}, mlxServer},
		{DialectDoc{"anthropic", "Anthropic's Messages API", "/v1", true}, anthropic},
		{DialectDoc{"openai", "OpenAI's chat completions", "/v1", true}, openAIService},
		{DialectDoc{"openrouter", "OpenRouter, with one provider", "/api/v1", true}, openRouter},
		{DialectDoc{"together", "Together", "/v1", true}, together},
		{DialectDoc{"fireworks", "Fireworks", "/inference/v1", true}, fireworks},
		{DialectDoc{"groq", "Groq", "/openai/v1", true}, groq},
		{DialectDoc{"cerebras", "Cerebras", "/v1", true}, cerebras},
		{DialectDoc{"deepseek", "DeepSeek", "", true}, deepSeek},
	}
}

// KnowsDialect says whether there is a dialect of a name; the error lists the names.
func KnowsDialect(name string) error {
	_, err := makerOf(name)
	return err
}

// newDialect makes a dialect by its name for a simulator.
func newDialect(s *Server, name string) (*dialect, error) {
	e, err := makerOf(name)
	if err != nil {
		return nil, err
	}
	d := e.make(s)
	d.doc = e.doc
	return d, nil
}

// maker is a line of the table of dialects. make is called once for each simulator, so that what a dialect remembers is that
// simulator's.
type maker struct {
	doc  DialectDoc
	make func(*Server) *dialect
}

// makerOf finds a dialect; an empty name is Own.
func makerOf(name string) (maker, error) {
	var names []string
	for _, e := range dialectTable() {
		if e.doc.Name == name || name == "" {
			return e, nil
		}
		names = append(names, e.doc.Name)
	}
	return maker{}, fmt.Errorf("unknown simulator dialect %q; known: %s", name, strings.Join(names, ", "))
}

// dialect is how one kind of server is spoken: where it is asked, how a request is understood, how answers are written.
// What happens between the two is the same in all of them.
type dialect struct {
	doc       DialectDoc
	server    string   // the real server's own name in the Server header, after the simulator's; empty: none
	bases     []string // prefixes under which all paths lie; nil: "" alone
	generates []endpoint
	answers   []plainRoute
	refusal   func(r *refusal) []byte                        // body of an error answer
	natural   int                                            // tokens after which the model ends by itself; 0: naturalEnd
	block     int                                            // granularity of the prefix cache, tokens; 0: 1
	least     int                                            // the prefix cache serves hits of that many tokens or more
	always    func(t *Traps)                                 // what the real server always does although it is a trap; nil: nothing
	comment   string                                         // what comments say; empty: what the trap's do
	headers   func(id int64) string                          // further lines of an answer's header; nil: none
	authorise func(r *request) *refusal                      // nil: everybody may
	anyModel  bool                                           // a model that is not there is not minded
	model     func(p Profile) string                         // the model's id; nil: Profile.Model
	missing   func(model string) *refusal                    // for a model that is not there
	overflow  func(c *completion, asked, limit int) *refusal // for a request that does not fit
}

// endpoint is a path that generates.
type endpoint struct {
	path  string
	read  func(c *completion, body []byte) error // fills in c.ask; a *refusal where the dialect words it
	speak func(c *completion) voice
	fit   func(t *Traps) // takes away the traps that make no sense here; nil: none
}

// plainRoute is a path that answers at once. The answer is JSON of what it returns, a reply where it is more.
type plainRoute struct {
	name   string // method and path; a path that ends in * is a prefix
	answer func(r *request) any
}

// reply is an answer that is more than a JSON body under 200.
type reply struct {
	status int    // 0: 200
	kind   string // content type; empty: JSON
	text   string // body where kind is set
	body   any
}

// path takes the dialect's base off a request's path.
func (d *dialect) path(p string) (string, bool) {
	p = strings.TrimRight(p, "/")
	if d.bases == nil {
		return p, true
	}
	for _, base := range d.bases {
		if rest, ok := strings.CutPrefix(p, base); ok && (rest == "" || rest[0] == '/') {
			return rest, true
		}
	}
	return p, false
}

// endpoint finds a path that generates.
func (d *dialect) endpoint(path string) *endpoint {
	i := slices.IndexFunc(d.generates, func(e endpoint) bool { return e.path == path })
	if i < 0 {
		return nil
	}
	return &d.generates[i]
}

// plain finds a path that answers at once.
func (d *dialect) plain(method, path string) *plainRoute {
	name := method + " " + path
	for i, r := range d.answers {
		if prefix, ok := strings.CutSuffix(r.name, "*"); r.name == name || ok && strings.HasPrefix(name, prefix) {
			return &d.answers[i]
		}
	}
	return nil
}

// modelID is the model's id in this dialect.
func (d *dialect) modelID(p Profile) string {
	if d.model != nil {
		return d.model(p)
	}
	return p.Model()
}

// knows reports whether a request may name the model so; no name is the one there is.
func (d *dialect) knows(model string, p Profile) bool {
	return d.anyModel || model == "" || model == p.Name || model == p.Model() || model == d.modelID(p)
}

func (d *dialect) refuseModel(model string) *refusal {
	if d.missing != nil {
		return d.missing(model)
	}
	return refuse(http.StatusNotFound, fmt.Sprintf("model %q does not exist", model), "invalid_request_error", "model_not_found")
}

func (d *dialect) refuseSize(c *completion, asked, limit int) *refusal {
	if d.overflow != nil {
		return d.overflow(c, asked, limit)
	}
	return refuse(http.StatusBadRequest, fmt.Sprintf("the request (%d prompt tokens and %d to generate) exceeds the available context size (%d tokens)",
		len(c.prompt), asked, limit), "exceed_context_size_error", 400)
}

// refuseKey says what is wrong with a request's key; nil: nothing is.
func (d *dialect) refuseKey(r *request) *refusal {
	if d.authorise == nil {
		return nil
	}
	return d.authorise(r)
}

// serverHeader is what the Server header says; that it begins with the simulator's name is what tells it from the real one.
func (d *dialect) serverHeader() string {
	if d.server == "" {
		return serverName
	}
	return serverName + " " + d.server
}

// chat reports whether an endpoint takes conversations.
func (e *endpoint) chat() bool { return strings.HasSuffix(e.path, "/chat/completions") }
