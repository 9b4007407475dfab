package keyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// EnvPassphrase is the environment variable that commands pass to [FromEnv].
const EnvPassphrase = "RAGNOS_TUF_PASSPHRASE"

// maxPassphrase bounds a passphrase in bytes.
const maxPassphrase = 1024

// MinPassphrase is the fewest characters of the passphrase of a new key.
const MinPassphrase = 8

// Passphrase gives the passphrase of a key, which errors and prompts name by the
// path of its private file. isNew says that the key is being made. The caller
// overwrites the returned bytes after use: each call returns its own. An empty
// passphrase is refused, and for a new key one of fewer than MinPassphrase
// characters.
type Passphrase func(ctx context.Context, path string, isNew bool) ([]byte, error)

// errPlain is how [Plain] tells [Generate].
var errPlain = errors.New("the key is to be stored unencrypted")

// Plain, given to [Generate], leaves the new key unencrypted. Only for users who
// explicitly want that. It has no passphrase for a key that is there.
func Plain(_ context.Context, path string, isNew bool) ([]byte, error) {
	if isNew {
		return nil, errPlain
	}
	return nil, none(path, isNew)
}

// none is ErrNoPassphrase with all ways to give one.
func none(path string, isNew bool) error {
	hint := "give one with --passphrase-file FILE, in the environment variable " + EnvPassphrase + ", or at a terminal"
	if isNew {
		hint += "; --plain-keys makes keys without one"
	}
	return wrong(protocol.CodeUsage, path, ErrNoPassphrase, hint)
}

// ask gets a passphrase that can be used.
func ask(ctx context.Context, pass Passphrase, path string, isNew bool) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, systemError(path, err)
	}
	if pass == nil {
		return nil, none(path, isNew)
	}
	phrase, err := pass(ctx, path, isNew)
	switch {
	case errors.Is(err, errPlain):
		return nil, errPlain
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		clear(phrase)
		return nil, systemError(path, ctx.Err())
	}
	err = checkPhrase("the passphrase", phrase)
	if err == nil && isNew && tooShort(phrase) {
		err = &tuferr.Error{Code: protocol.CodeUsage, Msg: fmt.Sprintf("the passphrase of a new key needs at least %d characters", MinPassphrase),
			Hint: "choose a longer one, such as four words; no key was made"}
	}
	if err != nil {
		clear(phrase)
		return nil, at(path, err)
	}
	return phrase, nil
}

func tooShort(phrase []byte) bool { return utf8.RuneCount(phrase) < MinPassphrase }

// checkPhrase refuses a passphrase that is none; what names its source.
func checkPhrase(what string, phrase []byte) error {
	switch {
	case len(phrase) == 0:
		return tuferr.New(protocol.CodeUsage, "%s is empty", what)
	case len(phrase) > maxPassphrase:
		return tuferr.New(protocol.CodeUsage, "%s is longer than %d bytes", what, maxPassphrase)
	case bytes.IndexByte(phrase, 0) >= 0: // At the end scrypt would not see it.
		return tuferr.New(protocol.CodeUsage, "%s holds a zero byte; text must be in UTF-8", what)
	}
	return nil
}

// FromFile takes the first line of a file that only its owner can reach, without
// the line's end (LF or CRLF). Nothing else is taken off: spaces count. With path
// "" it has none: ErrNoPassphrase.
func FromFile(path string) Passphrase {
	return func(_ context.Context, key string, isNew bool) ([]byte, error) {
		if path == "" {
			return nil, none(key, isNew)
		}
		f, err := openRegular(path, func(info fs.FileInfo) error {
			return unreachable(path, info, "chmod 600 "+path+"; if others could read it, change the passphrase")
		})
		if err != nil {
			return nil, err
		}
		defer f.Close()
		buf := make([]byte, maxPassphrase+len("\r\n"))
		defer clear(buf)
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, systemError(path, err)
		}
		line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if err := checkPhrase("the first line of the passphrase file", line); err != nil {
			return nil, at(path, err)
		}
		return bytes.Clone(line), nil
	}
}

// FromEnv takes the value of an environment variable as it is. If the variable is not
// set it has none: ErrNoPassphrase.
func FromEnv(variable string) Passphrase {
	return func(_ context.Context, key string, isNew bool) ([]byte, error) {
		value, ok := os.LookupEnv(variable)
		if !ok {
			return nil, none(key, isNew)
		}
		phrase := []byte(value)
		return phrase, at(key, checkPhrase("the environment variable "+variable, phrase))
	}
}

// FirstOf asks the sources in turn for the first that has a passphrase. If none
// has, its error names all ways to give one.
func FirstOf(sources ...Passphrase) Passphrase {
	return func(ctx context.Context, path string, isNew bool) ([]byte, error) {
		for _, source := range sources {
			phrase, err := source(ctx, path, isNew)
			if !errors.Is(err, ErrNoPassphrase) {
				return phrase, err
			}
		}
		return nil, none(path, isNew)
	}
}

// Once asks source once for each key, one at a time, and remembers until forget
// overwrites what it knows; after that it asks anew. Both are safe for
// concurrent use.
func Once(source Passphrase) (once Passphrase, forget func()) {
	turn := make(chan struct{}, 1)
	known := map[string][]byte{}
	once = func(ctx context.Context, path string, isNew bool) ([]byte, error) {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return nil, systemError(path, ctx.Err())
		}
		defer func() { <-turn }()
		if phrase, ok := known[path]; ok {
			return bytes.Clone(phrase), nil
		}
		phrase, err := source(ctx, path, isNew)
		if err == nil {
			known[path] = bytes.Clone(phrase)
		}
		return phrase, err
	}
	forget = func() {
		turn <- struct{}{}
		defer func() { <-turn }()
		for _, phrase := range known {
			clear(phrase)
		}
		clear(known)
	}
	return once, forget
}
