package store

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A model of a disk that loses its power. It knows only what a file system
// promises: what was synced is there. A file that was written and not synced may
// be whole, empty, or hold zeros; of the changes to the entries of a
// directory since it was synced, any may have come to the disk without the
// others; what stands in a directory whose own entry is lost is lost.

type inode uint64 // 0 is none

const theEnd = "the end"

// node is a file or a directory as it stands in memory.
type node struct {
	data    []byte
	entries map[string]inode // nil for a file
}

// platter follows what a store does and knows what is on the disk for certain.
type platter struct {
	t   *testing.T
	top string

	mu      sync.Mutex
	root    inode
	now     map[inode]node
	synced  map[inode]node
	maybe   map[inode]map[string][]inode // what entries have been since the last sync
	syncing []inode
	holds   map[inode]*os.File // so that no number is used twice
	cut     func(point string, p *platter)
	random  *rand.Rand
}

// newPlatter takes what stands below top for synced.
func newPlatter(t *testing.T, top string, cut func(string, *platter)) *platter {
	p := &platter{t: t, top: top, holds: map[inode]*os.File{}, maybe: map[inode]map[string][]inode{}, cut: cut,
		random: rand.New(rand.NewPCG(1, 2))}
	p.see()
	p.synced = maps.Clone(p.now)
	p.maybe = map[inode]map[string][]inode{}
	t.Cleanup(func() {
		for _, f := range p.holds {
			_ = f.Close()
		}
	})
	return p
}

// see looks at what stands in memory now.
func (p *platter) see() {
	p.now = map[inode]node{}
	p.root = p.visit(p.top)
}

func (p *platter) visit(path string) inode {
	fi, err := os.Lstat(path)
	require.NoError(p.t, err)
	id := inode(fi.Sys().(*syscall.Stat_t).Ino)
	if p.holds[id] == nil {
		p.holds[id], err = os.Open(path)
		require.NoError(p.t, err)
	}
	if !fi.IsDir() {
		data, err := os.ReadFile(path)
		require.NoError(p.t, err)
		p.now[id] = node{data: data}
		return id
	}
	list, err := os.ReadDir(path)
	require.NoError(p.t, err)
	entries := map[string]inode{}
	for _, e := range list {
		entries[e.Name()] = p.visit(filepath.Join(path, e.Name()))
	}
	p.now[id] = node{entries: entries}
	if p.maybe[id] == nil {
		p.maybe[id] = map[string][]inode{}
	}
	// Every name that there is or may have been.
	for name := range entries {
		p.may(id, name)
	}
	for name := range p.maybe[id] {
		p.may(id, name)
	}
	for name := range p.synced[id].entries {
		p.may(id, name)
	}
	return id
}

// may notes what an entry is now, beside what it has been since the last sync.
func (p *platter) may(dir inode, name string) {
	is := p.now[dir].entries[name]
	if was := p.maybe[dir][name]; !slices.Contains(was, is) {
		p.maybe[dir][name] = append(was, is)
	}
}

// before is the hook of a disk. Syncs that run side by side are done, for
// certain, when something else begins.
func (p *platter) before(op, path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.t.Failed() {
		return nil
	}
	p.see()
	if op != "sync" {
		p.finish()
	}
	p.cut(op+" "+path, p)
	if op == "sync" {
		fi, err := os.Stat(path)
		require.NoError(p.t, err)
		p.syncing = append(p.syncing, inode(fi.Sys().(*syscall.Stat_t).Ino))
	}
	return nil
}

func (p *platter) finish() {
	for _, id := range p.syncing {
		p.synced[id] = p.now[id]
		if p.now[id].entries != nil {
			p.maybe[id] = map[string][]inode{}
		}
	}
	p.syncing = nil
}

// end is the power cut after the work has been reported as done.
func (p *platter) end() {
	p.see()
	p.finish()
	p.see()
	p.cut(theEnd, p)
}

// choice is something that the power cut decides in one of several ways, the
// first of which is the oldest and the last the newest.
type choice struct {
	dir  inode
	name string
	of   []inode // for an entry
	file inode
	torn [][]byte // for the content of a file
}

func (c choice) ways() int { return max(len(c.of), len(c.torn)) }

// choices lists what is not certain. Temporaries have all come to the disk or
// none has, and whole: nobody reads them.
func (p *platter) choices() (all []choice) {
	temporary := map[inode]bool{}
	p.each(p.root, func(dir inode, name string, id inode) {
		if name == "tmp" {
			for _, ids := range p.maybe[id] {
				for _, tmp := range ids {
					temporary[tmp] = true
				}
			}
			temporary[id] = true
		}
	})
	p.each(p.root, func(dir inode, name string, id inode) {
		if !temporary[dir] {
			delete(temporary, id) // it has got its name
		}
	})
	for id, names := range p.maybe {
		for name, values := range names {
			was := p.synced[id].entries[name]
			ways := append([]inode{was}, slices.DeleteFunc(slices.Clone(values), func(v inode) bool { return v == was })...)
			if len(ways) > 1 && !temporary[id] {
				all = append(all, choice{dir: id, name: name, of: ways})
			}
		}
	}
	for id, n := range p.now {
		if _, certain := p.synced[id]; certain || temporary[id] || len(n.data) == 0 {
			continue
		}
		all = append(all, choice{file: id, torn: [][]byte{nil, make([]byte, len(n.data)), n.data}})
	}
	slices.SortFunc(all, func(a, b choice) int {
		return slices.Compare([]string{fmt.Sprint(a.dir, a.file), a.name}, []string{fmt.Sprint(b.dir, b.file), b.name})
	})
	return all
}

