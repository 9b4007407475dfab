package plugin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func seedManifests(f *testing.F) {
	f.Add([]byte(rich))
	f.Add([]byte(`{"a":{"b":1}}`))
	f.Add(manifestWith(f, map[string]any{"release": map[string]any{"channel": "stable", "latest": []string{"beta", "stable"}}}))
	f.Add(manifestWith(f, map[string]any{"release": map[string]any{"channel": "beta", "yanked": map[string]any{"reason": "x", "at": noon}}}))
	for _, tc := range badTexts(f) {
		f.Add([]byte(tc.text))
	}
	for field, values := range badFields {
		for _, tc := range values {
			f.Add(manifestWith(f, map[string]any{field: tc.value}))
		}
	}
}

func requireManifestError(t *testing.T, err error) {
	var e *ManifestError
	if !errors.As(err, &e) {
		t.Fatalf("not a ManifestError: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	seedManifests(f)
	schema := compiled(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			requireManifestError(t, err)
			return
		}
		again, err := ParseManifest(m.Raw)
		if err != nil || again.TargetPath() != m.TargetPath() {
			t.Fatalf("what was kept does not parse alike: %v", err)
		}
		if publisher, ok := IsPath(m.TargetPath()); !ok || publisher != m.Publisher {
			t.Fatalf("no path: %q", m.TargetPath())
		}
		if err := bySchema(schema, data); err != nil {
			t.Fatalf("the schema says no: %v", err)
		}
	})
}

func FuzzParseCustom(f *testing.F) {
	seedManifests(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, r, err := ParseCustom(data)
		if err != nil {
			requireManifestError(t, err)
			return
		}
		custom, err := m.Custom(r)
		require.NoError(t, err)
		again, said, err := ParseCustom(custom)
		require.NoError(t, err)
		require.Equal(t, m, again)
		require.Equal(t, r, said)
		twice, err := again.Custom(said)
		require.NoError(t, err)
		require.Equal(t, string(custom), string(twice))
	})
}

// FuzzCheckArchive feeds the checker archives as they come, and as the content
// of a sound gzip stream, so that the fuzzer need not find checksums.
func FuzzCheckArchive(f *testing.F) {
	a := file("a", "x")
	comment := item{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}
	for _, items := range [][]item{
		{a}, {a, symlink("d/l", "../a")}, {a, entry(tar.TypeLink, "b", "a")}, {dir("d"), file("d/é", "y")},
		{file("manifest.json", `{"name":"tool","version":"1.2.3","publisher":"acme"}`)}, {symlink("s", "."), symlink("S/l", "..")},
		{comment, file(strings.Repeat("long/", 60)+"a", "x")},
	} {
		f.Add(packTar(f, items...))
		f.Add(zip(f, packTar(f, items...)))
	}
	f.Add(patched(f, a, oldSparse))
	f.Add(patched(f, file("a", "name"), func(h []byte) { h[kindAt] = tar.TypeGNULongName }))
	lim := Limits{Size: 1 << 20, Unpacked: 1 << 20, Entries: 100}
	m := parsed(f, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, archive := range [][]byte{data, zip(t, data)} {
			err := judge(archive, lim, *m)
			if err == nil {
				requireInside(t, archive, lim)
				continue
			}
			var e *ArchiveError
			if !errors.As(err, &e) {
				t.Fatalf("not an ArchiveError: %v", err)
			}
		}
	})
}

// requireInside looks at an accepted archive in its own, simpler way.
func requireInside(t *testing.T, archive []byte, lim Limits) {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	all, err := io.ReadAll(io.LimitReader(z, lim.Unpacked+1))
	require.NoError(t, err)
	require.LessOrEqual(t, int64(len(all)), lim.Unpacked)
	links := map[string]bool{}
	count := 0
	for r := tar.NewReader(bytes.NewReader(all)); ; count++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		require.True(t, filepath.IsLocal(h.Name), h.Name)
		require.Contains(t, []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink}, h.Typeflag)
		switch h.Typeflag {
		case tar.TypeSymlink:
			require.False(t, path.IsAbs(h.Linkname))
			require.True(t, filepath.IsLocal(path.Join(path.Dir(h.Name), h.Linkname)), h.Linkname)
			links[path.Clean(h.Name)] = true
		case tar.TypeLink:
			require.True(t, filepath.IsLocal(h.Linkname), h.Linkname)
			require.False(t, links[path.Clean(h.Linkname)])
		}
		for d := path.Dir(path.Clean(h.Name)); d != "."; d = path.Dir(d) {
			require.False(t, links[d], "%q lies below a link", h.Name)
		}
	}
	require.LessOrEqual(t, count, lim.Entries)
}
