package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ragnos-labs/vault-tuf/internal/diskfile"
)

// fileName is the name of the n-th file, from 1.
func fileName(n int) string { return fmt.Sprintf("audit-%06d.ndjson", n) }

// fileNumber is the inverse of fileName, 0 for any other name.
func fileNumber(name string) int {
	var n int
	if _, err := fmt.Sscanf(name, "audit-%d.ndjson", &n); err != nil || n < 1 || fileName(n) != name {
		return 0
	}
	return n
}

// numbers returns the numbers of the files in a directory, in order.
func numbers(dir string) ([]int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, diskfile.Error("open", dir, err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, diskfile.Error("read", dir, err)
	}
	var all []int
	for _, name := range names {
		if n := fileNumber(name); n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// openAt opens a file of the log for reading from an offset.
func openAt(dir string, number int, offset int64) (*os.File, os.FileInfo, error) {
	path := filepath.Join(dir, fileName(number))
	f, info, err := diskfile.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, nil, diskfile.Error("read", path, err)
	}
	return f, info, nil
}

// lineReader reads lines in constant memory.
type lineReader struct {
	from *bufio.Reader
	// number counts lines from 1, offset is where the latest begins and size how long
	// it is, all of them after a call of next.
	number, offset, size int64
}

// newLineReader reads from r, which begins at an offset of its file.
func newLineReader(r io.Reader, offset int64) *lineReader {
	return &lineReader{from: bufio.NewReaderSize(r, MaxLine), offset: offset}
}

// parse parses what next has returned.
func (r *lineReader) parse(raw []byte, terminated bool) (line, error) {
	if !terminated || int64(len(raw)) != r.size {
		return line{}, ErrNoLine
	}
	return parseLine(raw[:len(raw)-1])
}

// next returns the next line with its newline, nil at the end. Of one that is longer
// than MaxLine it returns the beginning. terminated is false where the newline is
// missing. The line stays until the next call.
func (r *lineReader) next() (raw []byte, terminated bool, err error) {
	r.offset += r.size
	r.size = 0
	raw, err = r.from.ReadSlice('\n')
	if len(raw) == 0 && err == io.EOF {
		return nil, false, nil
	}
	r.number++
	r.size = int64(len(raw))
	if errors.Is(err, bufio.ErrBufferFull) {
		begin := append([]byte{}, raw[:256]...)
		for errors.Is(err, bufio.ErrBufferFull) {
			raw, err = r.from.ReadSlice('\n')
			r.size += int64(len(raw))
		}
		raw = begin
	}
	if err == io.EOF {
		return raw, false, nil
	}
	return raw, err == nil, err
}
