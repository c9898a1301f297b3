// Command llm-speed measures how fast a language model is served. All of it is in package cli.
package main

import (
	"os"

	"github.com/llm-speed/llm-speed/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(cli.OS())) }
