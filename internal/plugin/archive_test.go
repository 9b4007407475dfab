package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)),
		PAXRecords: map[string]string{"TEST.content": content}}
}

func entry(kind byte, name, link string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o755}
}

func packTar(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range entries {
		content := h.PAXRecords["TEST.content"]
		h.PAXRecords = nil
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func zip(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func check(archive []byte, limits Limits, entryPoint string) error {
	return CheckArchive(context.Background(), bytes.NewReader(archive), int64(len(archive)), limits, &Manifest{EntryPoint: entryPoint})
}

func TestArchivesThatAreFine(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"one file":          {file("a", "x")},
		"directories":       {entry(tar.TypeDir, "./", ""), entry(tar.TypeDir, "./d/", ""), file("./d/a", "x"), entry(tar.TypeDir, "d", "")},
		"no directories":    {file("d/e/a", "x")},
		"link beside":       {file("lib/a.so.1", "x"), entry(tar.TypeSymlink, "lib/a.so", "a.so.1")},
		"link up":           {file("a", "x"), entry(tar.TypeSymlink, "d/e/l", "../../a")},
		"link to the top":   {file("a", "x"), entry(tar.TypeSymlink, "d/l", "..")},
		"hard link":         {file("a", "x"), entry(tar.TypeLink, "b", "a")},
		"dangling link":     {file("a", "x"), entry(tar.TypeSymlink, "l", "made/later")},
		"git's own header":  {{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header"}, file("a", "x")},
		"dots in a name":    {file("a..b/...", "x")},
		"a long plain name": {file(strings.Repeat("d/", 100)+"a", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, check(zip(t, packTar(t, entries...)), DefaultLimits, ""))
		})
	}
}

func TestEvilArchives(t *testing.T) {
	a := file("a", "x")
	for name, tc := range map[string]struct {
		entries []tar.Header
		problem string
	}{
		"dot dot":                {[]tar.Header{file("../a", "x")}, `".."`},
		"dot dot inside":         {[]tar.Header{file("d/../../a", "x")}, `".."`},
		"harmless dot dot":       {[]tar.Header{file("d/../a", "x")}, `".."`},
		"absolute":               {[]tar.Header{file("/etc/passwd", "x")}, "absolute"},
		"drive":                  {[]tar.Header{file("c:/x", "x")}, "drive"},
		"backslash":              {[]tar.Header{file(`..\x`, "x")}, "drive or separator"},
		"control character":      {[]tar.Header{file("a\x1bb", "x")}, "control"},
		"long name":              {[]tar.Header{file(strings.Repeat("a", 1025), "x")}, "more than 1024"},
		"symlink out":            {[]tar.Header{a, entry(tar.TypeSymlink, "l", "../x")}, "outside"},
		"symlink just out":       {[]tar.Header{a, entry(tar.TypeSymlink, "l", "..")}, "outside"},
		"symlink far out":        {[]tar.Header{a, entry(tar.TypeSymlink, "d/l", "../../x")}, "outside"},
		"symlink absolute":       {[]tar.Header{a, entry(tar.TypeSymlink, "l", "/etc")}, "outside"},
		"symlink with late ..":   {[]tar.Header{a, entry(tar.TypeSymlink, "l", "d/../../x")}, `".."`},
		"symlink without target": {[]tar.Header{a, entry(tar.TypeSymlink, "l", "../")}, "outside"},
		"entry below a symlink":  {[]tar.Header{entry(tar.TypeSymlink, "s", "d"), file("s/a", "x")}, "no directory"},
		"the same, other order":  {[]tar.Header{file("s/a", "x"), entry(tar.TypeSymlink, "s", "d")}, "no directory"},
		"link up below a link":   {[]tar.Header{a, entry(tar.TypeSymlink, "s", "."), entry(tar.TypeSymlink, "s/l", "..")}, "no directory"},
		"entry below a file":     {[]tar.Header{a, file("a/b", "x")}, "no directory"},
		"the top is a symlink":   {[]tar.Header{a, entry(tar.TypeSymlink, ".", "d")}, "own directory"},
		"hard link out":          {[]tar.Header{a, entry(tar.TypeLink, "l", "../a")}, "hard link"},
		"hard link absolute":     {[]tar.Header{a, entry(tar.TypeLink, "l", "/etc/passwd")}, "hard link"},
		"hard link to a symlink": {[]tar.Header{a, entry(tar.TypeSymlink, "s", "a"), entry(tar.TypeLink, "l", "s")}, "hard link"},
		"hard link to later":     {[]tar.Header{entry(tar.TypeLink, "l", "a"), a}, "hard link"},
		"character device":       {[]tar.Header{a, entry(tar.TypeChar, "c", "")}, "neither"},
		"block device":           {[]tar.Header{a, entry(tar.TypeBlock, "b", "")}, "neither"},
		"fifo":                   {[]tar.Header{a, entry(tar.TypeFifo, "f", "")}, "neither"},
		"twice":                  {[]tar.Header{a, file("./a", "y")}, "twice"},
		"file over directory":    {[]tar.Header{a, entry(tar.TypeDir, "d", ""), file("d", "x")}, "twice"},
		"no file":                {[]tar.Header{entry(tar.TypeDir, "d", "")}, "no file"},
		"nothing":                {nil, "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(zip(t, packTar(t, tc.entries...)), DefaultLimits, "")
			var e *ArchiveError
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, tc.problem)
		})
	}
}

func TestBrokenArchives(t *testing.T) {
	plain := packTar(t, file("a", strings.Repeat("x", 5000)))
	good := zip(t, plain)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	for name, data := range map[string][]byte{
		"empty":                {},
		"not gzip":             plain,
		"not tar":              zip(t, []byte(strings.Repeat("hello", 500))),
		"truncated gzip":       good[:len(good)-12],
		"truncated tar":        zip(t, plain[:1000]),
		"wrong checksum":       flipped,
		"junk after gzip":      append(bytes.Clone(good), "junk"...),
		"entries after end":    zip(t, append(bytes.Clone(plain), packTar(t, file("../b", "x"))...)),
		"second gzip with tar": append(bytes.Clone(good), zip(t, packTar(t, file("../b", "x")))...),
	} {
		t.Run(name, func(t *testing.T) {
			var e *ArchiveError
			require.ErrorAs(t, check(data, DefaultLimits, ""), &e)
		})
	}
}

func TestArchiveBounds(t *testing.T) {
	three := zip(t, packTar(t, file("a", "x"), file("b", "x"), file("c", "x")))
	require.NoError(t, check(three, Limits{Unpacked: 1 << 20, Entries: 3}, ""))
	require.ErrorContains(t, check(three, Limits{Unpacked: 1 << 20, Entries: 2}, ""), "more than 2 entries")

	large := zip(t, packTar(t, file("a", strings.Repeat("x", 100_000))))
	require.NoError(t, check(large, Limits{Unpacked: 200_000, Entries: 3}, ""))
	require.ErrorIs(t, check(large, Limits{Unpacked: 99_999, Entries: 3}, ""), errBomb)

	zeros := zip(t, append(packTar(t, file("a", "x")), make([]byte, MinExpansion+(8<<20))...))
	require.ErrorIs(t, check(zeros, DefaultLimits, ""), errBomb, "a bomb behind the end of the archive")
	bomb := zip(t, packTar(t, file("a", strings.Repeat("\x00", MinExpansion+(8<<20)))))
	require.ErrorIs(t, check(bomb, DefaultLimits, ""), errBomb, "expansion far beyond its own size")
}

func TestEntryPointMustBeInTheArchive(t *testing.T) {
	archive := zip(t, packTar(t, entry(tar.TypeDir, "bin", ""), file("bin/run", "x")))
	require.NoError(t, check(archive, DefaultLimits, "bin/run"))
	for _, missing := range []string{"run", "bin"} {
		var e *ManifestError
		require.ErrorAs(t, check(archive, DefaultLimits, missing), &e)
		require.Equal(t, "entryPoint", e.Field)
	}
}

func TestTheExamplePluginIsItsDirectory(t *testing.T) {
	f, err := os.Open("../../testdata/plugins/hello-world.1.0.0.tar.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		names = append(names, h.Name)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		want, err := os.ReadFile(filepath.Join("../../testdata/plugins/hello-world", h.Name))
		require.NoError(t, err)
		require.Equal(t, want, got, h.Name)
	}
	require.Equal(t, []string{"bin/hello.sh", "plugin.json"}, names)
	inside, err := os.ReadFile("../../testdata/plugins/hello-world/plugin.json")
	require.NoError(t, err)
	beside, err := os.ReadFile("../../testdata/plugins/hello-world.1.0.0.json")
	require.NoError(t, err)
	require.Equal(t, inside, beside)
}
