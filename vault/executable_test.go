package vault

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

// packed is a plugin archive with these entries; link is where a link leads.
func packed(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, h := range entries {
		content := h.PAXRecords["content"]
		h.PAXRecords = nil
		h.Mode, h.Size = 0o755, int64(len(content))
		require.NoError(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return buf.String()
}

// inside is a file of an archive.
func inside(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"content": content}}
}

// publishProgram publishes a plugin that says what is to be started.
func (w *world) publishProgram(r release, entryPoint string) {
	m := map[string]any{"name": r.name, "publisher": r.publisher, "version": r.version, "description": "a tool", "release": map[string]any{"channel": "stable"}}
	if entryPoint != "" {
		m["entryPoint"] = entryPoint
	}
	w.repos["one"].AddTarget("targets", r.path(), r.bytes(), m)
	w.repos["one"].Publish("targets")
}

// start runs a file that was opened, as the documentation says.
func start(t *testing.T, exe *Bytes, args ...string) string {
	t.Helper()
	cmd := exec.Command(exe.Path(), args...)
	if exe.Sealed() {
		cmd = exec.Command("/proc/self/fd/3", args...)
		cmd.ExtraFiles = []*os.File{exe.OSFile()}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestExecutableStartsWhatWasSigned(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the plugin is a shell script")
	}
	w := newWorld(t, "one")
	r := tool("1.0.0")
	r.content = packed(t, inside("other", "#!/bin/sh\necho wrong\n"), inside("bin/run", "#!/bin/sh\necho signed \"$1\"\n"))
	w.publishProgram(r, "bin/run")
	v := w.vault()
	w.install(v, r, InstallOptions{})
	o, err := v.Open(t.Context(), r.path())
	require.NoError(t, err)
	require.Equal(t, "bin/run", o.EntryPoint)
	exe, err := o.Executable(t.Context())
	require.NoError(t, err)
	require.NoError(t, o.Close())
	require.Equal(t, runtime.GOOS == "linux", exe.Sealed())
	for range 2 {
		require.Equal(t, "signed yes\n", start(t, exe, "yes"))
	}
	require.NoError(t, exe.Close())
	cancelled, cancel := context.WithCancel(t.Context())
	o, err = v.Open(t.Context(), r.path())
	require.NoError(t, err)
	cancel()
	_, err = o.Executable(cancelled)
	require.ErrorIs(t, err, hybrid.ErrCancelled)
	require.NoError(t, o.Close())

	// The entry point is remembered: what runs goes on running.
	w.servers["one"].Close()
	later := w.vault(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(48 * time.Hour) } })
	o, err = later.Open(t.Context(), r.path())
	require.NoError(t, err)
	defer o.Close()
	require.ErrorIs(t, o.RunsOn, hybrid.ErrTransport)
	exe, err = o.Executable(t.Context())
	require.NoError(t, err)
	defer exe.Close()
	require.Equal(t, "signed still\n", start(t, exe, "still"))
}

// What is signed may still be no plugin.
func TestExecutableRefuses(t *testing.T) {
	bomb := string(make([]byte, 18<<20))
	link := func(kind byte, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: "bin/run", Linkname: target}
	}
	for name, c := range map[string]struct {
		entries    []tar.Header
		entryPoint string
		family     error
		says       string
	}{
		"no entry point":  {[]tar.Header{inside("bin/run", "x")}, "", hybrid.ErrUsage, "names no entry point"},
		"missing":         {[]tar.Header{inside("run", "x")}, "bin/run", hybrid.ErrMalformed, "no file of the archive"},
		"a directory":     {[]tar.Header{{Typeflag: tar.TypeDir, Name: "bin/run/"}, inside("x", "x")}, "bin/run", hybrid.ErrMalformed, "no file of the archive"},
		"a symbolic link": {[]tar.Header{inside("x", "x"), link(tar.TypeSymlink, "../x")}, "bin/run", hybrid.ErrMalformed, "must be a file"},
		"a way out":       {[]tar.Header{inside("x", "x"), link(tar.TypeSymlink, "../../etc/passwd")}, "bin/run", hybrid.ErrMalformed, "outside"},
		"a hard link":     {[]tar.Header{inside("x", "x"), link(tar.TypeLink, "x")}, "bin/run", hybrid.ErrMalformed, "must be a file"},
		"a bomb":          {[]tar.Header{inside("bin/run", bomb)}, "bin/run", hybrid.ErrMalformed, "unpacks to too much"},
		"a bomb beside":   {[]tar.Header{inside("bin/run", "x"), inside("x", bomb)}, "bin/run", hybrid.ErrMalformed, "unpacks to too much"},
		"another plugin":  {[]tar.Header{inside("bin/run", "x"), inside("manifest.json", `{"name":"x","publisher":"acme","version":"1.0.0"}`)}, "bin/run", hybrid.ErrMalformed, `says name "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "one")
			r := tool("1.0.0")
			r.content = packed(t, c.entries...)
			w.publishProgram(r, c.entryPoint)
			v := w.vault()
			w.install(v, r, InstallOptions{})
			w.refusedToStart(v, r, c.family, c.says)
			if c.family == hybrid.ErrMalformed {
				require.Contains(t, w.told(EventRefused).Message, c.says)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		w := newWorld(t, "one")
		r := tool("1.0.0")
		r.content = packed(t, inside("bin/run", "four"))
		w.publishProgram(r, "bin/run")
		v := w.vault()
		w.install(v, r, InstallOptions{})
		o, err := v.Open(t.Context(), r.path())
		require.NoError(t, err)
		defer o.Close()
		_, err = o.executable(t.Context(), 3)
		require.ErrorIs(t, err, hybrid.ErrEndlessData)
		require.ErrorContains(t, err, "more than 3")
		exe, err := o.executable(t.Context(), 4)
		require.NoError(t, err)
		require.NoError(t, exe.Close())
	})
	t.Run("no archive", func(t *testing.T) {
		w := newWorld(t, "one")
		w.publishProgram(tool("1.0.0"), "bin/run")
		v := w.vault()
		w.install(v, tool("1.0.0"), InstallOptions{})
		w.refusedToStart(v, tool("1.0.0"), hybrid.ErrMalformed, "not a readable")
	})
}

func (w *world) refusedToStart(v *Vault, r release, family error, says string) {
	w.t.Helper()
	o, err := v.Open(w.t.Context(), r.path())
	require.NoError(w.t, err)
	defer o.Close()
	exe, err := o.Executable(w.t.Context())
	require.Nil(w.t, exe)
	require.ErrorIs(w.t, err, family)
	require.ErrorContains(w.t, err, says)
	var e *hybrid.Error
	require.ErrorAs(w.t, err, &e)
	require.Equal(w.t, r.path(), e.Target)
	require.NotEmpty(w.t, e.Error())
}

// What verified metadata says now goes before what it said.
func TestExecutableIsWhatMetadataNamesNow(t *testing.T) {
	w := newWorld(t, "one")
	r := tool("1.0.0")
	r.content = packed(t, inside("a", "x"), inside("b", "y"))
	w.publishProgram(r, "a")
	v := w.vault()
	w.install(v, r, InstallOptions{})
	w.publishProgram(r, "b")
	o, err := v.Open(t.Context(), r.path())
	require.NoError(t, err)
	defer o.Close()
	exe, err := o.Executable(t.Context())
	require.NoError(t, err)
	defer exe.Close()
	got, err := io.ReadAll(exe)
	require.NoError(t, err)
	require.Equal(t, "y", string(got))
}
