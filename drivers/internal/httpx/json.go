package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
)

// maxAnswer bounds the answer of a plain call.
const maxAnswer = 64 << 20

// patience is how long a plain call may take where its caller sets no earlier deadline: a question 10 s; a call with a body
// 30 s and another second for each 32 KiB of it.
func patience(method string, body int) time.Duration {
	if method == http.MethodGet {
		return 10 * time.Second
	}
	return 30*time.Second + time.Duration(body)*time.Second/(32<<10)
}

// JSON makes a plain call outside any timed interval. in is encoded as the body unless nil; the answer is decoded into out
// unless nil. A status of 400 or more is a *drivers.APIError; a server that does not answer in time is drivers.ErrTimeout.
// The response header is given in either case. Every call is taken for one that may be repeated: where a kept connection
// turns out to be closed, net/http sends it again on another.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	h, err := c.call(ctx, method, path, in, out)
	return h, c.Redact(err)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body io.Reader
	size := 0
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body, size = bytes.NewReader(b), len(b)
	}
	began := time.Now()
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, patience(method, size))
	defer cancel()
	late := func() error {
		return fmt.Errorf("%w: %s %s: no answer within %s", drivers.ErrTimeout, method, path, time.Since(began).Round(100*time.Millisecond))
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	for k, v := range c.header {
		req.Header[k] = v
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header["Idempotency-Key"] = []string{} // tells net/http alone that it may be sent again; nothing is sent for it
	resp, err := c.plain.Do(req)
	if err != nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return nil, late()
		case callers.Err() != nil:
			return nil, context.Cause(callers)
		}
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnreachable, tidy(err))
	}
	defer resp.Body.Close()
	c.noteServer(resp.Header)
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return resp.Header, late()
	case err != nil:
		return resp.Header, fmt.Errorf("%w: %s %s: %w", drivers.ErrReset, method, path, tidy(err))
	}
	if len(b) > maxAnswer {
		return resp.Header, fmt.Errorf("%w: %s answers more than %d MiB", drivers.ErrProtocol, path, maxAnswer>>20)
	}
	if resp.StatusCode >= 400 {
		return resp.Header, StatusError(resp.StatusCode, b, resp.Header.Get("Retry-After"))
	}
	if out == nil {
		return resp.Header, nil
	}
	if s, ok := out.(*string); ok {
		*s = string(b)
		return resp.Header, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return resp.Header, fmt.Errorf("%w: %s %s: %w", drivers.ErrProtocol, method, path, oddJSONError{err})
	}
	return resp.Header, nil
}

// oddJSONError is what is wrong with an answer's JSON, said without the names of our own types.
type oddJSONError struct{ err error }

func (o oddJSONError) Unwrap() error { return o.err }

// Error says what was found, and in which field.
func (o oddJSONError) Error() string {
	var t *json.UnmarshalTypeError
	switch {
	case !errors.As(o.err, &t):
		return o.err.Error()
	case t.Field == "":
		return t.Value + " where something else was expected"
	}
	return fmt.Sprintf("field %q holds %s, which was not expected there", t.Field, t.Value)
}

// StatusError makes the error of an HTTP error answer.
func StatusError(status int, body []byte, retryAfter string) error {
	m := ErrorText(body)
	return &drivers.APIError{Kind: drivers.KindOfStatus(status, m), Status: status, Message: m, RetryAfter: RetryAfter(retryAfter, time.Now())}
}

// ErrorText finds the words in an error body: {"error":{"message":…}}, {"error":"…"}, {"message":…}, {"detail":…}, else the
// body itself. Control characters become spaces; at most 500 bytes are kept.
func ErrorText(body []byte) string {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	text := string(body)
	if json.Unmarshal(body, &e) == nil {
		var inner struct {
			Message string `json:"message"`
			Type    string `json:"type"`
		}
		var plain string
		switch {
		case json.Unmarshal(e.Error, &inner) == nil && inner.Message != "":
			text = inner.Message
			if inner.Type != "" {
				text += " [" + inner.Type + "]"
			}
		case json.Unmarshal(e.Error, &plain) == nil && plain != "":
			text = plain
		case e.Message != "":
			text = e.Message
		case len(e.Detail) > 0:
			text = strings.Trim(string(e.Detail), `"`)
		}
	}
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)), " ")
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}
