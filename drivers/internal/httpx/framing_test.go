package httpx

import (
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// unframe feeds data in pieces of n bytes, as socket reads would bring it.
func unframe(f *framing, data []byte, n int) (payload, rest []byte, done bool, err error) {
	for len(data) > 0 && !done {
		p := data[:min(n, len(data))]
		data = data[len(p):]
		for len(p) > 0 && !done {
			var part []byte
			if part, p, done, err = f.next(p); err != nil {
				return payload, nil, false, err
			}
			payload = append(payload, part...)
		}
		rest = p
	}
	return payload, append(rest[:len(rest):len(rest)], data...), done, nil
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		name, in   string
		want, rest string
		done, bad  bool
	}{
		{"plain", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "", true, false},
		{"upper case, zeros, extension", "00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", true, false},
		{"bare line feeds", "5\nhello\n0\n\n", "hello", "", true, false},
		{"trailers", "1\r\na\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", "a", "", true, false},
		{"what follows", "1\r\na\r\n0\r\n\r\nHTTP/1.1", "a", "HTTP/1.1", true, false},
		{"line ends in the payload", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", "", true, false},
		{"cut in the payload", "5\r\nhel", "hel", "", false, false},
		{"cut in the size", "5", "", "", false, false},
		{"no size", "\r\nhello", "", "", false, true},
		{"no number", "zz\r\nhello", "", "", false, true},
		{"negative", "-5\r\nhello", "", "", false, true},
		{"too large", "ffffffffffffffff\r\nhello", "", "", false, true},
		{"longer than stated", "2\r\nhello\r\n", "he", "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; n <= len(c.in); n++ {
				payload, rest, done, err := unframe(&framing{chunked: true, left: -1}, []byte(c.in), n)
				if string(payload) != c.want || done != c.done || string(rest) != c.rest || errors.Is(err, errNotHTTP) != c.bad {
					t.Fatalf("pieces of %d: %q, rest %q, done %v, %v", n, payload, rest, done, err)
				}
			}
		})
	}
}

func TestFramingByLength(t *testing.T) {
	for n := 1; n < 10; n++ {
		payload, rest, done, err := unframe(&framing{left: 5}, []byte("hello world"), n)
		if string(payload) != "hello" || string(rest) != " world" || !done || err != nil {
			t.Errorf("pieces of %d: %q, rest %q, done %v, %v", n, payload, rest, done, err)
		}
		payload, _, done, err = unframe(&framing{left: -1}, []byte("hello world"), n)
		if string(payload) != "hello world" || done || err != nil {
			t.Errorf("to the end, pieces of %d: %q, done %v, %v", n, payload, done, err)
		}
	}
}

// FuzzFraming compares with the standard library's reader: what that accepts comes out the same here, wherever it is cut.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), uint8(1))
	f.Add([]byte("a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"), uint8(3))
	f.Add([]byte("1\na\n0\n\n"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		whole, rest, done, err := unframe(&framing{chunked: true, left: -1}, data, len(data)+1)
		parts, partsRest, partsDone, partsErr := unframe(&framing{chunked: true, left: -1}, data, int(step)+1)
		if !bytes.Equal(whole, parts) || !bytes.Equal(rest, partsRest) || done != partsDone || (err == nil) != (partsErr == nil) {
			t.Fatalf("whole: %q, rest %q, %v, %v; in pieces of %d: %q, rest %q, %v, %v", whole, rest, done, err, step+1, parts, partsRest, partsDone, partsErr)
		}
		want, stdErr := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if stdErr == nil && (err != nil || !bytes.Equal(want, whole)) {
			t.Fatalf("the standard library reads %q, here %q, %v", want, whole, err)
		}
		if done && stdErr == nil && !bytes.Equal(want, whole) {
			t.Fatalf("done with %q, want %q", whole, want)
		}
	})
}

// FuzzFramingRoundTrip cuts any payload into chunks with the standard library's writer and takes it out again.
func FuzzFramingRoundTrip(f *testing.F) {
	f.Add([]byte("data: a\n\ndata: \xc3\xa9\r\n\r\n"), uint8(3), uint8(2))
	f.Fuzz(func(t *testing.T, payload []byte, chunk, step uint8) {
		var b bytes.Buffer
		w := httputil.NewChunkedWriter(&b)
		for p := payload; len(p) > 0; {
			n := min(len(p), int(chunk)+1)
			if _, err := w.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		_ = w.Close()
		b.WriteString("\r\nnext")
		got, rest, done, err := unframe(&framing{chunked: true, left: -1}, b.Bytes(), int(step)+1)
		if err != nil || !done || !bytes.Equal(got, payload) || string(rest) != "next" {
			t.Fatalf("%q became %q, rest %q, done %v, %v", payload, got, rest, done, err)
		}
	})
}

func TestErrorText(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"error":{"message":"bad","type":"t"}}`, "bad [t]"}, {`{"error":"bad"}`, "bad"}, {`{"message":"bad"}`, "bad"},
		{`{"detail":"bad"}`, "bad"}, {`{"detail":[{"loc":1}]}`, `[{"loc":1}]`}, {"a\x1b[2J\n b", "a [2J b"}, {"", ""},
		{strings.Repeat("é", 400), strings.Repeat("é", 250) + "…"},
	} {
		if got := ErrorText([]byte(c.body)); got != c.want {
			t.Errorf("%.40q: %q, want %q", c.body, got, c.want)
		}
	}
}
