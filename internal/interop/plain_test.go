package interop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest/plain"
)

var record = flag.Bool("record", false, "write into each case.json what the plain clients do")

// TestPlain runs the libraries' own clients and compares with what they did
// when the cases were recorded. Nothing here says that they are right; a
// difference means that a library has changed.
func TestPlain(t *testing.T) {
	python := plain.NewPython(pyenvtest.Python(t))
	t.Cleanup(python.Close)
	clients := map[string]plain.Client{"go": plain.Go{}, "python": python}
	var table strings.Builder
	fmt.Fprintf(&table, "%-40s %-12s %-12s %s\n", "repository", "go-tuf", "python-tuf", "client, auto")
	for _, c := range load(t) {
		server := c.serve(t)
		seen := map[string]map[string]string{}
		for name, client := range clients {
			seen[name] = c.runPlain(t, server, client)
		}
		server.Close()
		auto := c.Expect["auto"]
		fmt.Fprintf(&table, "%-40s %-12s %-12s %s\n", c.name, summary(seen["go"]), summary(seen["python"]), auto.Code+auto.Engine)
		if *record {
			c.Plain = seen
			c.save(t)
			continue
		}
		assert.Equal(t, c.Plain, seen, "%s: a library behaves differently than recorded", c.name)
	}
	t.Log("\n" + table.String())
}

// runPlain asks a new client on empty directories for each target.
func (c *Case) runPlain(t *testing.T, server *httptest.Server, client plain.Client) map[string]string {
	seen := map[string]string{}
	for _, target := range c.Targets {
		dir := t.TempDir()
		content, err := client.Run(context.Background(), plain.Request{
			MetadataURL: server.URL + "/metadata/", TargetsURL: server.URL + "/targets/",
			MetadataDir: filepath.Join(dir, "metadata"), TargetsDir: filepath.Join(dir, "targets"),
			Root: c.root(t), Target: target.Name, Now: c.Now,
		})
		seen[target.Name] = outcome(target, content, err)
	}
	return seen
}

// outcome is the part of a result that does not depend on the machine: "ok",
// or the type of the error.
func outcome(target Target, content []byte, err error) string {
	switch {
	case errors.Is(err, plain.ErrNotFound):
		return "not found"
	case errors.Is(err, plain.ErrCrash):
		return "crash"
	case err == nil && (target.Absent || digest(content) != target.SHA256):
		return "wrong bytes"
	case err == nil:
		return "ok"
	}
	if kind := fmt.Sprintf("%T", err); kind != "*errors.errorString" {
		return strings.TrimPrefix(kind, "*")
	}
	// Only what comes from the child is a mere string: "module.Type: text".
	kind, _, _ := strings.Cut(err.Error(), ":")
	return kind[strings.LastIndexByte(kind, '.')+1:]
}

// summary counts what went well.
func summary(seen map[string]string) string {
	ok := 0
	for _, s := range seen {
		if s == "ok" {
			ok++
		}
	}
	return fmt.Sprintf("%d of %d ok", ok, len(seen))
}

// TestCasesAreComplete holds that every case says what it is.
func TestCasesAreComplete(t *testing.T) {
	for _, c := range load(t) {
		require.NotEmpty(t, c.About, c.name)
		require.NotEmpty(t, c.Tool, c.name)
		require.NotEmpty(t, c.Spec, c.name)
		require.NotEmpty(t, c.Targets, c.name)
		require.Len(t, c.Expect, len(modes), c.name)
		for _, e := range c.Expect {
			require.True(t, (e.Engine == "") != (e.Code == ""), c.name)
		}
		for _, client := range []string{"go", "python"} {
			require.Len(t, c.Plain[client], len(c.Targets), "%s: run the tests with -record", c.name)
		}
	}
}
