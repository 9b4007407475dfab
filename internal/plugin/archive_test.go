package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// item is an entry of an archive with its content.
type item struct {
	tar.Header
	content string
}

func file(name, content string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func entry(kind byte, name, link string) item {
	return item{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o755}, ""}
}

func dir(name string) item { return entry(tar.TypeDir, name, "") }

func symlink(name, target string) item { return entry(tar.TypeSymlink, name, target) }

func packTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, i := range items {
		require.NoError(t, w.WriteHeader(&i.Header))
		_, err := io.WriteString(w, i.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// Where fields stand in a tar header.
const (
	sizeAt = 124
	sumAt  = 148
	kindAt = 156
)

// patched returns an archive of one entry whose header was changed as no writer
// would write it.
func patched(t testing.TB, i item, change func(header []byte)) []byte {
	t.Helper()
	data := packTar(t, i)
	change(data[:512])
	copy(data[sumAt:], "        ")
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[sumAt:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// judge checks an archive under a manifest.
func judge(archive []byte, lim Limits, m Manifest) error {
	return CheckArchive(context.Background(), bytes.NewReader(archive), int64(len(archive)), lim, &m)
}

// refused wants an *ArchiveError that says what is wrong.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	var e *ArchiveError
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, says)
	require.Less(t, len(err.Error()), 800, "an error is for people")
}

func TestArchivesThatAreFine(t *testing.T) {
	for name, items := range map[string][]item{
		"one file":           {file("a", "x")},
		"directories":        {dir("./"), dir("./d/"), file("./d/a", "x"), dir("d")},
		"no directories":     {file("d/e/a", "x")},
		"directory late":     {file("d/a", "x"), dir("d/")},
		"link beside":        {file("lib/a.so.1", "x"), symlink("lib/a.so", "a.so.1")},
		"link up":            {file("a", "x"), symlink("d/e/l", "../../a")},
		"link to the top":    {file("a", "x"), symlink("d/l", "..")},
		"hard link":          {file("a", "x"), entry(tar.TypeLink, "b", "a")},
		"dangling link":      {file("a", "x"), symlink("l", "made/later")},
		"chain of links":     {file("d/e/a", "x"), symlink("s", "d"), symlink("d/t", "../s/e"), symlink("u", "d/t/a")},
		"git's own header":   {{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "383e68f"}}, ""}, file("a", "x")},
		"dots in a name":     {file("a..b/.c", "x")},
		"a long plain name":  {file(strings.Repeat("d/", 100)+"a", "x")},
		"names in use":       {file("ünï/cöde", "x"), file("日本語", "x"), file("a b", "x"), file("x=y,z;(1)+@#%&!~'", "x"), file("console", "x")},
		"other attributes":   {{tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, ""}},
		"sticky, executable": {{tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o1755}, ""}},
		"an empty file":      {file("a", "")},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, judge(zip(t, packTar(t, items...)), DefaultLimits, Manifest{}))
		})
	}
}

