package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/store"
	"github.com/llm-speed/llm-speed/internal/suite"
	"github.com/llm-speed/llm-speed/manifest"
)

// trust is who may sign a manifest.
type trust struct {
	identity, issuer, root, key, keyFrom, keyUntil string
}

func (t *trust) flags(f *pflag.FlagSet) {
	f.StringVar(&t.identity, "identity", manifest.DefaultIdentity, "`WHO` must have signed, exactly as the certificate says it")
	f.StringVar(&t.issuer, "issuer", manifest.DefaultIssuer, "`WHO` must have vouched for that identity, exactly")
	f.StringVar(&t.root, "trusted-root", "", "`FILE` trusted_root.json of another sigstore (default: the public one, built in)")
	f.StringVar(&t.key, "key", "", "public key in PEM, in `FILE`, that must have signed, in the place of an identity")
	f.StringVar(&t.keyFrom, "key-from", "", "`DAY` from which on that key is good, as 2026-01-31 (default: always was)")
	f.StringVar(&t.keyUntil, "key-until", "", "`DAY` until which that key is good, as 2027-01-31 (default: a year from now)")
	heading(f, "Who must have signed", "identity", "issuer", "trusted-root", "key", "key-from", "key-until")
}

// verifier makes what verifies manifests.
func (t *trust) verifier() (*manifest.Verifier, error) {
	if t.key != "" {
		pem, err := os.ReadFile(t.key)
		if err != nil {
			return nil, usagef("--key: %w", err)
		}
		from, until := time.Time{}, time.Now().AddDate(1, 0, 0)
		for _, day := range []struct {
			flag, text string
			at         *time.Time
		}{{"--key-from", t.keyFrom, &from}, {"--key-until", t.keyUntil, &until}} {
			if day.text == "" {
				continue
			}
			if *day.at, err = time.Parse(time.DateOnly, day.text); err != nil {
				return nil, usagef("%s %q: want a day as 2027-01-31", day.flag, day.text)
			}
		}
		if t.keyUntil != "" {
			until = until.AddDate(0, 0, 1) // that day too
		}
		v, err := manifest.Key(pem, from, until)
		if err != nil {
			return nil, usagef("--key %s: %w", t.key, err)
		}
		return v, nil
	}
	root := manifest.TrustedRoot
	if t.root != "" {
		var err error
		if root, err = os.ReadFile(t.root); err != nil {
			return nil, usagef("--trusted-root: %w", err)
		}
	}
	v, err := manifest.Keyless(root, manifest.Identity{Issuer: t.issuer, Subject: t.identity})
	if err != nil {
		return nil, usagef("%w", err)
	}
	return v, nil
}

// suitesDir is where installed suites lie.
func (a *app) suitesDir() (string, error) {
	dir, err := store.DefaultDir(a.Env, runtime.GOOS, a.Home())
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "suites"), nil
}

func (a *app) updater(v *manifest.Verifier, url, channel string) (*manifest.Updater, error) {
	dir, err := a.suitesDir()
	if err != nil {
		return nil, err
	}
	box := a.sandbox()
	return &manifest.Updater{
		Dir: dir, URL: url, Channel: channel, Verify: v, Engine: suite.EngineVersion, Evaluate: box.evaluate, Now: time.Now,
		Check: func(ctx context.Context, archive []byte) (manifest.Checked, error) {
			s, err := unpackedSuite(ctx, archive, box)
			if err != nil {
				return manifest.Checked{}, err
			}
			if err := engine.Rehearse(ctx, s, box.compile); err != nil {
				return manifest.Checked{}, err
			}
			return manifest.Checked{Name: s.Name, Version: s.Version, Digest: s.Digest, Engine: s.Engine}, nil
		},
		Say: func(format string, args ...any) { a.errf(format+"\n", args...) },
	}, nil
}

