package repository

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// ceremony is a repository whose root and targets keys are elsewhere: root has
// three keys of which two must sign, targets one.
type ceremony struct {
	t       *testing.T
	r       *Repository
	offline string
}

func newCeremony(t *testing.T) *ceremony {
	t.Helper()
	r := newFast(t, InitOptions{Root: Quorum{2, 3}})
	c := &ceremony{t, r, filepath.Join(t.TempDir(), "offline")}
	require.NoError(t, os.Mkdir(c.offline, 0o700))
	for _, name := range []string{"root-1", "root-2", "root-3", "targets"} {
		for _, ext := range []string{".key", ".pub"} {
			require.NoError(t, os.Rename(filepath.Join(r.Dir(), keysName, name+ext), filepath.Join(c.offline, name+ext)))
		}
	}
	return c
}

// key is a directory with that one key.
func (c *ceremony) key(name string) string {
	c.t.Helper()
	dir := filepath.Join(c.t.TempDir(), "medium")
	require.NoError(c.t, os.Mkdir(dir, 0o700))
	data, err := os.ReadFile(filepath.Join(c.offline, name+".key"))
	require.NoError(c.t, err)
	require.NoError(c.t, os.WriteFile(filepath.Join(dir, name+".key"), data, 0o600))
	return dir
}

func (c *ceremony) anchor() []byte {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.r.Dir(), anchorName))
	require.NoError(c.t, err)
	return data
}

// carry writes a proposal to a file and reads it again.
func (c *ceremony) carry(p *Proposal) *Proposal {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "a.proposal")
	require.NoError(c.t, WriteProposal(path, p))
	again, err := ReadProposal(path)
	require.NoError(c.t, err)
	require.Equal(c.t, p.Describe(), again.Describe())
	require.Equal(c.t, p.Status(), again.Status())
	return again
}

func (c *ceremony) sign(p *Proposal, names ...string) []MadeSignature {
	c.t.Helper()
	var dirs []string
	for _, name := range names {
		dirs = append(dirs, c.key(name))
	}
	made, err := p.Sign(c.t.Context(), Keys{Dirs: dirs})
	require.NoError(c.t, err)
	return made
}

func (c *ceremony) yank() *Proposal {
	c.t.Helper()
	p, err := c.r.Yank(c.t.Context(), helloPath, "it bites")
	require.NoError(c.t, err)
	require.NotNil(c.t, p)
	return p
}

func allWords(p *Proposal) string {
	var all []string
	for _, c := range p.Describe() {
		all = append(all, c.Role)
		for _, line := range c.Words {
			all = append(all, "  "+line)
		}
	}
	return strings.Join(all, "\n")
}

