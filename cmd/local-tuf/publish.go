package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/repository"
)

func newPublish(g *global) *cobra.Command {
	var channel, batch string
	cmd := &cobra.Command{
		Use:   "publish PLUGIN.tar.gz MANIFEST.json | --batch DIR",
		Short: "Check plugins, add them to the repository and sign",
		Long: `Check a plugin and its manifest, copy it into the repository as
plugins/PUBLISHER/NAME.VERSION.tar.gz and sign. All of it or nothing; a published
version is never overwritten.

The manifest is a JSON object with name, version (semantic), publisher and
description, and perhaps entryPoint (a file of the archive), minHostVersion and
permissions (an array of strings). Other fields are kept. All of it is signed.

The archive is refused if it has absolute paths, "..", links that lead outside,
device files, too many entries, or unpacks to too much.

With --batch all plugins below a directory are published in one change: all of
them or none. Each is a pair of files beside each other, NAME.tar.gz and
NAME.json, whatever NAME is; subdirectories are searched too. Every problem is
told, up to a hundred.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if batch != "" {
				return exactly()(cmd, args)
			}
			return exactly("PLUGIN.tar.gz", "MANIFEST.json")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			if batch != "" {
				return publishBatch(cmd, g, r, batch, repository.Channel(channel))
			}
			t, p, err := r.Publish(cmd.Context(), args[0], args[1], repository.PublishOptions{Channel: repository.Channel(channel)})
			if err != nil {
				return err
			}
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "published %s\nsha256 %s, %d bytes, listed by %s in channel %s\n",
				t.Path, t.SHA256, t.Length, t.Role, t.Channel)
			return nil
		},
	}
	cmd.Flags().StringVar(&channel, "channel", "", "stable or beta (default: beta for a pre-release, else stable)")
	cmd.Flags().StringVar(&batch, "batch", "", "publish all plugins below a `directory`")
	return cmd
}

func publishBatch(cmd *cobra.Command, g *global, r *repository.Repository, dir string, channel repository.Channel) error {
	progress, clearBar := progressBar(cmd.ErrOrStderr())
	b, p, err := r.PublishBatch(cmd.Context(), dir, repository.BatchOptions{Channel: channel, Progress: progress})
	clearBar()
	if err != nil {
		return err
	}
	if p != nil {
		return handProposal(cmd, g, p)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "published %d plugins, %d bytes, listed by %s\n", b.Plugins, b.Bytes, someOf(b.Roles))
	return nil
}

// progressBar shows progress on a terminal, and nowhere else.
func progressBar(stderr io.Writer) (progress func(done, total int), clearBar func()) {
	f, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	progress = func(done, total int) {
		if bar == nil {
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("plugins"),
				progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond))
		}
		_ = bar.Set(done) // a bar that cannot be drawn is no reason to fail
	}
	return progress, func() {
		if bar != nil {
			_ = bar.Clear()
		}
	}
}

// someOf lists the first of many names.
func someOf(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
