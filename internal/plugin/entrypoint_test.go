package plugin

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// entryPoint returns the content of an archive's bin/run.
func entryPoint(ctx context.Context, archive []byte) (string, error) {
	r, n, err := EntryPoint(ctx, io.NewSectionReader(bytes.NewReader(archive), 0, int64(len(archive))), DefaultLimits, &Manifest{EntryPoint: "bin/run"})
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(r)
	if err == nil && int64(len(content)) != n {
		err = io.ErrUnexpectedEOF
	}
	return string(content), err
}

func TestEntryPoint(t *testing.T) {
	for name, items := range map[string][]item{
		"alone":         {file("bin/run", "x")},
		"among others":  {dir("bin"), file("run", "1"), file("bin/run2", "2"), symlink("bin/ran", "run"), file("bin/run", "x"), file("z", "3")},
		"with a dot":    {dir("./"), dir("./bin/"), file("./bin/run", "x")},
		"behind a note": {{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}, file("bin/run", "x")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := entryPoint(t.Context(), zip(t, packTar(t, items...)))
			require.NoError(t, err)
			require.Equal(t, "x", got)
		})
	}
	long := strings.Repeat("long", 100_000)
	got, err := entryPoint(t.Context(), zip(t, packTar(t, file("bin/run", long))))
	require.NoError(t, err)
	require.Equal(t, long, got)
}

func TestEntryPointsThatAreNone(t *testing.T) {
	for name, tc := range map[string]struct {
		items []item
		says  string
	}{
		"missing":     {[]item{file("run", "x")}, "no file of the archive"},
		"a directory": {[]item{dir("bin/run"), file("a", "x")}, "no file of the archive"},
		"other case":  {[]item{file("bin/Run", "x")}, "no file of the archive"},
		"a symlink":   {[]item{file("a", "x"), symlink("bin/run", "../a")}, "must be a file"},
		"a hard link": {[]item{file("a", "x"), entry(tar.TypeLink, "bin/run", "a")}, "must be a file"},
		"twice":       {[]item{file("bin/run", "x"), file("./bin/run", "y")}, "twice"},
		"below a link, which could lead elsewhere": {[]item{file("a/run", "x"), symlink("bin", "a"), file("bin/run", "y")}, "no directory"},
		"beside what leads out":                    {[]item{file("bin/run", "x"), file("../a", "y")}, `".."`},
		"beside a bomb":                            {[]item{file("bin/run", "x"), file("z", strings.Repeat("\x00", MinExpansion+8<<20))}, "unpacks to too much"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := entryPoint(t.Context(), zip(t, packTar(t, tc.items...)))
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, _, err := EntryPoint(t.Context(), io.NewSectionReader(strings.NewReader(""), 0, 0), DefaultLimits, &Manifest{})
	var e *ManifestError
	require.ErrorAs(t, err, &e)
	_, err = entryPoint(t.Context(), []byte("no archive"))
	refused(t, err, "not a readable")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = entryPoint(ctx, zip(t, packTar(t, file("bin/run", "x"))))
	require.ErrorIs(t, err, context.Canceled)
}
