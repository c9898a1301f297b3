//go:build !race

package cli

// slowedDown says that this test binary runs several times slower than the program.
const slowedDown = false
