package admission

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Bins returns the number of bins.
func (s *SuccinctRoles) Bins() int64 { return 1 << s.BitLength }

// BinName returns the role name of bin number n.
func (s *SuccinctRoles) BinName(n int64) string {
	return fmt.Sprintf("%s-%0*x", s.NamePrefix, s.suffixLen(), n)
}

func (s *SuccinctRoles) suffixLen() int { return (s.BitLength + 3) / 4 }

// RoleFor returns the name of the bin that a target path belongs to: the
// leftmost BitLength bits of the SHA-256 of the path (TAP 15).
func (s *SuccinctRoles) RoleFor(path string) string {
	sum := sha256.Sum256([]byte(path))
	return s.BinName(int64(binary.BigEndian.Uint32(sum[:4]) >> (32 - s.BitLength)))
}

// Contains says whether a role name is one of the bins.
func (s *SuccinctRoles) Contains(role string) bool {
	suffix, ok := strings.CutPrefix(role, s.NamePrefix+"-")
	if !ok || len(suffix) != s.suffixLen() || strings.ToLower(suffix) != suffix {
		return false
	}
	n, err := strconv.ParseUint(suffix, 16, 64)
	return err == nil && n < uint64(s.Bins())
}
