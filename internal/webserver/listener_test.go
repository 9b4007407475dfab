package webserver

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// accepting listens on loopback and hands over what is accepted.
func accepting(t *testing.T, most int, shares *share, refused ...func()) (l *listener, accepted chan net.Conn, failed chan error) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l = limit(inner.(*net.TCPListener), most, shares)
	for _, f := range refused {
		l.refused = f
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted, failed = make(chan net.Conn), make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			accepted <- c
		}
	}()
	return l, accepted, failed
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestConnectionsAreBounded(t *testing.T) {
	l, accepted, failed := accepting(t, 1, nil)
	dial(t, l)
	dial(t, l)
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection beyond the bound")
	default:
	}
	require.NoError(t, first.Close())
	_ = first.Close() // gives its place back only once
	second := <-accepted
	defer second.Close()
	require.Len(t, l.places, 1)
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-failed, net.ErrClosed, "closing ends an Accept that waits for a place")
}

func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	l, accepted, _ := accepting(t, 3, newShare(3))
	dial(t, l)
	first := <-accepted
	refused := dial(t, l)
	_, err := refused.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, first.Close())
	dial(t, l)
	second := <-accepted
	require.NoError(t, second.Close())
	require.Empty(t, l.shares.held)
}

// TestFilesGoThroughTheKernel: sendfile needs a connection that reads from files.
func TestFilesGoThroughTheKernel(t *testing.T) {
	l, accepted, _ := accepting(t, 1, nil)
	dial(t, l)
	c := <-accepted
	defer c.Close()
	require.Implements(t, (*io.ReaderFrom)(nil), c)
}