func TestAPluginIsProposedSignedAndPublished(t *testing.T) {
	c := newCeremony(t)
	before := listFiles(t, filepath.Join(c.r.Dir(), metadataName))
	target, p, err := c.r.Publish(t.Context(), helloArchive, writeManifest(t, "ragnos", "tool", "2.0.0"), PublishOptions{})
	require.NoError(t, err)
	require.NotNil(t, p)
	require.Equal(t, before, listFiles(t, filepath.Join(c.r.Dir(), metadataName)), "no client sees anything of it")
	p = c.carry(p)
	require.Regexp(t, `(?s)^targets
  version 2 → 3, expires 20.* UTC \(before: 20.*
  adds plugins/ragnos/tool.2.0.0.tar.gz: 326 bytes, sha256 `+target.SHA256+`, channel stable, the latest of stable, beta$`, allWords(p))
	st := p.Status()
	require.False(t, st.Complete)
	require.Equal(t, "targets", st.Roles[0].Thresholds[0].Others[0].Name)

	requireCode(t, c.r.PublishProposal(t.Context(), p), protocol.CodeUnsigned)
	made, err := p.Sign(t.Context(), Keys{Dirs: []string{c.key("root-1")}})
	require.NoError(t, err)
	require.Empty(t, made, "a key signs only for the role that it is listed for")
	require.Len(t, c.sign(p, "targets"), 1)
	require.Empty(t, c.sign(p, "targets"), "never twice")
	p = c.carry(p)
	require.True(t, p.Status().Complete)

	file := filepath.Join(c.r.Dir(), targetsName, hashedPath(target.Path, target.SHA256))
	hidden := file + ".hidden"
	require.NoError(t, os.Rename(file, hidden))
	require.Equal(t, target.Path, requireCode(t, c.r.PublishProposal(t.Context(), p), protocol.CodeLocalIO).Target)
	require.NoError(t, os.WriteFile(file, make([]byte, target.Length), 0o600))
	requireCode(t, c.r.PublishProposal(t.Context(), p), protocol.CodeLocalIO)
	require.NoError(t, os.Rename(hidden, file))

	kept, err := c.r.KeepProposal(p)
	require.NoError(t, err)
	require.Equal(t, "targets-3.proposal", filepath.Base(kept))
	require.NoError(t, c.r.PublishProposal(t.Context(), p))
	require.NoFileExists(t, kept, "it waits for nothing any more")
	a := attend(t, c.r)
	a.get(target.Path, "published")
	require.ErrorContains(t, c.r.PublishProposal(t.Context(), p), "published already")
}

func TestAStaleProposalIsRefused(t *testing.T) {
	c := newCeremony(t)
	first, second := c.yank(), c.yank()
	c.sign(first, "targets")
	c.sign(second, "targets")
	require.NoError(t, c.r.PublishProposal(t.Context(), first))
	_, third, err := c.r.Publish(t.Context(), helloArchive, writeManifest(t, "ragnos", "tool", "2.0.0"), PublishOptions{})
	require.NoError(t, err)
	c.sign(third, "targets")
	require.NoError(t, c.r.PublishProposal(t.Context(), third))
	e := requireCode(t, c.r.PublishProposal(t.Context(), second), protocol.CodeRollback)
	require.Contains(t, e.Error(), "the repository is at version 4 now, the proposal was made for version 2; propose the change again")

	other := newCeremony(t)
	requireCode(t, other.r.PublishProposal(t.Context(), second), protocol.CodeRootConflict)
	requireCode(t, second.RestsOn(other.anchor()), protocol.CodeRootConflict)
	require.NoError(t, second.RestsOn(c.anchor()))
	requireCode(t, second.RestsOn([]byte("{}")), protocol.CodeBadRoot)

	next, err := c.r.ProposeRoot(t.Context())
	require.NoError(t, err)
	c.sign(next, "root-1", "root-2")
	require.NoError(t, c.r.PublishProposal(t.Context(), next))
	newer, err := os.ReadFile(c.r.metadataPath("2.root.json"))
	require.NoError(t, err)
	requireCode(t, next.RestsOn(newer), protocol.CodeRollback)
	another, err := c.r.Yank(t.Context(), helloPath, "it stings, too")
	require.NoError(t, err)
	require.NoError(t, another.RestsOn(newer))
}

func TestMergeCollectsSignatures(t *testing.T) {
	c := newCeremony(t)
	made, err := c.r.ProposeRoot(t.Context())
	require.NoError(t, err)
	one, two, three := c.carry(made), c.carry(made), c.carry(made)
	c.sign(one, "root-1")
	c.sign(two, "root-2", "root-1")
	bad := two.files[0].envelope.Signatures[0].KeyID
	three.files[0].envelope.Signatures = append(three.files[0].envelope.Signatures, two.files[0].envelope.Signatures[0])
	three.files[0].envelope.Signatures[0].Sig = []byte("no signature")
	require.Equal(t, bad, three.Status().Roles[0].Ignored[0].KeyID)

	ignored, err := one.Merge(two, three)
	require.NoError(t, err)
	require.Len(t, ignored, 1)
	require.Equal(t, bad, ignored[0].Key.KeyID)
	require.True(t, one.Status().Complete)
	require.Empty(t, one.Status().Roles[0].Ignored)

	_, err = one.Merge(c.yank())
	requireCode(t, err, protocol.CodeMismatch)
	again, err := c.r.ProposeRoot(t.Context(), RoleKeys{Role: "root", Threshold: 1})
	require.NoError(t, err)
	_, err = one.Merge(again)
	require.ErrorContains(t, err, "what is signed differs")
	require.NoError(t, c.r.PublishProposal(t.Context(), one))
}

