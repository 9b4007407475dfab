package keyfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// user sits at a terminal, of which the first seen bytes shown have been read.
type user struct {
	t        *testing.T
	keyboard *os.File
	terminal *os.File
	shown    bytes.Buffer
	seen     int
}

func newUser(t *testing.T) *user {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = master.Close() })
	conn, err := master.SyscallConn()
	require.NoError(t, err)
	var n int
	require.NoError(t, conn.Control(func(fd uintptr) {
		require.NoError(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		require.NoError(t, err)
	}))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = slave.Close() })
	return &user{t: t, keyboard: master, terminal: slave}
}

// sees waits until text is shown after what was seen before.
func (u *user) sees(text string) {
	u.t.Helper()
	buf := make([]byte, 256)
	for {
		if i := strings.Index(u.shown.String()[u.seen:], text); i >= 0 {
			u.seen += i + len(text)
			return
		}
		n, err := u.keyboard.Read(buf)
		require.NoError(u.t, err, "%q", u.shown.String())
		u.shown.Write(buf[:n])
	}
}

func (u *user) types(text string) {
	u.t.Helper()
	_, err := u.keyboard.WriteString(text)
	require.NoError(u.t, err)
}

func (u *user) echo() bool {
	u.t.Helper()
	state, err := unix.IoctlGetTermios(int(u.terminal.Fd()), unix.TCGETS)
	require.NoError(u.t, err)
	return state.Lflag&unix.ECHO != 0
}

type answered struct {
	phrase string
	err    error
}

func (u *user) isAsked(ctx context.Context, isNew bool) <-chan answered {
	done := make(chan answered, 1)
	go func() {
		phrase, err := FromPrompt(u.terminal, u.terminal)(ctx, "keys/root.key", isNew)
		done <- answered{string(phrase), err}
	}()
	return done
}

// TestPrompt asks once for a key that is there, and shows nothing of the answer.
func TestPrompt(t *testing.T) {
	u := newUser(t)
	require.True(t, u.echo())
	done := u.isAsked(t.Context(), false)
	u.sees(`Passphrase of the key "keys/root.key": `)
	require.False(t, u.echo())
	u.types(secret + "\n")
	require.Equal(t, answered{secret, nil}, <-done)
	require.True(t, u.echo())
	u.sees("\n")
	require.NotContains(t, u.shown.String(), secret)
}

// TestPromptForANewKey asks until the same was typed twice.
func TestPromptForANewKey(t *testing.T) {
	u := newUser(t)
	done := u.isAsked(t.Context(), true)
	u.sees(`Passphrase for the new key "keys/root.key": `)
	u.types("seven77\n")
	u.sees("at least 8 characters")
	u.sees("new key")
	u.types(secret + "\n")
	u.sees("again")
	u.types("something else\n")
	u.sees("not equal")
	u.sees("new key")
	u.types(secret + "\n")
	u.sees("again")
	u.types(secret + "\n")
	require.Equal(t, answered{secret, nil}, <-done)
	require.NotContains(t, u.shown.String(), secret)
}

func TestPromptGivesUpAfterThreeTries(t *testing.T) {
	u := newUser(t)
	done := u.isAsked(t.Context(), true)
	for range promptTries {
		u.sees("new key")
		u.types("the first one\n")
		u.sees("again")
		u.types("the second one\n")
		u.sees("not equal")
	}
	a := <-done
	require.Empty(t, a.phrase)
	requireError(t, a.err, protocol.CodeUsage, nil)
}

// TestPromptEndsWithItsContext and leaves the terminal as it was.
func TestPromptEndsWithItsContext(t *testing.T) {
	for _, isNew := range []bool{false, true} {
		u := newUser(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := u.isAsked(ctx, isNew)
		u.sees("key")
		if isNew {
			u.types(secret + "\n")
			u.sees("again")
		}
		cancel()
		a := <-done
		require.Empty(t, a.phrase)
		requireError(t, a.err, protocol.CodeCancelled, context.Canceled)
		require.True(t, u.echo())
		u.types("\n") // Ends the read.
	}
	u := newUser(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := <-u.isAsked(ctx, false)
	requireError(t, a.err, protocol.CodeCancelled, context.Canceled)
	require.True(t, u.echo())
	u.types("\n")
}

// TestPromptHangsUp: the terminal goes away.
func TestPromptHangsUp(t *testing.T) {
	u := newUser(t)
	done := u.isAsked(t.Context(), false)
	u.sees("key")
	require.NoError(t, u.keyboard.Close())
	a := <-done
	requireError(t, a.err, protocol.CodeLocalIO, nil)
}

// TestNoTerminal: a pipe or a file is not asked.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	var out bytes.Buffer
	_, err = FromPrompt(r, &out)(t.Context(), "a.key", true)
	requireError(t, err, protocol.CodeUsage, ErrNoPassphrase)
	require.Empty(t, out.String())
}
