//go:build race

package weights

// slack is how much more than else may be allocated: the race detector lets pools forget what they hold.
const slack = 4
