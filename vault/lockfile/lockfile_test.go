package lockfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello is an entry of a version of a plugin of acme.
func hello(name, version string) Entry {
	return Entry{
		Target: "plugins/acme/" + name + "." + version + ".tar.gz", Publisher: "acme", Name: name, Version: version,
		Wanted: "<2, >=1", Repository: "main", Length: 4096,
		Hashes: map[string]string{"sha512": strings.Repeat("cd", 64), "sha256": strings.Repeat("ab", 32)},
	}
}

func bare(target string) Entry {
	return Entry{Target: target, Repository: "main", Hashes: map[string]string{"sha256": strings.Repeat("ab", 32)}}
}

func fileOf(t testing.TB, all ...Entry) *File {
	t.Helper()
	f := &File{}
	for _, e := range all {
		require.NoError(t, f.Set(e))
	}
	return f
}

func encode(t testing.TB, f *File) string {
	t.Helper()
	raw, err := f.Encode()
	require.NoError(t, err)
	return string(raw)
}

func requireCode(t *testing.T, err error, code protocol.Code) {
	t.Helper()
	require.Equal(t, code, tuferr.CodeOf(err), "%v", err)
}

const golden = `{
  "version": 1,
  "plugins": [
    {
      "target": "acme/hello",
      "repository": "main",
      "length": 0,
      "hashes": {
        "sha256": "abababababababababababababababababababababababababababababababab"
      }
    },
    {
      "target": "plugins/acme/hello.1.0.0.tar.gz",
      "publisher": "acme",
      "name": "hello",
      "version": "1.0.0",
      "wanted": "<2, >=1",
      "repository": "main",
      "length": 4096,
      "hashes": {
        "sha256": "abababababababababababababababababababababababababababababababab",
        "sha512": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
      }
    }
  ]
}
`

func TestEncode(t *testing.T) {
	require.Equal(t, "{\n  \"version\": 1,\n  \"plugins\": []\n}\n", encode(t, &File{}))
	require.Equal(t, golden, encode(t, fileOf(t, hello("hello", "1.0.0"), bare("acme/hello"))))
	f, err := Parse([]byte(golden))
	require.NoError(t, err)
	require.Equal(t, golden, encode(t, f))
	// However it is written.
	f, err = Parse([]byte(strings.ReplaceAll(golden, "\n", "\r\n")))
	require.NoError(t, err)
	require.Equal(t, golden, encode(t, f))
}

func TestSetFindRemove(t *testing.T) {
	f := fileOf(t, hello("other", "1.0.0"), bare("acme/hello"), hello("hello", "1.0.0"))
	require.NoError(t, f.Set(hello("hello", "1.1.0")))
	require.Len(t, f.Entries(), 3, "a plugin has one version")
	e, ok := f.Find("acme/hello")
	require.True(t, ok)
	require.Equal(t, hello("hello", "1.1.0"), e, "a plugin goes before a path")
	_, ok = f.Find(hello("hello", "1.0.0").Target)
	require.False(t, ok)
	e, ok = f.Find(hello("hello", "1.1.0").Target)
	require.True(t, ok)
	e.Hashes["sha256"] = "changed by the caller"
	f.Entries()[1].Hashes["sha256"] = "changed by the caller"
	require.Equal(t, []Entry{bare("acme/hello"), hello("hello", "1.1.0"), hello("other", "1.0.0")}, f.Entries())

	require.True(t, f.Remove("acme/hello"))
	require.True(t, f.Remove("acme/hello"), "now the path")
	require.False(t, f.Remove("acme/hello"))
	require.False(t, f.Remove(""))
	require.True(t, f.Remove(hello("other", "1.0.0").Target))
	require.Empty(t, f.Entries())
}

