//go:build !race

package oracletest

// raceDetector says that this test binary runs several times slower than the program.
const raceDetector = false
