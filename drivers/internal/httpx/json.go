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

// JSON makes a plain call outside any timed interval. in is encoded as the body unless nil; the answer is decoded into out
// unless nil. A status of 400 or more is a *drivers.APIError. The response header is given in either case.
func (c *Client) JSON(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
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
	resp, err := c.plain.Do(req)
	if err != nil {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("%w: %s %s", drivers.ErrTimeout, method, path)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", drivers.ErrUnreachable, tidy(err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return resp.Header, fmt.Errorf("%w: %s %s: %w", drivers.ErrReset, method, path, tidy(err))
	}
	if len(b) > maxAnswer {
		return resp.Header, fmt.Errorf("%w: %s answers more than %d MiB", drivers.ErrProtocol, path, maxAnswer>>20)
	}
	if resp.StatusCode >= 400 {
		return resp.Header, c.Redact(StatusError(resp.StatusCode, b, resp.Header.Get("Retry-After")))
	}
	if out == nil {
		return resp.Header, nil
	}
	if s, ok := out.(*string); ok {
		*s = string(b)
		return resp.Header, nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return resp.Header, fmt.Errorf("%w: %s %s: %w", drivers.ErrProtocol, method, path, err)
	}
	return resp.Header, nil
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
