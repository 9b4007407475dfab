// Package vaulttuf carries the files that an embedding application needs
// beside its own binary: the python-tuf client and its locked requirements.
package vaulttuf

import _ "embed"

// PythonClient is python/python-tuf-client.py: the one-shot python-tuf client
// and the worker that package pywrapper supervises.
//
//go:embed python/python-tuf-client.py
var PythonClient []byte

// Requirements is requirements.txt: python-tuf and all it needs, hash-locked.
//
//go:embed requirements.txt
var Requirements []byte
