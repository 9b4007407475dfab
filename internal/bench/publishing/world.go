//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The two files of a plugin.
const (
	extArchive  = ".tar.gz"
	extManifest = ".json"
)

// pluginBytes is about how large an archive is: small, as what is measured is the
// cost of a plugin, not of its bytes.
const pluginBytes = 4000

// archive returns a plugin archive of its own for each n.
func archive(n int) ([]byte, error) {
	content := make([]byte, pluginBytes)
	for i, x := 0, uint32(n)*2654435761+1; i < len(content); i++ {
		x = x*1664525 + 1013904223
		content[i] = byte(x >> 24)
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "plugin", Mode: 0o644, Size: pluginBytes})
	if err == nil {
		_, err = w.Write(content)
	}
	err = errors.Join(err, w.Close(), z.Close())
	return buf.Bytes(), err
}

// pluginName is the name of the n-th plugin.
func pluginName(n int) string { return fmt.Sprintf("plugin-%06d", n) }

// publisher is the publisher of the n-th plugin, of so many.
func publisher(n, of int) string { return fmt.Sprintf("vendor-%03d", n%of) }

// writePlugin writes the two files of a plugin and returns their path without
// extension.
func writePlugin(dir string, n, publishers int) (string, error) {
	data, err := archive(n)
	if err != nil {
		return "", err
	}
	stem := filepath.Join(dir, pluginName(n))
	manifest := fmt.Sprintf(`{"name":%q,"publisher":%q,"version":"1.0.0","description":"A plugin to measure with."}`,
		pluginName(n), publisher(n, publishers))
	return stem, errors.Join(os.WriteFile(stem+extArchive, data, 0o600), os.WriteFile(stem+extManifest, []byte(manifest), 0o600))
}

// writeBatch writes n plugins, a thousand in a directory, and returns their paths
// without extensions.
func writeBatch(dir string, n, publishers int) (stems []string, err error) {
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o700); err != nil {
				return nil, err
			}
		}
		stem, err := writePlugin(sub, i, publishers)
		if err != nil {
			return nil, err
		}
		stems = append(stems, stem)
	}
	return stems, nil
}
