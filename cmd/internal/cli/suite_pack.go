package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/engine"
	"github.com/llm-speed/llm-speed/internal/suite"
)

func (a *app) suitePack() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use: "pack DIR|NAME", Short: "Pack a suite into an archive, reproducibly", Args: between(1, 1),
		Long:    "Pack a checked suite into a gzipped tar archive. The same files always give the same bytes; the archive's SHA-256\nand length, which a manifest names, are printed.",
		Example: "  llm-speed suite pack ./my-suite -o my-suite-0.1.0.tar.gz",
		RunE: func(cmd *cobra.Command, args []string) error {
			box := a.sandbox()
			s, _, err := a.loadSuite(cmd.Context(), args[0], box)
			if err != nil {
				return err
			}
			if err := engine.Rehearse(cmd.Context(), s, box.compile); err != nil {
				return fail(exitSuite, "llm-speed suite check "+args[0], err)
			}
			var b bytes.Buffer
			if err := suite.Pack(&b, s); err != nil {
				return err
			}
			name := fmt.Sprintf("%s-%s.tar.gz", s.Name, s.Version)
			switch {
			case to != "" && isDir(to):
				name = filepath.Join(to, name)
			case to != "":
				name = to
			}
			if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil { //nolint:gosec // it is to be published
				return fail(exitUsage, "", fmt.Errorf("write the archive: %w", err))
			}
			sum := sha256.Sum256(b.Bytes())
			a.outf("%s\n  suite   %s %s, %s\n  sha256  %s\n  length  %d\n", name, s.Name, s.Version, s.Digest, hex.EncodeToString(sum[:]), b.Len())
			return nil
		},
	}
	cmd.Flags().StringVarP(&to, "output", "o", "", "write the archive to `FILE`, or into that folder (default: NAME-VERSION.tar.gz)")
	return cmd
}