// What is signed for is what the words are told from, so a proposal that somebody
// changed on its way is found out or does no harm.
func TestManipulatedProposals(t *testing.T) {
	c := newCeremony(t)
	p, err := c.r.ProposeRoot(t.Context(), RoleKeys{Role: "root", Remove: []string{"root-3"}})
	require.NoError(t, err)
	c.sign(p, "root-1")
	data, err := p.encode()
	require.NoError(t, err)
	mallory, err := keyfile.Generate(t.Context(), filepath.Join(t.TempDir(), "m"), "mallory", keyfile.Ed25519, keyfile.Plain)
	require.NoError(t, err)

	type object = map[string]any
	change := func(f object) object { return f["changes"].([]any)[0].(object) }
	signedPart := func(f object, old, next string) {
		signed, err := base64.StdEncoding.DecodeString(change(f)["signed"].(string))
		require.NoError(t, err)
		require.Contains(t, string(signed), old)
		change(f)["signed"] = base64.StdEncoding.EncodeToString(bytes.Replace(signed, []byte(old), []byte(next), 1))
	}
	for name, tt := range map[string]struct {
		how    func(object)
		refuse string
		check  func(*Proposal)
	}{
		"format":         {func(f object) { f["format"] = "local-tuf proposal 2" }, "format is", nil},
		"a member":       {func(f object) { f["words"] = "harmless" }, "unknown object member name", nil},
		"repository":     {func(f object) { f["repository"] = strings.Repeat("0", 64) }, "first root", nil},
		"no roots":       {func(f object) { f["roots"] = []any{} }, "version 2 where version 1 belongs", nil},
		"the first root": {func(f object) { f["roots"] = []any{base64.StdEncoding.EncodeToString([]byte("{}"))} }, "root number 1", nil},
		"nothing":        {func(f object) { f["changes"] = []any{} }, "changes nothing", nil},
		"role":           {func(f object) { change(f)["role"] = "timestamp" }, "timestamp", nil},
		"twice":          {func(f object) { f["changes"] = append(f["changes"].([]any), change(f)) }, "twice", nil},
		"delegator":      {func(f object) { change(f)["delegator"] = "targets" }, "out of order", nil},
		"version":        {func(f object) { signedPart(f, `"version":2`, `"version":7`) }, "version 7 where version 2 belongs", nil},
		"what is signed": {func(f object) { signedPart(f, `"threshold":2`, `"threshold":1`) }, "", func(p *Proposal) {
			require.Contains(t, allWords(p), "root: 1 of 2 keys must sign (before: 2 of 3 keys)")
			require.Len(t, p.Status().Roles[0].Ignored, 1, "the signature was for something else")
			require.Empty(t, p.Status().Roles[0].Thresholds[0].Signed)
		}},
		"an unknown member": {func(f object) { signedPart(f, `"version":2`, `"version":2,"x":{"y":1}`) }, "", func(p *Proposal) {
			require.Contains(t, allWords(p), `the file: x is {"y":1}`)
		}},
		"names": {func(f object) {
			names := f["key_names"].(object)
			for id := range names {
				names[id] = "\x1b[2Jalice\nroot: key removed: mallory"
			}
		}, "", func(p *Proposal) {
			require.NotContains(t, allWords(p), "\x1b")
			require.NotContains(t, allWords(p), "\nroot: key removed")
			require.Contains(t, allWords(p), `key removed: "\x1b[2Jalice\nroot: key removed: mallory" (`)
		}},
		"a signature of another": {func(f object) {
			change(f)["signatures"] = append(change(f)["signatures"].([]any), object{"keyid": mallory.Public.ID, "sig": "00"})
		}, "", func(p *Proposal) {
			require.Equal(t, mallory.Public.ID, p.Status().Roles[0].Ignored[0].KeyID)
			c.sign(p, "root-2")
			require.NoError(t, c.r.PublishProposal(t.Context(), p))
			s, err := c.r.load(t.Context())
			require.NoError(t, err)
			require.Len(t, s.root.Signatures, 2, "what counts for nothing is not published")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var f object
			require.NoError(t, json.Unmarshal(data, &f))
			tt.how(f)
			changed, err := json.Marshal(f)
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "m.proposal")
			require.NoError(t, os.WriteFile(path, changed, 0o600))
			got, err := ReadProposal(path)
			if tt.refuse != "" {
				require.ErrorContains(t, err, tt.refuse)
				requireCode(t, err, protocol.CodeMalformed)
				return
			}
			require.NoError(t, err)
			if tt.check != nil {
				tt.check(got)
			}
		})
	}
}

