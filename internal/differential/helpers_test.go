package differential

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

func md5Hex(content []byte) string {
	d := md5.Sum(content)
	return hex.EncodeToString(d[:])
}

func sha1Hex(content []byte) string {
	d := sha1.Sum(content)
	return hex.EncodeToString(d[:])
}

// base64Digest is the digest of a target path in the coding of no specification.
func base64Digest(path string) string {
	d := sha256.Sum256([]byte(path))
	return base64.URLEncoding.EncodeToString(d[:])
}
