package plain

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// Go is go-tuf's own client with its default settings.
type Go struct{}

// Run runs a request. When ctx ends the run is left behind: go-tuf takes no
// context, so it goes on until the server closes the connection.
func (Go) Run(ctx context.Context, r Request) ([]byte, error) {
	type outcome struct {
		content []byte
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o = outcome{err: fmt.Errorf("%w: %v", ErrCrash, p)}
			}
			done <- o
		}()
		o.content, o.err = runGo(r)
	}()
	select {
	case o := <-done:
		return o.content, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func runGo(r Request) ([]byte, error) {
	cfg, err := config.New(r.MetadataURL, r.Root)
	if err != nil {
		return nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.RemoteTargetsURL = r.MetadataDir, r.TargetsDir, r.TargetsURL
	u, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	setClock(u, r.Now)
	if err := u.Refresh(); err != nil || r.Target == "" {
		return nil, err
	}
	info, err := u.GetTargetInfo(r.Target)
	if err != nil {
		if strings.HasPrefix(err.Error(), "target "+r.Target+" not found") {
			return nil, ErrNotFound
		}
		return nil, err
	}
	if path, _, err := u.FindCachedTarget(info, ""); err == nil && path != "" {
		return readTarget(path)
	}
	path, _, err := u.DownloadTarget(info, "", "")
	if err != nil {
		return nil, err
	}
	return readTarget(path)
}

// setClock sets the reference time of an updater, which has no option for it.
func setClock(u *updater.Updater, now time.Time) {
	if now.IsZero() {
		return
	}
	field := reflect.ValueOf(u).Elem().FieldByName("trusted")
	trusted := *(**trustedmetadata.TrustedMetadata)(unsafe.Pointer(field.UnsafeAddr()))
	trusted.RefTime = now
}
