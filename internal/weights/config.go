package weights

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// modelConfig is what of a config.json matters here. Models that see or hear have that of their text part inside.
type modelConfig struct {
	Architectures []string     `json:"architectures"`
	ModelType     string       `json:"model_type"`
	Layers        whole        `json:"num_hidden_layers"`
	Context       whole        `json:"max_position_embeddings"`
	LocalExperts  whole        `json:"num_local_experts"`
	Experts       whole        `json:"num_experts"`
	Routed        whole        `json:"n_routed_experts"`
	Used          whole        `json:"num_experts_per_tok"`
	Text          *modelConfig `json:"text_config"`
	Quantization  *quantConfig `json:"quantization_config"`
	MLX           *quantConfig `json:"quantization"`
}

// whole is a count; what is none reads as 0, since such fields hold odd things in odd models.
type whole int

// UnmarshalJSON never fails.
func (w *whole) UnmarshalJSON(b []byte) error {
	*w = 0
	if n, err := strconv.ParseInt(string(b), 10, 32); err == nil && n > 0 {
		*w = whole(n)
	}
	return nil
}

// quantConfig is how a model was quantised, in the words of many tools.
type quantConfig struct {
	Method string          `json:"quant_method"`
	Bits   json.RawMessage `json:"bits"` // EXL2 and EXL3 have parts of bits
	Format string          `json:"format"`
	In4    bool            `json:"load_in_4bit"`
	In8    bool            `json:"load_in_8bit"`
	Kind4  string          `json:"bnb_4bit_quant_type"`
	Algo   string          `json:"quant_algo"`
	Mode   string          `json:"mode"` // of MLX
	// Dynamic are GPTQ's exceptions for some layers; MLX has them beside the rest, under the layers' names.
	Dynamic map[string]json.RawMessage `json:"dynamic"`
	mixed   bool                       // there are such exceptions, so that no one number says what a weight takes
	Groups  map[string]struct {
		Weights *struct {
			Bits json.RawMessage `json:"num_bits"`
			Type string          `json:"type"`
		} `json:"weights"`
		Inputs *struct {
			Bits json.RawMessage `json:"num_bits"`
		} `json:"input_activations"`
	} `json:"config_groups"`
}