// A proposal of a repository that the attacker made is one of another repository.
func TestAForgedRepositoryIsFoundOut(t *testing.T) {
	c, forged := newCeremony(t), newCeremony(t)
	p := forged.yank()
	requireCode(t, p.RestsOn(c.anchor()), protocol.CodeRootConflict)
	require.Empty(t, c.sign(p, "targets", "root-1"), "its keys are not listed there either")
	p = c.yank()
	p.chain = forged.yank().chain
	data, err := p.encode()
	require.NoError(t, err)
	_, err = parseProposal(data)
	require.ErrorContains(t, err, "signed by 0 distinct keys")
}

func TestAnExpiredRootIsRenewed(t *testing.T) {
	c := newCeremony(t)
	later := ahead(t, c.r, 400*day)
	p, err := later.ProposeRoot(t.Context())
	require.NoError(t, err)
	was, is := time.Now().Add(365*day), time.Now().Add(765*day)
	require.Contains(t, allWords(p), "expires "+is.UTC().Format(time.DateOnly))
	require.Contains(t, allWords(p), "before: "+was.UTC().Format(time.DateOnly))
	c.sign(p, "root-1", "root-3")
	tooLate := ahead(t, c.r, 800*day)
	e := requireCode(t, tooLate.PublishProposal(t.Context(), p), protocol.CodeExpired)
	require.Contains(t, e.Error(), "what was signed expired "+is.UTC().Format(time.DateOnly))
	require.NoError(t, later.PublishProposal(t.Context(), p))
	s, err := later.load(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(2), s.root.Version)
}

func FuzzParseProposal(f *testing.F) {
	f.Add([]byte(`{"format":"local-tuf proposal 1","repository":"","made":"2030-01-01T00:00:00Z","key_names":{},"changes":[],"before":[],"roots":["e30="]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProposal(data)
		if err == nil {
			_, _, _ = p.Describe(), p.Status(), p.fileName(1)
		}
	})
}

// TestPublishedIsSaid, also if the file of the proposal cannot be removed.
func TestPublishedIsSaid(t *testing.T) {
	c := newCeremony(t)
	_, p, err := c.r.Publish(t.Context(), helloArchive, writeManifest(t, "ragnos", "tool", "2.0.0"), PublishOptions{})
	require.NoError(t, err)
	path, err := c.r.KeepProposal(p)
	require.NoError(t, err)
	c.sign(p, "targets")
	c.r.disk.before = func(op, at string) error {
		if op == "remove" && at == path {
			return fs.ErrPermission
		}
		return nil
	}
	e := requireCode(t, c.r.PublishProposal(t.Context(), p), protocol.CodePermissions)
	require.Contains(t, e.Msg, "is published")
	list, err := c.r.Targets(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
}
