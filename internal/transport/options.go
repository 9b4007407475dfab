package transport

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Defaults of [Options].
const (
	DefaultConnectTimeout   = 10 * time.Second
	DefaultFirstByteTimeout = 15 * time.Second
	DefaultTotalTimeout     = 60 * time.Second
	DefaultMinRate          = 1 << 10
	DefaultMinRateWindow    = 15 * time.Second
	DefaultAttempts         = 3
	DefaultBackoffMin       = 100 * time.Millisecond
	DefaultBackoffMax       = 2 * time.Second
	DefaultMaxRedirects     = 5
	DefaultUserAgent        = "ragnos-vault-tuf"
	DefaultMaxRequests      = 32
	DefaultMaxWaiting       = 1024
)

// Options configure a [Client]. The zero value is safe; negative values are
// refused.
type Options struct {
	// ConnectTimeout bounds a TCP connection, and once more its TLS handshake;
	// 0 means [DefaultConnectTimeout].
	ConnectTimeout time.Duration
	// FirstByteTimeout bounds the wait for an answer's header after the request
	// has been sent; 0 means [DefaultFirstByteTimeout].
	FirstByteTimeout time.Duration
	// TotalTimeout bounds one [Client.Get] with all its attempts and pauses, and with
	// what it waits for its turn: see MaxWaiting. 0 means [DefaultTotalTimeout].
	TotalTimeout time.Duration
	// StreamTimeout bounds one [Client.Stream] likewise; 0 means that only
	// MinRate bounds it, since a target may be of any size.
	StreamTimeout time.Duration
	// MinRate is the fewest bytes a second a body may come in at, averaged over
	// MinRateWindow of waiting; 0 means [DefaultMinRate].
	MinRate int64
	// MinRateWindow is how long the average may be below MinRate; 0 means
	// [DefaultMinRateWindow].
	MinRateWindow time.Duration
	// Attempts is how often one request is tried at most; 0 means
	// [DefaultAttempts], 1 means no retry.
	Attempts int
	// BackoffMin is the pause before the second attempt; it doubles up to
	// BackoffMax and is shortened at random by up to a half. 0 means
	// [DefaultBackoffMin] and [DefaultBackoffMax].
	BackoffMin, BackoffMax time.Duration
	// MaxRedirects bounds the redirects of one attempt; 0 means [DefaultMaxRedirects].
	MaxRedirects int
	// BearerToken is sent to the origin (scheme, host and port) that a request
	// names, and never to where it is redirected. Empty means none.
	BearerToken string
	// ClientCertificate is shown to the same origins only; nil means none.
	ClientCertificate *tls.Certificate
	// RootCAs replaces the system's certificate authorities; nil means the system's.
	RootCAs *x509.CertPool
	// UserAgent is sent with every request; empty means [DefaultUserAgent].
	UserAgent string

	// MaxRequests bounds the requests that are out at a time, each until its body has
	// been read; 0 means [DefaultMaxRequests].
	MaxRequests int
	// RequestsPerSecond bounds the requests, retries and redirects included: that many
	// at once, rounded up, and then as many a second. 0 means no limit.
	RequestsPerSecond float64
	// BytesPerSecond bounds the bodies of all answers together likewise; MinRate is
	// not held against what waits for it. 0 means no limit.
	BytesPerSecond int64
	// MaxWaiting bounds the requests that wait for their turn, because of MaxRequests
	// or RequestsPerSecond; 0 means [DefaultMaxWaiting]. One more fails at once with
	// code busy, and so does one whose turn, or whose body, cannot come before the
	// deadline. TotalTimeout and StreamTimeout go on while a request waits; when they
	// pass after it has waited for most of the time, the code is busy too: it is not
	// the repository that was slow.
	MaxWaiting int

	// Logger gets one debug line for each attempt, free of secrets; nil means none.
	Logger *slog.Logger
}

// withDefaults checks o and fills in what is unset.
func (o Options) withDefaults() (Options, error) {
	for _, d := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"ConnectTimeout", &o.ConnectTimeout, DefaultConnectTimeout},
		{"FirstByteTimeout", &o.FirstByteTimeout, DefaultFirstByteTimeout},
		{"TotalTimeout", &o.TotalTimeout, DefaultTotalTimeout},
		{"StreamTimeout", &o.StreamTimeout, 0},
		{"MinRateWindow", &o.MinRateWindow, DefaultMinRateWindow},
		{"BackoffMin", &o.BackoffMin, DefaultBackoffMin},
		{"BackoffMax", &o.BackoffMax, max(DefaultBackoffMax, o.BackoffMin)},
	} {
		if err := fill(d.name, d.value, d.unset); err != nil {
			return o, err
		}
	}
	if err := fill("MinRate", &o.MinRate, DefaultMinRate); err != nil {
		return o, err
	}
	if err := fill("Attempts", &o.Attempts, DefaultAttempts); err != nil {
		return o, err
	}
	if err := fill("MaxRedirects", &o.MaxRedirects, DefaultMaxRedirects); err != nil {
		return o, err
	}
	if err := o.limited(); err != nil {
		return o, err
	}
	if o.BackoffMax < o.BackoffMin {
		return o, tuferr.New(protocol.CodeUsage, "transport option BackoffMax is less than BackoffMin")
	}
	if o.UserAgent == "" {
		o.UserAgent = DefaultUserAgent
	}
	if !isHeaderValue(o.UserAgent) || !isHeaderValue(o.BearerToken) {
		return o, tuferr.New(protocol.CodeUsage, "transport options UserAgent and BearerToken must be printable ASCII")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// limited checks the limits and fills in what is unset.
func (o *Options) limited() error {
	if r := o.RequestsPerSecond; r < 0 || math.IsNaN(r) || math.IsInf(r, 0) {
		return tuferr.New(protocol.CodeUsage, "transport option RequestsPerSecond is negative or no number; 0 means no limit")
	}
	return cmp.Or(
		fill("MaxRequests", &o.MaxRequests, DefaultMaxRequests),
		fill("BytesPerSecond", &o.BytesPerSecond, 0),
		fill("MaxWaiting", &o.MaxWaiting, DefaultMaxWaiting))
}

// fill refuses a negative *value and replaces zero by unset.
func fill[T int | int64 | time.Duration](name string, value *T, unset T) error {
	if *value < 0 {
		return tuferr.New(protocol.CodeUsage, "transport option %s is negative", name)
	}
	if *value == 0 {
		*value = unset
	}
	return nil
}

// isHeaderValue tells whether s can stand in a header line as it is.
func isHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
