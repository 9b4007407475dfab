package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/repository"
)

func newInit(g *global) *cobra.Command {
	l := repository.DefaultLifetimes
	var o repository.InitOptions
	var algorithm string
	var given []string
	var plain *bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a new repository",
		Long: `Make a new repository in --dir, which must be missing or empty, with new keys for
each of root, targets, snapshot and timestamp: one, or as many as --root and
--targets say, in DIR/keys. They are RSA-PSS-SHA256 keys of 2048 bits, unless
--algorithm says otherwise. Kind and lifetimes are kept for later.

With --key, root or targets get keys that people have made on machines of their own
(local-tuf key new NAME --in DIRECTORY), and nobody ever holds those of all. They
sign the first root and targets by a proposal. Until that is published, by local-tuf
proposal publish FILE, the repository has no metadata.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			pass, forget := g.passphrase(cmd)
			defer forget()
			if *plain {
				pass = keyfile.Plain
			}
			o.Lifetimes, o.Algorithm, o.Keys = l, keyfile.Algorithm(algorithm), repository.Keys{Dirs: g.keyDirs, Passphrase: pass}
			if err := givenKeys(cmd, given, &o); err != nil {
				return err
			}
			if len(given) > 0 {
				if err := g.mayFound(); err != nil {
					return err
				}
			}
			r, p, err := repository.Found(cmd.Context(), g.dir, o)
			if err != nil {
				return err
			}
			if p != nil {
				return handProposal(cmd, g, p)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made a repository in %s\ngive clients %s\nkeep %s secret\n", r.Dir(),
				filepath.Join(r.Dir(), "root.json"), filepath.Join(r.Dir(), "keys"))
			return nil
		},
	}
	f := cmd.Flags()
	plain = plainFlag(f)
	f.StringVar(&algorithm, "algorithm", "rsa", "kind of new keys: rsa, ed25519 or ecdsa")
	f.Var((*quorum)(&o.Root), "root", "how many root keys must sign of how many, as `M/N` (default 1/1)")
	f.Var((*quorum)(&o.Targets), "targets", "how many targets keys must sign of how many, as `M/N` (default 1/1)")
	f.StringArrayVar(&given, "key", nil, "file of a public key that signs for root or targets, instead of new ones, as `ROLE=PUBKEY`; once for each key of the role")
	lifetimeFlags(f, &l)
	return cmd
}

// givenKeys reads the flags --key.
func givenKeys(cmd *cobra.Command, given []string, o *repository.InitOptions) error {
	for _, v := range given {
		role, file, _ := strings.Cut(v, "=")
		switch {
		case file == "" || role != "root" && role != "targets":
			return wrongUse(cmd, fmt.Sprintf("--key %q: write it as root=PUBKEY or targets=PUBKEY", v))
		case role == "root":
			o.RootKeys = append(o.RootKeys, file)
		default:
			o.TargetsKeys = append(o.TargetsKeys, file)
		}
	}
	return nil
}

// lifetimeFlags adds the flags for the lifetimes of roles.
func lifetimeFlags(f *pflag.FlagSet, l *repository.Lifetimes) {
	f.Var((*lifetime)(&l.Root), "root-lifetime", "how long root metadata is valid")
	f.Var((*lifetime)(&l.Targets), "targets-lifetime", "how long targets metadata is valid")
	f.Var((*lifetime)(&l.Snapshot), "snapshot-lifetime", "how long snapshot metadata is valid")
	f.Var((*lifetime)(&l.Timestamp), "timestamp-lifetime", "how long timestamp metadata is valid")
	f.Var((*lifetime)(&l.Publishers), "publishers-lifetime", "how long the metadata of a publisher is valid")
}

// quorum is a flag such as 2/3.
type quorum repository.Quorum

func (q *quorum) Type() string { return "M/N" }

func (q *quorum) String() string {
	if q.Keys == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", q.Threshold, q.Keys)
}

func (q *quorum) Set(s string) error {
	m, n, ok := strings.Cut(s, "/")
	threshold, err1 := strconv.Atoi(m)
	keys, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil {
		return errors.New("write it as 2/3: two of three keys must sign")
	}
	*q = quorum{Threshold: threshold, Keys: keys}
	return nil
}

// lifetime is a duration flag that takes days too: 90d, 36h, 10m.
type lifetime time.Duration

func (l *lifetime) Type() string { return "duration" }

func (l *lifetime) String() string {
	if d := time.Duration(*l); d%(24*time.Hour) != 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", time.Duration(*l)/(24*time.Hour))
}

// maxDays keeps a lifetime far from the end of time.Duration.
const maxDays = 36500

func (l *lifetime) Set(s string) error {
	var d time.Duration
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil {
			return fmt.Errorf("not a number of days")
		}
		d = time.Duration(min(n, maxDays+1)) * 24 * time.Hour
	} else {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("write it as 90d, 36h or 10m")
		}
	}
	if d < repository.MinLifetime || d > maxDays*24*time.Hour {
		return fmt.Errorf("must be between %s and %dd", repository.MinLifetime, maxDays)
	}
	*l = lifetime(d)
	return nil
}
