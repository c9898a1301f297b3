package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/llm-speed/llm-speed/drivers"
)

// headRoom is how many tokens past the chat template are kept of each prompt.
const headRoom = 16

// heads are the first tokens of the prompts that a session has been sent. Salts are random, so that two of them may begin
// with the same token by chance; a server that keeps its cache then states one cached token more than the template has. What
// cold prompts share is known from here, and taken into account when a cold prompt is to be proved cold.
type heads struct {
	mu   sync.Mutex
	seen [][]int32
}

// headOf is the part of a prompt's tokens that is kept.
func (s *session) headOf(ids []int32) []int32 {
	return slices.Clone(ids[:min(len(ids), max(s.info.Template, 0)+headRoom)])
}

// shares is how many tokens a prompt's head has in common with one sent before.
func (h *heads) shares(head []int32) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := 0
	for _, old := range h.seen {
		most = max(most, commonPrefix(old, head))
	}
	return most
}

// remember keeps the head of a prompt that is being sent.
func (h *heads) remember(head []int32) {
	if len(head) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, head)
}

// headOfPrompt counts the tokens of a short prompt for its head; nil where the backend can't.
func (s *session) headOfPrompt(ctx context.Context, p drivers.Prompt) []int32 {
	if s.caps.Tokenizer == nil {
		return nil
	}
	ids, err := s.caps.Tokenizer.Tokenize(ctx, p)
	if err != nil {
		return nil
	}
	return s.headOf(ids)
}
