package webserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Limits that no operator has to know.
const (
	maxHeader     = 16 << 10 // bytes
	headerTimeout = 10 * time.Second
	idleTimeout   = time.Minute
	graceTimeout  = 10 * time.Second
	maxStreams    = 32 // requests at a time on one connection of HTTP/2
)

// The defaults of a [Config].
const (
	DefaultMaxConnections = 1024
	DefaultRate           = 200
)

// Config says how to serve.
type Config struct {
	// MaxConnections are open at a time, at least 8; half as many requests are
	// answered at a time.
	MaxConnections int
	// Rate is how many requests a second one client may make in the long run, 0
	// for any number; then connections are not shared out among clients either.
	// [DefaultRate] is for a repository that clients reach directly.
	Rate int
	// TLSCert and TLSKey are PEM files, empty for plain HTTP. They are read again
	// when they change.
	TLSCert, TLSKey string
	// ClientCA is a PEM file of the authorities that clients must have a
	// certificate from, empty for no such demand. It is read again when it changes.
	ClientCA string
	// TokenFile holds bearer tokens, one on each line, that a request must have
	// one of; empty for no such demand. It is read again when it changes.
	TokenFile string
	// Log gets what the operator should know, Access a line for each request. They
	// may be the same.
	Log, Access *Log
	// Observe is told of each request, and of each connection that is closed because
	// its client has too many. Requests wait for it: it must not block. Nil is nobody.
	Observe func(Request)
}

// Request is what an observer is told of.
type Request struct {
	// Path is what was asked for, "" for a connection that was closed.
	Path string
	// Status is 0 if there was no answer.
	Status int
	// Bytes are those of the answer's body that were sent.
	Bytes int64
	Took  time.Duration
	// Limit is the limit that kept it from being answered, "" for none.
	Limit Limit
}

// Limit names a bound.
type Limit string

// The limits.
const (
	LimitRate        Limit = "rate"               // requests of a client in the long run
	LimitRequests    Limit = "requests"           // requests at a time
	LimitClient      Limit = "client_requests"    // requests of a client at a time
	LimitConnections Limit = "client_connections" // connections of a client at a time
	LimitBody        Limit = "body"               // a request has none
)

// Limits are all of them.
var Limits = []Limit{LimitRate, LimitRequests, LimitClient, LimitConnections, LimitBody}

// Server answers requests. Use [New].
type Server struct {
	config     Config
	handler    http.Handler
	encryption *encryption // nil for plain HTTP
	guarded    bool
	budgets    *budgets // nil: no rate
	room       chan struct{}
	connected  *share // nil: no bound for one client
	asking     *share // likewise
	// header, progress and grace are the timeouts, which tests shorten.
	header, progress, idle, grace time.Duration
}

// New makes a server for a handler, and reads the files that the configuration
// names. Its errors are of code usage, local_io or permissions.
func New(c Config, handler http.Handler) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Server{config: c, handler: handler, room: make(chan struct{}, c.MaxConnections/2),
		guarded: c.ClientCA != "" || c.TokenFile != "",
		header:  headerTimeout, progress: progressTime, idle: idleTimeout, grace: graceTimeout}
	if c.Rate > 0 {
		s.budgets = newBudgets(c.Rate)
		s.connected, s.asking = newShare(c.MaxConnections), newShare(c.MaxConnections/2)
	}
	report := func(err error) { c.Log.Error("a file that was changed cannot be used", "error", err.Error()) }
	if c.TokenFile != "" {
		file, err := newReloaded(report, func() (tokens, error) { return loadTokens(c.TokenFile) }, c.TokenFile)
		if err != nil {
			return nil, err
		}
		s.handler = guard(file, handler)
	}
	if c.TLSCert != "" {
		var err error
		if s.encryption, err = c.encryption(report); err != nil {
			return nil, err
		}
	}
	if c.ClientCA != "" {
		s.handler = s.encryption.guard(handler)
	}
	return s, nil
}

func (c Config) check() error {
	wrong := func(msg, hint string) error {
		return &tuferr.Error{Code: protocol.CodeUsage, Op: "serve", Msg: msg, Hint: hint}
	}
	switch {
	case c.MaxConnections < 8:
		return wrong("fewer than 8 connections are not enough", "give more, or leave it to the default")
	case c.Rate < 0:
		return wrong("a rate cannot be negative", "0 means that there is no limit")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return wrong("a certificate and its key go together", "give both")
	case c.ClientCA != "" && c.TLSCert == "":
		return wrong("client certificates are a part of TLS", "give a certificate and its key too")
	case c.ClientCA != "" && c.TokenFile != "":
		return wrong("either tokens or client certificates", "give one of them")
	}
	return nil
}

// Scheme is http or https.
func (s *Server) Scheme() string {
	if s.encryption != nil {
		return "https"
	}
	return "http"
}

