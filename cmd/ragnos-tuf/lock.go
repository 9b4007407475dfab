package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
	"github.com/ragnos-labs/vault-tuf/vault/lockfile"
	"github.com/ragnos-labs/vault-tuf/vault/policy"
)

func addLockfileFlag(f *pflag.FlagSet, path *string) {
	f.StringVar(path, "lockfile", lockfile.Name, "the lock `FILE`")
}

func newLock(a *app) *cobra.Command {
	var path string
	var upgrade bool
	cmd := &cobra.Command{
		Use:   "lock [PUBLISHER/NAME[@RANGE]...]",
		Short: "Choose the versions of plugins, and write them to a lock file",
		Long: `Choose of each plugin the highest version that its range and the policy allow, and
write exact versions and hashes to a lock file, to be kept under version control.
Nothing is fetched.

Without arguments the plugins are those that the configuration wants ("plugins:"),
and no others; if it wants none, those that are locked. What is locked stays as it
is while it is what is wanted and may be installed; --upgrade chooses anew.

With arguments these plugins are locked, or locked anew, and all others stay as they
are. Without @RANGE the range is what the configuration wants, else what is locked,
else the latest.

What changed is printed: + added, - removed, ~ changed. Where nothing changed, or
anything fails, nothing is written.`,
		Example: `  ragnos-tuf lock --config plugins.yaml
  ragnos-tuf lock --config plugins.yaml 'acme/hello@^1.2' acme/tool
  ragnos-tuf lock --config plugins.yaml --upgrade`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := parseAll(cmd, args)
			if err != nil {
				return err
			}
			return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error {
				old, err := readLock(path, true)
				if err != nil {
					return err
				}
				if len(asked)+len(v.Plugins())+len(old.Entries()) == 0 {
					return wrongUse(cmd, "nothing is wanted: name plugins, or list them in the configuration")
				}
				locked, err := lock(ctx, v, old, asked, vault.LockOptions{Upgrade: upgrade})
				if err != nil {
					return err
				}
				return a.writeLock(path, old, locked)
			})
		},
	}
	addLockfileFlag(cmd.Flags(), &path)
	cmd.Flags().BoolVar(&upgrade, "upgrade", false, "choose the highest versions anew")
	return cmd
}

// parseAll reads PUBLISHER/NAME[@RANGE] arguments.
func parseAll(cmd *cobra.Command, args []string) ([]wanted, error) {
	var all []wanted
	for _, arg := range args {
		w, ok := parseWanted(arg)
		if !ok {
			return nil, wrongUse(cmd, quoted(arg)+" is not PUBLISHER/NAME or PUBLISHER/NAME@RANGE")
		}
		if slices.ContainsFunc(all, func(o wanted) bool { return o.id == w.id }) {
			return nil, wrongUse(cmd, w.id+" is there twice")
		}
		all = append(all, w)
	}
	return all, nil
}

// readLock reads a lock file. If it may be missing, none is an empty one.
func readLock(path string, mayBeMissing bool) (*lockfile.File, error) {
	f, err := lockfile.Read(path)
	if mayBeMissing && errors.Is(err, fs.ErrNotExist) {
		return &lockfile.File{}, nil
	}
	if e := tuferr.As(err); e != nil && errors.Is(err, fs.ErrNotExist) {
		e.Hint = "make one first: ragnos-tuf lock"
	}
	return f, err
}

// lock returns the lock file that is to take the place of old: with the plugins
// that are asked for, or else with those that are wanted.
func lock(ctx context.Context, v *vault.Vault, old *lockfile.File, asked []wanted, o vault.LockOptions) (*lockfile.File, error) {
	wants := v.Plugins()
	ranges := maps.Clone(wants)
	if ranges == nil {
		ranges = map[string]string{}
	}
	for _, e := range old.Entries() {
		if _, ok := ranges[e.ID()]; !ok && e.ID() != "" && (len(asked) > 0 || len(wants) == 0) {
			ranges[e.ID()] = e.Wanted
		}
	}
	if len(asked) == 0 {
		return relock(ctx, v, old, ranges, o, func(e lockfile.Entry) bool { return e.ID() == "" })
	}
	few := map[string]string{}
	for _, w := range asked {
		if few[w.id] = ranges[w.id]; w.ranged {
			few[w.id] = w.text
		}
	}
	return relock(ctx, v, old, few, o, func(lockfile.Entry) bool { return true })
}

// relock locks what is wanted, and takes over of the others what is to be kept.
func relock(
	ctx context.Context, v *vault.Vault, old *lockfile.File, ranges map[string]string, o vault.LockOptions, keep func(lockfile.Entry) bool,
) (*lockfile.File, error) {
	locked, err := v.Lock(ctx, old, ranges, o)
	if err != nil {
		return nil, err
	}
	for _, e := range old.Entries() {
		if _, ok := ranges[e.ID()]; ok && e.ID() != "" || !keep(e) {
			continue
		}
		if err := locked.Set(e); err != nil {
			return nil, err
		}
	}
	return locked, nil
}

