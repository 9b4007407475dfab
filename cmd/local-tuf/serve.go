package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// Limits of the server.
const (
	maxConnections = 512
	maxHeader      = 16 << 10 // bytes
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Minute // the largest plugin at 1.2 MB/s
	idleTimeout    = time.Minute
	graceTimeout   = 10 * time.Second
)

func newServe(g *global) *cobra.Command {
	var host string
	var port uint16
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the repository over HTTP and keep it fresh",
		Long: `Serve metadata under /metadata/, plugins under /targets/ and the state of the
repository at ` + repository.HealthPath + `, until SIGINT or SIGTERM. Timestamp and snapshot are
signed anew when half of their lifetime is over, so their keys must be there.

The first line on stdout tells the address, also with --port 0, which takes any
free port. There is no encryption: put a TLS proxy before it to serve others.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			if _, err := r.Status(cmd.Context()); err != nil {
				return err
			}
			addr := net.JoinHostPort(host, strconv.Itoa(int(port)))
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Msg: "cannot listen on " + addr, Err: err,
					Hint: "is another server running? choose another --port"}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "serving %s at http://%s\n", r.Dir(), l.Addr())
			return serve(cmd.Context(), r, l, log.New(cmd.ErrOrStderr(), "local-tuf: ", log.LstdFlags))
		},
	}
	cmd.Flags().StringVar(&host, "host", "127.0.0.1", "address to listen on")
	cmd.Flags().Uint16Var(&port, "port", 8080, "port to listen on, 0 for any free one")
	return cmd
}

// serve answers requests until ctx ends, then lets the running ones finish.
func serve(ctx context.Context, r *repository.Repository, l net.Listener, logger *log.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           r.Handler(),
		ErrorLog:          logger,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
	}
	var work sync.WaitGroup
	work.Go(func() { r.KeepFresh(ctx, func(err error) { logger.Print(err) }) })
	work.Go(func() {
		<-ctx.Done()
		grace, done := context.WithTimeout(context.Background(), graceTimeout)
		defer done()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(limitListener(l, maxConnections))
	cancel()
	work.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Msg: "the server stopped", Err: err}
}

// limitListener lets at most n connections be open; more wait in the kernel's
// queue. Closing it ends a waiting Accept.
func limitListener(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