func TestEvilArchives(t *testing.T) {
	a := file("a", "x")
	mode := func(bits int64) item { return item{tar.Header{Typeflag: tar.TypeReg, Name: "m", Mode: bits}, ""} }
	pax := func(kind byte, key, value string) item {
		return item{tar.Header{Typeflag: kind, Name: "p", PAXRecords: map[string]string{key: value}}, ""}
	}
	for name, tc := range map[string]struct {
		items   []item
		problem string
	}{
		"dot dot":                {[]item{file("../a", "x")}, `".."`},
		"dot dot inside":         {[]item{file("d/../../a", "x")}, `".."`},
		"harmless dot dot":       {[]item{file("d/../a", "x")}, `".."`},
		"absolute":               {[]item{file("/etc/passwd", "x")}, "absolute"},
		"two slashes":            {[]item{file("//etc/passwd", "x")}, "absolute"},
		"drive":                  {[]item{file("c:/x", "x")}, "':'"},
		"stream":                 {[]item{file("a:b", "x")}, "':'"},
		"backslash":              {[]item{file(`..\x`, "x")}, "separator"},
		"control character":      {[]item{file("a\x1bb", "x")}, "U+001B"},
		"invisible character":    {[]item{file("a\u200bb", "x")}, "U+200B"},
		"right to left":          {[]item{file("a\u202etxt.exe", "x")}, "U+202E"},
		"no UTF-8":               {[]item{file("a\xff", "x")}, "UTF-8"},
		"a pattern":              {[]item{file("a*", "x")}, "'*'"},
		"long name":              {[]item{file(strings.Repeat("a", 1025), "x")}, "more than 1024"},
		"symlink out":            {[]item{a, symlink("l", "../x")}, "outside"},
		"symlink just out":       {[]item{a, symlink("l", "..")}, "outside"},
		"symlink far out":        {[]item{a, symlink("d/l", "../../x")}, "outside"},
		"symlink absolute":       {[]item{a, symlink("l", "/etc")}, "outside"},
		"symlink with late ..":   {[]item{a, symlink("l", "d/../../x")}, `".."`},
		"symlink without target": {[]item{a, symlink("l", "../")}, "outside"},
		"symlink to nothing":     {[]item{a, symlink("l", "")}, "empty path"},
		"symlink to a drive":     {[]item{a, symlink("l", `C:\Windows`)}, "':'"},
		"entry below a symlink":  {[]item{symlink("s", "d"), file("s/a", "x")}, "no directory"},
		"the same, other order":  {[]item{file("s/a", "x"), symlink("s", "d")}, "no directory"},
		"link up below a link":   {[]item{a, symlink("s", "."), symlink("s/l", "..")}, "no directory"},
		"the same, other case":   {[]item{a, symlink("s", "."), symlink("S/l", "..")}, "one name"},
		"the same, other marks":  {[]item{a, symlink("\u00e9", "."), symlink("e\u0301/l", "..")}, "one name"},
		"the same, sharp s":      {[]item{a, symlink("\u00df", "."), symlink("ss/l", "..")}, "one name"},
		"a chain of links out":   {[]item{dir("d"), symlink("d/a", "."), symlink("d/b", "a/.."), symlink("d/c", "b/../..")}, `".."`},
		"entry below a file":     {[]item{a, file("a/b", "x")}, "no directory"},
		"deep below a file":      {[]item{a, file("a/b/c/d", "x")}, "no directory"},
		"the top is a symlink":   {[]item{symlink(".", "d")}, "own directory"},
		"the top is a file":      {[]item{file("./.", "x")}, "own directory"},
		"a file named like dir":  {[]item{{tar.Header{Typeflag: tar.TypeSymlink, Name: "d/", Linkname: "x"}, ""}}, "ends in a slash"},
		"hard link out":          {[]item{a, entry(tar.TypeLink, "l", "../a")}, "hard link"},
		"hard link absolute":     {[]item{a, entry(tar.TypeLink, "l", "/etc/passwd")}, "hard link"},
		"hard link to a symlink": {[]item{a, symlink("s", "a"), entry(tar.TypeLink, "l", "s")}, "hard link"},
		"hard link to later":     {[]item{entry(tar.TypeLink, "l", "a"), a}, "hard link"},
		"hard link to itself":    {[]item{entry(tar.TypeLink, "l", "l")}, "hard link"},
		"hard link, other case":  {[]item{a, entry(tar.TypeLink, "l", "A")}, "hard link"},
		"hard link through dir":  {[]item{dir("d"), entry(tar.TypeLink, "l", "d")}, "hard link"},
		"character device":       {[]item{a, entry(tar.TypeChar, "c", "")}, "neither"},
		"block device":           {[]item{a, entry(tar.TypeBlock, "b", "")}, "neither"},
		"fifo":                   {[]item{a, entry(tar.TypeFifo, "f", "")}, "neither"},
		"contiguous file":        {[]item{a, entry(tar.TypeCont, "f", "")}, "neither"},
		"unknown kind":           {[]item{a, entry('Z', "f", "")}, "neither"},
		"twice":                  {[]item{a, file("./a", "y")}, "twice"},
		"file over directory":    {[]item{a, dir("d"), file("d", "x")}, "twice"},
		"directory over file":    {[]item{a, dir("a")}, "twice"},
		"symlink over file":      {[]item{a, symlink("a", "b")}, "twice"},
		"file over symlink":      {[]item{symlink("l", "b"), file("l", "x")}, "twice"},
		"other case":             {[]item{a, file("A", "y")}, `"A" and "a"`},
		"other case, directory":  {[]item{file("lib/a", "x"), file("Lib/b", "y")}, `"Lib" and "lib"`},
		"other case, both dirs":  {[]item{a, dir("d"), dir("D")}, "one name"},
		"other case, Greek":      {[]item{file("ΜΆΪΟΣ", "x"), file("μάϊος", "y")}, "one name"},
		"composed, decomposed":   {[]item{file("caf\u00e9", "x"), file("cafe\u0301", "y")}, "one name"},
		"kelvin":                 {[]item{file("k", "x"), file("\u212a", "y")}, "one name"},
		"ligature":               {[]item{file("fine", "x"), file("\ufb01ne", "y")}, "one name"},
		"device name":            {[]item{file("bin/NUL", "x")}, "Windows"},
		"device with suffix":     {[]item{file("aux.txt", "x")}, "Windows"},
		"device directory":       {[]item{file("Com1/x", "x")}, "Windows"},
		"device, superscript":    {[]item{file("lpt²", "x")}, "Windows"},
		"device, with a space":   {[]item{file("con .txt", "x")}, "Windows"},
		"trailing dot":           {[]item{a, file("b.", "x")}, "dot or space"},
		"trailing space":         {[]item{a, file("d /b", "x")}, "dot or space"},
		"set-user-ID":            {[]item{mode(0o4755)}, "mode 4755"},
		"set-group-ID":           {[]item{mode(0o2755)}, "mode 2755"},
		"both, directory":        {[]item{a, {tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o6755}, ""}}, "mode 6755"},
		"capabilities":           {[]item{pax(tar.TypeReg, "SCHILY.xattr.security.capability", "x")}, "more rights"},
		"path for all":           {[]item{pax(tar.TypeXGlobalHeader, "path", "../x"), a}, `sets "path"`},
		"size for all":           {[]item{pax(tar.TypeXGlobalHeader, "size", "1"), a}, `sets "size"`},
		"no file":                {[]item{dir("d")}, "no file"},
		"only links":             {[]item{symlink("a", "b"), symlink("b", "a")}, "no file"},
		"nothing":                {nil, "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, judge(zip(t, packTar(t, tc.items...)), DefaultLimits, Manifest{}), tc.problem)
		})
	}
}

