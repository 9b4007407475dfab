// Command embed shows how an application installs a plugin: it verifies and
// downloads one, and prints where it lies and who vouches for it.
//
//	embed ROOT.json NAME
//
// RAGNOS_TUF_REPO_URL names the repository; see package hybrid for more.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ragnos-labs/vault-tuf/hybrid"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: embed ROOT.json NAME")
	}
	if err := install(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func install(ctx context.Context, rootFile, name string) error {
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return err
	}
	client, err := hybrid.New(hybrid.Options{Root: root})
	if err != nil {
		return err
	}
	defer client.Shutdown(ctx)
	plugin, err := client.VerifyAndDownloadPlugin(ctx, name, hybrid.DownloadOptions{})
	if err != nil {
		return err // a *hybrid.Error: errors.Is(err, hybrid.ErrVerdict) means: do not install
	}
	fmt.Printf("%s is %s, verified by %s\n", plugin.Name, plugin.Path, plugin.Engine)
	return nil
}
