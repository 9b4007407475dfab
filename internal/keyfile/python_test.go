package keyfile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/internal/keys"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv/pyenvtest"
)

// script loads a plain private key and its public half with securesystemslib,
// verifies a signature from here and makes one.
const script = `
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey, Signature

private, public, message, sig = sys.argv[1:]
key = SSlibKey.from_crypto(load_pem_public_key(open(public, "rb").read()))
key.verify_signature(Signature(key.keyid, sig), message.encode())
signer = CryptoSigner(load_pem_private_key(open(private, "rb").read(), None))
assert signer.public_key == key
json.dump({"keyid": key.keyid, "key": key.to_dict(), "sig": signer.sign(message.encode()).signature}, sys.stdout)
`

// TestSecuresystemslib reads a key made here, spells it alike, and each side
// accepts what the other has signed. Its key objects are read here.
func TestSecuresystemslib(t *testing.T) {
	python := pyenvtest.Python(t)
	for _, alg := range []Algorithm{RSA, Ed25519, ECDSA} {
		t.Run(string(alg), func(t *testing.T) {
			dir := keyDir(t)
			k, err := Generate(t.Context(), dir, "a", alg, Plain)
			require.NoError(t, err)
			signer, err := k.Signer(t.Context(), nil)
			require.NoError(t, err)
			const message = "what is signed"
			sig, err := signer.SignMessage(strings.NewReader(message))
			require.NoError(t, err)

			cmd := exec.CommandContext(t.Context(), python, "-c", script,
				k.Path, filepath.Join(dir, "a.pub"), message, hex.EncodeToString(sig))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			require.NoError(t, err, stderr.String())
			var theirs struct {
				KeyID string
				Key   json.RawMessage
				Sig   string
			}
			require.NoError(t, json.Unmarshal(out, &theirs))
			require.Equal(t, k.Public.ID, theirs.KeyID)
			sig, err = hex.DecodeString(theirs.Sig)
			require.NoError(t, err)
			pub, err := keys.Decode(k.Public.Key)
			require.NoError(t, err)
			require.True(t, pub.Verify([]byte(message), sig))
			read, err := ReadPublic(put(t, filepath.Join(t.TempDir(), "key.json"), theirs.Key))
			require.NoError(t, err)
			require.Equal(t, k.Public, read)
		})
	}
}
