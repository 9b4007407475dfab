package plugin

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// part is a header with its content, without the end of a tar.
func part(t *testing.T, kind byte, content string, change func(h []byte)) []byte {
	data := patched(t, file("good", content), func(h []byte) {
		h[kindAt] = kind
		if change != nil {
			change(h)
		}
	})
	return data[:len(data)-endMark]
}

func record(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest)
	for n != len(fmt.Sprint(n))+len(rest) {
		n = len(fmt.Sprint(n)) + len(rest)
	}
	return fmt.Sprint(n) + rest
}

// TestHeadersThatReadersSeeDifferently: of each of these some unpacker makes
// another name, or other entries, than archive/tar does.
func TestHeadersThatReadersSeeDifferently(t *testing.T) {
	raw := func(kind byte, content string) []byte { return part(t, kind, content, nil) }
	pax := func(key, value string) []byte { return raw('x', record(key, value)) }
	long := func(name string) []byte { return raw('L', name+"\x00") }
	link := func(name string) []byte { return raw('K', name+"\x00") }
	comment := raw('g', record("comment", "x"))
	a := raw('0', "x")
	with := func(at int, value string) []byte {
		return part(t, '0', "x", func(h []byte) { copy(h[at:], value) })
	}
	const several, form = "several extension headers", "not well-formed"
	for name, c := range map[string]struct {
		parts   [][]byte
		problem string
	}{
		"PAX, GNU":              {[][]byte{pax("path", "../evil"), long("ok"), a}, several},
		"GNU, PAX":              {[][]byte{long("ok"), pax("path", "../evil"), a}, several},
		"PAX twice":             {[][]byte{pax("path", "../evil"), pax("mtime", "1"), a}, several},
		"GNU twice":             {[][]byte{long("../evil"), long("ok"), a}, several},
		"GNU, link, GNU":        {[][]byte{long("../evil"), link("x"), long("ok"), a}, several},
		"link twice":            {[][]byte{link("../evil"), link("ok"), part(t, '2', "", nil)}, several},
		"link, PAX":             {[][]byte{link("../evil"), pax("linkpath", "ok"), part(t, '2', "", nil)}, several},
		"PAX, global":           {[][]byte{pax("path", "../evil"), comment, a}, several},
		"GNU, global":           {[][]byte{long("../evil"), comment, a}, several},
		"PAX, end":              {[][]byte{a, pax("path", "ok")}, "ends after"},
		"empty path":            {[][]byte{pax("path", ""), a}, "empty"},
		"empty link":            {[][]byte{pax("linkpath", ""), part(t, '2', "", nil)}, "empty"},
		"empty size":            {[][]byte{pax("size", ""), a}, "empty size"},
		"empty GNU":             {[][]byte{long(""), a}, "no name"},
		"no GNU":                {[][]byte{raw('L', ""), a}, "no name"},
		"two names in GNU":      {[][]byte{long("ok\x00evil"), a}, "no name"},
		"path twice":            {[][]byte{raw('x', record("path", "../evil")+record("path", "ok")), a}, "twice"},
		"a signed length":       {[][]byte{raw('x', "+12 path=ok\n"), a}, form},
		"a padded length":       {[][]byte{raw('x', "012 path=ok\n"), a}, form},
		"other characters":      {[][]byte{pax("hdrcharset", "BINARY"), a}, "UTF-8"},
		"another size":          {[][]byte{pax("size", "0"), a}, "two different sizes"},
		"real size":             {[][]byte{pax("SCHILY.realsize", "512"), a}, "SCHILY.realsize"},
		"access list":           {[][]byte{pax("SCHILY.acl.access", "user::rwx"), a}, "SCHILY.acl"},
		"flags":                 {[][]byte{pax("SCHILY.fflags", "uchg"), a}, "SCHILY.fflags"},
		"sparse name":           {[][]byte{pax("GNU.sparse.name", "../evil"), a}, "sparse"},
		"escaped capability":    {[][]byte{pax("LIBARCHIVE.xattr.security%2Ecapability", "x"), a}, "more rights"},
		"access list, as xattr": {[][]byte{pax("SCHILY.xattr.system.posix_acl_access", "x"), a}, "not all readers"},
		"something new":         {[][]byte{pax("NEW.path", "x"), a}, "NEW.path"},
		"GNU with a prefix":     {[][]byte{part(t, '0', "x", func(h []byte) { copy(h[257:], "ustar  \x00"); copy(h[345:], "../evil") })}, "part of its name"},
		"old with a prefix":     {[][]byte{part(t, '0', "x", func(h []byte) { clear(h[257:265]); copy(h[345:], "../evil") })}, "part of its name"},
		"star's prefix": {[][]byte{part(t, '0', "x", func(h []byte) {
			copy(h[345:], strings.Repeat("a", 131)+"00000000000 00000000000 ")
			copy(h[508:], "tar\x00")
		})}, "part of its name"},
		"size in binary":       {[][]byte{part(t, '0', "x", binarySize(1))}, "octal"},
		"size with two words":  {[][]byte{with(sizeAt, "1 2\x00")}, "not a readable"},
		"size after a zero":    {[][]byte{with(sizeAt, "\x001\x00")}, "octal"},
		"old kind, renamed":    {[][]byte{long("ok"), part(t, 0, "x", func(h []byte) { copy(h, "dir/\x00") })}, "oldest kind"},
		"a directory's size":   {[][]byte{part(t, '5', "", octalSize("00000001000")), a}, "a size, but is no file"},
		"old directory's size": {[][]byte{part(t, 0, "x", func(h []byte) { copy(h, "dir/\x00") })}, "a size, but is no file"},
		"a link's size":        {[][]byte{part(t, '2', "", func(h []byte) { octalSize("00000001000")(h); h[157] = 'x' }), a}, "a size, but is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			data := append(bytes.Join(c.parts, nil), make([]byte, endMark)...)
			refused(t, judge(zip(t, data), DefaultLimits, Manifest{}), c.problem)
		})
	}
	for name, parts := range map[string][][]byte{
		"GNU name and link": {long("l"), link("ok"), part(t, '2', "", nil), a},
		"link and name":     {link("ok"), long("l"), part(t, '2', "", nil), a},
		"its own size":      {pax("size", "1"), a},
		"nothing of note":   {comment, raw('x', ""), a},
		"oldest kind":       {raw(0, "x")},
		"harmless records":  {raw('x', record("SCHILY.ino", "7")+record("hdrcharset", "ISO-IR 10646 2000 UTF-8")+record("path", "é")), a},
	} {
		t.Run(name, func(t *testing.T) {
			data := append(bytes.Join(parts, nil), make([]byte, endMark)...)
			require.NoError(t, judge(zip(t, data), DefaultLimits, Manifest{}))
		})
	}
}

