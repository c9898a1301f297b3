//go:build !race

package sandbox

// swollen is how much more memory this build takes than an ordinary one.
const swollen = 1
