package engine

import (
	"fmt"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/internal/suite"
)

// What a pass may take beyond what its suite says that it needs: other tokenizers make more of the same text, and templates
// add to it.
const (
	allowanceTimes = 4
	allowanceMore  = 4096 // tokens
	reusedWeighs   = 10   // a token that a cache can serve counts a tenth, which is about what services take for it
	maxHeld        = 128 << 20
)

// allowance is what is left of what one pass of a row may ask for. A suite says how many tokens a pass needs, that is shown
// before money is spent, and here it is held to it, whatever its program does and whichever backend is asked.
type allowance struct {
	need  suite.Need
	taken int             // tokens
	held  int             // bytes of prompts that are kept until the pass ends
	sent  map[int]bool    // prompts that were streamed, by ID
	seen  map[string]bool // shared parts that were streamed, by name
}

// hold counts the text of one more prompt.
func (a *allowance) hold(bytes int) error {
	if a.held += bytes; a.held > maxHeld {
		return fmt.Errorf("the prompts of this pass hold more than %d MiB of text", maxHeld>>20)
	}
	return nil
}

// sending is a prompt that is about to be streamed.
type sending struct {
	id     int
	spec   builtins.PromptSpec
	tokens int // of the prompt
	parent int // tokens of the prompt that it extends
}

// take counts a release of prompts, with answers of so many tokens each.
func (a *allowance) take(ps []sending, output int) error {
	if a.sent == nil {
		a.sent, a.seen = map[int]bool{}, map[string]bool{}
	}
	for _, p := range ps {
		reused := 0
		switch {
		case a.sent[p.id] && !p.spec.Cold:
			reused = p.tokens
		case a.sent[p.spec.Extends]:
			reused = min(p.parent, p.tokens)
		}
		for _, part := range p.spec.Parts {
			if part.Shared != "" && a.seen[part.Shared] {
				reused = min(reused+part.Tokens, p.tokens)
			}
			a.seen[part.Shared] = true
		}
		a.sent[p.id] = true
		a.taken += p.tokens - reused + reused/reusedWeighs + output
	}
	most := allowanceTimes*(a.need.Prompt+a.need.Output*max(a.need.Parallel, 1)) + allowanceMore
	if a.taken > most {
		return fmt.Errorf("a pass has asked for %d tokens; the suite says that it needs prompt: %d and output: %d, which allows %d at most", a.taken, a.need.Prompt, a.need.Output, most)
	}
	return nil
}
