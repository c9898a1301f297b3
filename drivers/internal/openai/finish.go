package openai

import "github.com/llm-speed/llm-speed/internal/stream"

// FinishReason puts a server's word for why a stream ended into the common vocabulary; words that it does not know stay.
func FinishReason(word string) string {
	switch word {
	case "length", "max_tokens", "limit", "max_new_tokens":
		return stream.FinishLength
	case "stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token":
		return stream.FinishStop
	case "tool_calls", "tool_use", "function_call":
		return stream.FinishTool
	}
	return word
}
