package records

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestNothingThere(t *testing.T) {
	dir := newDir(t)
	b := Open(dir)
	_, ok, err := b.Find(background, "plugins/acme/hello.1.0.0.tar.gz")
	require.NoError(t, err)
	require.False(t, ok)
	require.Empty(t, highest(t, b, "hello"))
	require.Empty(t, list(t, b))
	removed, err := b.Remove(background, "x")
	require.NoError(t, err)
	require.False(t, removed)
	require.NoDirExists(t, dir, "who only asks touches nothing")
}

func TestAddAndFind(t *testing.T) {
	b := Open(newDir(t))
	bare := hello("x", "1.0.0")
	bare.Target, bare.Publisher, bare.Name, bare.Version = "other/file", "", "", ""
	one, two := hello("hello", "1.0.0"), hello("hello", "1.1.0")
	two.EntryPoint, two.Channel = "bin/run", "beta"
	add(t, b, two.own(), hello("another", "3.0.0"), bare)
	require.NoError(t, b.Add(background, one, true))
	for _, b := range []*Book{b, Open(b.dir)} {
		for _, want := range []Record{one, two, bare} {
			got, ok, err := b.Find(background, want.Target)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		require.Equal(t, []string{
			"other/file", "plugins/acme/another.3.0.0.tar.gz", one.Target, two.Target,
		}, list(t, b))
	}
	if runtime.GOOS != "windows" {
		info, err := os.Stat(b.Path())
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		info, err = os.Stat(b.dir)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	}
	got, _, err := b.Find(background, one.Target)
	require.NoError(t, err)
	got.Hashes["sha256"] = "changed by the caller"
	got, _, err = b.Find(background, one.Target)
	require.NoError(t, err)
	require.Equal(t, one, got)
}

func TestTakeBack(t *testing.T) {
	b := Open(newDir(t))
	require.NoError(t, b.TakeBack(background, "x", "it bites"))
	require.NoDirExists(t, b.dir, "what is not installed is not noted")
	one, two := hello("hello", "1.0.0"), hello("hello", "1.1.0")
	add(t, b, one, two)
	why := func(b *Book) string {
		t.Helper()
		got, ok, err := b.Find(background, one.Target)
		require.NoError(t, err)
		require.True(t, ok)
		return got.TakenBack
	}
	require.NoError(t, b.TakeBack(background, one.Target, "it bites"))
	require.Equal(t, "it bites", why(Open(b.dir)))
	require.Equal(t, "1.1.0", highest(t, b, "hello"))
	for _, bad := range []string{"a\nb", strings.Repeat("x", 501)} {
		require.Equal(t, protocol.CodeUsage, tuferr.CodeOf(b.TakeBack(background, one.Target, bad)))
	}
	require.NoError(t, b.TakeBack(background, one.Target, ""))
	require.Empty(t, why(b))
	require.NoError(t, b.TakeBack(background, one.Target, "it bites"))
	require.NoError(t, b.Add(background, one, true), "installed again")
	require.Empty(t, why(b))
}

func TestMarks(t *testing.T) {
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.2.0"), hello("hello", "1.10.0-rc.1"), hello("hello", "1.10.0"))
	before, err := os.ReadFile(b.Path())
	require.NoError(t, err)
	for _, lower := range []string{"1.2.0", "1.9.9", "1.10.0-rc.2"} {
		err := b.Add(background, hello("hello", lower), false)
		requireCode(t, err, protocol.CodeRollback)
		e := tuferr.As(err)
		require.Contains(t, e.Msg, "1.10.0")
		require.NotEmpty(t, e.Hint)
		require.Equal(t, hello("hello", lower).Target, e.Target)
	}
	after, err := os.ReadFile(b.Path())
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.NoError(t, b.Add(background, hello("hello", "1.2.0"), true))
	require.Equal(t, "1.2.0", highest(t, b, "hello"), "an authorised downgrade")
	require.Len(t, list(t, b), 3)
	add(t, b, hello("hello", "1.3.0"))

	removed, err := b.Remove(background, hello("hello", "1.3.0").Target)
	require.NoError(t, err)
	require.True(t, removed)
	require.NotContains(t, list(t, b), hello("hello", "1.3.0").Target)
	requireCode(t, b.Add(background, hello("hello", "1.2.0"), false), protocol.CodeRollback)
	require.Equal(t, "1.3.0", highest(t, b, "hello"), "the mark stays")
	add(t, b, hello("other", "0.1.0"))
}

func TestAddBeside(t *testing.T) {
	b := Open(newDir(t))
	require.NoError(t, b.AddBeside(background, hello("hello", "1.0.0")))
	require.Equal(t, "1.0.0", highest(t, b, "hello"))
	require.NoError(t, b.AddBeside(background, hello("hello", "2.0.0")))
	require.NoError(t, b.AddBeside(background, hello("hello", "1.1.0")))
	require.Equal(t, "2.0.0", highest(t, Open(b.dir), "hello"))
	require.Len(t, list(t, b), 3)
	requireCode(t, b.Add(background, hello("hello", "1.2.0"), false), protocol.CodeRollback)
}

// What is noted already is not written again: it costs a stat.
func TestNoWrite(t *testing.T) {
	b := Open(newDir(t))
	one := hello("hello", "1.0.0")
	add(t, b, one)
	was := age(t, b)
	b.before = func(op, path string) error { t.Errorf("%s %s", op, path); return nil }
	later := one.own()
	later.At = noon.Add(time.Hour)
	add(t, b, later)
	require.NoError(t, b.Add(background, later, true))
	now, err := os.Stat(b.Path())
	require.NoError(t, err)
	require.True(t, os.SameFile(was, now))
	got, _, err := b.Find(background, one.Target)
	require.NoError(t, err)
	require.Equal(t, noon, got.At)

	b.before = nil
	later.Hashes["sha512"] = strings.Repeat("ab", 64)
	add(t, b, later)
	got, _, err = b.Find(background, one.Target)
	require.NoError(t, err)
	require.Equal(t, later, got)
}

func TestZeroTimeIsNow(t *testing.T) {
	b := Open(newDir(t))
	one := hello("hello", "1.0.0")
	one.At = time.Time{}
	add(t, b, one)
	got, _, err := b.Find(background, one.Target)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), got.At, time.Hour)
}

