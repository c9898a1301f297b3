package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/manifest"
)

func (a *app) manifestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "manifest", Short: "Check, renew and verify a manifest of suites", Args: cobra.ArbitraryArgs, RunE: group,
		Example: "  llm-speed manifest check manifest.jsonnet\n  llm-speed manifest verify manifest.jsonnet manifest.jsonnet" + manifest.BundleSuffix,
	}
	var t trust
	var expired bool
	verify := &cobra.Command{
		Use: "verify FILE BUNDLE", Short: "Verify a manifest's signature and contents, offline", Args: between(2, 2),
		Long:    "Verify a manifest's sigstore bundle over the exact bytes of the file, evaluate the manifest and check it, all offline.\nFor anybody, and for the project before it publishes.",
		Example: "  llm-speed manifest verify manifest.jsonnet manifest.jsonnet" + manifest.BundleSuffix,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := t.verifier()
			if err != nil {
				return err
			}
			raw, err := readSmall(args[0])
			if err != nil {
				return err
			}
			bundle, err := readSmall(args[1])
			if err != nil {
				return err
			}
			u, err := a.updater(v, manifest.DefaultURL, manifest.DefaultChannel)
			if err != nil {
				return err
			}
			m, signed, err := u.Read(cmd.Context(), raw, bundle)
			if err != nil {
				return fail(exitVerify, manifest.Advice(err), fmt.Errorf("%s: %w", args[0], err))
			}
			a.outf("ok: signed by %s\nchannel %s, epoch %d, version %d, %s to %s\n", signed.By, m.Channel, m.Epoch, m.Version,
				m.Issued.UTC().Format(time.DateTime), m.Expires.UTC().Format(time.DateTime+" UTC"))
			for i := range m.Suites {
				e := &m.Suites[i]
				a.outf("  %-24s %-8s engine %d  %d bytes  sha256 %s\n", e.Key(), e.Status, e.Engine, e.Length, e.SHA256)
			}
			if expired {
				return nil
			}
			if err := m.Good(time.Now()); err != nil {
				return fail(exitVerify, manifest.Advice(err), fmt.Errorf("%s: %w", args[0], err))
			}
			return nil
		},
	}
	t.flags(verify.Flags())
	verify.Flags().BoolVar(&expired, "expired", false, "also where it has expired")
	cmd.AddCommand(a.manifestCheck(), a.manifestRenew(), verify)
	return cmd
}

// draft is a manifest that is about to be published, and what it is held against.
type draft struct{ archives, after string }

func (a *app) manifestCheck() *cobra.Command {
	var d draft
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Check a manifest that is not signed yet, and the archives that it lists", Args: between(1, 1),
		Long: `Evaluate a manifest in the sandbox and check it, as self-update will: its form, its dates, and each archive that lies in
--archives: length, digest, and the suite inside, which is checked and rehearsed. With --after, the manifest that was
published last, versions must go up, and all that was listed must still be, as the same archive; an archive that does
not lie in --archives must be listed there.`,
		Example: "  llm-speed manifest check manifest.jsonnet --archives out --after previous/manifest.jsonnet",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, last, err := a.drafted(cmd.Context(), args[0], d)
			if err != nil {
				return err
			}
			if err := m.Good(time.Now()); err != nil {
				return fail(exitVerify, "llm-speed manifest renew", fmt.Errorf("%s: %w", args[0], err))
			}
			return a.checkDraft(cmd.Context(), args[0], m, last, d)
		},
	}
	d.flags(cmd)
	return cmd
}

