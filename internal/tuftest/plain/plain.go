// Package plain runs the two TUF libraries the way their own documentation
// shows, without any of this project's walls: go-tuf's updater in the process
// and python-tuf's Updater in a child process. Tests compare with them.
package plain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Request is one run of a client: a new updater, a refresh, and a download.
type Request struct {
	// MetadataURL and TargetsURL end with a slash.
	MetadataURL string `json:"metadata_url"`
	TargetsURL  string `json:"targets_url"`
	// MetadataDir and TargetsDir are the client's directories.
	MetadataDir string `json:"metadata_dir"`
	TargetsDir  string `json:"targets_dir"`
	// Root is the root metadata that the application ships.
	Root []byte `json:"root"`
	// Target is the target to download; "" refreshes only.
	Target string `json:"target"`
	// Now is the reference time in whole seconds; zero is the clock's.
	Now time.Time `json:"-"`
}

// ErrNotFound says that verified metadata does not list the target.
var ErrNotFound = errors.New("target not found")

// ErrCrash says that the client panicked or its process died.
var ErrCrash = errors.New("client crashed")

// Client runs a request and returns the content of the downloaded target, nil
// after a mere refresh. Errors are [ErrNotFound], [ErrCrash], the context's, or
// what the library said.
type Client interface {
	Run(ctx context.Context, r Request) ([]byte, error)
}

func readTarget(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("downloaded target: %w", err)
	}
	return content, nil
}
