package cli

import "errors"

func blockingFile(string) error { return errors.New("Windows has none in a folder") }
