package sealed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/targets"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

func TestCopy(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		for _, size := range []int{0, 1, 128 << 10, 128<<10 + 1, 1 << 20} {
			b := bytes.Repeat([]byte{'p'}, size)
			f, err := m.copy(background, cached(t, b), wantOf(b), Options{Name: "acme/hello 1.0"})
			require.NoError(t, err)
			require.Equal(t, int64(size), f.Size())
			got, err := io.ReadAll(f)
			require.NoError(t, err)
			require.True(t, bytes.Equal(b, got))
			closing(t, f)
		}
	})
}

func TestOffsetsAreIndependent(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		f, err := m.from(background, strings.NewReader("0123456789"), 10, Options{})
		require.NoError(t, err)
		defer closing(t, f)
		one := make([]byte, 4)
		_, err = io.ReadFull(f, one)
		require.NoError(t, err)
		rest, err := io.ReadAll(f.Reader())
		require.NoError(t, err)
		require.Equal(t, "0123456789", string(rest))
		_, err = f.Seek(2, io.SeekCurrent)
		require.NoError(t, err)
		rest, err = io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, "6789", string(rest))
		rest, err = io.ReadAll(f.OSFile())
		require.NoError(t, err)
		require.Equal(t, "0123456789", string(rest), "who inherits the file reads it from its start")
	})
}

func TestOtherFilesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		good := []byte("the signed file")
		for _, bad := range []string{"", "the signed fil", "the signed file!", "the signed FILE", strings.Repeat("x", 1<<20)} {
			path := cached(t, []byte(bad))
			_, err := m.copy(background, path, wantOf(good), Options{})
			requireCode(t, err, protocol.CodeMismatch)
			require.Equal(t, path, tuferr.As(err).Path)
			require.NotEmpty(t, tuferr.As(err).Hint)
		}
		want := wantOf(good)
		want.Hashes["sha512"] = wantOf([]byte("another")).Hashes["sha512"]
		_, err := m.copy(background, cached(t, good), want, Options{})
		requireCode(t, err, protocol.CodeMismatch)
		_, err = m.copy(background, cached(t, good), targets.Want{Length: 1}, Options{})
		requireCode(t, err, protocol.CodeMalformed)
		_, err = m.copy(background, filepath.Join(t.TempDir(), "nothing"), wantOf(good), Options{})
		require.ErrorIs(t, err, os.ErrNotExist)
		_, err = m.copy(background, t.TempDir(), wantOf(good), Options{})
		requireCode(t, err, protocol.CodeLocalIO)
	})
}

func TestFrom(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		f, err := m.from(background, iotest.DataErrReader(iotest.OneByteReader(strings.NewReader("whole"))), 5, Options{})
		require.NoError(t, err)
		require.Equal(t, int64(5), f.Size())
		closing(t, f)

		_, err = m.from(background, strings.NewReader("whole!"), 5, Options{Name: "bin/hello"})
		requireCode(t, err, protocol.CodeEndlessData)
		_, err = m.from(background, strings.NewReader(""), -1, Options{})
		requireCode(t, err, protocol.CodeUsage)
		_, err = m.from(background, io.MultiReader(strings.NewReader("wh"), iotest.ErrReader(errBroken)), 5, Options{})
		require.Equal(t, errBroken, err, "as it is")
		_, err = m.from(background, silent{}, 5, Options{})
		require.ErrorIs(t, err, io.ErrNoProgress)
		require.Panics(t, func() { _, _ = m.from(background, panicking{}, 5, Options{}) })
	})
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a defect of the reader") }

func TestCancelled(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		b := []byte("whole")
		ctx, cancel := context.WithCancel(background)
		// It ends between two reads.
		_, err := m.from(ctx, io.MultiReader(bytes.NewReader(b), reading(cancel)), 100, Options{})
		requireCode(t, err, protocol.CodeCancelled)
		require.ErrorIs(t, err, context.Canceled)
		_, err = m.copy(ctx, cached(t, b), wantOf(b), Options{})
		requireCode(t, err, protocol.CodeCancelled)
		ctx, cancel = context.WithTimeout(background, 0)
		defer cancel()
		_, err = m.from(ctx, bytes.NewReader(b), 100, Options{})
		requireCode(t, err, protocol.CodeTimeout)
	})
}

// reading is an endless file that does something whenever it is read.
type reading func()

func (r reading) Read(b []byte) (int, error) { r(); return 1, nil }

// What becomes of the cached file later is of no interest.
func TestChangedAfterTheCopy(t *testing.T) {
	each(t, func(t *testing.T, m maker) {
		b := []byte("whole")
		path := cached(t, b)
		f, err := m.copy(background, path, wantOf(b), Options{})
		require.NoError(t, err)
		defer closing(t, f)
		require.NoError(t, os.WriteFile(path, []byte("EVIL!"), 0o600))
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, "whole", string(got))
	})
}

func TestNoTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nothing"))
	t.Setenv("TMP", filepath.Join(t.TempDir(), "nothing"))
	_, err := makers["private"].from(background, strings.NewReader("x"), 1, Options{})
	requireCode(t, err, protocol.CodeLocalIO)
	require.NotEmpty(t, tuferr.As(err).Hint)
}

func TestMemoryFileThatFailsNow(t *testing.T) {
	m := maker{func(string, bool) (*os.File, error) { return nil, errors.New("too many open files") }}
	_, err := m.from(background, strings.NewReader("x"), 1, Options{})
	requireCode(t, err, protocol.CodeLocalIO)
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "sealed", "..": "sealed", "/": "_", "acme/hello 1.0\x00": "acme_hello_1.0_", "é": "_", ".x": "x",
		strings.Repeat("a", 300): strings.Repeat("a", 64),
	} {
		require.Equal(t, want, clean(in))
	}
}
