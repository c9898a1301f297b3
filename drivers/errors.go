package drivers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What can go wrong with a stream or a session, for errors.Is.
var (
	ErrUnreachable   = errors.New("server not reachable")
	ErrAuth          = errors.New("not authorised")
	ErrNotFound      = errors.New("not found")
	ErrModelNotFound = errors.New("model not found")
	ErrRateLimited   = errors.New("rate limited")
	ErrOverloaded    = errors.New("server overloaded or not ready")
	ErrNoCredit      = errors.New("no credit left at the service") // waiting does not help
	ErrServer        = errors.New("server error")
	ErrBadRequest    = errors.New("request refused")
	ErrContextLength = errors.New("context length exceeded")
	ErrTruncated     = errors.New("stream ended without its end mark")
	ErrReset         = errors.New("connection lost inside the stream")
	ErrTimeout       = errors.New("deadline passed")
	ErrProtocol      = errors.New("answer not understood")
	ErrServerDied    = errors.New("server process ended")
	ErrNoModel       = errors.New("no model")
	ErrUnsupported   = errors.ErrUnsupported
)

// APIError is an error that a server stated, by status or inside a stream.
type APIError struct {
	Kind       error         // one of the sentinels
	Status     int           // HTTP status; 200 for an error object inside a stream
	Message    string        // the server's words, at most 500 bytes
	RetryAfter time.Duration // 0 where not stated
}

// Error gives the kind, the status and the server's words.
func (e *APIError) Error() string {
	s := fmt.Sprintf("%v (HTTP %d)", e.Kind, e.Status)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(" (retry after %s)", e.RetryAfter)
	}
	return s
}

// Unwrap gives the sentinel.
func (e *APIError) Unwrap() error { return e.Kind }

// KindOfStatus maps an HTTP status and the server's words to a sentinel.
func KindOfStatus(status int, message string) error {
	low := strings.ToLower(message)
	switch {
	case strings.Contains(low, "exceed_context_size"), strings.Contains(low, "context_length"),
		strings.Contains(low, "context length"), strings.Contains(low, "context size"):
		return ErrContextLength
	case status == http.StatusPaymentRequired, status >= 400 && saysNoCredit(low):
		return ErrNoCredit
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrAuth
	case status == http.StatusNotFound && strings.Contains(low, "model"):
		return ErrModelNotFound
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusRequestEntityTooLarge:
		return ErrContextLength
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusServiceUnavailable, status == 529:
		return ErrOverloaded
	case status >= 500:
		return ErrServer
	case status >= 400:
		return ErrBadRequest
	}
	return ErrServer
}

// saysNoCredit finds the words of OpenAI (which refuses so with 429, as if waiting helped), DeepSeek and Anthropic.
func saysNoCredit(low string) bool {
	for _, words := range []string{"insufficient_quota", "exceeded your current quota", "insufficient balance", "credit balance is too low"} {
		if strings.Contains(low, words) {
			return true
		}
	}
	return false
}
