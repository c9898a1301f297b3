package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// completion adds cobra's command that writes the completion scripts.
func (a *app) completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd(a.Args...)
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Short = "Write the completion script of a shell"
		cmd.Long = "Write the script that makes a shell complete commands, flags and their values: runs, backends, models, workloads.\ndocs/shell.md says where each shell looks for it."
		cmd.Example = "  source <(llm-speed completion bash)"
		for _, shell := range cmd.Commands() {
			shell.Short = "Write the completion script of " + shell.Name()
			switch shell.Name() {
			case "bash":
				shell.Long = "Write the completion script of bash. It needs the package bash-completion."
				shell.Example = "  # in this shell\n  source <(llm-speed completion bash)\n\n  # in every new one\n  llm-speed completion bash > ~/.local/share/bash-completion/completions/llm-speed"
				shell.RunE = func(cmd *cobra.Command, _ []string) error {
					bare, _ := cmd.Flags().GetBool("no-descriptions") // false where there is no such flag
					return bashScript(a.Stdout, root, !bare)
				}
			case "zsh":
				shell.Long = "Write the completion script of zsh. Where completion is not on yet, ~/.zshrc needs a line: autoload -U compinit; compinit"
				shell.Example = "  # in this shell\n  source <(llm-speed completion zsh)\n\n  # in every new one, where ~/.zfunc stands in fpath\n  llm-speed completion zsh > ~/.zfunc/_llm-speed"
			case "fish":
				shell.Long = "Write the completion script of fish."
				shell.Example = "  # in this shell\n  llm-speed completion fish | source\n\n  # in every new one\n  llm-speed completion fish > ~/.config/fish/completions/llm-speed.fish"
			case "powershell":
				shell.Long = "Write the completion script of PowerShell."
				shell.Example = "  # in this shell\n  llm-speed completion powershell | Out-String | Invoke-Expression\n\n  # in every new one\n  llm-speed completion powershell >> $PROFILE"
			}
		}
	}
}

// bashScript writes cobra's script for bash with one change: bash's %q puts a backslash before a comma, and a list as W1,W2
// would never fit what was typed.
func bashScript(w io.Writer, root *cobra.Command, descriptions bool) error {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, descriptions); err != nil {
		return fmt.Errorf("write the script: %w", err)
	}
	script := b.String()
	for _, change := range commaChanges() {
		if !strings.Contains(script, change[0]) {
			return fmt.Errorf("write the script: it has no line %q", change[0])
		}
		script = strings.ReplaceAll(script, change[0], change[1])
	}
	_, err := io.WriteString(w, script)
	return err
}

func commaChanges() [][2]string {
	const bare = ` | sed 's/\\,/,/g')`
	return [][2]string{
		{`printf "%q\n" "${completions[@]%%$tab*}")`, `printf "%q\n" "${completions[@]%%$tab*}"` + bare},
		{`printf "%q\n" "${COMPREPLY[@]}")`, `printf "%q\n" "${COMPREPLY[@]}"` + bare},
		{`printf "%q\n" "${completions[@]}")`, `printf "%q\n" "${completions[@]}"` + bare},
		{`COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}")`, `COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}"` + bare},
		{`COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]%%$tab*}")`, `COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]%%$tab*}"` + bare},
		{`|| comp=$(printf "%q" "${compline%%$tab*}")`, `|| comp=$(printf "%q" "${compline%%$tab*}")` + "\n        comp=${comp//\\\\,/,}"},
	}
}
