package world

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

const plugin = "plugins/acme/hello.1.0.0.tar.gz"

// content returns length bytes that are always the same for the same seed.
func content(seed string, length int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(seed))), length)
}

func pluginBytes(name string) []byte {
	raw := make([]byte, PluginBytes)
	_, _ = io.ReadFull(content(name, PluginBytes), raw) // cannot fail: it is as long as that
	return raw
}

// target describes the ordinary target called name.
func target(name string) *Repo {
	return &Repo{Target: name, Length: PluginBytes, SHA256: tuftest.SHA256(pluginBytes(name))}
}

// withPlugin returns a new repository whose role lists the plugin.
func withPlugin() *tuftest.Repo {
	r := tuftest.NewRepo(tuftest.Config{})
	r.AddTarget("targets", plugin, pluginBytes(plugin), nil)
	r.Publish("targets")
	return r
}

// small has one plugin.
func small(dir string) (*Repo, error) { return target(plugin), store(dir, withPlugin()) }

// roots has root versions 1 to 50.
func roots(dir string) (*Repo, error) {
	r := withPlugin()
	for range 49 {
		r.PublishRoot()
	}
	return target(plugin), store(dir, r)
}

// delegated lists the plugin in a role below a role below a role of targets.
func delegated(dir string) (*Repo, error) {
	r := tuftest.NewRepo(tuftest.Config{})
	parents := []string{"targets", "plugins", "acme", "stable"}
	for i, name := range parents[1:] {
		r.Delegate(parents[i], tuftest.Delegation{Name: name, Paths: []string{"plugins/acme/*"}})
	}
	r.AddTarget("stable", plugin, pluginBytes(plugin), nil)
	r.Publish(parents...)
	return target(plugin), store(dir, r)
}

// oddSignature is an unsigned entry that a client may ignore, and go-tuf cannot decode.
func oddSignature(list []any) []any {
	return append(list, tuftest.Map{"keyid": "feed", "sig": "this is not hex"})
}

// odd is small with a timestamp that go-tuf cannot decode.
func odd(dir string) (*Repo, error) {
	r := withPlugin()
	r.Timestamp.EditSignatures = oddSignature
	r.PublishTimestamp()
	return target(plugin), store(dir, r)
}

// releases has all files of a row of releases. The timestamp served at first
// publishes number 0; the others lie beside the metadata.
func releases(dir string, edit func([]any) []any) (*Repo, error) {
	r := tuftest.NewRepo(tuftest.Config{})
	r.Timestamp.EditSignatures = edit
	var timestamps [][]byte
	for n := range Releases {
		name := loop.Release(n)
		r.AddTarget("targets", name, pluginBytes(name), nil)
		r.Publish("targets")
		raw, _ := r.Get(r.MetadataName("timestamp", r.Timestamp.Version))
		timestamps = append(timestamps, raw)
	}
	r.Put("metadata/timestamp.json", timestamps[0])
	err := store(dir, r)
	for n, raw := range timestamps {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, loop.TimestampFile(n)), raw, 0o644))
	}
	return target(loop.Release(0)), err
}

// big has one target of that length.
func big(dir string, length int64) (repo *Repo, err error) {
	const name = "plugins/acme/model.1.0.0.tar"
	if err := os.MkdirAll(filepath.Join(dir, "targets", "plugins", "acme"), 0o755); err != nil {
		return nil, err
	}
	temporary := filepath.Join(dir, "content")
	f, err := os.Create(temporary)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = io.Copy(io.MultiWriter(w, hash), content(name, length))
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return nil, err
	}
	digest := hex.EncodeToString(hash.Sum(nil))
	r := tuftest.NewRepo(tuftest.Config{})
	r.Targets.Signed["targets"] = tuftest.Map{name: tuftest.Map{"length": length, "hashes": tuftest.Map{"sha256": digest}}}
	r.Publish("targets")
	err = os.Rename(temporary, filepath.Join(dir, "targets", "plugins", "acme", digest+".model.1.0.0.tar"))
	return &Repo{Target: name, Length: length, SHA256: digest}, errors.Join(err, store(dir, r))
}
