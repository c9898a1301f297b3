package all

import (
	"github.com/llm-speed/llm-speed/drivers/anthropic"
	"github.com/llm-speed/llm-speed/drivers/exllama"
	"github.com/llm-speed/llm-speed/drivers/hosted"
	"github.com/llm-speed/llm-speed/drivers/internal/openai"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/drivers/lmstudio"
	"github.com/llm-speed/llm-speed/drivers/mlx"
	"github.com/llm-speed/llm-speed/drivers/ollama"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	"github.com/llm-speed/llm-speed/drivers/sglang"
	"github.com/llm-speed/llm-speed/drivers/sim"
	"github.com/llm-speed/llm-speed/drivers/tabbyapi"
	"github.com/llm-speed/llm-speed/drivers/trtllm"
	"github.com/llm-speed/llm-speed/drivers/vllm"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Decoder is the Decode of the sessions of a backend without a session, for recordings of an earlier run. It is pure; nil
// where no driver has the name.
func Decoder(backend string) func(stream.Recording) (stream.Transcript, error) {
	for _, spec := range hosted.Specs() {
		if spec.Name == backend {
			return hosted.Decode
		}
	}
	switch backend {
	case anthropic.Spec().Name:
		return anthropic.Decode
	case llamacpp.Spec().Name:
		return llamacpp.Decode
	case lmstudio.Spec().Name:
		return lmstudio.Decode
	case ollama.Spec().Name:
		return ollama.Decode
	case sglang.Spec().Name:
		return sglang.Decode
	case tabbyapi.Spec().Name:
		return tabbyapi.Decode
	case trtllm.Spec().Name:
		return trtllm.Decode
	case vllm.Spec().Name:
		return vllm.Decode
	case openaicompat.Spec().Name:
		return openaicompat.Decode
	case sim.Spec().Name:
		return openai.Decode
	}
	switch backend {
	case mlx.Spec().Name, exllama.Spec3().Name, exllama.Spec2().Name:
		return func(rec stream.Recording) (stream.Transcript, error) {
			if rec.Protocol == pyhelper.RecordingProtocol {
				return pyhelper.Decode(rec)
			}
			return openaicompat.Decode(rec) // mlx_lm.server, whose sessions decode in the same way
		}
	}
	return nil
}
