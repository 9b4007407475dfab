// Command plain-go is go-tuf's own client as its manual shows it: it downloads
// one target with default settings, and links nothing else.
//
//	plain-go URL ROOT DIR TARGET
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "plain-go:", err)
		os.Exit(1)
	}
}

func run(url, root, dir, target string) error {
	trusted, err := os.ReadFile(root)
	if err != nil {
		return err
	}
	cfg, err := config.New(url+"/metadata", trusted)
	if err != nil {
		return err
	}
	cfg.RemoteTargetsURL = url + "/targets"
	cfg.LocalMetadataDir = filepath.Join(dir, "metadata")
	cfg.LocalTargetsDir = filepath.Join(dir, "targets")
	u, err := updater.New(cfg)
	if err != nil {
		return err
	}
	if err := u.Refresh(); err != nil {
		return err
	}
	info, err := u.GetTargetInfo(target)
	if err != nil {
		return err
	}
	path, _, err := u.FindCachedTarget(info, "")
	if err == nil && path == "" {
		_, _, err = u.DownloadTarget(info, "", "")
	}
	return err
}
