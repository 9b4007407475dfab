// Command plain-go publishes targets with go-tuf's API, as its examples do: it
// loads metadata, adds targets, signs and writes. It verifies nothing, syncs
// nothing and looks into no archive. Its argument is a file with a job; see package
// publishing.
package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

type job struct {
	Metadata string `json:"metadata"`
	Out      string `json:"out"`
	Keys     string `json:"keys"`
	Bins     string `json:"bins"`
	Bits     int    `json:"bits"`
	Targets  []struct {
		Path   string          `json:"path"`
		File   string          `json:"file"`
		Role   string          `json:"role"`
		Custom json.RawMessage `json:"custom"`
	} `json:"targets"`
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "plain-go:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(raw, &j); err != nil {
		return err
	}
	timestamp, err := new(metadata.Metadata[metadata.TimestampType]).FromFile(filepath.Join(j.Metadata, "timestamp.json"))
	if err != nil {
		return err
	}
	snapshot, err := new(metadata.Metadata[metadata.SnapshotType]).FromFile(j.file(j.Metadata, timestamp.Signed.Meta["snapshot.json"].Version, "snapshot"))
	if err != nil {
		return err
	}
	roles, err := j.add(snapshot)
	if err != nil {
		return err
	}
	for name, role := range roles {
		role.Signed.Version++
		role.Signed.Expires = expires()
		meta, err := write(&j, role, name, role.Signed.Version, j.key(name))
		if err != nil {
			return err
		}
		snapshot.Signed.Meta[name+".json"] = meta
	}
	snapshot.Signed.Version++
	snapshot.Signed.Expires = expires()
	meta, err := write(&j, snapshot, "snapshot", snapshot.Signed.Version, "snapshot")
	if err != nil {
		return err
	}
	timestamp.Signed.Meta["snapshot.json"] = meta
	timestamp.Signed.Version++
	timestamp.Signed.Expires = expires()
	_, err = write(&j, timestamp, "timestamp", timestamp.Signed.Version, "timestamp")
	return err
}

func expires() time.Time { return time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second) }

func (j *job) file(dir string, version int64, role string) string {
	return filepath.Join(dir, fmt.Sprintf("%d.%s.json", version, role))
}

// key is the file of the key that signs for a role or its bins.
func (j *job) key(role string) string {
	if j.Bins != "" {
		return j.Targets[0].Role
	}
	return role
}

// add adds the targets to their roles, and returns those.
func (j *job) add(snapshot *metadata.Metadata[metadata.SnapshotType]) (map[string]*metadata.Metadata[metadata.TargetsType], error) {
	roles := map[string]*metadata.Metadata[metadata.TargetsType]{}
	for _, t := range j.Targets {
		name := t.Role
		if j.Bins != "" {
			sum := sha256.Sum256([]byte(t.Path))
			name = fmt.Sprintf("%s-%0*x", j.Bins, (j.Bits+3)/4, binary.BigEndian.Uint32(sum[:])>>(32-j.Bits))
		}
		if roles[name] == nil {
			role, err := new(metadata.Metadata[metadata.TargetsType]).FromFile(j.file(j.Metadata, snapshot.Signed.Meta[name+".json"].Version, name))
			if err != nil {
				return nil, err
			}
			roles[name] = role
		}
		info, err := metadata.TargetFile().FromFile(t.File, "sha256")
		if err != nil {
			return nil, err
		}
		info.Custom = &t.Custom
		roles[name].Signed.Targets[t.Path] = info
	}
	return roles, nil
}

// write signs and writes a file and returns its description.
func write[T metadata.Roles](j *job, md *metadata.Metadata[T], role string, version int64, key string) (*metadata.MetaFiles, error) {
	signer, err := load(filepath.Join(j.Keys, key+".key"))
	if err != nil {
		return nil, err
	}
	md.ClearSignatures()
	if _, err := md.Sign(signer); err != nil {
		return nil, err
	}
	raw, err := md.ToBytes(false)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	path := j.file(j.Out, version, role)
	if role == "timestamp" {
		path = filepath.Join(j.Out, "timestamp.json")
	}
	return &metadata.MetaFiles{Version: version, Length: int64(len(raw)), Hashes: metadata.Hashes{"sha256": sum[:]}}, os.WriteFile(path, raw, 0o644)
}

var loaded = map[string]signature.Signer{}

func load(file string) (signature.Signer, error) {
	if known := loaded[file]; known != nil {
		return known, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := cryptoutils.UnmarshalPEMToPrivateKey(raw, nil)
	if err != nil {
		return nil, err
	}
	loaded[file], err = signature.LoadRSAPSSSigner(key.(*rsa.PrivateKey), crypto.SHA256, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	return loaded[file], err
}