// unpackedSuite loads the suite in an archive.
func unpackedSuite(ctx context.Context, archive []byte, box sandboxed) (*suite.Suite, error) {
	files, err := suite.Unpack(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	return suite.Load(ctx, files, box.evaluate)
}

func (a *app) selfUpdate() *cobra.Command {
	var t trust
	var check bool
	var url, channel string
	cmd := &cobra.Command{
		Use: "self-update", Short: "Install new suite versions from the signed manifest", Args: between(0, 0),
		Long: `Install new suite versions from the project's signed manifest. The program itself stays as it is; new suites need no new
release of it. The manifest's sigstore signature is verified over the exact bytes, offline, before anything of it is
read; what it names is fetched, held against its digest, checked and rehearsed, and installed beside what is there, or
not at all. Old versions stay usable: bench --suite NAME@VERSION.

A manifest that is older than the last one, expired, signed by anybody else, or at odds with what was seen before is
refused: exit code 5, and nothing is changed.`,
		Example: "  llm-speed self-update\n  llm-speed self-update --check\n  llm-speed self-update --manifest https://example.com/manifest.jsonnet --key our-key.pub --channel ours",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.interruptible(cmd.Context(), func() {})
			defer stop()
			v, err := t.verifier()
			if err != nil {
				return err
			}
			u, err := a.updater(v, url, channel)
			if err != nil {
				return err
			}
			u.BuiltIn = builtInKeys(ctx, a.sandbox())
			out, err := u.Update(ctx, check)
			if err != nil {
				return a.refused(ctx, err)
			}
			m := out.Manifest
			signed := "signed by " + out.Signed.By
			if !out.Signed.At.IsZero() {
				signed += " at " + out.Signed.At.UTC().Format(time.DateTime) + " UTC"
			}
			a.outf("channel %s, epoch %d, version %d, good until %s\n%s\n", m.Channel, m.Epoch, m.Version, m.Expires.UTC().Format(time.DateTime+" UTC"), signed)
			verb := "installed"
			if check {
				verb = "would install"
			}
			for _, key := range out.Installed {
				a.outf("%s %s\n", verb, key)
			}
			for _, key := range out.Revoked {
				name, version, _ := strings.Cut(key, "@")
				a.outf("revoked   %s: %s\n", key, orElse(m.Find(name, version).Reason, "no reason given"))
			}
			if len(out.Installed)+len(out.Revoked) == 0 {
				a.outf("nothing new\n")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only say what would be installed")
	cmd.Flags().StringVar(&url, "manifest", manifest.DefaultURL, "`URL` of the manifest; its bundle lies beside it, with "+manifest.BundleSuffix+" added")
	cmd.Flags().StringVar(&channel, "channel", manifest.DefaultChannel, "`CHANNEL` that the manifest must be of")
	t.flags(cmd.Flags())
	return cmd
}

// refused is the error of an update or a verification.
func (a *app) refused(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fail(exitVerify, manifest.Advice(err), fmt.Errorf("nothing was changed: %w", err))
}

// installedSuite opens an installed suite; official tells whether the project's own signature stands behind it. note is what
// a user should know, empty where that is nothing.
func (a *app) installedSuite(ctx context.Context, name, version string, box sandboxed) (s *suite.Suite, official bool, note string, err error) {
	dir, err := a.suitesDir()
	if err != nil {
		return nil, false, "", err
	}
	archive, in, err := manifest.Open(dir, name, version)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, "", err
		}
		return nil, false, "", fail(exitVerify, orElse(manifest.Advice(err), "llm-speed self-update"), err)
	}
	if s, err = unpackedSuite(ctx, archive, box); err != nil {
		return nil, false, "", fail(exitSuite, "", fmt.Errorf("suite %s: %w", in.Key(), err))
	}
	if s.Digest != in.Digest {
		return nil, false, "", fail(exitVerify, "llm-speed self-update", fmt.Errorf("suite %s: its digest is %s, and was %s when it was installed", in.Key(), s.Digest, in.Digest))
	}
	official, why := a.vouched(ctx, dir, &in)
	switch {
	case in.Status == manifest.Revoked:
		return s, false, fmt.Sprintf("suite %s was revoked: %s; its results are not official", in.Key(), orElse(in.Reason, "no reason given")), nil
	case !official:
		return s, false, fmt.Sprintf("suite %s is not official: %s", in.Key(), why), nil
	}
	if until, err := manifest.Expires(dir, in.Channel); err == nil && until.Before(time.Now()) {
		note = fmt.Sprintf("what is known about suite %s is of before %s, and may be out of date: llm-speed self-update", in.Key(), until.UTC().Format(time.DateOnly))
	}
	return s, true, note, nil
}

// vouched verifies again, offline, that the project's own signature stands behind an installed suite.
func (a *app) vouched(ctx context.Context, dir string, in *manifest.Installed) (ok bool, why string) {
	raw, bundle, err := manifest.Proof(dir, in.Channel)
	if err != nil {
		return false, err.Error()
	}
	v, err := manifest.Keyless(manifest.TrustedRoot, manifest.Identity{Issuer: manifest.DefaultIssuer, Subject: manifest.DefaultIdentity})
	if err != nil {
		return false, err.Error()
	}
	u, err := a.updater(v, manifest.DefaultURL, in.Channel)
	if err != nil {
		return false, err.Error()
	}
	m, _, err := u.Read(ctx, raw, bundle)
	if err != nil {
		return false, "the project has not signed it"
	}
	if e := m.Find(in.Name, in.Version); e == nil || e.SHA256 != in.SHA256 {
		return false, "the project's manifest does not list it"
	}
	return true, ""
}