// A file that has been old for a while is parsed once; one that has just been written
// each time, since another could look like it.
func TestCache(t *testing.T) {
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.0.0"))
	list(t, b)
	require.False(t, b.seen.settled)
	age(t, b)
	list(t, b)
	require.True(t, b.seen.settled)
	first := b.seen
	list(t, b)
	require.Same(t, first, b.seen)
	add(t, Open(b.dir), hello("hello", "2.0.0"))
	require.Equal(t, "2.0.0", highest(t, b, "hello"), "another Book wrote")
	require.NoError(t, os.Remove(b.Path()))
	require.Empty(t, list(t, b))
}

func TestRecordsThatCannotBe(t *testing.T) {
	b := Open(newDir(t))
	for name, spoil := range map[string]func(*Record){
		"channel":     func(r *Record) { r.Channel = "nightly" },
		"entry point": func(r *Record) { r.EntryPoint = "../run" }, "whose entry point": func(r *Record) { *r = Record{Target: "x", EntryPoint: "run", Hashes: r.Hashes, Repository: "main"} },
		"version": func(r *Record) { r.Version = "1.0" }, "build": func(r *Record) { r.Version += "+b" },
		"name": func(r *Record) { r.Name = "" }, "publisher": func(r *Record) { r.Publisher = "Acme" },
		"path": func(r *Record) { r.Target = "plugins/acme/other.1.0.0.tar.gz" },
		"long": func(r *Record) { *r = Record{Target: strings.Repeat("a", 1025), Hashes: r.Hashes, Repository: "main"} },
		"size": func(r *Record) { r.Length = -1 }, "huge": func(r *Record) { r.Length = 1 << 53 },
		"none": func(r *Record) { r.Hashes = nil }, "upper": func(r *Record) { r.Hashes = map[string]string{"sha256": strings.Repeat("AB", 32)} },
		"short": func(r *Record) { r.Hashes["sha256"] = strings.Repeat("ab", 20) }, "algorithm": func(r *Record) { r.Hashes["Ünknown"] = strings.Repeat("ab", 32) },
		"repository": func(r *Record) { r.Repository = "" }, "control": func(r *Record) { r.Repository = "a\x1b[31m" },
		"year": func(r *Record) { r.At = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		r := hello("hello", "1.0.0")
		spoil(&r)
		requireCode(t, b.Add(background, r, false), protocol.CodeUsage)
		require.NoDirExists(t, b.dir, name)
	}
	r := hello("hello", "1.0.0")
	r.Target = "../x"
	requireCode(t, b.Add(background, r, false), protocol.CodeInvalidName)
}

func TestDamagedFiles(t *testing.T) {
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.0.0"), hello("hello", "2.0.0"))
	good, err := os.ReadFile(b.Path())
	require.NoError(t, err)
	text := string(good)
	files := map[string]string{
		"empty": "", "null": "null", "zeros": strings.Repeat("\x00", len(good)), "cut": text[:len(text)/2],
		"no version": strings.Replace(text, `"version": 1,`, "", 1), "version 0": strings.Replace(text, `"version": 1`, `"version": 0`, 1),
		"a part": `{"version": 1, "installed": []}`, "two": text + text, "utf-8": strings.Replace(text, "main", "\xff", 1),
		"mark": strings.Replace(text, `"version": "2.0.0"`+"\n", `"version": "x"`+"\n", 1), "path": strings.ReplaceAll(text, "plugins/acme", ".."),
		"twice":        strings.ReplaceAll(text, `1.0.0`, `2.0.0`),
		"no mark":      strings.Replace(text, `"name": "hello",`+"\n   \"version\": \"2.0.0\"\n  }\n ]", `"name": "other","version": "2.0.0"}]`, 1),
		"member twice": strings.Replace(text, `"repository": "main",`, `"repository": "main", "repository": "b",`, 1),
		"too long":     text + strings.Repeat(" ", MaxSize), "null record": `{"version": 1, "installed": [null], "highest": []}`,
		"two marks": `{"version": 1, "installed": [], "highest": [{"publisher":"a","name":"b","version":"1.0.0"},{"publisher":"a","name":"b","version":"1.0.1"}]}`,
		"newer":     `{"version": 2, "plugins": {}}`, "member": strings.Replace(text, `"version": 1,`, `"version": 1, "new": true,`, 1),
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, text, file)
			require.NoError(t, os.WriteFile(b.Path(), []byte(file), 0o600))
			_, _, err := b.Find(background, "x")
			for _, err := range []error{err, b.Add(background, hello("hello", "3.0.0"), true)} {
				requireCode(t, err, protocol.CodeLocalIO)
				require.Equal(t, b.Path(), tuferr.As(err).Path)
				if name != "too long" {
					require.NotEmpty(t, tuferr.As(err).Hint)
				}
				if name == "newer" || name == "member" {
					require.Contains(t, tuferr.As(err).Hint, "newer version")
				}
			}
			_, err = b.Remove(background, "x")
			requireCode(t, err, protocol.CodeLocalIO)
			_, err = b.List(background)
			requireCode(t, err, protocol.CodeLocalIO)
			_, err = b.Highest(background, "acme", "hello")
			requireCode(t, err, protocol.CodeLocalIO)
			now, err := os.ReadFile(b.Path())
			require.NoError(t, err)
			require.Equal(t, file, string(now), "it is left alone")
		})
	}
	require.NoError(t, os.WriteFile(b.Path(), good, 0o600))
	require.Equal(t, "2.0.0", highest(t, b, "hello"))
	require.NoError(t, os.Remove(b.Path()))
	require.NoError(t, os.Mkdir(b.Path(), 0o700))
	requireCode(t, b.Add(background, hello("hello", "3.0.0"), false), protocol.CodeLocalIO)
}

