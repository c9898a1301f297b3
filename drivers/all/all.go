// Package all is the explicit list of the drivers that llm-speed carries. It adds nothing to them.
package all

import (
	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/llamacpp"
	"github.com/llm-speed/llm-speed/drivers/openaicompat"
	"github.com/llm-speed/llm-speed/drivers/sim"
)

// Registry lists the drivers in the order in which bench looks for a backend.
func Registry() (*drivers.Registry, error) {
	return drivers.NewRegistry(llamacpp.Spec(), openaicompat.Spec(), sim.Spec())
}
