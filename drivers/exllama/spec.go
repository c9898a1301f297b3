// Package exllama is the driver of exllamav2 and of exllamav3: two backends with one helper in Python, on the dynamic generator
// of each.
//
// A helper process loads the model on the GPU and runs streams as jobs of the generator. The package never fetches a model,
// never installs or imports a package to look whether it is there, and does not talk to TabbyAPI, which is another driver's.
package exllama

import (
	_ "embed" // the helper's script

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/pyhelper"
)

//go:embed llm_speed_exllama.py
var script string

// flavor is one of the two backends.
type flavor struct {
	name   string // in --backend, of its Python package, and of its script's hello
	title  string
	method string // quant_method of its models' configuration
	quant  string // for people
}

func v2() flavor {
	return flavor{"exllamav2", "ExLlamaV2", "exl2", "EXL2"}
}

func v3() flavor {
	return flavor{"exllamav3", "ExLlamaV3", "exl3", "EXL3"}
}

// optPython is the option beside model that both have.
const optPython = "python"

// Spec2 describes the driver of exllamav2.
func Spec2() drivers.Spec { return v2().spec() }

// Spec3 describes the driver of exllamav3.
func Spec3() drivers.Spec { return v3().spec() }

func (f flavor) spec() drivers.Spec {
	return drivers.Spec{
		Name:    f.name,
		Title:   f.title,
		Doc:     f.title + "'s dynamic generator, in a helper process of llm-speed's own, for " + f.quant + " models on CUDA or ROCm.",
		Kind:    drivers.Local,
		Options: []drivers.Option{pyhelper.PythonOption()},
		Looked:  f.name + " and torch in the Python of --opt python, LLM_SPEED_PYTHON, VIRTUAL_ENV or PATH; " + f.quant + " models in Hugging Face's cache and ~/models",
		Start:   "pip install " + f.name,
		Able: drivers.Able{
			ExactLength:  drivers.Yes("stop_conditions=None"),
			TokenPrompts: drivers.Yes(""),
			Tokenizer:    drivers.Yes("the model's own"),
			Cached:       drivers.Yes("cached_tokens of the job's last result"),
			Cold:         drivers.Yes("reset_page_table() before a cold stream; pages are shared by content alone"),
			PerEvent:     drivers.Yes("token_ids of each result"),
			Timing:       drivers.Yes("the helper's own stamps"),
			CacheStats:   drivers.No(""),
			Activity:     drivers.No(""),
			Starts:       drivers.Yes("the helper, where " + f.name + " and torch can be imported"),
		},
		Limits: []string{
			"Text that the generator holds back until a character is whole comes with its tokens, so that one event can hold several.",
			"The generator draws no breath between tokens: writing the helper's line, some microseconds, is part of each token's time.",
		},
		Detect: f.detect,
		Open:   f.open,
	}
}