func TestFull(t *testing.T) {
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.0.0"))
	err := b.change(background, func(c *content) (bool, error) {
		r := Record{Hashes: map[string]string{"long": strings.Repeat("ab", MaxSize/2)}}
		c.installed["x"] = r
		return true, nil
	})
	requireCode(t, err, protocol.CodeLocalIO)
	require.NotEmpty(t, tuferr.As(err).Hint)
	require.Len(t, list(t, b), 1)
}

func TestContexts(t *testing.T) {
	b := Open(newDir(t))
	add(t, b, hello("hello", "1.0.0"))
	ctx, cancel := context.WithCancel(background)
	cancel()
	requireCode(t, b.Add(ctx, hello("hello", "2.0.0"), false), protocol.CodeCancelled)
	_, _, err := b.Find(ctx, "x")
	requireCode(t, err, protocol.CodeCancelled)

	lock := flock.New(filepath.Join(b.dir, lockName))
	ok, err := lock.TryLock()
	require.NoError(t, err)
	require.True(t, ok)
	defer lock.Close()
	// The file of the deadline is read without the lock; then it waits.
	ctx, cancel = context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	err = b.Add(ctx, hello("hello", "2.0.0"), false)
	requireCode(t, err, protocol.CodeLocked)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, filepath.Join(b.dir, lockName), tuferr.As(err).Path)
	require.Equal(t, []string{hello("hello", "1.0.0").Target}, list(t, b), "who reads does not wait")

	ctx, cancel = context.WithCancel(background)
	done := make(chan error)
	go func() { done <- b.Add(ctx, hello("hello", "2.0.0"), false) }()
	cancel()
	requireCode(t, <-done, protocol.CodeCancelled)
}

