package vault

import (
	"context"
	"errors"
	"path"

	"github.com/ragnos-labs/vault-tuf/internal/plugin"
	"github.com/ragnos-labs/vault-tuf/internal/sealed"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// MaxExecutable is the largest entry point in bytes. On Linux it takes so much
// memory while it is held.
const MaxExecutable = 256 << 20

// Executable takes the entry point, the file that the signed manifest says is to be
// started, out of the opened archive, and returns it as an executable file that
// nobody can change any more. It is the caller's to close; it outlives o. Nothing
// else of the archive is unpacked.
//
// What the archive holds is checked as a whole by the rules of publishing, whoever
// published it. If it breaks them, the entry point is no regular file of it, or it
// is larger than [MaxExecutable], the error is of the family ErrVerdict; if the
// manifest names none, of ErrUsage.
//
// To start it, give it to the child as its first of exec.Cmd.ExtraFiles and name it
// /proc/self/fd/3, which a script's interpreter opens again; a copy that is not
// Sealed has a path of its own:
//
//	cmd := exec.Command(exe.Path())
//	if exe.Sealed() {
//		cmd = exec.Command("/proc/self/fd/3")
//		cmd.ExtraFiles = []*os.File{exe.OSFile()}
//	}
func (o *Opened) Executable(ctx context.Context) (*Bytes, error) {
	b, err := o.executable(ctx, MaxExecutable)
	if err != nil {
		return nil, o.vault.fail("open", o.Repository, o.Target, err)
	}
	return b, nil
}

func (o *Opened) executable(ctx context.Context, most int64) (*Bytes, error) {
	if o.EntryPoint == "" {
		e := tuferr.New(protocol.CodeUsage, "its manifest names no entry point")
		e.Hint = "it is not made to be started; its bytes can be read"
		return nil, e
	}
	m := &plugin.Manifest{Publisher: o.Publisher, Name: o.Name, Version: o.Version, EntryPoint: o.EntryPoint}
	content, n, err := plugin.EntryPoint(ctx, o.Reader(), plugin.DefaultLimits, m)
	if err != nil {
		return nil, o.cannotStart(ctx, err)
	}
	if n > most {
		e := tuferr.New(protocol.CodeEndlessData, "its entry point %.200q has %d bytes, more than %d", o.EntryPoint, n, most)
		e.Engine = "host"
		return nil, e
	}
	b, err := sealed.From(ctx, content, n, sealed.Options{Name: path.Base(o.EntryPoint), Exec: true})
	if err != nil {
		return nil, o.cannotStart(ctx, err)
	}
	return b, nil
}

// cannotStart types what went wrong with an archive.
func (o *Opened) cannotStart(ctx context.Context, err error) error {
	var archive *plugin.ArchiveError
	var manifest *plugin.ManifestError
	switch {
	case errors.As(err, &archive), errors.As(err, &manifest):
		e := tuferr.New(protocol.CodeMalformed, "it cannot be started: %w", err)
		e.Engine, e.Hint = "host", "tell the publisher; what was signed is what is installed"
		return e
	case tuferr.As(err) != nil:
		return err
	case ctx.Err() != nil:
		return tuferr.Cancelled(ctx)
	}
	return tuferr.New(protocol.CodeLocalIO, "the opened plugin cannot be read: %w", err)
}
