package report

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
	"github.com/llm-speed/llm-speed/internal/stream"
)

// Loader reads the recordings in a raw file and checks its digest.
type Loader func(record.RawFile) ([]stream.Recording, error)

// rawFiles names the files that the row can be rebuilt from, and shows of each recording its first and last stamps.
func rawFiles(p *page, r *record.Result, v rowView, load Loader) {
	var used []string
	for _, s := range v.Samples {
		if file, _, _ := strings.Cut(s.Raw, "#"); file != "" && !slices.Contains(used, file) {
			used = append(used, file)
		}
	}
	if len(used) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "raw frames, every byte and stamp")
	missing := false
	for _, name := range used {
		i := slices.IndexFunc(r.Raw, func(f record.RawFile) bool { return f.Path == name })
		if i < 0 {
			p.line(red, "  %s: not listed in the result", name)
			continue
		}
		f := r.Raw[i]
		p.line(plain, "  %s", f.Path)
		about := []string{thousands(strconv.FormatInt(f.Bytes, 10)) + " bytes", "sha256 " + strings.TrimPrefix(f.SHA256, "sha256:")}
		if load == nil {
			p.packed(dim, "    ", about, separator)
			continue
		}
		recs, err := load(f)
		if err != nil {
			p.packed(dim, "    ", about, separator)
			if absent := errors.Is(err, fs.ErrNotExist); !absent {
				p.wrapped(red, "    ", err.Error())
			} else if !missing {
				missing = true
				p.wrapped(yellow, "    ", "not here: raw files stay in the folder of run "+r.RunID+" on the machine that it was made on")
			}
			continue
		}
		p.packed(dim, "    ", append(about, "the file matches"), separator)
		shown := 0
		for _, s := range v.Samples {
			file, index, _ := strings.Cut(s.Raw, "#")
			n, err := strconv.Atoi(index)
			if file != name || err != nil || n < 0 || n >= len(recs) {
				continue
			}
			if shown++; shown <= shownRecordings {
				p.wrapped(plain, fmt.Sprintf("    %d.%d reads ", s.Pass, s.Stream), readsText(recs[n]))
			}
		}
		if more := shown - shownRecordings; more > 0 {
			p.line(dim, "    and %s", strings.Replace(Count(more, "stream"), " ", " more ", 1))
		}
	}
}

// How much is shown of a raw file: recordings, and of each the stamps of reads at its beginning.
const (
	shownRecordings = 3
	shownReads      = 6
)

// readsText shows when the reads of a recording returned, in ms after its t_send.
func readsText(rec stream.Recording) string {
	stamp := func(r stream.Read) string { return strconv.FormatFloat(float64(r.At-rec.Send)/1e6, 'f', 3, 64) }
	var parts []string
	for i, read := range rec.Reads {
		switch {
		case i < shownReads || i == len(rec.Reads)-1:
			parts = append(parts, stamp(read))
		case i == shownReads:
			parts = append(parts, "…")
		}
	}
	text := fmt.Sprintf("%d, %s bytes", len(rec.Reads), thousands(strconv.Itoa(len(rec.Data))))
	if len(parts) > 0 {
		text += ", returned at " + strings.Join(parts, " ") + " ms"
	}
	return text
}
