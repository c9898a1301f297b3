// Package upload makes the documents that would be sent to a service for results, keeps them in a queue until they are, and
// reads them and a service's receipts back.
//
// A document is a summary: raw counts and durations of every request, and what they are figures of. What was read from the
// socket, prompts and answers, paths, keys, names of hosts and users are not in it; docs/upload.md has it field by field. The
// package sends nothing, and knows no service.
package upload

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// maxBody bounds the signed body, in bytes.
const maxBody = 256 << 10

// Limits of the lists in a body.
const (
	maxRows    = 200
	maxSamples = 20_000 // of a row
)

// largest is the largest whole number that every reader of JSON keeps.
const largest = 1<<53 - 1

// ErrTooLarge means that a run does not fit a document, even with one pass of every row.
var ErrTooLarge = errors.New("too large to upload")

// ErrNothing means that a run holds nothing that was measured.
var ErrNothing = errors.New("nothing was measured")

// Input is what a document is made of.
type Input struct {
	Result   *record.Result
	Material seal.Material // of the run; of an anonymous document another one, which has nothing to do with it
	FP       string        // that the document is tied to; of an anonymous one a number of its own; empty for none

	// Anonymous leaves out what could tie the document to another of this installation.
	Anonymous  bool
	Supersedes string // id of the document of this run that was sent before

	// Clean takes names of hosts and users, and keys that are known, out of a text. Nil takes nothing out.
	Clean func(string) string
}

// Prepare makes the document of a run. The same input gives the same bytes. The error is ErrNothing where no row has a
// figure, and ErrTooLarge where the run does not fit.
func Prepare(in Input) (Document, error) {
	r := in.Result
	if !slices.ContainsFunc(r.Rows, func(row record.Row) bool { return row.Status == record.OK }) {
		return Document{}, ErrNothing
	}
	most := int64(0)
	for _, row := range r.Rows {
		for _, s := range row.Samples {
			most = max(most, int64(s.Pass))
		}
	}
	sign := func(passes int64) (Document, error) {
		p := preparing{Input: in, passes: passes}
		body, err := p.body()
		if err != nil {
			return Document{}, err
		}
		text := seal.Encode(body)
		if len(text) > maxBody {
			return Document{}, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(text), maxBody)
		}
		d := Document{Envelope: seal.Sign(Type, text, in.Material.Key), FP: in.FP}
		if in.FP != "" {
			d.FPSalt = hex.EncodeToString(in.Material.Salt[:])
		}
		// Read back, so that nothing is queued that nobody would take.
		if _, err := Open(d.Encode()); err != nil {
			return Document{}, fmt.Errorf("the document that was made is not good: %w", err)
		}
		return d, nil
	}
	d, err := sign(most)
	if !errors.Is(err, ErrTooLarge) || most <= 1 {
		return d, err
	}
	// As many passes as fit, the first ones of every row.
	fitting, over := int64(0), most
	for over-fitting > 1 {
		half := (fitting + over) / 2
		fewer, err := sign(half)
		switch {
		case errors.Is(err, ErrTooLarge):
			over = half
		case err != nil:
			return d, err
		default:
			fitting, d = half, fewer
		}
	}
	if fitting == 0 {
		return Document{}, err
	}
	return d, nil
}

// preparing makes one body.
type preparing struct {
	Input
	passes int64 // how many passes of a row are in it
	left   []string
}

func (p *preparing) body() (*Body, error) {
	r := p.Result
	b := &Body{
		Schema: Schema, RunID: r.RunID, StartedAt: r.StartedAt.UTC().Format(time.RFC3339), Anonymous: p.Anonymous,
		State: string(r.State), Mode: r.Mode, Simulated: simulated(r), Rankable: r.Rankable, Supersedes: p.Supersedes,
		Client:  Client{Version: p.name("client.version", r.Client.Version), Commit: r.Client.Commit, SHA256: r.Client.SHA256, OS: r.Client.OS, Arch: r.Client.Arch},
		Seed:    r.Seed,
		Backend: p.backend(), Model: p.model(), Flags: p.flags(r.Flags), Planned: []string{}, Rows: []Row{},
		Network: Network{RTT: p.ms(r.Network.RTTms), DNS: p.ms(r.Network.DNSms), TLS: p.ms(r.Network.TLSms)},
		Budget:  Budget{Limit: scaled(&r.Budget.LimitS, 1e3), Spent: scaled(&r.Budget.SpentS, 1e3), Repeats: count(r.Budget.Repeats), Cut: count(len(r.Budget.Cut))},
		Pub:     p.Material.Key.Public(), Random: hex.EncodeToString(p.Material.Nonce[:]),
	}
	b.Suite = p.suite()
	for _, key := range r.Planned {
		b.Planned = append(b.Planned, p.ofSuite("planned", key))
	}
	p.machine(b)
	if p.FP != "" {
		var err error
		if b.FPCommit, err = seal.Commit(p.FP, p.Material.Salt[:]); err != nil {
			return nil, err
		}
	}
	for i := range r.Rows {
		b.Rows = append(b.Rows, p.row(&r.Rows[i]))
	}
	if p.Anonymous {
		b.RunID, b.Seed, b.StartedAt = "", "", r.StartedAt.UTC().Format(time.DateOnly)
		b.Client.Commit, b.Client.SHA256 = "", ""
		b.Budget.Limit, b.Budget.Spent = p.rounded(b.Budget.Limit), p.rounded(b.Budget.Spent)
	}
	slices.Sort(p.left)
	b.LeftOut = append([]string{}, slices.Compact(p.left)...)
	return b, nil
}

