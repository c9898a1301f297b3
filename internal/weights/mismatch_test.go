package weights

import (
	"strings"
	"testing"
)

func TestMismatch(t *testing.T) {
	gguf := func(quant string, parameters, size int64) Info {
		return Info{Format: FormatGGUF, Quant: quant, Parameters: parameters, SizeBytes: size}
	}
	st := func(quant string) Info {
		return Info{Format: FormatSafetensors, Quant: quant, Parameters: 8e9, SizeBytes: 5e9}
	}
	eight := gguf("Q4_K_M", 8.19e9, 5.03e9)
	for _, c := range []struct {
		name string
		info Info
		want string // part of the warning; "" is none
	}{
		{"Qwen3-8B-Q4_K_M.gguf", eight, ""},
		{"/models/deep/Qwen3-8B-Q4_K_M.gguf", eight, ""},
		{"/models/Qwen3-32B-AWQ/", st("AWQ-INT4"), "says 32B"},
		{`C:\models\70B\Qwen3-8B-q4_k_m.gguf`, eight, ""},
		{"qwen3:8b-q4_K_M", eight, ""},
		{"hf.co/unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL", eight, ""}, // a maker's own mix
		{"qwen3", eight, ""},
		{"Qwen3-8B-UD-Q8_K_XL.gguf", gguf("Q8_0", 8.19e9, 10.8e9), ""},
		{"Qwen3-8B-Q8_K_XL.gguf", gguf("Q8_0", 8.19e9, 10.8e9), ""},
		{"Qwen3-8B-UD-Q4_K_XL.gguf", gguf("Q4_0", 8.19e9, 5e9), ""},
		{"Qwen3-8B-UD-Q2_K_XL.gguf", eight, "says Q2_K_XL, the header Q4_K_M"},
		{"Qwen3-8B-Q6_K_L.gguf", gguf("Q6_K", 8.19e9, 7e9), ""},
		{"", eight, ""},
		{"Qwen3-8B-Q8_0.gguf", eight, "says Q8_0, the header Q4_K_M"},
		{"Qwen3-8B-Q4_K_S.gguf", eight, "says Q4_K_S"},
		{"Qwen3-8B-F16-to-Q4_K_M", eight, ""}, // the last one counts
		{"Qwen3-32B-Q4_K_M.gguf", eight, "says 32B, the header counts 8.19 billion"},
		{"Qwen3-0.6B-Q4_K_M.gguf", eight, "says 0.6B"},
		{"DeepSeek-R1-0528-Qwen3-8B-Q4_K_M", eight, ""},
		{"from-70B-to-8B", eight, ""},
		{"Qwen3-30B-A3B-Q4_K_M", gguf("Q4_K_M", 30.5e9, 18.6e9), ""},
		{"gemma-3n-E4B-it-Q4_K_M", gguf("Q4_K_M", 6.87e9, 4.2e9), ""},
		{"Mixtral-8x7B-Q4_K_M", gguf("Q4_K_M", 46.7e9, 26.4e9), ""},
		{"Mixtral-8x7B-Q4_K_M", gguf("Q4_K_M", 7.2e9, 4.3e9), "says 8X7B"},
		{"gemma-3-270m-Q8_0", gguf("Q8_0", 268e6, 290e6), ""},
		{"gpt-oss-20b-MXFP4", gguf("MXFP4", 20.9e9, 12.1e9), ""},
		{"gpt-oss-20b-F16.gguf", gguf("MXFP4_MOE", 20.9e9, 13.8e9), ""}, // F16 is what is not an expert
		{"gpt-oss-20b-Q8_0", gguf("MXFP4_MOE", 20.9e9, 12.1e9), ""},
		{"gpt-oss-20b-UD-Q4_K_XL", gguf("MXFP4_MOE", 20.9e9, 11.9e9), ""},
		{"gpt-oss-20b-mxfp4_moe", gguf("MXFP4_MOE", 20.9e9, 12.1e9), ""},
		{"gpt-oss-120b-F16", gguf("MXFP4_MOE", 20.9e9, 13.8e9), "says 120B"},
		{"gpt-oss-20b-MXFP4", gguf("Q8_0", 20.9e9, 22.2e9), "says MXFP4, the header Q8_0"},
		{"model-IQ3_XXS", gguf("IQ3_XXS", 8e9, 3.3e9), ""},
		{"model-IQ3_XXS", gguf("IQ3_S", 8e9, 3.5e9), "says IQ3_XXS"},
		// The header was copied from another file: the tensors can't be what it says.
		{"model", gguf("Q4_K_M", 8e9, 16e9), "but the tensors take 16.0 bits a weight"},
		{"model-F16", gguf("F16", 8e9, 5e9), "take 5.0 bits"},
		{"model-F16", gguf("F16", 144704, 305888), ""}, // too small to tell
		{"Qwen3-8B-AWQ", st("AWQ-INT4"), ""},
		{"Qwen3-8B-AWQ", st("GPTQ-INT4"), "says AWQ, the configuration GPTQ-INT4"},
		{"Qwen3-8B-AWQ-4bit", st("W4A16"), ""}, // the method, in another format
		{"Qwen3-8B-AWQ", st("MLX-4bit"), ""},
		{"Qwen3-8B-MLX-4bit", st("MLX-4bit"), ""},
		{"Qwen3-8B-mlx", st("BF16"), ""},
		{"Qwen3-70B-AWQ", st("AWQ-INT4"), "says 70B"},
		{"Qwen3-8B-exl2", st("EXL3-4bpw"), "says EXL2"},
		{"Qwen3-8B-FP8-dynamic", st("FP8"), ""},
		{"Qwen3-8B-AWQ", st(""), ""},
		{"1e400b 99999999999999999999B 8b8b8b", eight, ""},
	} {
		got := Mismatch(c.name, c.info)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: got %q, want %q", c.name, c.info.Quant, got, c.want)
		}
		if strings.Contains(got, "models") {
			t.Errorf("a folder stands in %q", got)
		}
	}
}

func FuzzMismatch(f *testing.F) {
	f.Add("Qwen3-30B-A3B-Q4_K_M.gguf", "Q4_K_M", int64(30e9), int64(18e9))
	f.Add("8x7B 8b", "", int64(1), int64(0))
	f.Fuzz(func(_ *testing.T, name, quant string, parameters, size int64) {
		Mismatch(name, Info{Format: FormatGGUF, Quant: quant, Parameters: parameters, SizeBytes: size})
		Mismatch(name, Info{Format: FormatSafetensors, Quant: quant, Parameters: parameters, SizeBytes: size})
	})
}
