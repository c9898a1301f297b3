package engine

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/internal/record"
)

// Identity is what the files of a model say about it.
type Identity struct {
	Model    record.Model      // Format to PrefixKind, Quant, SizeBytes and ContextMax; the rest is not looked at
	Reasons  map[string]string // why fields are not known, by their JSON name in record.Model
	Mismatch string            // what its name or its server says and its files deny; "" where they agree
}

// modelMismatch is the flag of a model that is not what it is called.
const modelMismatch = "model_mismatch"

// headerFields are what only a model's files tell.
var headerFields = []string{"format", "architecture", "parameters", "quant_types", "bits_per_weight", "layers", "experts", "experts_used", "prefix_digest"}

// identify adds to the model what its files say. What the server says stands where both tell.
func (r *run) identify(i drivers.Info, m *record.Model) {
	id := Identity{Reasons: map[string]string{}}
	switch {
	case r.opt.Spec.Kind == drivers.Hosted:
		id.lacks("a hosted model: its files are not to be seen")
	case i.Simulated:
		id.lacks("the simulator has no model")
	case i.Model.Path == "" || r.opt.Identify == nil:
		id.lacks("the model's files are not readable from here")
	default:
		id = r.opt.Identify(i.Model)
	}
	f := id.Model
	m.Format, m.Architecture, m.Parameters, m.QuantTypes, m.BitsPerWeight = f.Format, f.Architecture, f.Parameters, f.QuantTypes, f.BitsPerWeight
	m.Layers, m.Experts, m.ExpertsUsed, m.PrefixDigest, m.PrefixKind = f.Layers, f.Experts, f.ExpertsUsed, f.PrefixDigest, f.PrefixKind
	if m.Quant == "" {
		m.Quant = f.Quant
	}
	if m.SizeBytes == nil {
		m.SizeBytes = f.SizeBytes
	}
	if m.ContextMax == nil {
		m.ContextMax = f.ContextMax
	}
	for _, field := range append([]string{"quant", "size_bytes", "context_max"}, headerFields...) {
		delete(r.result.Reasons, "model."+field)
		if modelKnows(m, field) {
			continue
		}
		why := id.Reasons[field]
		if own := i.WhyNot["model."+field]; own != "" {
			why = own
		}
		if why == "" {
			why = "neither the server nor the model's files tell"
		}
		r.result.Reasons["model."+field] = r.redactText(why)
	}
	if id.Mismatch != "" {
		f := record.Flag{Name: modelMismatch, Evidence: r.redactText(id.Mismatch)}
		r.runFlag = addFlag(r.runFlag, f)
		r.result.Flags = addFlag(r.result.Flags, f)
	}
}

// lacks says that nothing is known, and why.
func (id *Identity) lacks(why string) {
	for _, field := range append([]string{"quant", "size_bytes", "context_max"}, headerFields...) {
		id.Reasons[field] = why
	}
}

func modelKnows(m *record.Model, field string) bool {
	switch field {
	case "quant":
		return m.Quant != ""
	case "size_bytes":
		return m.SizeBytes != nil
	case "context_max":
		return m.ContextMax != nil
	case "format":
		return m.Format != ""
	case "architecture":
		return m.Architecture != nil
	case "parameters":
		return m.Parameters != nil
	case "quant_types":
		return m.QuantTypes != nil
	case "bits_per_weight":
		return m.BitsPerWeight != nil
	case "layers":
		return m.Layers != nil
	case "experts":
		return m.Experts != nil
	case "experts_used":
		return m.ExpertsUsed != nil
	}
	return m.PrefixDigest != ""
}

// digestPattern is a SHA-256 in the forms that backends write it in.
var digestPattern = regexp.MustCompile(`^(?i:sha256[:-])?([0-9a-fA-F]{64})$`)

// digestForm brings a SHA-256 to the one form of results, "sha256:" and 64 small hex digits, so that equal weights have equal
// digests whatever serves them; "" for all else, which then counts as not known.
func digestForm(text string) string {
	m := digestPattern.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return "sha256:" + strings.ToLower(m[1])
}

// digest hashes the weights, where nobody has named their digest. It comes after the last timed pass.
func (r *run) digest(ctx context.Context, ran bool) {
	m := &r.result.Model
	const field = "model.digest"
	switch {
	case m.Digest != "":
		delete(r.result.Reasons, field)
		return
	case r.first == nil && r.result.Reasons[field] != "":
		return // a resumed run that opened nothing keeps what it knew
	case r.opt.Spec.Kind == drivers.Hosted:
		r.explainDigest("a hosted model: its weights are not to be seen")
	case r.first == nil || r.opt.ModelDigest == nil || r.first.Model.Path == "":
		r.explainDigest("the weights are not readable from here")
	case !ran:
		r.explainDigest("the run was stopped before they were hashed")
	default:
		r.doing("hashing the weights")
		digest, kind, err := r.opt.ModelDigest(ctx, r.first.Model.Path)
		if err != nil {
			r.result.Reasons[field] = r.redactText(fmt.Sprintf("hashing the weights failed: %v", err))
			return
		}
		if m.Digest, m.DigestKind = digestForm(digest), kind; m.Digest == "" {
			r.result.Reasons[field] = "what was hashed gave no SHA-256"
			return
		}
		delete(r.result.Reasons, field)
	}
}

// explainDigest gives the driver's own reason where there is one.
func (r *run) explainDigest(why string) {
	if r.result.Reasons["model.digest"] == "" {
		r.result.Reasons["model.digest"] = why
	}
}

// machineID writes down the identity of machine and installation.
func (r *run) machineID(fp string, err error) {
	switch {
	case r.result.FP != "" && r.opt.Anonymous: // of a resumed run: a fresh one would say that it is another's
	case err != nil:
		r.result.Reasons["fp"] = r.redactText(err.Error())
	default:
		r.result.FP = fp
		delete(r.result.Reasons, "fp")
	}
}
