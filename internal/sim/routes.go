package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// route answers one request; false means that the connection can't be used any more.
func (s *Server) route(c *conn, r *request) bool {
	path := strings.TrimRight(r.URL.Path, "/")
	if r.Method == http.MethodPost && (path == "/v1/chat/completions" || path == "/v1/completions") {
		return s.complete(c, r, path)
	}
	status, kind := http.StatusOK, "application/json"
	var body any
	var text string
	switch r.Method + " " + path {
	case "GET /health":
		body = map[string]string{"status": "ok"}
	case "GET /v1/models":
		body = s.models()
	case "GET /props":
		body = s.props()
	case "GET /metrics":
		kind, text = "text/plain; version=0.0.4", s.metrics()
	case "POST /tokenize", "POST /apply-template":
		status, body = s.tokenize(r, path)
	case "GET /sim/log":
		body = s.Log()
	case "DELETE /sim/log":
		s.ClearLog()
		body = struct{}{}
	case "GET /sim/cache":
		body = s.CacheStats()
	case "DELETE /sim/cache":
		s.FlushCache()
		body = struct{}{}
	case "GET /sim/activity":
		body = s.Activity()
	case "PUT /sim/traps":
		t, err := ParseTraps(strings.TrimSpace(string(r.body)))
		if err != nil {
			status, body = refuse(http.StatusBadRequest, err.Error(), "invalid_request_error")
			break
		}
		s.SetTraps(t)
		body = map[string]string{"traps": t.String()}
	default:
		status, body = refuse(http.StatusNotFound, fmt.Sprintf("no such endpoint: %s %s", r.Method, path), "not_found_error")
	}
	b := []byte(text)
	if text == "" {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return false
		}
	}
	_, err := c.Write(answer(status, kind, b, ""))
	return err == nil
}

func refuse(status int, message, kind string) (int, any) {
	return status, json.RawMessage(errorBody(message, kind, status))
}

func (s *Server) models() any {
	p := s.o.Profile
	return map[string]any{"object": "list", "data": []any{map[string]any{
		"id": p.Model(), "object": "model", "created": s.origin.Unix(), "owned_by": serverName,
		"meta": map[string]any{"n_ctx": p.Context, "n_ctx_train": p.Context, "simulated": true},
	}}}
}

// Props is the answer of GET /props.
type Props struct {
	Simulated   bool   `json:"simulated"` // always true; what tells a simulator from a server
	BuildInfo   string `json:"build_info"`
	Profile     string `json:"profile"`
	Title       string `json:"title"`
	Model       string `json:"model"`
	Traps       string `json:"traps"`
	Slots       int    `json:"total_slots"`
	Context     int    `json:"n_ctx"`
	CacheBlock  int    `json:"cache_block"`
	Template    int    `json:"template_tokens"`   // before the first message's text
	CountsUsage bool   `json:"accepts_usage"`     // stream_options is accepted
	Tokenizes   bool   `json:"tokenize_endpoint"` // POST /tokenize is there
}

func (s *Server) props() Props {
	p, t := s.o.Profile, s.traps.Load()
	slots := p.Slots
	if t.slots > 0 {
		slots = t.slots
	}
	return Props{
		Simulated: true, BuildInfo: serverName + " timetable/1", Profile: p.Name, Title: p.Title, Model: p.Model(), Traps: t.String(), Slots: slots,
		Context: p.Context, CacheBlock: s.table.cache.block, Template: TemplateTokens, CountsUsage: !t.refuseUsage, Tokenizes: !t.noTokenize,
	}
}

func (s *Server) metrics() string {
	c, a := s.CacheStats(), s.Activity()
	var b strings.Builder
	for _, m := range []struct {
		name, kind string
		v          int64
	}{
		{"prefix_cache_queries_total", "counter", c.QueriedTokens}, {"prefix_cache_hits_total", "counter", c.HitTokens},
		{"num_requests_running", "gauge", int64(a.Running)}, {"num_requests_waiting", "gauge", int64(a.Waiting)},
		{"requests_total", "counter", s.tally.requests.Load()}, {"prompt_tokens_total", "counter", s.tally.prompt.Load()},
		{"generation_tokens_total", "counter", s.tally.output.Load()},
	} {
		fmt.Fprintf(&b, "# TYPE sim:%s %s\nsim:%s{model_name=%q} %d\n", m.name, m.kind, m.name, s.o.Profile.Model(), m.v)
	}
	return b.String()
}

func (s *Server) tokenize(r *request, path string) (int, any) {
	t := s.traps.Load()
	if t.noTokenize {
		return refuse(http.StatusNotFound, "no such endpoint: "+path, "not_found_error")
	}
	var in struct {
		Content  *string           `json:"content"`
		Messages []message         `json:"messages"`
		Tools    []json.RawMessage `json:"tools"`
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		return refuse(http.StatusBadRequest, "body is not what this endpoint takes: "+err.Error(), "invalid_request_error")
	}
	if path == "/tokenize" && in.Content != nil {
		return http.StatusOK, tokenized(Tokenize(*in.Content), t)
	}
	segs, err := render(in.Messages, in.Tools)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error(), "invalid_request_error")
	}
	if path == "/apply-template" {
		return http.StatusOK, map[string]string{"prompt": plain(segs)}
	}
	return http.StatusOK, tokenized(tokens(segs), t)
}

func tokenized(ids []int32, t *Traps) any {
	ids = ids[:len(ids)-int(float64(len(ids))*t.tokenizeDrift/100)]
	return map[string]any{"tokens": ids, "count": len(ids)}
}
