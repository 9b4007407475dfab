//go:build !unix

package diskfile

const noFollow = 0

// SyncDir does nothing: there is no such thing here.
func SyncDir(string) error { return nil }