// TestUsualPackers: what other programs pack is accepted, and all of them that
// are installed read the names that we read.
func TestUsualPackers(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("long/", 50) + "é"
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "p", filepath.Dir(name)), 0o755))
	for _, f := range []string{name, "a"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "p", f), []byte("content"), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p", "package.json"), []byte(`{"name":"p","version":"1.0.0"}`), 0o644))
	require.NoError(t, os.Symlink(name, filepath.Join(dir, "p", "link")))
	const git = `git init -q p && git -C p add . && git -C p -c user.name=x -c user.email=x@x -c commit.gpgsign=false commit -qm x && git -C p archive -o ../o HEAD && mv o out`
	python := func(format string) string {
		return "python3 -c 'import tarfile; t = tarfile.open(\"out\", \"w\", format=tarfile." + format + "); t.add(\"p\"); t.close()'"
	}
	for tool, command := range map[string]string{
		"tar gnu": "tar --format=gnu -cf out p", "tar pax": "tar --format=pax -cf out p", "tar attributes": "tar --format=posix --xattrs -cf out p",
		"python3 gnu": python("GNU_FORMAT"), "python3 pax": python("PAX_FORMAT"),
		"git":    strings.Replace(git, "../o", "../o --format=tar", 1),
		"npm":    "npm pack --silent --offline ./p && gzip -dc p-1.0.0.tgz > out",
		"bsdtar": "bsdtar -cf out p",
	} {
		t.Run(tool, func(t *testing.T) {
			tool, _, _ := strings.Cut(tool, " ")
			if _, err := exec.LookPath(tool); err != nil {
				t.Skip(err)
			}
			out, err := shell(dir, command)
			require.NoError(t, err, "%s", out)
			data, err := os.ReadFile(filepath.Join(dir, "out"))
			require.NoError(t, err)
			require.NoError(t, judge(zip(t, data), DefaultLimits, Manifest{}))
			requireSameNames(t, dir, namesOf(t, data))
		})
	}
}

func shell(dir, command string) ([]byte, error) {
	c := exec.Command("sh", "-c", command)
	c.Dir, c.Env = dir, append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+dir)
	return c.CombinedOutput()
}

// namesOf lists a tar, directories without a slash at the end.
func namesOf(t *testing.T, data []byte) (names []string) {
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeXGlobalHeader {
			names = append(names, strings.TrimSuffix(h.Name, "/"))
		}
	}
}

// requireSameNames compares with what others list in the file out.
func requireSameNames(t *testing.T, dir string, want []string) {
	for tool, command := range map[string]string{
		"tar":     "tar --quoting-style=literal -tf out",
		"python3": "python3 -c 'import tarfile; print(*tarfile.open(\"out\").getnames(), sep=\"\\n\")'",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			continue
		}
		out, err := shell(dir, command)
		require.NoError(t, err, "%s", out)
		var got []string
		for line := range strings.Lines(string(out)) {
			got = append(got, strings.TrimSuffix(strings.TrimSpace(line), "/"))
		}
		require.Equal(t, want, got, tool)
	}
}
