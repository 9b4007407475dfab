package audit

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of an RFC 6962 Merkle tree: enough to add a leaf and to tell
// the root, in space and time of the logarithm of its size.
type tree struct {
	size int64
	// edge are the roots of the perfect trees that it is made of, the largest first:
	// one for each bit of size.
	edge []tlog.Hash
}

// add adds a leaf, as [tlog.RecordHash] hashes it.
func (t *tree) add(leaf tlog.Hash) {
	t.edge = append(t.edge, leaf)
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		t.edge[last-1] = tlog.NodeHash(t.edge[last-1], t.edge[last])
		t.edge = t.edge[:last]
	}
	t.size++
}

// root is the root hash; that of an empty tree is the SHA-256 of nothing.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(t.edge) - 1
	h := t.edge[last]
	for i := last - 1; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return h
}

func (t tree) clone() tree { return tree{t.size, slices.Clone(t.edge)} }

// sound tells whether the edge has as many hashes as the size wants.
func (t *tree) sound() bool { return t.size > 0 && len(t.edge) == bits.OnesCount64(uint64(t.size)) }
