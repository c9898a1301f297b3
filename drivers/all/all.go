// Package all is the explicit list of the drivers that llm-speed carries. It adds nothing to them.
package all

import (
	"slices"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/anthropic"
	"github.com/llm-speed/llm-speed/drivers/exllama"
	"github.com/llm-speed/llm-speed/drivers/hosted"
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
)

// Registry lists the drivers in the order in which bench looks for a backend: those of this machine; the services that cost
// money, which claim their own hosts alone and are never chosen unasked; then any other server at a given URL, and the
// simulator, which is never chosen unasked either.
func Registry() (*drivers.Registry, error) {
	return drivers.NewRegistry(slices.Concat(
		[]drivers.Spec{
			llamacpp.Spec(), ollama.Spec(), vllm.Spec(), sglang.Spec(), trtllm.Spec(), lmstudio.Spec(), mlx.Spec(), tabbyapi.Spec(),
			exllama.Spec3(), exllama.Spec2(),
		},
		hosted.Specs(),
		[]drivers.Spec{anthropic.Spec(), openaicompat.Spec(), sim.Spec()},
	)...)
}
