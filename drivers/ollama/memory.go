package ollama

import (
	"errors"
	"regexp"
)

// errMemory marks a failure for want of memory.
var errMemory = errors.New("not enough memory")

// memoryPattern is how Ollama, its runners and the system say that the memory does not do, in lower case.
var memoryPattern = regexp.MustCompile(`requires more system memory|out of memory|model is too large for|failed to allocate|unable to allocate|cannot allocate memory|cudamalloc failed|bad_alloc`)
