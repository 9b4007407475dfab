package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Bounds of a batch.
const (
	// MaxBatch is the most plugins of a batch, MaxBatchManifests the most bytes of
	// all their manifests: unlike archives, these are held in memory.
	MaxBatch          = 250_000
	MaxBatchManifests = 256 << 20
	// MaxProblems is how many problems are looked for.
	MaxProblems = 100
)

// The two files of a plugin in a batch.
const (
	extArchive  = ".tar.gz"
	extManifest = ".json"
)

// BatchOptions are the options of [Repository.PublishBatch].
type BatchOptions struct {
	// Channel is as in [PublishOptions], for all plugins.
	Channel Channel
	// Progress is called with the number of plugins that have been checked and
	// copied, and of all; never concurrently.
	Progress func(done, total int)
}

// Batch says what was published.
type Batch struct {
	Plugins int
	// Bytes is the size of the archives.
	Bytes int64
	// Roles are the roles that list them, by name.
	Roles []string
}

// BatchError lists what is wrong with a batch, of which nothing was published.
type BatchError struct {
	// Problems are errors that name their file, in the order of the files.
	Problems []*Error
	// More says that there may be more than these.
	More bool
}

// Error lists the problems, one a line.
func (e *BatchError) Error() string {
	var b strings.Builder
	for _, p := range e.Problems {
		line := *p
		line.Hint = ""
		fmt.Fprintf(&b, "\n  %v", &line)
	}
	if e.More {
		b.WriteString("\n  and perhaps more")
	}
	return b.String()
}

// Unwrap gives errors.Is and errors.As access to the problems.
func (e *BatchError) Unwrap() []error {
	all := make([]error, 0, len(e.Problems))
	for _, p := range e.Problems {
		all = append(all, p)
	}
	return all
}

// PublishBatch publishes all plugins below a directory in one change, with one
// signature of each role concerned: all of it or nothing. Each plugin is a pair of
// files beside each other, NAME.tar.gz and its manifest NAME.json; whatever else
// is found there, but names that begin with a dot, is an error, and so are more
// than [MaxBatch] plugins. How the files are called and in which subdirectories
// they lie means nothing.
//
// Archives are checked and copied on all processors, and are never held in
// memory. If keys are missing the change is returned as a [Proposal], as in
// [Repository.Publish]. What is wrong with the plugins is a [*BatchError].
func (r *Repository) PublishBatch(ctx context.Context, dir string, o BatchOptions) (Batch, *Proposal, error) {
	b := batch{dir: dir, options: o}
	done, p, err := r.publishBatch(ctx, &b)
	return done, p, during("publish", err)
}

func (r *Repository) publishBatch(ctx context.Context, b *batch) (done Batch, p *Proposal, err error) {
	if b.options.Channel != "" {
		if err := knownChannel(b.options.Channel); err != nil {
			return Batch{}, nil, err
		}
	}
	if err := b.find(ctx); err != nil {
		return Batch{}, nil, err
	}
	if err := b.each(ctx, b.read); err != nil {
		return Batch{}, nil, err
	}
	p, err = r.change(ctx, func(c *change) error {
		done, err = b.publish(ctx, c)
		return err
	})
	return done, p, err
}

// batch is a batch that is being published.
type batch struct {
	dir     string
	options BatchOptions
	items   []*batchItem

	mu        sync.Mutex
	copied    int
	manifests int // bytes
	problems  []*Error
}

// batchItem is a plugin of a batch. stem is the path of its files without their
// extensions.
type batchItem struct {
	stem     string
	manifest *Manifest
	release  *release
}

// find lists the plugins, in the order of their paths.
func (b *batch) find(ctx context.Context) error {
	halves, err := b.walk(ctx)
	if err != nil {
		return b.ended(err)
	}
	for _, stem := range slices.Sorted(maps.Keys(halves)) {
		var missing *Error
		switch halves[stem] {
		case halfArchive:
			missing = &Error{Code: protocol.CodeUsage, Path: stem + extArchive, Msg: "there is no manifest " + filepath.Base(stem) + extManifest + " beside it"}
		case halfManifest:
			missing = &Error{Code: protocol.CodeUsage, Path: stem + extManifest, Msg: "there is no archive " + filepath.Base(stem) + extArchive + " beside it"}
		default:
			b.items = append(b.items, &batchItem{stem: stem})
			continue
		}
		if err := b.note(missing); err != nil {
			return b.ended(err)
		}
	}
	if len(b.items)+len(b.problems) == 0 {
		return &Error{Code: protocol.CodeUsage, Path: b.dir, Msg: "there is no plugin in the directory",
			Hint: "put the two files of each plugin there, NAME.tar.gz and NAME.json"}
	}
	return nil
}

// The halves of a plugin.
const (
	halfArchive = 1 << iota
	halfManifest
)

