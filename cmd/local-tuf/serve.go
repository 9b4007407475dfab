package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ragnos-labs/vault-tuf/internal/webserver"
	"github.com/ragnos-labs/vault-tuf/repository"
)

const serveHelp = `Serve metadata under /metadata/, plugins under /targets/ and the state of the
repository at ` + repository.HealthPath + `, until SIGINT or SIGTERM; answers under way are
given ten seconds to finish. Timestamp and snapshot are signed anew when half of
their lifetime is over, so their keys must be there; passphrases are asked for at
the start. The health check says "degraded", and the log once a day, when people
must sign a role soon.

The first line on stdout tells the address, also with --port 0, which takes any
free port. A line of JSON for each request, and for what the operator should know,
goes to stderr; --access-log puts those for requests into a file.

With --tls-cert and --tls-key it speaks HTTPS. Reading is for everybody, unless
--read-token-file names a file of bearer tokens, one on each line, or --client-ca
the authorities that clients must have a certificate from; that goes for the
health check too. All these files are read again when they change. Tokens are
taken over TLS only, or on a loopback address behind a proxy that encrypts.

A client may make --rate requests a second in the long run, 2000 at once, and have
a third of the free connections; behind a proxy, where all clients look like one, say
--rate 0 and let the proxy limit them.

--metrics-listen serves metrics for Prometheus at ` + metricsPath + `, on an address of their
own: who may fetch plugins need not know how the server is. Encryption, tokens and
client certificates are those of the repository. A collector gets them by OTLP, as the
OTEL_* variables of the environment say (docs/telemetry.md).`

// serveFlags are the flags of serve.
type serveFlags struct {
	host string
	port uint16
	// rate and connections are unsigned, so that there is nothing to say about
	// negative numbers.
	rate, connections uint16
	accessLog         string
	metricsListen     string
	config            webserver.Config
}

func newServe(g *global) *cobra.Command {
	var o serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the repository over HTTP and keep it fresh",
		Long:  serveHelp,
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd, g) },
	}
	f := cmd.Flags()
	f.StringVar(&o.host, "host", "127.0.0.1", "address to listen on")
	f.Uint16Var(&o.port, "port", 8080, "port to listen on, 0 for any free one")
	f.Uint16Var(&o.connections, "max-connections", webserver.DefaultMaxConnections, "connections at a time; half as many requests")
	f.Uint16Var(&o.rate, "rate", webserver.DefaultRate, "requests a second for each client, 0 for any number")
	f.StringVar(&o.config.TLSCert, "tls-cert", "", "PEM `file` of the certificate, with those of its issuers")
	f.StringVar(&o.config.TLSKey, "tls-key", "", "PEM `file` of the certificate's private key")
	f.StringVar(&o.config.ClientCA, "client-ca", "", "PEM `file` of the authorities that clients must have a certificate from")
	f.StringVar(&o.config.TokenFile, "read-token-file", "", "`file` of the bearer tokens that clients must have one of")
	f.StringVar(&o.accessLog, "access-log", "", "`file` to append a line for each request to")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "`ADDR:PORT` to serve metrics at, such as 127.0.0.1:9464")
	return cmd
}

func (o *serveFlags) run(cmd *cobra.Command, g *global) (err error) {
	o.config.Rate, o.config.MaxConnections = int(o.rate), int(o.connections)
	r, done, err := g.open(cmd)
	if err != nil {
		return err
	}
	defer done()
	if _, err := r.Status(cmd.Context()); err != nil {
		return err
	}
	o.config.Log = webserver.NewLog(cmd.ErrOrStderr())
	defer o.config.Log.Close()
	o.config.Access = o.config.Log
	if o.accessLog != "" {
		f, err := webserver.OpenLog(o.accessLog)
		if err != nil {
			return err
		}
		o.config.Access = webserver.NewLog(f)
		defer func() {
			o.config.Access.Close()
			_ = f.Close() // a log that cannot be written must not matter
		}()
	}
	w := newWatch(o.config.Log.Logger)
	h := r.Handler(w.amend)
	m, err := o.newMetrics(cmd.Context(), h.Health)
	if err != nil {
		return err
	}
	defer m.end()
	o.config.Observe = m.Answered
	s, err := webserver.New(o.config, h)
	if err != nil {
		return err
	}
	missing, err := r.OpenOnline(cmd.Context())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		o.config.Log.Warn("keys are not at hand: somebody else must sign these roles in time", "roles", missing)
	}
	l, err := s.Listen(cmd.Context(), o.host, o.port)
	if err != nil {
		return err
	}
	said := fmt.Sprintf("serving %s at %s://%s\n", r.Dir(), s.Scheme(), l.Addr())
	if m.server != nil {
		said += fmt.Sprintf("metrics at %s://%s%s\n", m.server.Scheme(), m.listener.Addr(), metricsPath)
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), said); err != nil {
		return errors.Join(err, l.Close())
	}
	return serve(cmd.Context(), s, l, r, h, w, m)
}

// serve answers requests and keeps the repository fresh until ctx ends.
func serve(ctx context.Context, s *webserver.Server, l *net.TCPListener, r *repository.Repository, h *repository.Handler, w *watch, m *metrics) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		r.KeepFresh(ctx, func(err error) {
			if err == nil {
				w.signing()
				return
			}
			w.notSigned(err, time.Now())
			m.Renewed(err)
		}, func() { m.Renewed(nil) })
	})
	work.Go(func() {
		if err := m.serve(ctx); err != nil {
			w.log.Error("metrics are not served any more", "error", err.Error())
		}
	})
	work.Go(func() { w.run(ctx, h.Health, r.Status) })
	err := s.Serve(ctx, l)
	cancel()
	work.Wait()
	return err
}
