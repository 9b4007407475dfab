package transport

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
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
	// TotalTimeout bounds one [Client.Get] with all its attempts and pauses;
	// 0 means [DefaultTotalTimeout].
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
