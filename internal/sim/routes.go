package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// route answers one request; false means that the connection can't be used any more.
func (s *Server) route(c *conn, r *request) bool {
	path, within := s.dialect.path(r.URL.Path)
	var generates *endpoint
	var plain *plainRoute
	if within && r.Method == http.MethodPost {
		generates = s.dialect.endpoint(path)
	}
	if within {
		plain = s.dialect.plain(r.Method, path)
	}
	out, controls := s.control(r)
	switch {
	case controls:
	case generates == nil && plain == nil:
		out = nothing(r.Method, path)
	case s.dialect.refuseKey(r) != nil:
		out = s.dialect.refuseKey(r)
	case generates != nil:
		return s.complete(c, r, generates)
	default:
		out = plain.answer(r)
	}
	b, err := s.write(out)
	if err != nil {
		return false
	}
	_, err = c.Write(b)
	return err == nil
}

// write makes a whole response of what a route answered.
func (s *Server) write(out any) ([]byte, error) {
	status, kind := http.StatusOK, "application/json"
	if no, ok := out.(*refusal); ok {
		out = reply{status: no.status, body: json.RawMessage(s.dialect.refusal(no))}
	}
	r, ok := out.(reply)
	if !ok {
		r.body = out
	}
	if r.status != 0 {
		status = r.status
	}
	var body []byte
	var err error
	if r.kind != "" {
		kind, body = r.kind, []byte(r.text)
	} else if body, err = json.Marshal(r.body); err != nil {
		return nil, err
	}
	extra := ""
	if s.dialect.headers != nil {
		extra = s.dialect.headers(s.ids.Load())
	}
	return s.answer(status, kind, body, extra), nil
}

// nothing is the answer where there is no such path.
func nothing(method, path string) *refusal {
	return refuse(http.StatusNotFound, fmt.Sprintf("no such endpoint: %s %s", method, path), "not_found_error", http.StatusNotFound)
}

// control answers what steers the simulator itself, in every dialect.
func (s *Server) control(r *request) (any, bool) {
	path := strings.TrimRight(r.URL.Path, "/")
	if !strings.HasPrefix(path, "/sim/") {
		return nil, false
	}
	switch r.Method + " " + path {
	case "GET /sim/log":
		return s.Log(), true
	case "DELETE /sim/log":
		s.ClearLog()
		return struct{}{}, true
	case "GET /sim/cache":
		return s.CacheStats(), true
	case "DELETE /sim/cache":
		s.FlushCache()
		return struct{}{}, true
	case "GET /sim/activity":
		return s.Activity(), true
	case "PUT /sim/traps":
		t, err := ParseTraps(strings.TrimSpace(string(r.body)))
		if err != nil {
			return refused(err), true
		}
		s.SetTraps(t)
		return map[string]string{"traps": t.String()}, true
	}
	return nothing(r.Method, path), true
}

// slots is the number of streams at once.
func (s *Server) slots() int {
	if n := s.traps.Load().slots; n > 0 {
		return n
	}
	return s.o.Profile.Slots
}

// tokenizes refuses to tokenise under the trap no-tokenize; nil otherwise.
func (s *Server) tokenizes(path string) *refusal {
	if s.traps.Load().noTokenize {
		return nothing(http.MethodPost, path)
	}
	return nil
}

// drifted takes off token ids what the trap tokenize-drift takes.
func (s *Server) drifted(ids []int32) []int32 {
	return ids[:len(ids)-int(float64(len(ids))*s.traps.Load().tokenizeDrift/100)]
}