// badEntries are entries that no file may hold.
var badEntries = map[string]func(*Entry){
	"no target": func(e *Entry) { *e = bare("") }, "dots": func(e *Entry) { *e = bare("a/../b") }, "absolute": func(e *Entry) { *e = bare("/a") },
	"escape": func(e *Entry) { *e = bare("%2e%2e/a") }, "no sha256": func(e *Entry) { delete(e.Hashes, "sha256") },
	"sha256": func(e *Entry) { e.Hashes["sha256"] = strings.Repeat("ab", 20) }, "upper": func(e *Entry) { e.Hashes["sha256"] = strings.Repeat("AB", 32) },
	"sha512": func(e *Entry) { e.Hashes["sha512"] = e.Hashes["sha256"] }, "length": func(e *Entry) { e.Length = -1 },
	"version": func(e *Entry) { e.Version = "2.0.0" }, "half": func(e *Entry) { e.Publisher = "" },
	"repository": func(e *Entry) { e.Repository = "" }, "wanted": func(e *Entry) { e.Wanted = "\x1b[2J" }, "long": func(e *Entry) { e.Wanted = strings.Repeat("x", 257) },
}

func TestBadEntries(t *testing.T) {
	for name, spoil := range badEntries {
		f := fileOf(t, hello("hello", "0.1.0"))
		e := hello("hello", "1.0.0")
		spoil(&e)
		err := f.Set(e)
		require.Contains(t, []protocol.Code{protocol.CodeUsage, protocol.CodeInvalidName}, tuferr.CodeOf(err), "%s: %v", name, err)
		require.Equal(t, []Entry{hello("hello", "0.1.0")}, f.Entries())

		raw := encode(t, &File{entries: []Entry{hello("other", "1.0.0"), e}})
		_, err = Parse([]byte(raw))
		requireCode(t, err, protocol.CodeLocalIO)
		require.Contains(t, err.Error(), "line 17", name)
		require.NotEmpty(t, tuferr.As(err).Hint)
	}
}

func TestBadFiles(t *testing.T) {
	const newer = "newer version"
	entry := strings.TrimSpace(golden[strings.Index(golden, "    {\n      \"target\": \"plugins"):strings.LastIndex(golden, "\n  ]")])
	for name, tc := range map[string]struct{ file, message string }{
		"empty":         {"", "line 1"},
		"nothing":       {"null", "version"},
		"list":          {"[]", "line 1"},
		"no version":    {`{"plugins": []}`, "version"},
		"no plugins":    {`{"version": 1}`, "plugins"},
		"version 0":     {`{"version": 0, "plugins": []}`, "version"},
		"version 1.5":   {`{"version": 1.5, "plugins": []}`, "line 1"},
		"version 2":     {`{"version": 2, "everything": "else"}`, newer},
		"unknown":       {strings.Replace(golden, `"version": 1,`, "\"version\": 1,\n\"new\": 1,", 1), "line 3: \"/new\""},
		"unknown below": {strings.Replace(golden, `"length": 0,`, `"new": 0, "length": 0,`, 1), newer},
		"case":          {strings.Replace(golden, `"target"`, `"Target"`, 1), "line 5"},
		"cut":           {golden[:len(golden)-20], "line 2"},
		"more":          {golden + "{}", "line 27"},
		"member twice":  {strings.Replace(golden, `"length": 0,`, "\"length\": 0,\n\"length\": 0,", 1), "line 8"},
		"plugin twice":  {strings.Replace(golden, entry, entry+","+strings.ReplaceAll(entry, "1.0.0", "1.1.0"), 1), "acme/hello is in line 12 already"},
		"target twice":  {strings.Replace(golden, entry, entry+","+strings.ReplaceAll(entry, "1.0.0", "1.0.0"), 1), "in line 12 already"},
		"wrong type":    {strings.Replace(golden, `"length": 4096`, `"length": "4096"`, 1), "line 19"},
		"no length":     {strings.Replace(golden, `"length": 4096,`, ``, 1), "no length"},
		"fraction":      {strings.Replace(golden, `"length": 4096`, `"length": 40.96`, 1), "line 19"},
		"utf-8":         {strings.Replace(golden, "<2", "<\xff", 1), "line 17"},
		"null":          {`{"version": 1, "plugins": [null]}`, "not an object"},
		"conflict":      {strings.Replace(golden, "      \"length\": 4096,\n", "<<<<<<< HEAD\n      \"length\": 4096,\n=======\n      \"length\": 4097,\n>>>>>>> theirs\n", 1), "line 19: the file holds an unresolved merge conflict"},
		"diff3":         {golden + "||||||| base\n", "merge conflict"},
		"too long":      {golden + strings.Repeat(" ", MaxSize), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.file))
			requireCode(t, err, protocol.CodeLocalIO)
			require.Contains(t, err.Error(), tc.message)
			require.NotEmpty(t, tuferr.As(err).Hint)
			if strings.HasPrefix(name, "unknown") {
				require.Contains(t, tuferr.As(err).Hint, newer)
			}
			path := filepath.Join(t.TempDir(), Name)
			require.NoError(t, os.WriteFile(path, []byte(tc.file), 0o600))
			_, err = Read(path)
			requireCode(t, err, protocol.CodeLocalIO)
			require.Equal(t, path, tuferr.As(err).Path)
		})
	}
}

func TestReadAndWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	_, err := Read(path)
	requireCode(t, err, protocol.CodeLocalIO)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Contains(t, err.Error(), "there is no lock file")
	require.Equal(t, path, tuferr.As(err).Path)

	f := fileOf(t, hello("hello", "1.0.0"))
	require.NoError(t, f.Write(path))
	got, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, f, got)
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, f.Write(path))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "the same is not written again")

	if runtime.GOOS != "windows" {
		for _, mode := range []fs.FileMode{0o666, 0o600, 0o640} {
			require.NoError(t, os.Chmod(path, mode))
			f.entries[0].Length++
			require.NoError(t, f.Write(path))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, mode, info.Mode())
		}
	}
	all, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, all, 1, "nothing but the file")
}

// A file that is damaged, or full of conflicts, may be made anew.
func TestWriteOverDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	require.NoError(t, os.WriteFile(path, []byte("<<<<<<< HEAD\n"), 0o600))
	require.NoError(t, fileOf(t).Write(path))
	_, err := Read(path)
	require.NoError(t, err)
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	f := fileOf(t, hello("hello", "1.0.0"))
	requireCode(t, f.Write(dir), protocol.CodeLocalIO)
	requireCode(t, f.Write(os.DevNull), protocol.CodeLocalIO)
	requireCode(t, f.Write(filepath.Join(dir, "nothing", Name)), protocol.CodeLocalIO)
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, Name)
	require.NoError(t, os.WriteFile(target, []byte("kept"), 0o600))
	require.NoError(t, os.Symlink(target, link))
	requireCode(t, f.Write(link), protocol.CodeLocalIO)
	_, err := Read(link)
	requireCode(t, err, protocol.CodeLocalIO)
	raw, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "kept", string(raw))
	big := &File{entries: []Entry{{Wanted: strings.Repeat("x", MaxSize)}}}
	requireCode(t, big.Write(filepath.Join(dir, "big")), protocol.CodeLocalIO)
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func TestDiff(t *testing.T) {
	was := fileOf(t, hello("gone", "1.0.0"), hello("hello", "1.0.0"), hello("same", "1.0.0"), hello("bytes", "1.0.0"), bare("acme/hello"))
	changed := hello("bytes", "1.0.0")
	changed.Hashes["sha256"], changed.Length, changed.Repository, changed.Wanted = strings.Repeat("ef", 32), 1, "mirror", ""
	become := fileOf(t, hello("hello", "1.1.0"), hello("same", "1.0.0"), changed, hello("new", "2.0.0"))
	var lines []string
	for _, c := range Diff(was, become) {
		lines = append(lines, c.String())
	}
	require.Equal(t, []string{
		"- acme/hello",
		"~ acme/bytes 1.0.0 (wanted, repository, length, hashes)",
		"- acme/gone 1.0.0",
		"~ acme/hello 1.0.0 -> 1.1.0 (target, version)",
		"+ acme/new 2.0.0",
	}, lines)
	require.Empty(t, Diff(was, was))
	require.Empty(t, Diff(nil, nil))
	require.Len(t, Diff(nil, was), 5)
	require.Equal(t, Removed, Diff(was, &File{})[0].Kind)
}
