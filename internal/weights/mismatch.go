package weights

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// quantInName finds quantisations as file names and references write them: Q4_K_M, IQ3_XXS, TQ1_0, BF16, MXFP4.
var quantInName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(I?Q[1-8]_(?:K(?:_(?:S|M|L|XS|XL|XXL))?|[01]|NL|XXS|XS|S|M|L)|TQ[12]_0|BF16|F16|FP16|F32|FP32|MXFP4|NVFP4)(?:_MOE)?(?:$|[^a-z0-9_])`)

// familyInName finds the formats that exclude one another.
var familyInName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(AWQ|GPTQ|EXL2|EXL3)(?:$|[^a-z0-9])`)

// dynamicInName marks files whose maker chose a type for each tensor: the name's letters are the maker's own, its bits are not.
var dynamicInName = regexp.MustCompile(`(?i)(?:^|[-_.:])UD[-_]`)

// Mismatch compares what a model is called (a file name, a reference, a server's own word) with what its header says, and
// gives a warning in words; "" where they agree or one of them does not tell.
func Mismatch(name string, info Info) string {
	name = lastOf(name)
	if why := sizeMismatch(name, info); why != "" {
		return why
	}
	if info.Format == FormatSafetensors {
		return methodMismatch(name, info)
	}
	claimed := claimedQuant(name)
	// A model that was trained in MXFP4 keeps it: its files are named after the few tensors around the experts.
	if canonical(info.Quant) == "MXFP4" {
		return ""
	}
	same := sameQuant(claimed, canonical(info.Quant))
	if a, b := bitsInQuant.FindStringSubmatch(claimed), bitsInQuant.FindStringSubmatch(canonical(info.Quant)); dynamicInName.MatchString(name) && a != nil && b != nil {
		same = a[1] == b[1]
	}
	if claimed != "" && info.Quant != "" && !same {
		return fmt.Sprintf("the name %q says %s, the header %s", name, claimed, info.Quant)
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

// lastOf is the last part of a path or reference of either system.
func lastOf(name string) string {
	name = strings.TrimRight(name, `/\`)
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

// methodMismatch compares the formats that names and configurations of safetensors models state. AWQ and GPTQ are also ways
// of choosing weights, which other formats store (compressed-tensors, AutoRound, MLX): only two of these formats deny one
// another.
func methodMismatch(name string, info Info) string {
	claimed := familyInName.FindStringSubmatch(name)
	stated := familyInName.FindStringSubmatch(info.Quant)
	if claimed == nil || stated == nil || strings.EqualFold(claimed[1], stated[1]) {
		return ""
	}
	return fmt.Sprintf("the name %q says %s, the configuration %s", name, strings.ToUpper(claimed[1]), info.Quant)
}

// sizeInName finds parameter counts as names write them: 8B, 0.6b, 270M, 8x7B. What follows an A or E is another count: of
// the active parameters, or of the effective ones.
var sizeInName = regexp.MustCompile(`(?i)(?:^|[^a-z0-9.])(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([bm])(?:$|[^a-z0-9])`)

// sizeMismatch compares counts of parameters. Names round, leave embeddings out and count shared experts twice, so that only
// a factor of two and more is a contradiction; of several counts in a name one has to fit.
func sizeMismatch(name string, info Info) string {
	if info.Parameters <= 0 {
		return ""
	}
	claimed := ""
	for at := 0; at < len(name); {
		m := sizeInName.FindStringSubmatchIndex(name[at:])
		if m == nil {
			break
		}
		n, err := strconv.ParseFloat(name[at+m[4]:at+m[5]], 64)
		unit := 1e9
		if name[at+m[6]]|0x20 == 'm' {
			unit = 1e6
		}
		times := 1.0
		start := m[4]
		if m[2] >= 0 {
			start = m[2]
			times, _ = strconv.ParseFloat(name[at+m[2]:at+m[3]], 64)
		}
		if n *= unit * times; err == nil && n > 0 {
			if ratio := float64(info.Parameters) / n; ratio > 0.5 && ratio < 2 {
				return ""
			}
			claimed = name[at+start : at+m[7]]
		}
		at += m[7] // the sign behind one may be the sign before the next
	}
	if claimed == "" {
		return ""
	}
	return fmt.Sprintf("the name %q says %s, the header counts %.3g billion parameters", name, strings.ToUpper(claimed), float64(info.Parameters)/1e9)
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
	q := strings.TrimSuffix(strings.ToUpper(quant), "_MOE")
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
		m := sizes.FindStringSubmatch(q)
		if m == nil {
			return q, ""
		}
		if m[1] == "Q8_K" { // such files are Q8_0 with some tensors finer
			return "Q8_0", m[2]
		}
		return m[1], m[2]
	}
	aBase, aSize := base(a)
	bBase, bSize := base(b)
	sure := func(s string) bool { return s == "S" || s == "M" }
	return aBase == bBase && (aSize == bSize || !sure(aSize) || !sure(bSize))
}

var bitsInQuant = regexp.MustCompile(`^I?Q([1-8])_`)

// bitsRange is what a weight of a quantisation can take; 0 where that is not known. The upper end is wide: small models have
// much in embeddings, which are stored finer.
func bitsRange(quant string) (least, most float64) {
	switch {
	case quant == "F32":
		return 31, 34
	case quant == "F16", quant == "BF16":
		return 15, 24
	}
	if m := bitsInQuant.FindStringSubmatch(quant); m != nil {
		n := float64(m[1][0] - '0')
		return n - 0.3, n + 3.5
	}
	return 0, 0
}
