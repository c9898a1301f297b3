package manifest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/llm-speed/llm-speed/internal/suite"
)

// listed decodes a list as a manifest.
func listed(t *testing.T, l list) *Manifest {
	t.Helper()
	u := &Updater{Evaluate: suite.InProcess}
	m, err := u.Evaluated(t.Context(), l.source())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFollows(t *testing.T) {
	one, two := entry("suite-v2", "2.0.0", "a.tar.gz", []byte("a"), Current), entry("suite-v2", "2.1.0", "b.tar.gz", []byte("b"), Current)
	gone := entry("suite-v2", "2.0.0", "a.tar.gz", []byte("a"), Revoked)
	edge, epoch := newList(9, one), newList(1, one)
	edge.channel, epoch.epoch = "edge", 2
	for _, tt := range []struct {
		name       string
		last, next list
		want       error
	}{
		{"a renewal", newList(5, one), newList(6, one), nil},
		{"one more", newList(5, one), newList(6, one, two), nil},
		{"revoked", newList(5, one), newList(6, gone), nil},
		{"a new epoch", newList(5, one), epoch, nil},
		{"the same version", newList(5, one), newList(5, one), ErrRollback},
		{"an old version", newList(5, one), newList(4, one), ErrRollback},
		{"an old epoch", epoch, newList(9, one), ErrRollback},
		{"another channel", newList(5, one), edge, ErrWrongChannel},
		{"a suite dropped", newList(5, one, two), newList(6, two), ErrDropped},
		{"another archive", newList(5, one), newList(6, entry("suite-v2", "2.0.0", "a.tar.gz", []byte("c"), Current)), ErrEquivocation},
		{"a revocation taken back", newList(5, gone), newList(6, one), ErrRollback},
	} {
		if err := listed(t, tt.next).Follows(listed(t, tt.last)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestRenew renews a manifest and reads what it wrote.
func TestRenew(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC)
	last := listed(t, newList(7, entry("suite-v2", "2.0.0", "a.tar.gz", []byte("a"), Current)))
	m := listed(t, newList(1, entry("suite-v2", "2.0.0", "a.tar.gz?x=1&y=<2>", []byte("a"), Current)))
	m.Renew(last, at, 30)
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text, err := suite.InProcess(t.Context(), map[string][]byte{"m": b}, "m")
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if back.Version != 8 || !back.Issued.Equal(at.Truncate(time.Second)) || !back.Expires.Equal(back.Issued.AddDate(0, 0, 30)) || !slices.Equal(back.Suites, m.Suites) {
		t.Errorf("renewed: %+v", back)
	}
	if err := back.Good(at); err != nil {
		t.Error(err)
	}
	if err := back.Good(at.AddDate(0, 0, 31)); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	if err := back.Good(at.AddDate(0, 0, -1)); !errors.Is(err, ErrFuture) {
		t.Error(err)
	}
	m.Version = 20
	m.Renew(last, at, 30)
	if again, _ := m.Encode(); m.Version != 20 || bytes.Equal(again, b) {
		t.Errorf("version %d", m.Version)
	}
}
