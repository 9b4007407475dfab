package keyfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// promptTries is how often a passphrase for a new key may be mistyped.
const promptTries = 3

// FromPrompt asks on the terminal in, without echo; for a new key twice. out gets
// the questions. If in is no terminal it has none: ErrNoPassphrase. When ctx ends
// it returns and the terminal is as it was, but what is typed until the process
// ends is lost.
func FromPrompt(in *os.File, out io.Writer) Passphrase {
	return func(ctx context.Context, path string, isNew bool) ([]byte, error) {
		if !term.IsTerminal(int(in.Fd())) {
			return nil, none(path, isNew)
		}
		p := prompt{in: int(in.Fd()), out: out, path: path}
		if !isNew {
			return p.ask(ctx, fmt.Sprintf("Passphrase of the key %q: ", path))
		}
		for range promptTries {
			phrase, err := p.askTwice(ctx)
			if phrase != nil || err != nil {
				return phrase, err
			}
		}
		return nil, &tuferr.Error{Code: protocol.CodeUsage, Path: path,
			Msg: fmt.Sprintf("no two equal passphrases of at least %d characters in %d tries", MinPassphrase, promptTries), Hint: "try again; no key was made"}
	}
}

// prompt asks for the passphrase of the key at path.
type prompt struct {
	in   int
	out  io.Writer
	path string
}

// askTwice returns nil if there was too little or two different things.
func (p prompt) askTwice(ctx context.Context) ([]byte, error) {
	phrase, err := p.ask(ctx, fmt.Sprintf("Passphrase for the new key %q: ", filepath.Join(filepath.Base(filepath.Dir(p.path)), filepath.Base(p.path))))
	if err != nil {
		return nil, err
	}
	if tooShort(phrase) {
		clear(phrase)
		fmt.Fprintf(p.out, "It needs at least %d characters.\n", MinPassphrase)
		return nil, nil
	}
	again, err := p.ask(ctx, "The same again: ")
	if err != nil {
		clear(phrase)
		return nil, err
	}
	defer clear(again)
	if !bytes.Equal(phrase, again) {
		clear(phrase)
		fmt.Fprintln(p.out, "The two are not equal.")
		return nil, nil
	}
	return phrase, nil
}

func (p prompt) ask(ctx context.Context, question string) ([]byte, error) {
	before, err := term.GetState(p.in)
	if err != nil {
		return nil, systemError(p.path, err)
	}
	type answer struct {
		phrase []byte
		err    error
	}
	got := make(chan answer, 1)
	go func() {
		phrase, err := term.ReadPassword(p.in)
		got <- answer{phrase, err}
	}()
	p.awaitChange(before)
	fmt.Fprint(p.out, question)
	defer fmt.Fprintln(p.out)
	select {
	case a := <-got:
		if a.err != nil {
			clear(a.phrase)
			return nil, systemError(p.path, a.err)
		}
		return a.phrase, nil
	case <-ctx.Done():
		_ = term.Restore(p.in, before)
		return nil, systemError(p.path, ctx.Err())
	}
}

// awaitChange waits until ReadPassword has switched the echo off, a moment after
// it was called: what is typed in answer to a question must not be shown, and
// only what has been done can be undone. If it was off already, nothing changes.
func (p prompt) awaitChange(before *term.State) {
	for range 1000 {
		if now, err := term.GetState(p.in); err != nil || *now != *before {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