func (a *app) manifestRenew() *cobra.Command {
	var d draft
	var to string
	var days int
	cmd := &cobra.Command{
		Use: "renew FILE", Short: "Write a manifest anew with the next version and new dates", Args: between(1, 1),
		Long: `Evaluate a manifest, give it the version after that of --after (or keep its own where that is higher), the time of now
and an end, check it as manifest check does, and write it, ready to be signed.`,
		Example: "  llm-speed manifest renew publish/manifest.jsonnet --archives out --after previous/manifest.jsonnet -o out/manifest.jsonnet",
		RunE: func(cmd *cobra.Command, args []string) error {
			if days < 1 || days > 90 {
				return usagef("--days %d: want 1 to 90; a manifest that is good for long can be held back for as long", days)
			}
			m, last, err := a.drafted(cmd.Context(), args[0], d)
			if err != nil {
				return err
			}
			m.Renew(last, time.Now(), days)
			if err := a.checkDraft(cmd.Context(), args[0], m, last, d); err != nil {
				return err
			}
			b, err := m.Encode()
			if err != nil {
				return err
			}
			if to == "" || to == "-" {
				a.outf("%s", b)
				return nil
			}
			if err := os.WriteFile(to, b, 0o644); err != nil { //nolint:gosec // it is to be published
				return fail(exitUsage, "", fmt.Errorf("write the manifest: %w", err))
			}
			return nil
		},
	}
	d.flags(cmd)
	cmd.Flags().StringVarP(&to, "output", "o", "-", "write it to `FILE`; - is stdout")
	cmd.Flags().IntVar(&days, "days", 30, "it is good for `N` days")
	return cmd
}

func (d *draft) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.archives, "archives", "", "the archives are in `DIR` (default: the manifest's own)")
	cmd.Flags().StringVar(&d.after, "after", "", "`FILE` that was published last")
}

// drafted evaluates a manifest, and the one before it where there is one; last may be nil.
func (a *app) drafted(ctx context.Context, name string, d draft) (m, last *manifest.Manifest, err error) {
	read := func(name string) (*manifest.Manifest, error) {
		raw, err := readSmall(name)
		if err != nil {
			return nil, err
		}
		m, err := (&manifest.Updater{Evaluate: a.sandbox().evaluate}).Evaluated(ctx, raw)
		if err != nil {
			return nil, fail(exitVerify, "", fmt.Errorf("%s: %w", name, err))
		}
		return m, nil
	}
	if m, err = read(name); err != nil || d.after == "" {
		return m, nil, err
	}
	last, err = read(d.after)
	return m, last, err
}

// checkDraft checks a manifest's archives and what was published before.
func (a *app) checkDraft(ctx context.Context, name string, m, last *manifest.Manifest, d draft) error {
	refuse := func(err error) error { return fail(exitVerify, "", fmt.Errorf("%s: %w", name, err)) }
	if last != nil {
		if err := m.Follows(last); err != nil {
			return refuse(err)
		}
	}
	u, err := a.updater(nil, manifest.DefaultURL, m.Channel)
	if err != nil {
		return err
	}
	dir := orElse(d.archives, filepath.Dir(name))
	for i := range m.Suites {
		e := &m.Suites[i]
		address, err := url.Parse(e.URL)
		if err != nil {
			return refuse(fmt.Errorf("%s: %w", e.Key(), err))
		}
		b, err := os.ReadFile(filepath.Join(dir, path.Base(address.Path))) //nolint:gosec // the user's own folder
		switch {
		case errors.Is(err, fs.ErrNotExist) && last != nil && last.Find(e.Name, e.Version) != nil:
			a.errf("%s: published before\n", e.Key())
			continue
		case err != nil:
			return refuse(fmt.Errorf("%s: its archive: %w", e.Key(), err))
		}
		if err := u.Fits(ctx, e, b); err != nil {
			return refuse(fmt.Errorf("%s: %w", e.Key(), err))
		}
		a.errf("%s: ok\n", e.Key())
	}
	a.errf("%s: ok, channel %s, epoch %d, version %d, good until %s\n", name, m.Channel, m.Epoch, m.Version, m.Expires.UTC().Format(time.DateTime+" UTC"))
	return nil
}

// readSmall reads a file that a user named, of at most a megabyte.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, usagef("%w", err)
	case info.Size() > 1<<20:
		return nil, usagef("%s: larger than 1 MiB", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return b, nil
}