func TestBrokenArchives(t *testing.T) {
	plain := packTar(t, file("a", strings.Repeat("x", 5000)))
	good := zip(t, plain)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	length := bytes.Clone(good)
	length[len(length)-1] ^= 1
	half := append(zip(t, plain[:2048]), zip(t, plain[2048:])...)
	for name, tc := range map[string]struct {
		data []byte
		says string
	}{
		"empty":                {nil, "not a readable"},
		"not gzip":             {plain, "not a readable"},
		"a zip file":           {[]byte("PK\x03\x04 and so on"), "not a readable"},
		"not tar":              {zip(t, []byte(strings.Repeat("hello", 500))), "not a readable"},
		"nothing, zipped":      {zip(t, nil), "has no end"},
		"cut before its end":   {zip(t, plain[:len(plain)-1024]), "has no end"},
		"cut in its end":       {zip(t, plain[:len(plain)-512]), "has no end"},
		"cut in the padding":   {zip(t, plain[:512+5000]), "has no end"},
		"odd length":           {zip(t, append(bytes.Clone(plain), 0)), "has no end"},
		"truncated gzip":       {good[:len(good)-12], "not a readable"},
		"truncated sum":        {good[:len(good)-2], "not a readable"},
		"truncated tar":        {zip(t, plain[:1000]), "not a readable"},
		"wrong checksum":       {flipped, "checksum"},
		"wrong length":         {length, "checksum"},
		"junk after gzip":      {append(bytes.Clone(good), "junk"...), "goes on after"},
		"zeros after gzip":     {append(bytes.Clone(good), make([]byte, 512)...), "goes on after"},
		"entries after end":    {zip(t, append(bytes.Clone(plain), packTar(t, file("../b", "x"))...)), "after its end"},
		"second gzip with tar": {append(bytes.Clone(good), zip(t, packTar(t, file("../b", "x")))...), "goes on after"},
		"one tar in two gzips": {half, "not a readable"},
		"an endless name":      {zip(t, patched(t, file("a", strings.Repeat("a", 2<<20)), func(h []byte) { h[kindAt] = tar.TypeGNULongName })), "too long"},
		"endless attributes":   {zip(t, patched(t, file("a", strings.Repeat("a", 2<<20)), func(h []byte) { h[kindAt] = tar.TypeXHeader })), "too long"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, judge(tc.data, DefaultLimits, Manifest{}), tc.says) })
	}
}

