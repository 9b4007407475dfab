package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/otelsetup"
	"github.com/ragnos-labs/vault-tuf/internal/servemetrics"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/webserver"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// metricsPath is where metrics are served.
const metricsPath = "/metrics"

// metricsConnections is how many connections those who ask for metrics have.
const metricsConnections = 64

// metrics are those of a server, nil if nobody wants them, and the server of them,
// if there is one.
type metrics struct {
	*servemetrics.Metrics
	setup    *otelsetup.Setup
	server   *webserver.Server
	listener *net.TCPListener
}

// newMetrics starts what flag and environment ask for. The caller ends it.
func (o *serveFlags) newMetrics(ctx context.Context, health func() repository.Status) (*metrics, error) {
	m := &metrics{setup: otelsetup.Start(otelsetup.Config{Service: "local-tuf", Prometheus: o.metricsListen != "", Log: o.config.Log.Logger})}
	var err error
	if m.setup.Meters != nil {
		m.Metrics, err = servemetrics.New(m.setup.Meters, health)
	}
	if err == nil && o.metricsListen != "" {
		err = o.listenForMetrics(ctx, m)
	}
	if err != nil {
		m.setup.End()
		return nil, err
	}
	return m, nil
}

// listenForMetrics listens where metrics are served: with the encryption of the
// repository, and for the same readers.
func (o *serveFlags) listenForMetrics(ctx context.Context, m *metrics) error {
	host, text, err := net.SplitHostPort(o.metricsListen)
	port := uint64(0)
	if err == nil {
		port, err = strconv.ParseUint(text, 10, 16)
	}
	if err != nil {
		return &tuferr.Error{Code: protocol.CodeUsage, Op: "serve", Msg: "--metrics-listen is no address and port",
			Err: err, Hint: "such as 127.0.0.1:9464"}
	}
	c := o.config
	c.MaxConnections, c.Rate, c.Observe = metricsConnections, webserver.DefaultRate, nil
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, m.setup.Handler())
	if m.server, err = webserver.New(c, mux); err != nil {
		return err
	}
	if m.listener, err = m.server.Listen(ctx, host, uint16(port)); err != nil {
		e := *tuferr.As(err)
		e.Hint = strings.ReplaceAll(e.Hint, "--host", "--metrics-listen")
		e.Hint = strings.ReplaceAll(e.Hint, "--port", "--metrics-listen")
		return &e
	}
	return nil
}

// serve answers who asks for metrics until ctx ends, if anybody may.
func (m *metrics) serve(ctx context.Context) error {
	if m.server == nil {
		return nil
	}
	return m.server.Serve(ctx, m.listener)
}

// end ends what serve has not.
func (m *metrics) end() {
	if m.listener != nil {
		_ = m.listener.Close() // most often it is closed
	}
	m.setup.End()
}
