package lockfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, lockfile.Name)

	var f lockfile.File
	err = f.Set(lockfile.Entry{
		Target: "plugins/acme/hello.1.2.0.tar.gz", Publisher: "acme", Name: "hello", Version: "1.2.0",
		Wanted: "^1.2", Repository: "main", Length: 4,
		Hashes: map[string]string{"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
	})
	if err != nil {
		panic(err)
	}
	if err := f.Write(path); err != nil {
		panic(err)
	}
	locked, err := lockfile.Read(path)
	if err != nil {
		panic(err)
	}
	e, _ := locked.Find("acme/hello")
	fmt.Println(e.Version, e.Hashes["sha256"][:8])
	for _, c := range lockfile.Diff(locked, nil) {
		fmt.Println(c)
	}
	// Output:
	// 1.2.0 9f86d081
	// - acme/hello 1.2.0
}
