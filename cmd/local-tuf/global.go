package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/keyfile"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// global is the flags that every command has.
type global struct {
	dir            string
	keyDirs        []string
	passphraseFile string
	proposal       string
}

func (g *global) flags(f *pflag.FlagSet) {
	f.StringVar(&g.dir, "dir", "./tuf-repo", "directory of the repository")
	f.StringArrayVar(&g.keyDirs, "keys", nil, "another `directory` of private keys, beside DIR/keys; may be repeated")
	f.StringVar(&g.passphraseFile, "passphrase-file", "", "`file` whose first line is the passphrase of the private keys, spaces included")
	f.StringVar(&g.proposal, "proposal", "", "`file` for a change that needs signatures of others (default: one in DIR/proposals)")
}

// passphrase returns where passphrases come from. Each is asked for once.
func (g *global) passphrase(cmd *cobra.Command) (pass keyfile.Passphrase, forget func()) {
	return keyfile.Once(keyfile.FirstOf(keyfile.FromFile(g.passphraseFile), keyfile.FromEnv(keyfile.EnvPassphrase),
		keyfile.FromPrompt(os.Stdin, cmd.ErrOrStderr())))
}

// open opens the repository for a command. done forgets the passphrases.
func (g *global) open(cmd *cobra.Command) (r *repository.Repository, done func(), err error) {
	return g.openFor(cmd, false)
}

// openFor is open for a command that makes keys, plain ones if it was asked to.
func (g *global) openFor(cmd *cobra.Command, plain bool) (r *repository.Repository, done func(), err error) {
	pass, forget := g.passphrase(cmd)
	if plain {
		pass = keyfile.FirstOf(keyfile.Plain, pass)
	}
	r, err = repository.Open(g.dir, repository.Options{Keys: repository.Keys{Dirs: g.keyDirs, Passphrase: pass}})
	return r, forget, err
}

// mayFound refuses a file for a proposal that is there already, before anything is
// made: a repository that nobody has a proposal for would stay behind.
func (g *global) mayFound() error {
	if _, err := os.Lstat(g.proposal); err != nil {
		return nil // There is none, or it is not to be had: writing it says why.
	}
	return &tuferr.Error{Code: protocol.CodeUsage, Op: "init", Path: g.proposal, Msg: "the file for a proposal is there already",
		Hint: "choose another name; nothing was changed"}
}

// plainFlag adds the flag of commands that make keys.
func plainFlag(f *pflag.FlagSet) *bool {
	return f.Bool("plain-keys", false, "store new private keys unencrypted")
}
