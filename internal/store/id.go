package store

import (
	"fmt"
	"strings"
	"time"
)

// letters of a run id's tail: no i, l, o, u, which are misread.
const letters = "0123456789abcdefghjkmnpqrstvwxyz"

// NewRunID names a run: the time in UTC and 20 random bits, as in 20261123-142501-k3f9. Names sort by time.
func NewRunID(now time.Time, random uint32) string {
	var tail [4]byte
	for i := range tail {
		tail[i] = letters[random&31]
		random >>= 5
	}
	return now.UTC().Format("20060102-150405-") + string(tail[:])
}

// checkID refuses names that are no plain folder name everywhere.
func checkID(id string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if len(id) < 8 || len(id) > 64 || strings.Trim(id, allowed) != "" || id[0] < '0' || id[0] > '9' {
		return fmt.Errorf("%q is no run id; one looks like 20261123-142501-k3f9", id)
	}
	return nil
}