// each calls f for every entry that stands in memory.
func (p *platter) each(dir inode, f func(dir inode, name string, id inode)) {
	for name, id := range p.now[dir].entries {
		f(dir, name, id)
		p.each(id, f)
	}
}

// disks calls f with one way after the other in which things may have come to
// the disk: all of them if they are few; else the oldest and the newest, all that
// deviate from these in one point, and some at random.
func (p *platter) disks(f func(map[inode]node)) {
	const few = 8
	all := p.choices()
	total := 1
	for _, c := range all {
		total = min(total*c.ways(), few+1)
	}
	picks := make([]int, len(all))
	if total <= few {
		for n := range total {
			for i, c := range all {
				picks[i], n = n%c.ways(), n/c.ways()
			}
			f(p.outcome(all, picks))
		}
		return
	}
	for _, newest := range []bool{false, true} {
		for i, deviates := range all {
			for way := range deviates.ways() {
				for k, c := range all {
					picks[k] = 0
					if newest {
						picks[k] = c.ways() - 1
					}
				}
				picks[i] = way
				f(p.outcome(all, picks))
			}
		}
	}
	for range few {
		for i, c := range all {
			picks[i] = p.random.IntN(c.ways())
		}
		f(p.outcome(all, picks))
	}
}

// outcome is the disk that the picks describe.
func (p *platter) outcome(all []choice, picks []int) map[inode]node {
	disk := map[inode]node{}
	for id, n := range p.now {
		disk[id] = n
	}
	for id, n := range p.synced {
		disk[id] = n
	}
	for id, n := range disk {
		if n.entries != nil {
			disk[id] = node{entries: maps.Clone(p.synced[id].entries)}
			if disk[id].entries == nil {
				disk[id] = node{entries: map[string]inode{}}
			}
		}
	}
	for i, c := range all {
		if c.file != 0 {
			disk[c.file] = node{data: c.torn[picks[i]]}
			continue
		}
		disk[c.dir].entries[c.name] = c.of[picks[i]]
	}
	return disk
}

// list describes a disk.
func list(disk map[inode]node, id inode, path string) (all string) {
	n := disk[id]
	if n.entries == nil {
		return fmt.Sprintf("%s %d bytes %.8x\n", path, len(n.data), sha256.Sum256(n.data))
	}
	all = path + "/\n"
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		if child := n.entries[name]; child != 0 {
			all += list(disk, child, filepath.Join(path, name))
		}
	}
	return all
}

// lay writes a disk below a directory.
func lay(t *testing.T, disk map[inode]node, id inode, path string) {
	n := disk[id]
	if n.entries == nil {
		require.NoError(t, os.WriteFile(path, n.data, 0o600))
		return
	}
	require.NoError(t, os.MkdirAll(path, 0o700))
	for name, child := range n.entries {
		if child != 0 {
			lay(t, disk, child, filepath.Join(path, name))
		}
	}
}

// TestPowerCut cuts the power before each change of the disk and after the last
// one. Whatever has come to the disk by then: the store opens, nothing goes back
// or is trusted that was not verified, and the same work can be done again. What
// was reported as done stays done.
func TestPowerCut(t *testing.T) {
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "metadata")
			sc.prepare(t, dir)
			before := peek(dir)
			s, err := Open(dir, Options{})
			require.NoError(t, err)
			moments, seen := 0, map[string]bool{}
			p := newPlatter(t, top, func(point string, p *platter) {
				moments++
				p.disks(func(disk map[inode]node) {
					all := list(disk, p.root, "")
					if seen[all] && point != theEnd {
						return
					}
					seen[all] = true
					ok := t.Run(point, func(t *testing.T) {
						where := t.TempDir()
						lay(t, disk, p.root, where)
						dir := filepath.Join(where, "metadata")
						if point == theEnd {
							floors, _, err := fsck(dir)
							require.NoError(t, err)
							require.True(t, sc.want.equal(floors), "%+v", floors)
						}
						survives(t, sc, dir, before)
					})
					if !ok {
						t.Errorf("power cut before %s:\n%s", point, all)
					}
				})
			})
			s.disk.before = p.before
			require.NoError(t, sc.act(t, s))
			p.end()
			t.Logf("%d moments, %d disks", moments, len(seen))
		})
	}
}

// TestWhatADeadProcessHasNotSyncedIsSynced before anybody builds on it.
func TestWhatADeadProcessHasNotSyncedIsSynced(t *testing.T) {
	_, _, dir := pinned(t)
	s, _ := open(t, dir)
	commit(t, s, acme.all(1, acme.root(2)))
	s, _ = open(t, dir)
	var mu sync.Mutex
	var steps []string
	s.disk.before = func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		rel, err := filepath.Rel(dir, path)
		steps = append(steps, op+" "+rel)
		return err
	}
	view(t, s)
	require.Empty(t, steps)
	spoil(nil)(t, filepath.Join(dir, ".ragnos", "tmp", "0"))
	view(t, s)
	last := len(steps) - 1
	require.Equal(t, "remove .ragnos/tmp/0", steps[last])
	require.ElementsMatch(t, []string{"sync ..", "sync .", "sync .ragnos", "sync .ragnos/history", "sync .ragnos/anchor.json", "sync .ragnos/floors",
		"sync .ragnos/clock", "sync .ragnos/history/1.root.json", "sync .ragnos/history/2.root.json"}, steps[:last])
}
