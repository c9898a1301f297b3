package upload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	hex64     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hex32     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hex16     = regexp.MustCompile(`^[0-9a-f]{16}$`)
	sha       = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	idForm    = regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{16}$`)
	runIDForm = regexp.MustCompile(`^[0-9][0-9a-z-]{7,63}$`)
	commit    = regexp.MustCompile(`^[0-9a-f]{7,64}(?:-dirty|\+dirty)?$`)
)

// field is a value with the form that it must have.
type field struct {
	name, value string
	form        *regexp.Regexp
	empty       bool // it may be
}

// check holds a body to what its fields may be. Texts that are longer or other than a name are refused wherever they stand,
// so that whoever reads a body that passes need not look again.
func (b *Body) check() error {
	for _, f := range []field{
		{"run_id", b.RunID, runIDForm, b.Anonymous}, {"seed", b.Seed, hex16, true}, {"supersedes", b.Supersedes, idForm, true}, {"pub", b.Pub, hex64, false}, {"random", b.Random, hex32, false},
		{"fp_commit", b.FPCommit, hex64, true}, {"client.sha256", b.Client.SHA256, hex64, true}, {"client.commit", b.Client.Commit, commit, true}, {"suite.digest", b.Suite.Digest, sha, false},
		{"model.digest", b.Model.Digest, sha, true}, {"model.prefix_digest", b.Model.PrefixDigest, sha, true},
	} {
		if (f.value != "" || !f.empty) && !f.form.MatchString(f.value) {
			return fmt.Errorf("%s: %w", f.name, errField)
		}
	}
	layout := time.RFC3339
	if b.Anonymous {
		layout = time.DateOnly
		if b.RunID != "" || b.Seed != "" || b.Client.Commit != "" || b.Client.SHA256 != "" {
			return fmt.Errorf("an anonymous one names its run, its seed or its program's build")
		}
	}
	if at, err := time.Parse(layout, b.StartedAt); err != nil || at.UTC().Format(layout) != b.StartedAt {
		return fmt.Errorf("started_at: %w", errField)
	}
	for _, f := range []struct {
		name, value string
		may         []string
	}{
		{"state", b.State, []string{"complete", "partial", "running"}}, {"mode", b.Mode, []string{"full", "quick"}}, {"backend.url_kind", b.Backend.URLKind, []string{"", "loopback", "lan", "remote"}},
	} {
		if !slices.Contains(f.may, f.value) {
			return fmt.Errorf("%s: %w", f.name, errField)
		}
	}
	if err := lists(reflect.ValueOf(b).Elem(), ""); err != nil {
		return err
	}
	if len(b.Rows) > maxRows || len(b.Planned) > maxRows {
		return fmt.Errorf("%d rows; the most is %d", max(len(b.Rows), len(b.Planned)), maxRows)
	}
	for i := range b.Rows {
		if err := b.Rows[i].check(); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
	}
	if b.Simulated && b.Rankable {
		return fmt.Errorf("simulated numbers are never rankable")
	}
	return b.texts()
}

// lists refuses a null where a list or a map stands: it is written as an empty one.
func lists(v reflect.Value, at string) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.IsNil() {
			return fmt.Errorf("%s is null", strings.TrimPrefix(at, "."))
		}
		if v.Kind() == reflect.Slice {
			for i := range v.Len() {
				if err := lists(v.Index(i), at); err != nil {
					return err
				}
			}
			return nil
		}
		for _, key := range v.MapKeys() {
			if err := lists(v.MapIndex(key), at); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := lists(v.Field(i), at+"."+v.Type().Field(i).Tag.Get("json")); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return lists(v.Elem(), at)
		}
	}
	return nil
}

func (r *Row) check() error {
	switch {
	case !slices.Contains([]string{"ok", "skipped", "failed"}, r.Status):
		return fmt.Errorf("status: %w", errField)
	case r.Passes < 0 || r.Sent < 0:
		return fmt.Errorf("passes: %w", errField)
	}
	n := len(r.Samples.Pass)
	if n > maxSamples {
		return fmt.Errorf("%d requests; the most is %d", n, maxSamples)
	}
	var err error
	r.Samples.eachColumn(func(name string, column any) {
		length := -1
		ok := true
		switch c := column.(type) {
		case *[]int64:
			length, ok = len(*c), !slices.ContainsFunc(*c, func(v int64) bool { return v < 0 })
		case *[]*int64:
			length, ok = len(*c), !slices.ContainsFunc(*c, func(v *int64) bool { return v != nil && *v < 0 })
		case *[]string:
			length = len(*c)
		case *[]bool:
			length = len(*c)
		}
		switch {
		case err != nil:
		case length != n:
			err = fmt.Errorf("samples.%s has %d values, samples.pass has %d", name, length, n)
		case !ok:
			err = fmt.Errorf("samples.%s: below 0", name)
		}
	})
	if err != nil {
		return err
	}
	passes := map[int64]bool{}
	for i, pass := range r.Samples.Pass {
		if pass < 1 || i > 0 && pass < r.Samples.Pass[i-1] {
			return fmt.Errorf("samples.pass: passes are counted from 1, in order")
		}
		passes[pass] = true
		how, from := r.Samples.PrefillFrom[i], r.Samples.From[i]
		if !slices.Contains([]string{"", "server", "estimated"}, how) || len(from) != 4 || strings.Trim(from, "ABCDE-") != "" || finish(r.Samples.Finish[i]) != r.Samples.Finish[i] && r.Samples.Finish[i] != "other" {
			return fmt.Errorf("request %d: %w", i+1, errField)
		}
	}
	if int64(len(passes)) != r.Sent {
		return fmt.Errorf("passes_sent is %d, the requests are of %d", r.Sent, len(passes))
	}
	for i, batch := range r.Batches {
		for _, s := range batch.Streams {
			if s < 0 || s >= int64(n) || r.Samples.Pass[s] != batch.Pass {
				return fmt.Errorf("batch %d has a stream that is no request of its pass", i+1)
			}
		}
	}
	return nil
}

// texts looks at every text of a body, in whatever field it is: each is a name, or a digest and the like.
func (b *Body) texts() error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return err
	}
	// These have forms of their own.
	for _, name := range []string{"pub", "random", "fp_commit", "seed", "supersedes", "run_id", "started_at"} {
		delete(doc, name)
	}
	for _, f := range [][2]string{{"client", "sha256"}, {"client", "commit"}, {"suite", "digest"}, {"model", "digest"}, {"model", "prefix_digest"}} {
		if m, ok := doc[f[0]].(map[string]any); ok {
			delete(m, f[1])
		}
	}
	return names(doc, "", map[string]bool{})
}

// names checks the texts below v. seen are those that were found good before: columns repeat theirs.
func names(v any, at string, seen map[string]bool) error {
	switch t := v.(type) {
	case nil:
	case string:
		if !seen[t] && !fits(t) {
			return fmt.Errorf("%s holds a text that is no name", strings.TrimPrefix(at, "."))
		}
		seen[t] = true
	case []any:
		for _, x := range t {
			if err := names(x, at, seen); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, x := range t {
			if !fits(key) {
				return fmt.Errorf("%s has a key that is no name", strings.TrimPrefix(at, "."))
			}
			if err := names(x, at+"."+key, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
