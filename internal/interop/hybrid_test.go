package interop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

var modes = []hybrid.Mode{hybrid.ModeAuto, hybrid.ModeGo, hybrid.ModePython, hybrid.ModeDual}

// world is one case with its server and the directories of its clients.
type world struct {
	*testing.T
	c      *Case
	python string
	url    string
	dir    string
}

func (w *world) client(mode hybrid.Mode) *hybrid.Client {
	c, err := hybrid.New(hybrid.Options{
		RepositoryURL: w.url, Root: w.c.root(w.T), Mode: mode, Python: w.python,
		MetadataDir: filepath.Join(w.dir, "metadata"), CacheDir: filepath.Join(w.dir, "cache"),
		Now:  func() time.Time { return w.c.Now },
		HTTP: hybrid.HTTPOptions{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	})
	require.NoError(w, err)
	w.Cleanup(func() { require.NoError(w, c.Shutdown(context.Background())) })
	return c
}

// check downloads every target with a new client and compares with what the
// case expects of the mode.
func (w *world) check(mode hybrid.Mode, cached, offline bool) {
	c := w.client(mode)
	want, ok := w.c.Expect[string(mode)]
	require.True(w, ok, "case.json expects nothing of mode %s", mode)
	for _, target := range w.c.Targets {
		r, err := c.VerifyAndDownloadPlugin(context.Background(), target.Name, hybrid.DownloadOptions{})
		if target.Absent && want.Code == "" {
			want := Expect{Code: "not_found"}
			w.refused(target, want, r, err)
			continue
		}
		if want.Code != "" {
			w.refused(target, want, r, err)
			continue
		}
		if !assert.NoError(w, err, target.Name) {
			continue
		}
		content, err := os.ReadFile(r.Path)
		require.NoError(w, err)
		assert.Equal(w, target.SHA256, digest(content), target.Name)
		assert.EqualValues(w, target.Length, len(content), target.Name)
		assert.Equal(w, target.Length, r.Length, target.Name)
		assert.Equal(w, target.Role, r.Role, target.Name)
		assert.Equal(w, want.Engine, r.Engine, target.Name)
		assert.Equal(w, exact(w.T, target.Custom), exact(w.T, r.Custom), target.Name)
		assert.Equal(w, cached, r.FromCache, target.Name)
		assert.Equal(w, offline, r.Offline, target.Name)
	}
}

func (w *world) refused(target Target, want Expect, r *hybrid.Result, err error) {
	assert.Nil(w, r, target.Name)
	var e *hybrid.Error
	if !assert.True(w, errors.As(err, &e), "%s: %v", target.Name, err) {
		return
	}
	assert.Equal(w, want.Code, string(e.Code), "%s: %v", target.Name, err)
	assert.Equal(w, want.Spec, e.Spec, "%s: %v", target.Name, err)
	files, err := filepath.Glob(filepath.Join(w.dir, "cache", "*", "*"))
	require.NoError(w, err)
	if want.Code != "not_found" {
		assert.Empty(w, files, "nothing unverified is left behind")
	}
}

// TestModes holds every mode to what the case expects: a first download, and one
// by a new client on the same store, without a repository.
func TestModes(t *testing.T) {
	python := pyenvtest.Python(t)
	for _, c := range load(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range modes {
				t.Run(string(mode), func(t *testing.T) {
					server := c.serve(t)
					w := &world{T: t, c: c, python: python, url: server.URL, dir: t.TempDir()}
					w.check(mode, false, false)
					if c.Expect[string(mode)].Code != "" {
						return
					}
					server.Close()
					w.check(mode, true, true)
				})
			}
		})
	}
}
