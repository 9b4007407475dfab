package verify_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/admission"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
	"github.com/ragnos-labs/vault-tuf/internal/verify"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// TestSigned counts distinct keys over what the publisher signed.
func TestSigned(t *testing.T) {
	key, second := tuftest.NewKey(tuftest.Ed25519, 70), tuftest.NewKey(tuftest.Ed25519, 71)
	ec := tuftest.NewKey(tuftest.ECDSA, 70)
	weak, broken := tuftest.NewKey(tuftest.RSA1024, 0), tuftest.NewKey(tuftest.RSA, 0).With(func(k *tuftest.Key) { k.Public = "broken" })
	unknown := second.With(func(k *tuftest.Key) { k.Type, k.Scheme = "sphincs", "sphincs" })
	keyOf := func(edit func(*tuftest.Key)) *tuftest.Key { return key.With(edit) }
	type keys = []*tuftest.Key
	for name, tt := range map[string]struct {
		threshold int
		listed    keys
		signers   keys
		edit      func(list []any) []any
		ok        bool
	}{
		"one of one":                   {1, keys{key}, keys{key}, nil, true},
		"one of two listed":            {1, keys{key, second}, keys{second}, nil, true},
		"two of two":                   {2, keys{key, second}, keys{key, second}, nil, true},
		"one of two required":          {2, keys{key, second}, keys{key}, nil, false},
		"nobody":                       {1, keys{key}, nil, nil, false},
		"a stranger":                   {1, keys{key}, keys{second}, nil, false},
		"a stranger under the keyid":   {1, keys{key}, keys{second.As(key.ID)}, nil, false},
		"a stranger beside":            {1, keys{key}, keys{second, key}, nil, true},
		"one key under two keyids":     {2, keys{key, key.As("twin")}, keys{key, key.As("twin")}, nil, false},
		"one key, an extra field":      {2, keys{key, keyOf(func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": 1} })}, keys{key, keyOf(func(k *tuftest.Key) { k.Extra = tuftest.Map{"x": 1} })}, nil, false},
		"one key in upper case":        {2, keys{key, keyOf(func(k *tuftest.Key) { k.Public = strings.ToUpper(k.Public) })}, keys{key, keyOf(func(k *tuftest.Key) { k.Public = strings.ToUpper(k.Public) })}, nil, false},
		"one EC key by its alias":      {2, keys{ec, ec.With(func(k *tuftest.Key) { k.Type = k.Scheme })}, keys{ec, ec.With(func(k *tuftest.Key) { k.Type = k.Scheme })}, nil, false},
		"one EC key with white space":  {2, keys{ec, ec.With(func(k *tuftest.Key) { k.Public += "\n" })}, keys{ec, ec.With(func(k *tuftest.Key) { k.Public += "\n" })}, nil, false},
		"one key twice and another":    {2, keys{key, key.As("twin"), second}, keys{key, key.As("twin"), second}, nil, true},
		"a keyid listed twice":         {2, keys{key, key}, keys{key}, nil, false},
		"a weak key":                   {1, keys{weak}, keys{weak}, nil, false},
		"a weak key beside a good one": {1, keys{weak, key}, keys{weak, key}, nil, true},
		"a weak key is required":       {2, keys{weak, key}, keys{weak, key}, nil, false},
		"a broken key beside":          {1, keys{broken, key}, keys{broken, key}, nil, true},
		"an unknown keytype beside":    {1, keys{unknown, key}, keys{unknown, key}, nil, true},
		"an unknown keytype required":  {2, keys{unknown, key}, keys{unknown, key}, nil, false},
		"bad signature of one twin":    {1, keys{key, key.As("twin")}, keys{second.As("twin"), key}, nil, true},
		"not hex":                      {1, keys{key}, keys{key}, func(l []any) []any { l[0].(tuftest.Map)["sig"] = "zz"; return l }, false},
		"empty":                        {1, keys{key}, keys{key}, func(l []any) []any { l[0].(tuftest.Map)["sig"] = ""; return l }, false},
		"no signatures":                {1, keys{key}, keys{key}, func([]any) []any { return []any{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			r.ListKeys("targets", tt.threshold, tt.listed...)
			r.PublishRoot()
			r.Targets.Signers, r.Targets.EditSignatures = tt.signers, tt.edit
			err := verify.Signed(parse(t, "root", r.RootBytes(2)), "targets", parse(t, "targets", r.Targets.Bytes()))
			if tt.ok {
				require.NoError(t, err)
				return
			}
			e := tuferr.As(err)
			require.Equal(t, protocol.CodeUnsigned, e.Code)
			require.NotEmpty(t, e.Digest)
		})
	}
}

// TestSignedIsFoundOnce: success holds for the very documents and the role that
// it was found for, and failure is never remembered.
func TestSignedIsFoundOnce(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	root, targets := parse(t, "root", r.RootBytes(1)), parse(t, "targets", r.Targets.Bytes())
	signatures := targets.Signatures
	targets.Signatures = nil
	require.Error(t, verify.Signed(root, "targets", targets))
	targets.Signatures = signatures
	require.NoError(t, verify.Signed(root, "targets", targets))

	targets.Signatures = nil // Whoever looked again would find nothing.
	require.NoError(t, verify.Signed(root, "targets", targets))
	require.Error(t, verify.Signed(root, "snapshot", targets))
	require.Error(t, verify.Signed(parse(t, "root", r.RootBytes(1)), "targets", targets), "another document as delegator")
	require.Error(t, verify.Signed(targets, "targets", targets))
	unsigned := parse(t, "targets", r.Targets.Bytes())
	unsigned.Signatures = nil
	require.Error(t, verify.Signed(root, "targets", unsigned), "another document of the same bytes")
}

func TestSignedNeedsADelegation(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	targets := parse(t, "targets", r.Targets.Bytes())
	for _, delegator := range []*admission.Doc{parse(t, "root", r.RootBytes(1)), targets} {
		require.Equal(t, protocol.CodeUnsigned, tuferr.CodeOf(verify.Signed(delegator, "stranger", targets)))
	}
}

// TestSignedOverWhatWasSigned: forms that a struct would not give back.
func TestSignedOverWhatWasSigned(t *testing.T) {
	r := tuftest.NewRepo(tuftest.Config{})
	root := parse(t, "root", r.RootBytes(1))
	r.Targets.Signed["x-large"] = tuftest.Verbatim("9007199254740993")
	r.Targets.Signed["Version"] = 7
	require.NoError(t, verify.Signed(root, "targets", parse(t, "targets", r.Targets.Bytes())))
	r.Targets.EditRaw = func(raw []byte) []byte {
		return []byte(strings.Replace(string(raw), "9007199254740993", "9007199254740992", 1))
	}
	require.Error(t, verify.Signed(root, "targets", parse(t, "targets", r.Targets.Bytes())))
}

func TestRootStep(t *testing.T) {
	old, young := tuftest.NewKey(tuftest.Ed25519, 0), tuftest.NewKey(tuftest.Ed25519, 45)
	for name, tt := range map[string]struct {
		signers []*tuftest.Key
		version int
		code    protocol.Code
	}{
		"both":       {[]*tuftest.Key{old, young}, 2, ""},
		"old alone":  {[]*tuftest.Key{old}, 2, protocol.CodeUnsigned},
		"new alone":  {[]*tuftest.Key{young}, 2, protocol.CodeUnsigned},
		"too new":    {[]*tuftest.Key{old, young}, 3, protocol.CodeBadVersion},
		"the same":   {[]*tuftest.Key{old, young}, 1, protocol.CodeRollback},
		"no version": {[]*tuftest.Key{young}, 3, protocol.CodeUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			r := tuftest.NewRepo(tuftest.Config{})
			r.SetKeys("root", 1, young)
			r.Root.Signers = tt.signers
			r.Root.SetVersion(tt.version)
			err := verify.RootStep(parse(t, "root", r.RootBytes(1)), parse(t, "root", r.Root.Bytes()))
			require.Equal(t, tt.code, tuferr.CodeOf(err), err)
		})
	}
}

func TestRotated(t *testing.T) {
	root := func(edit func(r *tuftest.Repo)) *admission.Doc {
		r := tuftest.NewRepo(tuftest.Config{})
		edit(r)
		r.PublishRoot()
		return parse(t, "root", r.RootBytes(2))
	}
	old := root(func(*tuftest.Repo) {})
	key := tuftest.NewKey(tuftest.Ed25519, 46)
	for name, tt := range map[string]struct {
		edit func(r *tuftest.Repo)
		want bool
	}{
		"nothing":           {func(*tuftest.Repo) {}, false},
		"timestamp":         {func(r *tuftest.Repo) { r.SetKeys("timestamp", 1, key) }, true},
		"snapshot":          {func(r *tuftest.Repo) { r.SetKeys("snapshot", 1, key) }, true},
		"targets":           {func(r *tuftest.Repo) { r.SetKeys("targets", 1, key) }, false},
		"a key more":        {func(r *tuftest.Repo) { r.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 1), key) }, false},
		"another threshold": {func(r *tuftest.Repo) { r.SetKeys("snapshot", 1, tuftest.NewKey(tuftest.Ed25519, 2)) }, false},
	} {
		require.Equal(t, tt.want, verify.Rotated(old, root(tt.edit)), name)
	}
	two := root(func(r *tuftest.Repo) { r.SetKeys("timestamp", 1, tuftest.NewKey(tuftest.Ed25519, 1), key) })
	require.True(t, verify.Rotated(two, old), "one key of two was taken away")
}
