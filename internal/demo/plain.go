package main

import (
	"fmt"
	"os"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// plainGoTUF verifies and downloads the plugin with go-tuf's own client, the
// way its manual shows it, into dir.
func plainGoTUF(url string, root []byte, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	cfg, err := config.New(url+"/metadata/", root)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.RemoteTargetsURL = dir, dir, url+"/targets/"
	up, err := updater.New(cfg)
	if err != nil {
		return fmt.Errorf("trust the root: %w", err)
	}
	if err := up.Refresh(); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	info, err := up.GetTargetInfo(pluginName)
	if err != nil {
		return fmt.Errorf("look up: %w", err)
	}
	if _, _, err := up.DownloadTarget(info, "", ""); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	return nil
}