// UnmarshalJSON also looks whether some layers are quantised in another way than the rest.
func (q *quantConfig) UnmarshalJSON(b []byte) error {
	type plain quantConfig
	var odd *json.UnmarshalTypeError
	if err := json.Unmarshal(b, (*plain)(q)); err != nil && !errors.As(err, &odd) {
		return err
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(b, &fields) // what is no object has no fields
	q.mixed = len(q.Dynamic) > 0
	for name, v := range fields {
		if strings.Contains(name, ".") && len(v) > 0 && v[0] == '{' {
			q.mixed = true
		}
	}
	return nil
}

// merge reads a config.json, or an hf_quant_config.json, which holds a quantisation that the first does not name.
func (c *modelConfig) merge(b []byte) error {
	had := *c
	// A field of another type than expected is as good as absent; the others are read all the same.
	var odd *json.UnmarshalTypeError
	if err := json.Unmarshal(trimBOM(b), c); err != nil && !errors.As(err, &odd) {
		*c = had
		return fmt.Errorf("%w: the configuration is not understood: %w", ErrNotSafetensors, err)
	}
	// "quantization" is MLX's word in the one file and ModelOpt's in the other.
	if c.MLX != nil && c.MLX.Algo != "" {
		if c.Quantization == nil {
			c.Quantization = &quantConfig{Method: "modelopt", Algo: c.MLX.Algo}
		}
		c.MLX = had.MLX
	}
	return nil
}

// describe enters what the configuration says.
func (c *modelConfig) describe(info *Info) {
	text := c
	if c.Text != nil && c.Layers == 0 {
		text = c.Text
	}
	info.Architecture = cmp.Or(c.ModelType, text.ModelType)
	if info.Architecture == "" && len(c.Architectures) > 0 {
		info.Architecture = c.Architectures[0]
	}
	info.Layers, info.Context = int(text.Layers), int(text.Context)
	info.Experts = int(cmp.Or(text.LocalExperts, text.Experts, text.Routed))
	info.ExpertsUsed = int(text.Used)
	info.Quant = c.quant()
}

// quantization is the one that holds.
func (c *modelConfig) quantization() (q *quantConfig, mlx bool) {
	// MLX writes its own word, and beside it a quantization_config that is a copy without a method.
	if c.MLX != nil {
		return c.MLX, true
	}
	if c.Quantization == nil && c.Text != nil {
		return c.Text.Quantization, false
	}
	return c.Quantization, false
}

// quant is the usual name of the quantisation; "" where the model has none.
func (c *modelConfig) quant() string {
	q, mlx := c.quantization()
	if q == nil {
		return ""
	}
	width := ""
	if n := bitsOf(q.Bits); n > 0 {
		width = strconv.FormatFloat(n, 'f', -1, 64)
	}
	if mlx {
		mode := ""
		if q.Mode != "" && q.Mode != "affine" {
			mode = "-" + strings.ToLower(q.Mode)
		}
		if width == "" {
			return "MLX" + mode
		}
		return "MLX-" + width + "bit" + mode
	}
	method := strings.ToLower(q.Method)
	with := func(name string) string {
		if width == "" {
			return name
		}
		return name + "-INT" + width
	}
	switch method {
	case "awq", "gptq", "hqq", "aqlm", "quip":
		return with(strings.ToUpper(method))
	case "auto-round", "auto_round", "intel/auto-round":
		return with("AutoRound")
	case "exl2", "exl3":
		if width == "" {
			return strings.ToUpper(method)
		}
		return strings.ToUpper(method) + "-" + width + "bpw"
	case "fp8", "fbgemm_fp8":
		return "FP8"
	case "mxfp4":
		return "MXFP4"
	case "bitsandbytes":
		switch {
		case q.In4:
			return "BNB-" + strings.ToUpper(cmp.Or(q.Kind4, "FP4"))
		case q.In8:
			return "BNB-INT8"
		}
		return "BNB"
	case "modelopt":
		return cmp.Or(strings.ToUpper(q.Algo), "ModelOpt")
	case "compressed-tensors":
		return q.compressed()
	}
	return with(cmp.Or(q.Method, "quantised"))
}

// compressed names the schemes of compressed-tensors as its models are named: by the bits of weights and activations.
func (q *quantConfig) compressed() string {
	weight, input, kind := 0.0, 0.0, ""
	for _, g := range q.Groups {
		if g.Weights == nil {
			continue
		}
		if n := bitsOf(g.Weights.Bits); n > 0 && (weight == 0 || n < weight) { // the fewest of several
			weight, kind, input = n, g.Weights.Type, 16
			if g.Inputs != nil {
				input = cmp.Or(bitsOf(g.Inputs.Bits), 16)
			}
		}
	}
	switch {
	case weight == 0:
		return "compressed-tensors"
	case strings.HasPrefix(q.Format, "nvfp4"):
		return "NVFP4"
	case strings.HasPrefix(q.Format, "mxfp4"):
		return "MXFP4"
	case kind == "float" && weight == 8:
		return "FP8"
	case kind == "float" && weight == 4:
		return "FP4"
	}
	return fmt.Sprintf("W%gA%g", weight, input)
}

// packedBits is what a weight takes in the integer tensors that hold the model; 0 where one number does not say it.
func (c *modelConfig) packedBits() float64 {
	q, mlx := c.quantization()
	if q == nil || q.mixed {
		return 0
	}
	n := bitsOf(q.Bits)
	switch method := strings.ToLower(q.Method); {
	case mlx, method == "awq", method == "gptq":
		if n == math.Trunc(n) {
			return n
		}
	case method == "mxfp4", method == "bitsandbytes" && q.In4:
		return 4
	case method == "bitsandbytes" && q.In8:
		return 8
	case method == "modelopt" && strings.EqualFold(q.Algo, "NVFP4"):
		return 4
	case method == "compressed-tensors":
		one := 0.0
		for _, g := range q.Groups {
			if g.Weights == nil || one != 0 && bitsOf(g.Weights.Bits) != one {
				return 0
			}
			one = bitsOf(g.Weights.Bits)
		}
		return one
	}
	return 0
}

func bitsOf(raw json.RawMessage) float64 {
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(n > 0) || n > 64 {
		return 0
	}
	return n
}
