package upload

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/seal"
)

// small is a document of one row, so that every bit of it can be tried.
func small(t testing.TB) Document {
	in := input()
	in.Result.Rows = in.Result.Rows[1:2]
	in.Result.Fingerprint, in.Result.Environment, in.Result.Calibration = nil, record.Environment{}, nil
	d, _ := prepared(t, in)
	return d
}

// TestEveryFlippedBit flips every bit of a document, and cuts it off everywhere.
func TestEveryFlippedBit(t *testing.T) {
	d := small(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	for name, file := range map[string][]byte{"document": d.Encode(), "envelope": d.Envelope.Encode()} {
		if _, err := Open(file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		begin := bytes.Index(file, d.Envelope.Encode()[60:90]) // of the payload, where one bit of each byte does
		for i := 0; i < len(file); i += step {
			bits := 8
			if i > begin && i < begin+4*len(d.Envelope.Payload)/3 {
				bits = 1
			}
			for bit := range bits {
				bad := bytes.Clone(file)
				bad[i] ^= 1 << ((bit + i) % 8)
				if back, err := Open(bad); err == nil {
					t.Fatalf("%s: a bit of byte %d (%q) was flipped: it passes as %s", name, i, file[max(0, i-10):i+1], back.ID())
				}
			}
			if _, err := Open(file[:i]); err == nil {
				t.Fatalf("%s: cut off after %d bytes it passes", name, i)
			}
		}
	}
}

// TestForged are documents whose signature is good and whose content is not.
func TestForged(t *testing.T) {
	m := seal.Derived(counting, runID)
	good, _ := prepared(t, input())
	anon, _ := prepared(t, anonymousInput())
	signed := func(payload string, key seal.Key) []byte {
		d := good
		d.Envelope = seal.Sign(Type, []byte(payload), key)
		return d.Encode()
	}
	change := func(from, to string) []byte {
		payload := strings.Replace(string(good.Envelope.Payload), from, to, 1)
		if payload == string(good.Envelope.Payload) {
			t.Fatalf("%q is not in %s", from, good.Envelope.Payload)
		}
		return signed(payload, m.Key)
	}
	other := func(do func(*Document)) []byte {
		d := good
		do(&d)
		return d.Encode()
	}
	file := string(good.Encode())
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"another key":             {signed(string(good.Envelope.Payload), seal.Forgotten().Key), "another key than it names"},
		"fp of another":           {other(func(d *Document) { d.FP = strings.Repeat("00", 32) }), "fp_commit is not"},
		"no fp":                   {other(func(d *Document) { d.FP, d.FPSalt = "", "" }), "salt of fp_commit"},
		"salt of another":         {other(func(d *Document) { d.FPSalt = strings.Repeat("00", 32) }), "fp_commit is not"},
		"a seal's type":           {other(func(d *Document) { d.Envelope = seal.Sign(seal.StatementType, d.Envelope.Payload, m.Key) }), "type is"},
		"a newer type":            {other(func(d *Document) { d.Envelope.PayloadType = "application/vnd.llm-speed.result.v2+json" }), "newer llm-speed"},
		"a document in it":        {other(func(d *Document) { d.Envelope.Document = []byte("x") }), "carries another document"},
		"two signatures":          {other(func(d *Document) { d.Envelope.Signatures = append(d.Envelope.Signatures, d.Envelope.Signatures[0]) }), "2 signatures"},
		"a newer schema":          {change(`upload/v1"`, `upload/v2","more":1`), "newer llm-speed"},
		"an older schema":         {change(`upload/v1"`, `upload/v0"`), "older llm-speed"},
		"a field more":            {change(`"run_id"`, `"x":1,"run_id"`), "unknown field"},
		"a field twice":           {change(`"run_id"`, `"schema":"llm-speed/upload/v1","run_id"`), "stands twice"},
		"a column twice":          {change(`"pass":[1,`, `"pass":[9],"pass":[1,`), "stands twice"},
		"a field in capitals":     {change(`"run_id"`, `"RUN_ID"`), "not written as"},
		"a field less":            {change(`"supersedes":"",`, ``), "not written as"},
		"null for a list":         {change(`"left_out":["backend.options"]`, `"left_out":null`), "left_out is null"},
		"a space":                 {change(`,"run_id"`, `, "run_id"`), "not written as"},
		"a fraction":              {change(`"passes":2`, `"passes":2.0`), "not written as a whole one"},
		"an exponent":             {change(`"passes":2`, `"passes":2e0`), "not written as a whole one"},
		"a huge number":           {change(`"passes":2`, `"passes":9007199254740992`), "2^53"},
		"broken UTF-8":            {change(`"name":"Qwen3 8B"`, "\"name\":\"Qwen3\xff8B\""), "UTF-8"},
		"half a surrogate pair":   {change(`"name":"Qwen3 8B"`, `"name":"\ud800"`), "not written as"},
		"deep":                    {change(`"run_id":`, `"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`,"run_id":`), "deeper than 16"},
		"large":                   {change(`"name":"Qwen3 8B"`, `"name":"`+strings.Repeat("x", maxBody)+`"`), "the most is"},
		"a path":                  {change(`"name":"Qwen3 8B"`, `"name":"/home/anna/m"`), "model.name holds a text that is no name"},
		"a path as an option":     {change(`"n-gpu-layers":"99"`, `"n-gpu-layers":"/x/y"`), "no name"},
		"a path as a key":         {change(`"n-gpu-layers":"99"`, `"/x/y":"99"`), "key that is no name"},
		"an essay":                {change(`"name":"Qwen3 8B"`, `"name":"`+strings.Repeat("once upon a time ", 9)+`"`), "no name"},
		"a short column":          {change(`"stalls":[0,0,0]`, `"stalls":[0,0]`), "has 2 values"},
		"a time before its send":  {change(`"ttft_ns":[50000000,`, `"ttft_ns":[-1,`), "below 0"},
		"passes out of order":     {change(`"pass":[1,2,3]`, `"pass":[1,3,2]`), "in order"},
		"more passes than it has": {change(`"passes_sent":3`, `"passes_sent":4`), "passes_sent"},
		"a stream that is not":    {change(`"streams":[0,1]`, `"streams":[0,7]`), "no request of its pass"},
		"an unknown state":        {change(`"state":"complete"`, `"state":"great"`), "state"},
		"an unknown status":       {change(`"status":"failed"`, `"status":"great"`), "status"},
		"a run id that is a path": {change(runID, "../../../../../x"), "run_id"},
		"a time that is none":     {change("2026-11-23T14:25:01Z", "2026-11-23T14:25:01+00:00"), "started_at"},
		"no suite":                {change("sha256:"+strings.Repeat("5d", 32), ""), "suite.digest"},
		"rankable simulation":     {change(`"simulated":false,"rankable":false`, `"simulated":true,"rankable":true`), "never rankable"},
		"anonymous with a run":    {change(`"anonymous":false`, `"anonymous":true`), "anonymous"},
		"named without a run": {func() []byte {
			d := anon
			d.Envelope = seal.Sign(Type, bytes.Replace(anon.Envelope.Payload, []byte(`"anonymous":true`), []byte(`"anonymous":false`), 1), seal.Unlinkable(counting, runID).Key)
			return d.Encode()
		}(), "run_id"},
		"a field beside":    {[]byte(strings.Replace(file, `,"fp"`, `,"x":1,"fp"`, 1)), "unknown field"},
		"fp twice":          {[]byte(strings.Replace(file, `,"fp"`, `,"fp":"","fp"`, 1)), "stands twice"},
		"no JSON":           {signed("hello", m.Key), "no JSON"},
		"empty":             {nil, "empty"},
		"spaces around":     {[]byte(" " + file), ""},
		"no line end":       {bytes.TrimSpace([]byte(file)), "not written as"},
		"two of them":       {[]byte(file + file), ""},
		"a very large file": {[]byte(`{"envelope"` + strings.Repeat(" ", MaxFile)), "the most is"},
	} {
		_, err := Open(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		newer := strings.Contains(c.want, "er llm-speed") || c.want == "the most is" && len(c.file) > MaxFile
		if !newer && !errors.Is(err, seal.ErrBad) {
			t.Errorf("%s: not ErrBad: %v", name, err)
		}
	}
}

// FuzzOpen: whatever is read is refused, or is written again to the same bytes, with a body that can be shown and counted.
func FuzzOpen(f *testing.F) {
	d := small(f)
	f.Add(d.Encode())
	f.Add(d.Envelope.Encode())
	f.Add([]byte(`{"envelope":{"payloadType":"x","payload":"","signatures":[]},"fp":"","fp_salt":""}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := Open(file)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Encode(), file) && !bytes.Equal(d.Envelope.Encode(), file) {
			t.Fatal("two forms of one document")
		}
	})
}

// FuzzBody is the same for bodies that somebody has signed: what passes computes without harm.
func FuzzBody(f *testing.F) {
	f.Add(small(f).Envelope.Payload)
	d, _ := prepared(f, input())
	f.Add(d.Envelope.Payload)
	f.Add([]byte(`{"schema":"llm-speed/upload/v1"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := parse(payload)
		if err != nil {
			return
		}
		if !bytes.Equal(seal.Encode(b), payload) {
			t.Fatal("two forms of one body")
		}
		for i := range b.Rows {
			b.Rows[i].Figures()
		}
	})
}
