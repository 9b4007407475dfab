package repository

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// proposals returns changes of one role, each another one.
func (c *ceremony) proposals(n int) (list []*Proposal) {
	c.t.Helper()
	for i := range n {
		_, p, err := c.r.Publish(c.t.Context(), helloArchive, writeManifest(c.t, "ragnos", fmt.Sprint("tool", i), "1.0.0"), PublishOptions{})
		require.NoError(c.t, err)
		require.NotNil(c.t, p)
		list = append(list, p)
	}
	return list
}

// TestKeptProposalsNeverOverwriteEachOther: all of them would have the same name.
func TestKeptProposalsNeverOverwriteEachOther(t *testing.T) {
	c := newCeremony(t)
	list := c.proposals(8)
	paths := make([]string, len(list))
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, p := range list {
		all.Go(func() { paths[i], errs[i] = c.r.KeepProposal(p) })
	}
	all.Wait()
	for i, p := range list {
		require.NoError(t, errs[i])
		kept, err := ReadProposal(paths[i])
		require.NoError(t, err)
		require.NoError(t, p.sameAs(kept))
		again, err := c.r.KeepProposal(p)
		require.NoError(t, err)
		require.Equal(t, paths[i], again, "a copy that is there is left")
	}
	require.Len(t, listFiles(t, filepath.Join(c.r.Dir(), proposalsName)), len(list))
}

func TestCreateProposalOverwritesNothing(t *testing.T) {
	c := newCeremony(t)
	list := c.proposals(2)
	path := filepath.Join(t.TempDir(), "a.proposal")
	require.NoError(t, CreateProposal(path, list[0]))
	err := CreateProposal(path, list[1])
	requireCode(t, err, protocol.CodeUsage)
	require.ErrorIs(t, err, fs.ErrExist)
	kept, err := ReadProposal(path)
	require.NoError(t, err)
	require.NoError(t, list[0].sameAs(kept))
	require.Equal(t, []string{"a.proposal"}, listFiles(t, filepath.Dir(path)))
}

// TestSignersOfOneFile: each has read the file before any of the others has signed.
func TestSignersOfOneFile(t *testing.T) {
	c := newCeremony(t)
	p, err := c.r.ProposeRoot(t.Context())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "a.proposal")
	require.NoError(t, CreateProposal(path, p))
	signers := []string{"root-1", "root-2", "root-3"}
	errs := make([]error, len(signers))
	var all sync.WaitGroup
	for i, name := range signers {
		copied, err := ReadProposal(path)
		require.NoError(t, err)
		require.Len(t, c.sign(copied, name), 1)
		all.Go(func() { errs[i] = AddSignatures(t.Context(), path, copied) })
	}
	all.Wait()
	require.Equal(t, make([]error, len(signers)), errs)
	signed, err := ReadProposal(path)
	require.NoError(t, err)
	require.Len(t, signed.Status().Roles[0].Thresholds[0].Signed, len(signers))
	require.Equal(t, []string{"a.proposal"}, listFiles(t, filepath.Dir(path)), "no lock stays behind")
}

func TestAddSignaturesToAnotherFile(t *testing.T) {
	c := newCeremony(t)
	list := c.proposals(2)
	path := filepath.Join(t.TempDir(), "a.proposal")
	requireCode(t, AddSignatures(t.Context(), path, list[0]), protocol.CodeLocalIO)
	require.NoError(t, CreateProposal(path, list[1]))
	requireCode(t, AddSignatures(t.Context(), path, list[0]), protocol.CodeMismatch)
	kept, err := ReadProposal(path)
	require.NoError(t, err)
	require.NoError(t, list[1].sameAs(kept), "it is left alone")

	release, err := lockBeside(t.Context(), path)
	require.NoError(t, err)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	requireCode(t, AddSignatures(ctx, path, list[1]), protocol.CodeCancelled)
}

// TestTheLargestProposal: one for a role of 100,000 plugins, as large as clients
// accept, fits. What is larger is neither written nor read.
func TestTheLargestProposal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.proposal")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, maxProposal+1))
	_, err := ReadProposal(path)
	requireCode(t, err, protocol.CodeUsage)
	require.ErrorContains(t, err, "larger than expected")

	if testing.Short() {
		t.Skip("takes some hundred megabytes")
	}
	c := newCeremony(t)
	p := c.yank()
	large := make([]byte, admission.DefaultTargetsBytes)
	p.before = []*verifiedFile{{roleTargets, roleRoot, &admission.Doc{Raw: large}}}
	p.files[0].envelope.Signed = large
	require.NoError(t, CreateProposal(path+"2", p))
	p.before = append(p.before, p.before[0])
	requireCode(t, CreateProposal(path+"3", p), protocol.CodeTooMany)
	require.NoFileExists(t, path+"3")
}

// TestClaimWithoutLinks: as on a file system that has none.
func TestClaimWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	temp, path := filepath.Join(dir, "temp"), filepath.Join(dir, "path")
	require.NoError(t, os.WriteFile(temp, []byte("new"), 0o600))
	noLinks := func(from, to string) error {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: fs.ErrPermission}
	}
	require.NoError(t, claim(temp, path, noLinks))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
	require.NoError(t, os.WriteFile(temp, []byte("other"), 0o600))
	require.ErrorIs(t, claim(temp, path, noLinks), fs.ErrExist)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, claim(filepath.Join(dir, "gone"), path, noLinks), fs.ErrNotExist)
	require.NoFileExists(t, path)
}
