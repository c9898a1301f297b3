package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/agree"
	"github.com/llm-speed/llm-speed/internal/report"
)

// agreementWidth is how wide the comparison is shown, columns.
const agreementWidth = 80

// agreement shows a comparison of client and server: a table, what could not be compared and why, and what it means.
func agreement(r *agree.Report) string {
	var b strings.Builder
	how := "started for this"
	if r.Attached {
		how = "was running already"
	}
	fmt.Fprintf(&b, "client against server: %s, %s\n", strings.Join(nonEmpty(r.Backend, r.Version), " "), how)
	fmt.Fprintf(&b, "model %s, seed %s\n", orElse(r.Model, "not named"), r.Seed)
	if r.Simulated {
		b.WriteString("SIMULATED: this compares with llm-speed's own simulator, not with a model\n")
	}
	fmt.Fprintf(&b, "\n%-42s%9s%9s%9s%6s\n", "tok/s, or tokens", "client", "server", "differ", "limit")
	var why []string
	for _, c := range r.Comparisons {
		verdict := "-"
		switch {
		case c.OK != nil && *c.OK:
			verdict = "ok"
		case c.OK != nil:
			verdict = "OVER"
		}
		fmt.Fprintf(&b, "%-42s%9s%9s%9s%6s %s\n", c.What, figure(c.Client, c.Unit), figure(c.Server, c.Unit), percent(c.Difference), limit(c), verdict)
		if c.Reason != "" {
			why = append(why, wrap(c.What+": "+c.Reason, "- "))
		}
	}
	if len(why) > 0 {
		b.WriteString("\n" + strings.Join(why, ""))
	}
	b.WriteString(beside(r.Bench))
	b.WriteString("\n" + wrap(meaning(r), ""))
	return b.String()
}

// meaning says what the comparison says.
func meaning(r *agree.Report) string {
	switch {
	case r.Compared == 0:
		return "Nothing was compared: the server states nothing of itself that could be. Its rows stand on the client's figures alone."
	case r.Over == 0:
		return fmt.Sprintf("%d of %d within their limits: the client and the server saw the same streams alike.", r.Compared, r.Compared)
	}
	return fmt.Sprintf("%d of %d OVER their limits. The client's stamps and the server's own figures are about the same streams, so one of them is off. "+
		"A rate: this machine was busy with other things, or something between the two delays or bunches the stream. "+
		"A count: the server counts otherwise than it says, another client used it meanwhile, or this program misreads it. "+
		"Until that is known, take what bench says of this server to be off by as much.", r.Over, r.Compared)
}

// beside shows llama-bench's figures.
func beside(bench *agree.Bench) string {
	if bench == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n" + wrap(strings.Join(nonEmpty("llama-bench on the same file", bench.Build), ", build ")+": "+orElse(bench.Command, "not run"), ""))
	if bench.Reason != "" {
		b.WriteString(wrap(bench.Reason, "  "))
	}
	for _, t := range bench.Tests {
		spread := ""
		if t.StddevTPS != nil {
			spread = " ± " + report.Number(*t.StddevTPS)
		}
		fmt.Fprintf(&b, "  %-6s %9s tok/s%-10s client %s, server %s against it\n", t.Name, report.Number(t.TPS), spread, percent(t.ClientRatio), percent(t.ServerRatio))
	}
	if bench.Note != "" {
		b.WriteString(wrap(bench.Note, "  "))
	}
	return b.String()
}

// figure shows one side's figure; a count is a whole number.
func figure(v *float64, unit string) string {
	if v == nil {
		return "–"
	}
	if unit == agree.Tokens {
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return report.Number(*v)
}

// percent shows a relative difference with its sign.
func percent(v *float64) string {
	if v == nil {
		return "–"
	}
	if math.Abs(*v) < 0.00005 {
		return "0 %"
	}
	return fmt.Sprintf("%+.2f %%", 100**v)
}

func limit(c agree.Comparison) string {
	switch {
	case c.Limit == nil:
		return "–"
	case *c.Limit == 0:
		return "equal"
	}
	return strconv.FormatFloat(100**c.Limit, 'f', -1, 64) + " %"
}

// wrap breaks a text into lines, the first with lead before it and the others as far in.
func wrap(text, lead string) string {
	var b strings.Builder
	line := lead
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > agreementWidth {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len([]rune(lead))), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
	return b.String()
}
