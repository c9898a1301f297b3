package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// banner says first what nobody may overlook.
func banner(p *page, r *record.Result) {
	if simulated(r) {
		p.wrapped(yellow, "", "SIMULATED: these are numbers of the built-in simulator. They say nothing about any real model or machine.")
	}
	if notice := KindNotice(r.Kind); notice != "" {
		p.wrapped(yellow, "", notice)
		if r.State != record.Complete {
			p.wrapped(yellow, "", "PARTIAL: the file that it was imported from was cut off.")
		}
		return
	}
	switch r.State {
	case record.Partial:
		p.wrapped(yellow, "", "PARTIAL: the run was stopped before its end. To go on: llm-speed bench --resume "+r.RunID)
	case record.Running:
		p.wrapped(yellow, "", "UNFINISHED: the run still goes on, or was cut off. To go on: llm-speed bench --resume "+r.RunID)
	case record.Complete:
	}
	if r.Mode == "quick" {
		p.wrapped(yellow, "", "QUICK: shorter shapes of the workloads. Never ranked, and not to be compared with full runs.")
	}
}

func simulated(r *record.Result) bool {
	has := func(flags []record.Flag) bool {
		return slices.ContainsFunc(flags, func(f record.Flag) bool { return f.Name == "simulated" })
	}
	return has(r.Flags) || slices.ContainsFunc(r.Rows, func(row record.Row) bool { return has(row.Flags) })
}

// header says what was measured on what.
func header(p *page, r *record.Result) {
	put := func(name, text string) {
		if text != "" {
			p.packed(plain, padRight(name, 9), strings.Split(text, separator), separator)
		}
	}
	p.line(bold, "%s", join(" ", "llm-speed", r.Suite.Name, r.Suite.Version))
	put("model", modelText(r.Model))
	put("backend", backendText(r.Backend))
	machine := machineText(r)
	if why := r.Reasons["fingerprint"]; machine == "" && why != "" {
		machine = "not known: " + why
	}
	put("machine", machine)
	digest := ShortDigest(r.Suite.Digest)
	if digest != "" && !r.Suite.Official {
		digest += " (not one of this program's own)"
	}
	put("suite", digest)
	seed := ""
	if r.Seed != "" {
		seed = "seed " + r.Seed
	}
	started := ""
	if !r.StartedAt.IsZero() {
		started = r.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	}
	put("run", join(separator, r.RunID, started, seed))
	put("client", join(" ", "llm-speed", r.Client.Version, r.Client.OS+"/"+r.Client.Arch))
}

func modelText(m record.Model) string {
	size, context := "", ""
	if m.SizeBytes != nil {
		size = bytesText(*m.SizeBytes)
	}
	if m.ContextMax != nil {
		context = "context " + pointValue(*m.ContextMax)
	}
	parameters := ""
	if m.Parameters != nil {
		parameters = parametersText(*m.Parameters)
	}
	digest := ""
	if m.Digest != "" {
		digest = ShortDigest(m.Digest)
	}
	return join(separator, cmp.Or(m.Name, m.Ref), m.Quant, parameters, size, context, digest)
}

// parametersText shows a number of weights: 8.19 B parameters.
func parametersText(n int64) string {
	v, unit := float64(n), ""
	for _, u := range []string{"k", "M", "B", "T"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, " "+u
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + unit + " parameters"
}

func backendText(b record.Backend) string {
	how := ""
	if b.Attached {
		how = "was running already"
	}
	where := ""
	if b.URLKind == "lan" || b.URLKind == "remote" {
		where = b.URLKind
	}
	return join(separator, join(" ", b.Name, b.Version), b.Build, how, where)
}

// ShortDigest is a digest that a person can compare: "sha256:1a2b3c4d5e6f".
func ShortDigest(digest string) string {
	kind, hex, ok := strings.Cut(digest, ":")
	if !ok {
		kind, hex = "", digest
	}
	if len(hex) > 12 {
		hex = hex[:12]
	}
	if kind == "" {
		return hex
	}
	return kind + ":" + hex
}

// separator stands between facts on one line.
const separator = " · "

// join joins the parts that say something.
func join(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(parts), func(s string) bool { return s == "" }), sep)
}