// writeLock writes a lock file unless nothing changed, and prints what did.
func (a *app) writeLock(path string, old, locked *lockfile.File) error {
	changes := lockfile.Diff(old, locked)
	if len(changes) > 0 {
		if err := locked.Write(path); err != nil {
			return err
		}
	}
	object := struct {
		done
		Lockfile string            `json:"lockfile"`
		Changes  []lockfile.Change `json:"changes"`
	}{done{true}, path, append([]lockfile.Change{}, changes...)}
	return a.print(object, func(p *page) { p.changes(path, changes) })
}

func (p *page) changes(path string, changes []lockfile.Change) {
	if len(changes) == 0 {
		p.line("nothing changed in %s", path)
		return
	}
	for _, c := range changes {
		p.line("%s", c)
	}
	p.line("wrote %s", path)
}

// syncFlags are the flags of sync.
type syncFlags struct {
	path                   string
	frozen, allowDowngrade bool
}

func newSync(a *app) *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Install exactly what is locked",
		Long: `Install what the lock file says: of each plugin the bytes with the locked hash, or
none. What is not locked and the configuration wants ("plugins:"), or wants in
another range, is locked first, and written to the lock file.

With --frozen, for builds, the lock file is never written: it must hold all that the
configuration wants, or else nothing is installed and the exit code is 23
(policy_denied, rule frozen).`,
		Example: `  ragnos-tuf sync --config plugins.yaml
  ragnos-tuf sync --config plugins.yaml --frozen`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withVault(cmd, func(ctx context.Context, v *vault.Vault) error { return a.sync(ctx, v, &f) })
		},
	}
	addLockfileFlag(cmd.Flags(), &f.path)
	cmd.Flags().BoolVar(&f.frozen, "frozen", false, "refuse unless the lock file holds all that is wanted, and never write it")
	cmd.Flags().BoolVar(&f.allowDowngrade, downgradeFlag, false, "let older versions take the place of the installed ones")
	return cmd
}

func (a *app) sync(ctx context.Context, v *vault.Vault, f *syncFlags) error {
	old, err := readLock(f.path, !f.frozen && len(v.Plugins()) > 0)
	if err != nil {
		return err
	}
	locked := old
	ranges, words := unlocked(v, old)
	switch {
	case len(words) == 0:
	case f.frozen:
		return frozen(f.path, words)
	default:
		if locked, err = relock(ctx, v, old, ranges, vault.LockOptions{}, func(lockfile.Entry) bool { return true }); err == nil {
			err = locked.Write(f.path)
		}
		if err != nil {
			return err
		}
	}
	results, err := v.Sync(ctx, locked, vault.SyncOptions{AllowDowngrade: f.allowDowngrade})
	return a.printSync(f.path, lockfile.Diff(old, locked), results, err)
}

// unlocked returns what the configuration wants and the lock file does not hold,
// and says so in words.
func unlocked(v *vault.Vault, f *lockfile.File) (ranges map[string]string, words []string) {
	ranges = map[string]string{}
	wants := v.Plugins()
	for _, id := range slices.Sorted(maps.Keys(wants)) {
		one := &lockfile.File{}
		if e, ok := f.Find(id); ok {
			_ = one.Set(e) // an entry of a file that was read
		}
		if wrong := v.Unlocked(one, map[string]string{id: wants[id]}); len(wrong) > 0 {
			ranges[id] = wants[id]
			words = append(words, wrong...)
		}
	}
	return ranges, words
}

// frozen is the refusal to install what is not locked.
func frozen(path string, words []string) error {
	d := &policy.Denial{Rule: "frozen", Message: strings.Join(words, "; "), Hint: "run ragnos-tuf lock, and commit what it wrote"}
	e := tuferr.New(protocol.CodePolicyDenied, "%w", d)
	e.Op, e.Path, e.Hint = "sync", path, d.Hint
	return e
}

// printSync prints what was locked and installed. What could not be is the error.
func (a *app) printSync(path string, changes []lockfile.Change, results []*vault.Result, err error) error {
	var errs []*tuferr.Error
	if err != nil {
		errs = single(err)
	}
	object := struct {
		done
		Lockfile string            `json:"lockfile"`
		Changes  []lockfile.Change `json:"changes"`
		Plugins  []*vault.Result   `json:"plugins"`
		Errors   []errorObject     `json:"errors,omitempty"`
	}{done{err == nil}, path, append([]lockfile.Change{}, changes...), append([]*vault.Result{}, results...), describeAll(errs)}
	printErr := a.print(object, func(p *page) {
		if len(changes) > 0 {
			p.changes(path, changes)
		}
		p.synced(results)
	})
	switch {
	case printErr != nil:
		return printErr
	case err != nil && a.json:
		return found{gravest(errs).Code.Exit()}
	}
	return err
}

func (p *page) synced(results []*vault.Result) {
	if len(results) == 0 {
		p.line("nothing was installed")
		return
	}
	rows := [][]string{{"plugin", "version", "repository", "verified by", "saved"}}
	for _, r := range results {
		rows = append(rows, []string{orTarget(&r.Plugin), r.Version, r.Repository, r.Engine, r.Path})
	}
	p.table(rows)
}
