//go:build !unix

package transport

const nonBlock = 0
