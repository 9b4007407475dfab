package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// counting counts what is read through it.
type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func TestArchiveBounds(t *testing.T) {
	three := zip(t, packTar(t, file("a", "x"), file("b", "x"), file("c", "x")))
	lim := Limits{Size: 1 << 20, Unpacked: 1 << 20, Entries: 3}
	require.NoError(t, judge(three, lim, Manifest{}))
	lim.Entries = 2
	refused(t, judge(three, lim, Manifest{}), "more than 2 entries")
	refused(t, judge(zip(t, packTar(t, file("a/b/c", "x"))), lim, Manifest{}), "more than 2 entries")
	refused(t, judge(zip(t, packTar(t, file("a", "x"), dir("d"), dir("d"))), lim, Manifest{}), "more than 2 entries")
	refused(t, judge(three, Limits{}, Manifest{}), "allowed")

	large := zip(t, packTar(t, file("a", strings.Repeat("x", 100_000))))
	lim = Limits{Size: int64(len(large)), Unpacked: 200_000, Entries: 3}
	require.NoError(t, judge(large, lim, Manifest{}))
	lim.Unpacked = 99_999
	refused(t, judge(large, lim, Manifest{}), "more than the 99999 bytes")
	lim.Size--
	refused(t, judge(large, lim, Manifest{}), fmt.Sprintf("is %d bytes large, more than the %d allowed", len(large), lim.Size))
}

func TestTenGibibytes(t *testing.T) {
	const size = 10 << 30
	f, err := os.Create(filepath.Join(t.TempDir(), "huge.tar.gz"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(size)) // holds nothing
	c := &counting{r: f}
	refused(t, CheckArchive(t.Context(), c, size, DefaultLimits, &Manifest{}), "is 10737418240 bytes large")
	require.Zero(t, c.n)

	good := zip(t, packTar(t, file("a", "x")))
	_, err = f.WriteAt(good, 0)
	require.NoError(t, err)
	refused(t, CheckArchive(t.Context(), c, int64(len(good)), DefaultLimits, &Manifest{}), "longer than it was said to be")
	require.Less(t, c.n, int64(len(good)+2))
}

func TestBombs(t *testing.T) {
	const much = MinExpansion + 8<<20
	zeros := make([]byte, much)
	plain := packTar(t, file("a", "x"))
	member := zip(t, zeros[:10<<20])
	emptyBlocks := append(zip(t, nil)[:10], bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20)...)
	for name, tc := range map[string]struct {
		archive []byte
		says    string
	}{
		"zeros in a file":        {zip(t, packTar(t, file("a", string(zeros)))), "unpacks to too much"},
		"zeros behind the end":   {zip(t, append(bytes.Clone(plain), zeros...)), "unpacks to too much"},
		"zeros and no tar":       {zip(t, zeros), "unpacks to too much"},
		"a thousand gzips":       {bytes.Repeat(member, 1000), "goes on after"},
		"a thousand behind":      {append(zip(t, plain), bytes.Repeat(member, 1000)...), "goes on after"},
		"a million empty gzips":  {bytes.Repeat(zip(t, nil), 1<<20), "goes on after"},
		"empty blocks":           {emptyBlocks, "not a readable"},
		"gzip in gzip":           {zip(t, zip(t, plain)), "not a readable"},
		"deep names":             {stored(t, deep(t, 120, 450)), "more than 50000 entries"},
		"long names":             {stored(t, deep(t, 17_000, 1)), "names of more than 16777216 bytes"},
		"more claimed than held": {zip(t, patched(t, file("a", "x"), octalSize("77777777777"))), "unpacks to too much"},
		"an exbibyte claimed":    {zip(t, patched(t, file("a", "x"), binarySize(1<<60))), "octal"},
		"less than nothing":      {zip(t, patched(t, file("a", "x"), binarySize(-1))), "not a readable"},
		"less than it holds":     {zip(t, patched(t, file("a", strings.Repeat("x", 600)), octalSize("00000000001"))), "not a readable"},
		"a little more":          {zip(t, patched(t, file("a", "x"), octalSize("00000010000"))), "not a readable"},
		"sparse, old":            {zip(t, patched(t, file("a", "x"), oldSparse)), "sparse"},
		"sparse, PAX 0.1":        {zip(t, paxSparse(t, "0", "1")), "sparse"},
		"sparse, PAX 1.0":        {zip(t, paxSparse(t, "1", "0")), "sparse"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, judge(tc.archive, DefaultLimits, Manifest{}), tc.says)
		})
	}
}