func TestManifestInTheArchive(t *testing.T) {
	m := *parsed(t, nil)
	same := string(m.Raw)
	with := func(inside string) error {
		return judge(zip(t, packTar(t, file("./manifest.json", inside))), DefaultLimits, m)
	}
	require.NoError(t, with(same))
	require.NoError(t, with(`{"name":"tool","publisher":"acme","version":"1.2.3","ratio":1.5}`), "the rest is its own business")
	require.NoError(t, judge(zip(t, packTar(t, file("d/manifest.json", "other"))), DefaultLimits, m), "not at the top")

	refused(t, with(strings.Replace(same, "1.2.3", "1.2.4", 1)), `says version "1.2.4", but the manifest beside the archive says "1.2.3"`)
	refused(t, with(strings.Replace(same, `"tool"`, `"toll"`, 1)), `says name "toll", but the manifest beside the archive says "tool"`)
	refused(t, with(strings.Replace(same, "acme", "аcme", 1)), `says publisher "аcme", but`)
	refused(t, with(`{"name":"tool","version":"1.2.3"}`), `has no publisher, but`)
	refused(t, with(`{"Name":"tool","version":"1.2.3","publisher":"acme"}`), `has no name, but`)
	refused(t, with(`{"name":"tool","name":"tool"}`), "is no manifest")
	refused(t, with(same+same), "is no manifest")
	refused(t, with("\ufeff"+same), "is no manifest")
	refused(t, with(""), "is no manifest")
	refused(t, with(`{"name":7}`), "is no manifest")
	refused(t, with(strings.Repeat("[", MaxManifest)), "is no manifest")
	refused(t, with(strings.Repeat(" ", MaxManifest+1)), "larger than 65536")
	for _, i := range []item{symlink("manifest.json", "a"), dir("manifest.json/"), entry(tar.TypeLink, "manifest.json", "a")} {
		refused(t, judge(zip(t, packTar(t, file("a", same), i)), DefaultLimits, m), "must be a file")
	}
	refused(t, judge(zip(t, packTar(t, file("MANIFEST.json", "{}"))), DefaultLimits, m), "has no name")
}

func TestEntryPointMustBeInTheArchive(t *testing.T) {
	archive := zip(t, packTar(t, dir("bin"), file("bin/run", "x")))
	require.NoError(t, judge(archive, DefaultLimits, Manifest{EntryPoint: "bin/run"}))
	for _, missing := range []string{"run", "bin", "bin/Run", "bin/run/x"} {
		var e *ManifestError
		require.ErrorAs(t, judge(archive, DefaultLimits, Manifest{EntryPoint: missing}), &e)
		require.Equal(t, "entryPoint", e.Field)
	}
}

func TestReadersThatFail(t *testing.T) {
	archive := zip(t, packTar(t, file("a", "x")))
	broken := errors.New("the disk is gone")
	for n := range len(archive) {
		r := io.MultiReader(bytes.NewReader(archive[:n]), failing{broken})
		err := CheckArchive(t.Context(), r, int64(len(archive)), DefaultLimits, &Manifest{})
		require.ErrorIs(t, err, broken, "after %d bytes", n)
		ctx, cancel := context.WithCancel(t.Context())
		r = io.MultiReader(bytes.NewReader(archive[:n]), calling(cancel), bytes.NewReader(archive[n:]))
		require.ErrorIs(t, CheckArchive(ctx, r, int64(len(archive)), DefaultLimits, &Manifest{}), context.Canceled, "after %d bytes", n)
	}
	for _, lie := range []int64{-1, 0, 10, int64(len(archive)) - 1, int64(len(archive)) + 1} {
		refused(t, CheckArchive(t.Context(), bytes.NewReader(archive), lie, DefaultLimits, &Manifest{}), "")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type calling func()

func (c calling) Read([]byte) (int, error) { c(); return 0, io.EOF }

func TestTheExamplePluginIsItsDirectory(t *testing.T) {
	archive, err := os.ReadFile("../../testdata/plugins/hello-world.1.0.0.tar.gz")
	require.NoError(t, err)
	z, err := gzip.NewReader(bytes.NewReader(archive))
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
	m, err := ParseManifest(beside)
	require.NoError(t, err)
	require.NoError(t, judge(archive, DefaultLimits, *m))
}
