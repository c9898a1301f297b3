package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/llm-speed/llm-speed/builtins"
	"github.com/llm-speed/llm-speed/suites"
)

func (a *app) suiteNew() *cobra.Command {
	return &cobra.Command{
		Use: "new DIR", Short: "Write a small working suite to begin with", Args: between(1, 1),
		Example: "  llm-speed suite new my-suite && llm-speed suite check my-suite",
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			name := suiteNameOf(dir)
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				return usagef("%s is not empty; a new suite wants a folder of its own", dir)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return usagef("%s: %w", dir, err)
			}
			files, err := suites.Template()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user's own files, as any other
				return fmt.Errorf("make the suite's folder: %w", err)
			}
			if err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := fs.ReadFile(files, path)
				if err != nil {
					return err
				}
				b = []byte(strings.Replace(string(b), "'NAME'", "'"+name+"'", 1))
				return os.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), b, 0o644) //nolint:gosec // as above
			}); err != nil {
				return fmt.Errorf("write the suite: %w", err)
			}
			a.outf("%s: suite %q\n", dir, name)
			for _, line := range []string{"suite check ", "suite test ", "bench --suite "} {
				a.outf("  llm-speed %s%s\n", line, shownPath(dir))
			}
			return nil
		},
	}
}

// shownPath is a folder as --suite takes it: a bare word would be the name of an installed suite first.
func shownPath(dir string) string {
	if dir != "." && !strings.ContainsAny(dir, `/\`) {
		dir = "./" + dir
	}
	if strings.ContainsAny(dir, " '\"$&()*;<>?[]") {
		return strconv.Quote(dir)
	}
	return dir
}

var notInName = regexp.MustCompile(`[^a-z0-9.-]+`)

// suiteNameOf makes a suite's name of its folder's.
func suiteNameOf(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(abs)), "-"), ".-")
	if name == "" {
		return "my-suite"
	}
	return name[:min(len(name), 64)]
}

func (a *app) suiteDocs() *cobra.Command {
	var stub bool
	cmd := &cobra.Command{
		Use: "docs", Short: "Print what a suite's programs can call", Args: between(0, 0),
		Long:    "Print what a suite's programs can call, in Markdown; with --stub as a Python stub that editors complete from.",
		Example: "  llm-speed suite docs\n  llm-speed suite docs --stub > builtins.pyi",
		RunE: func(*cobra.Command, []string) error {
			if stub {
				a.outf("%s", builtins.Stub())
			} else {
				a.outf("%s", builtins.Docs())
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&stub, "stub", false, "print a stub file (.pyi) instead")
	return cmd
}
