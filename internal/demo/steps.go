package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const (
	pluginName = "plugins/ragnos/hello-world.1.0.0.tar.gz"
	saved      = "hello-world.tar.gz"
)

func (d *demo) plugin() string {
	return filepath.Join(d.testdata, "plugins", "hello-world.1.0.0.tar.gz")
}

// publish is step 1.
func (d *demo) publish(ctx context.Context) (*server, error) {
	d.step("A publisher makes a repository, signs a plugin into it and serves it.")
	const in = "publisher"
	if err := d.copyPlugin(in); err != nil {
		return nil, err
	}
	if _, err := d.run(ctx, 0, in, "local-tuf", "init", "--plain-keys"); err != nil {
		return nil, err
	}
	said, err := d.run(ctx, 0, in, "local-tuf", "publish", "hello-world.1.0.0.tar.gz", "hello-world.1.0.0.json")
	if err != nil {
		return nil, err
	}
	if err := must(said, pluginName); err != nil {
		return nil, err
	}
	return d.serve(ctx, in)
}

// copyPlugin gives the publisher the packed plugin and its manifest.
func (d *demo) copyPlugin(in string) error {
	for _, ext := range []string{".tar.gz", ".json"} {
		raw, err := os.ReadFile(strings.TrimSuffix(d.plugin(), ".tar.gz") + ext)
		if err != nil {
			return err
		}
		if err := d.give(in, "hello-world.1.0.0"+ext, raw); err != nil {
			return err
		}
	}
	return nil
}

// verifyWithGo is step 2.
func (d *demo) verifyWithGo(ctx context.Context, publisher *server) error {
	d.step("An application that was given the publisher's root.json downloads the plugin.")
	root, err := os.ReadFile(filepath.Join(d.dir, "publisher", "tuf-repo", "root.json"))
	if err != nil {
		return err
	}
	d.use(publisher.url)
	if err := d.download(ctx, "app", root, "verified by go "); err != nil {
		return err
	}
	d.proved("go-tuf verified it; the file is byte by byte what was published.")
	return nil
}

// download downloads the plugin in a new application's directory, and fails
// unless the command says so and the file is the publisher's.
func (d *demo) download(ctx context.Context, in string, root []byte, says string) error {
	if err := d.give(in, "root.json", root); err != nil {
		return err
	}
	said, err := d.run(ctx, 0, in, "ragnos-tuf", "--root", "root.json", "download", pluginName, "-o", saved)
	if err != nil {
		return err
	}
	return errors.Join(must(said, says), d.same(in+"/"+saved, d.plugin()))
}

// plainGoFails is step 3.
func (d *demo) plainGoFails(_ context.Context, odd *states) error {
	d.step("Another publisher signs with two keys, and writes the second signature in base64.")
	d.say("   Its root asks for one good signature, and the first is good: whoever meets the")
	d.say("   second may ignore it. go-tuf's own client, with nothing of ours around it, says:")
	err := plainGoTUF(odd.url, odd.root, filepath.Join(d.dir, "plain-go-tuf"))
	if err == nil {
		return errors.New("go-tuf reads the repository that it is said not to read")
	}
	d.say("   | %v", err)
	d.proved("go-tuf alone cannot read a repository that is signed as it should be.")
	return nil
}

// pythonTakesOver is step 4.
func (d *demo) pythonTakesOver(ctx context.Context, odd *states) error {
	d.step("The same repository with ragnos-tuf, nothing configured.")
	d.use(odd.url)
	if err := d.download(ctx, "other-app", odd.root, "verified by python "); err != nil {
		return err
	}
	d.proved("python-tuf took over by itself and verified everything from scratch.")
	return nil
}

// tamper is step 6.
func (d *demo) tamper(ctx context.Context, publisher *server, odd *states) error {
	d.step("Somebody breaks into the first publisher's server and changes one byte of the plugin.")
	if err := d.changeOneByte(); err != nil {
		return err
	}
	d.use(publisher.url)
	for _, mode := range []string{"auto", "go", "python", "dual"} {
		if err := d.refused(ctx, mode, "new-app-"+mode, "../app/root.json"); err != nil {
			return err
		}
	}
	d.proved("refused in every mode, and nothing was saved.")
	d.say("\n   The same attack where only python-tuf can read the metadata:")
	odd.show("unreadable")
	odd.tamper()
	d.use(odd.url)
	if err := d.refused(ctx, "auto", "last-app", "../other-app/root.json"); err != nil {
		return err
	}
	d.proved("falling back opens no door.")
	return nil
}

// changeOneByte changes the last byte of the plugin on the server, and nothing else.
func (d *demo) changeOneByte() error {
	found, err := filepath.Glob(filepath.Join(d.dir, "publisher", "tuf-repo", "targets", "plugins", "ragnos", "*.tar.gz"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("the published plugin is not where it should be: %v %w", found, err)
	}
	raw, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	if err := os.Chmod(found[0], 0o600); err != nil {
		return err
	}
	return os.WriteFile(found[0], tampered(raw), 0o600)
}

func tampered(raw []byte) []byte {
	raw = bytes.Clone(raw)
	raw[len(raw)-1] ^= 1
	return raw
}

// refused downloads the plugin in a new application's directory, and fails
// unless that is refused for its hash and nothing is saved.
func (d *demo) refused(ctx context.Context, mode, in, root string) error {
	if _, err := d.run(ctx, protocol.CodeMismatch.Exit(), in, "ragnos-tuf", "--client", mode,
		"--root", root, "download", pluginName); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(d.dir, in, "tuf-cache"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = fmt.Errorf("%s was left behind", path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
