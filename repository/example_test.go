package repository_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	r, err := repository.Init(ctx, filepath.Join(dir, "repo"), repository.InitOptions{
		Options: repository.Options{Keys: repository.Keys{Passphrase: repository.PlainKeys}},
	})
	if err != nil {
		log.Fatal(err)
	}
	plugins := "../testdata/plugins/hello-world.1.0.0"
	target, _, err := r.Publish(ctx, plugins+".tar.gz", plugins+".json", repository.PublishOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(target.Path)
	// http.ListenAndServe("127.0.0.1:8080", r.Handler()) would serve it.

	// Output: plugins/ragnos/hello-world.1.0.0.tar.gz
}
