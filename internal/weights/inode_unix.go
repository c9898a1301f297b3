//go:build unix

package weights

import (
	"io/fs"
	"os"
	"syscall"
)

// inodeOf is the number of the file in its file system; 0 where the system gives none.
func inodeOf(_ *os.File, st fs.FileInfo) (uint64, error) {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino, nil
	}
	return 0, nil
}
