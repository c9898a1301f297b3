// Command make-test-model writes the tiny GGUF model of the tests, to try llm-speed by hand against a real llama-server:
//
//	go run ./scripts -o test.gguf
package main

import (
	"flag"
	"log"

	"github.com/llm-speed/llm-speed/internal/weights/weightstest"
)

func main() {
	out := flag.String("o", "llm-speed-test.gguf", "file to write")
	bos := flag.Bool("bos", false, "the tokenizer puts a begin-of-text token before a text")
	all := flag.Bool("all-bytes", false, "the output has bytes of cut-up UTF-8 too")
	large := flag.Bool("large", false, "weights of some 45 MB, so that a token takes milliseconds")
	flag.Parse()
	if err := (weightstest.Options{AddBOS: *bos, AllBytes: *all, Large: *large}).Write(*out); err != nil {
		log.Fatal(err)
	}
}