// simulated reports whether any number comes from the simulator.
func simulated(r *record.Result) bool {
	is := func(f record.Flag) bool { return f.Name == "simulated" }
	return slices.ContainsFunc(r.Flags, is) || slices.ContainsFunc(r.Rows, func(row record.Row) bool { return slices.ContainsFunc(row.Flags, is) })
}

// name is a text that a server, a tool or a user gave to something. One that may be more than a name is left out, and the
// document says so.
func (p *preparing) name(field, text string) string {
	if p.Clean != nil {
		text = p.Clean(text)
	}
	return p.own(field, text)
}

// own is a name that no user has given: it is not looked through for theirs.
func (p *preparing) own(field, text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if !fits(text) {
		p.left = append(p.left, field)
		return ""
	}
	return text
}

// ofSuite is a name out of the suite. Those of a suite that is not official are its author's.
func (p *preparing) ofSuite(field, text string) string {
	if p.Result.Suite.Official {
		return p.own(field, text)
	}
	return p.name(field, text)
}

// word is one of this program's own words.
func (p *preparing) word(field, text string) string {
	if text != "" && !plain.MatchString(text) {
		p.left = append(p.left, field)
		return ""
	}
	return text
}

func (p *preparing) flags(list []record.Flag) []string {
	names := []string{}
	for _, f := range list {
		if name := p.word("flags", f.Name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (p *preparing) suite() Suite {
	s := p.Result.Suite
	return Suite{
		Name: p.ofSuite("suite.name", s.Name), Version: p.ofSuite("suite.version", s.Version), Digest: digest(s.Digest), Generator: p.ofSuite("suite.generator", s.Generator),
		Official: s.Official, Sandbox: p.own("suite.sandbox", s.Sandbox),
	}
}

func (p *preparing) backend() Backend {
	b := p.Result.Backend
	out := Backend{
		Name: p.own("backend.name", b.Name), Version: p.name("backend.version", b.Version), Build: p.name("backend.build", b.Build), Attached: b.Attached, URLKind: b.URLKind,
		Caps: []string{}, Options: map[string]string{},
	}
	for _, c := range b.Caps {
		out.Caps = append(out.Caps, p.word("backend.caps", c))
	}
	for name, value := range b.Options {
		if value := p.name("backend.options", value); value != "" && plain.MatchString(name) {
			out.Options[name] = value
		}
	}
	return out
}

func (p *preparing) model() Model {
	m := p.Result.Model
	out := Model{
		Name: p.name("model.name", lastPart(cmp.Or(m.Name, m.Ref))), Ref: p.name("model.ref", lastPart(m.Ref)), Quant: p.name("model.quant", m.Quant),
		Digest: digest(m.Digest), DigestKind: p.own("model.digest_kind", m.DigestKind), PrefixDigest: digest(m.PrefixDigest), PrefixKind: p.own("model.prefix_digest_kind", m.PrefixKind),
		SizeBytes: whole(m.SizeBytes), ContextMax: whole(m.ContextMax), Format: p.own("model.format", m.Format), Parameters: whole(m.Parameters), QuantTypes: map[string]int64{},
		BitsPerWeight: scaled(m.BitsPerWeight, 1e3), Layers: whole(m.Layers), Experts: whole(m.Experts), ExpertsUsed: whole(m.ExpertsUsed),
	}
	if m.Architecture != nil {
		out.Architecture = p.name("model.architecture", *m.Architecture)
	}
	for name, n := range m.QuantTypes {
		if v := whole(&n); v != nil && plain.MatchString(name) {
			out.QuantTypes[name] = *v
		}
	}
	if p.Anonymous && m.Format != "" { // both are the name of a file here, which its owner gave it
		out.Ref = ""
		if out.Digest != "" {
			out.Name = ""
		}
	}
	return out
}

// digest is a SHA-256 in the form sha256:…, or nothing.
func digest(text string) string {
	if b, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:")); err != nil || len(b) != 32 || !strings.HasPrefix(text, "sha256:") {
		return ""
	}
	return text
}

// whole is a number that can stand in a signed document; nil where it can't, or is not known.
func whole[T int | int64](n *T) *int64 {
	if n == nil || int64(*n) > largest || int64(*n) < 0 {
		return nil
	}
	v := int64(*n)
	return &v
}

func count(n int) *int64 { return whole(&n) }

// scaled is a figure in a smaller unit, rounded; nil where it is not known or can't be written.
func scaled(x *float64, by float64) *int64 {
	if x == nil {
		return nil
	}
	v := math.Round(*x * by)
	if math.IsNaN(v) || math.Abs(v) > largest {
		return nil
	}
	n := int64(v)
	return &n
}

// ms is a time in milliseconds as nanoseconds.
func (p *preparing) ms(x *float64) *int64 { return p.rounded(scaled(x, 1e6)) }

// rounded keeps four digits of a time in an anonymous document.
func (p *preparing) rounded(n *int64) *int64 {
	if !p.Anonymous || n == nil || *n < 10_000 {
		return n
	}
	step := int64(1)
	for *n/step >= 10_000 {
		step *= 10
	}
	v := (*n + step/2) / step * step
	return &v
}
