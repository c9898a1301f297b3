package weights

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// inodeOf is Windows' number of the file in its volume.
func inodeOf(f *os.File, _ fs.FileInfo) (uint64, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return 0, err
	}
	return uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow), nil
}