// walk returns which halves are there, by their stem.
func (b *batch) walk(ctx context.Context) (map[string]int, error) {
	halves := map[string]int{}
	// The separator leads through a symbolic link.
	root := b.dir + string(filepath.Separator)
	if _, err := os.Stat(root); err != nil {
		return nil, err
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case path != root && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		}
		if stem, ok := strings.CutSuffix(path, extArchive); ok {
			halves[stem] |= halfArchive
		} else if stem, ok := strings.CutSuffix(path, extManifest); ok {
			halves[stem] |= halfManifest
		} else {
			return b.note(&Error{Code: protocol.CodeUsage, Path: path, Msg: "neither NAME" + extArchive + " nor NAME" + extManifest})
		}
		if len(halves) > MaxBatch {
			return b.tooLarge(fmt.Sprintf("there are more than %d plugins", MaxBatch))
		}
		return nil
	})
	return halves, err
}

func (b *batch) tooLarge(msg string) error {
	return &Error{Code: protocol.CodeUsage, Path: b.dir, Msg: msg, Hint: "divide the batch; nothing was published"}
}

// read reads a manifest.
func (b *batch) read(_ context.Context, i *batchItem) error {
	m, err := readManifest(i.stem + extManifest)
	if err != nil {
		return err
	}
	i.manifest = m
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.manifests += len(m.Raw); b.manifests > MaxBatchManifests {
		return b.tooLarge(fmt.Sprintf("its manifests have more than %d bytes", MaxBatchManifests))
	}
	return nil
}

// publish adds all plugins to a change.
func (b *batch) publish(ctx context.Context, c *change) (Batch, error) {
	if err := c.publishable(); err != nil {
		return Batch{}, err
	}
	if err := b.plan(ctx, c); err != nil {
		return Batch{}, err
	}
	if err := c.markLatest(slices.Collect(maps.Keys(c.added))...); err != nil {
		return Batch{}, err
	}
	err := b.each(ctx, func(ctx context.Context, i *batchItem) error {
		if i.release == nil {
			return nil
		}
		if err := c.addFile(ctx, i.stem+extArchive, i.release); err != nil {
			return err
		}
		b.progress()
		return nil
	})
	if err == nil && len(b.problems) > 0 {
		err = b.failed(false)
	}
	if err != nil {
		return Batch{}, err
	}
	done := Batch{Plugins: len(b.items)}
	roles := map[string]bool{}
	for _, i := range b.items {
		if err := c.list(i.release); err != nil {
			return Batch{}, err
		}
		done.Bytes += i.release.file.Length
		roles[i.release.role] = true
	}
	done.Roles = slices.Sorted(maps.Keys(roles))
	// The manifests are metadata now, and need not be held twice.
	b.items, c.added = nil, nil
	return done, nil
}

func (b *batch) progress() {
	if b.options.Progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copied++
	b.options.Progress(b.copied, len(b.items))
}

// plan finds the role of each plugin.
func (b *batch) plan(ctx context.Context, c *change) error {
	wants := map[string]string{}
	for _, i := range b.items {
		if i.manifest == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return b.ended(err)
		}
		path := i.manifest.TargetPath()
		var err error
		if other := wants[path]; other != "" {
			err = &Error{Code: protocol.CodeUsage, Target: path, Msg: "publisher, name and version are those of " + other + " too"}
		} else {
			wants[path] = i.stem + extManifest
			i.release, err = c.plan(i.manifest, b.options.Channel)
		}
		if err = b.judge(i, err); err != nil {
			return b.ended(err)
		}
	}
	return nil
}

// each lets do work on the plugins, on all processors.
func (b *batch) each(ctx context.Context, do func(context.Context, *batchItem) error) error {
	all, within := errgroup.WithContext(ctx)
	all.SetLimit(runtime.GOMAXPROCS(0))
	for _, i := range b.items {
		if within.Err() != nil {
			break
		}
		all.Go(func() error { return b.judge(i, do(within, i)) })
	}
	err := all.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return b.ended(err)
}

// judge notes an error that is about a plugin, and returns every other.
func (b *batch) judge(i *batchItem, err error) error {
	e := tuferr.As(err)
	switch {
	case err == nil:
		return nil
	case e == nil:
		return err
	case (e.Path == i.stem+extArchive || e.Path == i.stem+extManifest) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return b.note(e)
	case e.Path == "" && e.Code == protocol.CodeUsage:
		copied := *e
		copied.Path = i.stem + extManifest
		return b.note(&copied)
	}
	return err
}

// errProblems ends a batch with more problems than are told.
var errProblems = errors.New("too many problems")

func (b *batch) note(e *Error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) == MaxProblems {
		return errProblems
	}
	b.problems = append(b.problems, e)
	return nil
}

// ended is the error with which a batch ends, nil if err is nil.
func (b *batch) ended(err error) error {
	switch {
	case errors.Is(err, errProblems):
		return b.failed(true)
	case err == nil, tuferr.As(err) != nil:
		return err
	}
	return ioError(b.dir, err)
}

// failed tells of the problems.
func (b *batch) failed(more bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortFunc(b.problems, func(a, b *Error) int { return strings.Compare(a.Path, b.Path) })
	count := fmt.Sprint(len(b.problems))
	if more {
		count = "more than " + count
	}
	return &Error{Code: protocol.CodeUsage, Path: b.dir, Msg: "nothing was published, for there are " + count + " problems",
		Err: &BatchError{b.problems, more}}
}
