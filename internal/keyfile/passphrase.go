package keyfile

import (
	"context"
	"errors"
	"io"
	"os"
)

// Passphrase gives the passphrase of a key, which errors and prompts name by the
// path of its private file. isNew says that the key is being made. The caller
// overwrites the returned bytes after use: each call returns its own. An empty
// passphrase is refused.
type Passphrase func(ctx context.Context, path string, isNew bool) ([]byte, error)

// Plain, given to [Generate], leaves the new key unencrypted. Only for users who
// explicitly want that. It opens no encrypted key.
func Plain(context.Context, string, bool) ([]byte, error) { return nil, errors.ErrUnsupported }

// FromFile takes the first line of a file that only its owner can reach. With
// path "" it has none: ErrNoPassphrase.
func FromFile(path string) Passphrase { return Plain }

// FromEnv takes the value of an environment variable. If the variable is not
// set it has none: ErrNoPassphrase.
func FromEnv(variable string) Passphrase { return Plain }

// FromPrompt asks on the terminal in, without echo; for a new key twice. out gets
// the questions. If in is no terminal it has none: ErrNoPassphrase.
func FromPrompt(in *os.File, out io.Writer) Passphrase { return Plain }

// FirstOf asks the sources in turn for the first that has a passphrase. If none
// has, its error names all ways to give one.
func FirstOf(sources ...Passphrase) Passphrase { return Plain }

// Once asks source once for each key, one at a time, and remembers until forget
// overwrites what it knows; after that it asks anew. Both are safe for
// concurrent use.
func Once(source Passphrase) (once Passphrase, forget func()) { return source, func() {} }