// TestABombIsNotUnpacked: what is left of the bomb is not even read.
func TestABombIsNotUnpacked(t *testing.T) {
	bomb := zip(t, make([]byte, 64<<20))
	c := &counting{r: bytes.NewReader(bomb)}
	refused(t, CheckArchive(t.Context(), c, int64(len(bomb)), DefaultLimits, &Manifest{}), "unpacks to too much")
	require.Less(t, c.n, int64(len(bomb)))
	require.LessOrEqual(t, DefaultLimits.expansion(int64(len(bomb))), int64(MinExpansion+MaxExpansion*len(bomb)))
}

func TestExpansionNeverOverflows(t *testing.T) {
	lim := Limits{Size: 1<<63 - 1, Unpacked: 1<<63 - 1}
	require.Equal(t, lim.Unpacked, lim.expansion(lim.Size))
	require.Equal(t, int64(MinExpansion), lim.expansion(0))
	require.Equal(t, int64(MaxUnpacked), DefaultLimits.expansion(MaxArchive))
	require.Equal(t, int64(MinExpansion+MaxExpansion*1000), DefaultLimits.expansion(1000))
}

// stored is a gzip stream that compresses nothing: quickly made.
func stored(t *testing.T, data []byte) []byte {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.NoCompression)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// deep returns n files with paths of about 1000 bytes, each in so many
// directories of its own.
func deep(t *testing.T, n, depth int) []byte {
	below := strings.Repeat(strings.Repeat("a", 900/depth-1)+"/", depth)
	var items []item
	for i := range n {
		items = append(items, file(fmt.Sprintf("%090d%sf", i, below), ""))
	}
	return packTar(t, items...)
}

func octalSize(octal string) func([]byte) {
	return func(h []byte) { copy(h[sizeAt:], octal+"\x00") }
}

// binarySize is GNU's spelling of numbers that octal digits have no room for.
func binarySize(size int64) func([]byte) {
	return func(h []byte) {
		sign := byte(size >> 63)
		h[sizeAt] = 0x80 | sign
		for i := 1; i < 4; i++ {
			h[sizeAt+i] = sign
		}
		binary.BigEndian.PutUint64(h[sizeAt+4:], uint64(size))
	}
}

// oldSparse makes the header one of GNU tar's sparse files: one byte of data,
// and a length of 8 GiB less one.
func oldSparse(h []byte) {
	h[kindAt] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	copy(h[386:], "00000000000\x0000000000001\x00")
	copy(h[483:], "77777777777\x00")
}

// paxSparse returns an archive with a sparse file in PAX's spelling.
func paxSparse(t *testing.T, major, minor string) []byte {
	// The writer refuses the real names.
	records := map[string]string{"GMU.sparse.major": major, "GMU.sparse.minor": minor, "GMU.sparse.name": "a",
		"GMU.sparse.realsize": "8589934591", "GMU.sparse.size": "8589934591", "GMU.sparse.map": "0,1", "GMU.sparse.numblocks": "1"}
	sparseMap := "1\n0\n1\n" + strings.Repeat("\x00", 506)
	f := file("a", sparseMap+"x")
	f.PAXRecords = records
	return bytes.ReplaceAll(packTar(t, f), []byte("GMU.sparse"), []byte("GNU.sparse"))
}
