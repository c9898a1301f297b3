package weights

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// quantInName finds quantisations as file names and references write them: Q4_K_M, IQ3_XXS, TQ1_0, BF16, MXFP4.
var quantInName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(I?Q[1-8]_(?:K(?:_(?:S|M|L|XS|XL|XXL))?|[01]|NL|XXS|XS|S|M|L)|TQ[12]_0|BF16|F16|FP16|F32|FP32|MXFP4|NVFP4)(?:_MOE)?(?:$|[^a-z0-9_])`)

// familyInName finds the methods of other formats.
var familyInName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(AWQ|GPTQ|EXL2|EXL3|FP8|MLX)(?:$|[^a-z0-9])`)

// Mismatch compares what a model is called (a file name or a reference) with what its header says, and gives a warning in
// words; "" where they agree or one of them does not tell.
func Mismatch(name string, info Info) string {
	name = filepath.Base(name)
	if info.Format == FormatSafetensors {
		m := familyInName.FindStringSubmatch(name)
		if m == nil || info.Quant == "" || strings.HasPrefix(strings.ToUpper(info.Quant), strings.ToUpper(m[1])) {
			return ""
		}
		// MLX is also a name of the converted plain weights, FP8 one of several recipes.
		if low := strings.ToUpper(m[1]); low == "MLX" || low == "FP8" && strings.Contains(strings.ToUpper(info.Quant), "FP8") {
			return ""
		}
		return fmt.Sprintf("the name says %s, the configuration %s", strings.ToUpper(m[1]), info.Quant)
	}
	claimed := claimedQuant(name)
	if claimed != "" && info.Quant != "" && !sameQuant(claimed, canonical(info.Quant)) {
		return fmt.Sprintf("the name says %s, the header %s", claimed, info.Quant)
	}
	// Names and headers are written by hand or copied; the tensors' sizes are not.
	for _, c := range []struct{ who, quant string }{{"name", claimed}, {"header", canonical(info.Quant)}} {
		least, most := bitsRange(c.quant)
		if b := info.BitsPerWeight(); least > 0 && b > 0 && info.Parameters > 1e8 && (b < least || b > most) {
			return fmt.Sprintf("the %s says %s, but the tensors take %.1f bits a weight", c.who, c.quant, b)
		}
	}
	return ""
}

// claimedQuant is the last quantisation in a name.
func claimedQuant(name string) string {
	last := ""
	for at := 0; at < len(name); {
		m := quantInName.FindStringSubmatchIndex(name[at:])
		if m == nil {
			break
		}
		last = name[at+m[2] : at+m[3]]
		at += m[3] // the sign behind one may be the sign before the next
	}
	return canonical(last)
}

func canonical(quant string) string {
	q := strings.ToUpper(quant)
	switch q {
	case "FP16":
		return "F16"
	case "FP32":
		return "F32"
	}
	return q
}

// sizes are the letters that tell mixes of one K-quantisation apart.
var sizes = regexp.MustCompile(`^(.*_K)_(S|M|L|XS|XL|XXL)$`)

// sameQuant: makers call their own mixes Q4_K_L or Q4_K_XL, whose headers say Q4_K_M; only S and M are told apart for sure.
func sameQuant(a, b string) bool {
	base := func(q string) (string, string) {
		if m := sizes.FindStringSubmatch(q); m != nil {
			return m[1], m[2]
		}
		return q, ""
	}
	aBase, aSize := base(a)
	bBase, bSize := base(b)
	sure := func(s string) bool { return s == "S" || s == "M" }
	return aBase == bBase && (aSize == bSize || !sure(aSize) || !sure(bSize))
}

// bitsRange is what a weight of a quantisation can take; 0 where that is not known. The upper end is wide: small models have
// much in embeddings, which are stored finer.
func bitsRange(quant string) (least, most float64) {
	switch {
	case quant == "F32":
		return 31, 34
	case quant == "F16", quant == "BF16":
		return 15, 24
	}
	if m := regexp.MustCompile(`^I?Q([1-8])_`).FindStringSubmatch(quant); m != nil {
		n := float64(m[1][0] - '0')
		return n - 0.3, n + 3.5
	}
	return 0, 0
}