func TestDiskFailsAtEveryStep(t *testing.T) {
	for code, errno := range map[protocol.Code]error{
		protocol.CodeDiskFull: syscall.ENOSPC, protocol.CodePermissions: syscall.EACCES, protocol.CodeLocalIO: syscall.EIO,
	} {
		for n := 1; n <= 4; n++ {
			b := Open(newDir(t))
			add(t, b, hello("hello", "1.0.0"))
			step := 0
			b.before = func(string, string) error {
				if step++; step == n {
					return errno
				}
				return nil
			}
			err := b.Add(background, hello("hello", "2.0.0"), false)
			requireCode(t, err, code)
			require.ErrorIs(t, err, errno)
			entries, err := os.ReadDir(b.dir)
			require.NoError(t, err)
			require.Len(t, entries, 2, "the file and its lock")
			if n < 4 {
				require.Equal(t, "1.0.0", highest(t, b, "hello"))
			}
			b.before = nil
			add(t, b, hello("hello", "2.0.0"))
		}
	}
}

func TestEncodingIsStable(t *testing.T) {
	c := newContent()
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		_, err := c.add(hello("hello", v), false)
		require.NoError(t, err)
		_, err = c.add(hello("other", v), false)
		require.NoError(t, err)
	}
	raw, err := c.encode()
	require.NoError(t, err)
	again, err := parse(raw)
	require.NoError(t, err)
	require.Equal(t, c, again)
	require.True(t, maps.EqualFunc(c.installed, again.installed, func(a, b Record) bool { return a.same(b) }))
	for range 10 {
		second, err := again.encode()
		require.NoError(t, err)
		require.Equal(t, string(raw), string(second))
	}
}
