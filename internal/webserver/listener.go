package webserver

import (
	"net"
	"sync"
)

// listener bounds the connections that are open at a time; further ones wait in
// the kernel's queue. A connection beyond the share of its client is closed at
// once. Its own kind of netutil.LimitListener, because the kernel sends files by
// itself (sendfile) only where the connection is known to be one of TCP.
type listener struct {
	*net.TCPListener
	places chan struct{}
	shares *share // nil: no bound for one client
	// refused is told of each connection that was closed at once.
	refused func()
	closed  chan struct{}
	once    sync.Once
}

func limit(l *net.TCPListener, most int, shares *share) *listener {
	return &listener{TCPListener: l, places: make(chan struct{}, most), shares: shares, refused: func() {}, closed: make(chan struct{})}
}

// Accept waits for a place and then for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			<-l.places
			return nil, err
		}
		from := clientOf(c.RemoteAddr().String())
		if l.shares == nil {
			return &conn{TCPConn: c, release: sync.OnceFunc(func() { <-l.places })}, nil
		}
		if l.shares.take(from) {
			return &conn{TCPConn: c, release: sync.OnceFunc(func() { l.shares.give(from); <-l.places })}, nil
		}
		_ = c.Close()
		l.refused()
	}
}

// Close ends a waiting Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

type conn struct {
	*net.TCPConn
	release func()
}

// Close gives the place back.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.release()
	return err
}
