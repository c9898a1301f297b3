//go:build race

package sandbox

// swollen is how much more memory this build takes than an ordinary one: the race detector keeps a shadow of all of it.
const swollen = 6