// machineText is the hardware in one line, from the fingerprint. A list of GPUs that is empty says that there is none; one
// that is null says nothing.
func machineText(r *record.Result) string {
	var f struct {
		CPU struct {
			Model string `json:"model"`
			Cores int    `json:"cores"`
		} `json:"cpu"`
		RAM int64 `json:"ram_total_bytes"`
		OS  struct {
			Name         string `json:"name"`
			Distribution string `json:"distribution"`
			Version      string `json:"version"`
		} `json:"os"`
		GPUs []struct {
			Name string `json:"name"`
			VRAM int64  `json:"vram_total_bytes"`
		} `json:"gpus"`
	}
	if len(r.Fingerprint) == 0 || json.Unmarshal(r.Fingerprint, &f) != nil {
		return ""
	}
	var gpus []string
	for _, g := range f.GPUs {
		vram := ""
		if g.VRAM > 0 {
			vram = memoryText(g.VRAM)
		}
		gpus = append(gpus, join(" ", g.Name, vram))
	}
	graphics := counted(gpus)
	switch {
	case graphics != "":
	case f.GPUs == nil:
		graphics = "GPUs not known"
	default:
		graphics = "no GPU found"
	}
	cores, ram := "", ""
	if f.CPU.Cores > 0 {
		cores = strconv.Itoa(f.CPU.Cores) + " cores"
	}
	if f.RAM > 0 {
		ram = memoryText(f.RAM) + " RAM"
	}
	return join(separator, f.CPU.Model, cores, ram, graphics, join(" ", f.OS.Name, f.OS.Distribution, f.OS.Version))
}

// counted joins names, equal ones as "2 x name".
func counted(names []string) string {
	var out []string
	for i, name := range names {
		if slices.Index(names, name) != i || name == "" {
			continue
		}
		n := 0
		for _, other := range names {
			if other == name {
				n++
			}
		}
		if n > 1 {
			name = strconv.Itoa(n) + " x " + name
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// flags says in words what was odd, once for all the rows that share it.
func flags(p *page, r *record.Result) {
	type group struct {
		rows     []string
		evidence []string
	}
	var order []string
	groups := map[string]*group{}
	add := func(f record.Flag, row string) {
		g := groups[f.Name]
		if g == nil {
			g = &group{}
			groups[f.Name], order = g, append(order, f.Name)
		}
		if !slices.Contains(g.rows, row) {
			g.rows = append(g.rows, row)
		}
		if f.Evidence != "" && !slices.Contains(g.evidence, f.Evidence) {
			g.evidence = append(g.evidence, f.Evidence)
		}
	}
	for _, f := range r.Flags {
		add(f, "run")
	}
	marked := 0
	for _, row := range r.Rows {
		if row.Status == record.OK {
			marked++
		}
		for _, f := range row.Flags {
			if f.Name != "errors" || row.Status != record.Failed { // a failed row's own line says it
				add(f, row.Key)
			}
		}
	}
	for _, name := range order {
		g := groups[name]
		rows := strings.Join(g.rows, ", ")
		if len(g.rows) > 1 && len(g.rows) >= marked {
			rows = "all rows"
		}
		if name == "simulated" || name == "quick" || name == llamaBenchFlag {
			continue // the banner says it
		}
		text := FlagText(name)
		if len(g.evidence) > 0 {
			text += " (" + strings.Join(g.evidence[:min(2, len(g.evidence))], "; ")
			if more := len(g.evidence) - 2; more > 0 {
				text += fmt.Sprintf("; and %d more: llm-speed explain", more)
			}
			text += ")"
		}
		p.wrapped(yellow, "! ", name+" ["+rows+"]: "+text)
	}
}

// ending says what the budget left out and whether the run counts.
func ending(p *page, r *record.Result) {
	for _, cut := range r.Budget.Cut {
		if !strings.HasPrefix(cut, "no further pass") { // these have other reasons, and say them
			cut = "cut by the time budget: " + cut
		}
		p.wrapped(dim, "- ", cut)
	}
	for i := range r.Rows {
		if text := Paused(&r.Rows[i]); text != "" {
			p.wrapped(dim, "- ", r.Rows[i].Key+": "+text)
		}
	}
	ok, skipped, failed := Tally(r)
	text := fmt.Sprintf("%d ok, %d skipped, %d failed", ok, skipped, failed)
	if r.Budget.SpentS > 0 {
		text += fmt.Sprintf(" in %.0f s", r.Budget.SpentS)
	}
	if r.Rankable {
		text += "; every row may be ranked"
	} else if ok > 0 {
		text += "; not rankable as a whole"
	}
	p.wrapped(dim, "", text)
	if len(r.Rows) == 0 {
		return
	}
	p.wrapped(dim, "", "how a number came about: llm-speed explain "+cmp.Or(r.RunID, "RUN")+" ROW")
}

// Tally counts the rows of a result by status.
func Tally(r *record.Result) (ok, skipped, failed int) {
	for _, row := range r.Rows {
		switch row.Status {
		case record.OK:
			ok++
		case record.Skipped:
			skipped++
		case record.Failed:
			failed++
		}
	}
	return ok, skipped, failed
}