// Listen listens on a TCP port of host, which may be a name or "" for all
// addresses. It refuses to take tokens over plain HTTP from other machines: on the
// way anybody could read them, and with them the plugins. A proxy on this machine
// may do the encryption.
func (s *Server) Listen(ctx context.Context, host string, port uint16) (*net.TCPListener, error) {
	at := net.JoinHostPort(host, strconv.Itoa(int(port)))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err != nil {
		return nil, listenError(at, port, err)
	}
	tcp := l.(*net.TCPListener)
	if s.config.TokenFile != "" && s.encryption == nil && !tcp.Addr().(*net.TCPAddr).IP.IsLoopback() {
		_ = l.Close()
		return nil, &tuferr.Error{Code: protocol.CodeUsage, Op: "serve", Msg: "without TLS anybody on the way could read the tokens",
			Hint: "give a certificate and its key, or listen on 127.0.0.1 behind a proxy that encrypts"}
	}
	return tcp, nil
}

// Serve answers requests until ctx ends, then closes l and waits ten seconds for
// the answers that are under way. It blocks until all is closed. The error is nil
// after that; otherwise it says why the server could not go on.
func (s *Server) Serve(ctx context.Context, l *net.TCPListener) error {
	srv := &http.Server{
		Handler:                      s.chain(),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.config.Log.Handler(), slog.LevelWarn),
		MaxHeaderBytes:               maxHeader,
		ReadHeaderTimeout:            s.header,
		ReadTimeout:                  s.header, // there is no body to read
		WriteTimeout:                 s.progress,
		IdleTimeout:                  s.idle,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams,
			SendPingTimeout: s.idle, PingTimeout: s.header, WriteByteTimeout: s.progress},
	}
	limited := limit(l, s.config.MaxConnections, s.connected)
	limited.refused = func() { s.observe(Request{Limit: LimitConnections}) }
	ctx, cancel := context.WithCancel(ctx)
	var ending sync.WaitGroup
	ending.Go(func() {
		<-ctx.Done()
		grace, done := context.WithTimeout(context.Background(), s.grace)
		defer done()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	var err error
	if s.encryption != nil {
		srv.TLSConfig = s.encryption.config()
		err = srv.ServeTLS(limited, "", "")
	} else {
		err = srv.Serve(limited)
	}
	cancel()
	ending.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "serve", Msg: "the server stopped", Err: err}
}

// chain puts what stands before the handler in order.
func (s *Server) chain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w, control: http.NewResponseController(w), guarded: s.guarded, progress: s.progress}
		defer func() {
			s.config.Access.request(req, a, start)
			s.observe(Request{req.URL.Path, a.status, a.bytes, time.Since(start), a.limit})
		}()
		from := clientOf(req.RemoteAddr)
		if s.budgets != nil {
			if wait, ok := s.budgets.spend(from, start); !ok {
				a.later(LimitRate, http.StatusTooManyRequests, wait, "too many requests")
				return
			}
		}
		select {
		case s.room <- struct{}{}:
			defer func() { <-s.room }()
		default:
			a.later(LimitRequests, http.StatusServiceUnavailable, time.Second, "the server is busy")
			return
		}
		if s.asking != nil {
			if !s.asking.take(from) {
				a.later(LimitClient, http.StatusTooManyRequests, time.Second, "too many requests at a time")
				return
			}
			defer s.asking.give(from)
		}
		if req.ContentLength != 0 {
			a.limit = LimitBody
			a.Header().Set("Connection", "close") // or the body would be read
			refuse(a, http.StatusRequestEntityTooLarge, "a request has no body here")
			return
		}
		s.handler.ServeHTTP(a, req)
	})
}

func (s *Server) observe(r Request) {
	if s.config.Observe != nil {
		s.config.Observe(r)
	}
}

// later refuses a request because of a limit. It may be made again after wait.
func (a *answer) later(l Limit, status int, wait time.Duration, why string) {
	a.limit = l
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	a.Header().Set("Retry-After", strconv.Itoa(seconds))
	refuse(a, status, why)
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, status)
}

// listenError says what can be done about an address that cannot be had.
func listenError(at string, port uint16, cause error) error {
	e := &tuferr.Error{Code: protocol.CodeUsage, Op: "serve", Msg: "cannot listen on " + at, Err: cause,
		Hint: "--host must be an address of this machine"}
	switch {
	case errors.Is(cause, syscall.EADDRINUSE):
		e.Code, e.Hint = protocol.CodeLocalIO, "is another server running? choose another --port"
	case errors.Is(cause, fs.ErrPermission):
		e.Code, e.Hint = protocol.CodePermissions, fmt.Sprintf("port %d is for privileged users here; choose a --port above 1023, or allow it", port)
	}
	return e
}
