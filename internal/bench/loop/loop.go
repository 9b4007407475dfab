// Package loop is what the long-lived programs of the benchmark share: they do
// one work over and over and print what it took as JSON.
package loop

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Rest is how long a client is left alone before its memory is read.
const Rest = 3 * time.Second

// NamesFile is a JSON list of some targets, in the directory of a large repository.
const NamesFile = "names.json"

// Release is the target that the n-th release adds.
func Release(n int) string { return fmt.Sprintf("plugins/acme/hello.1.0.%d.tar.gz", n) }

// TimestampFile is the timestamp that publishes the n-th release, in the
// repository's directory.
func TimestampFile(n int) string { return fmt.Sprintf("timestamp-%d.json", n) }

// Job is what the flags say.
type Job struct {
	// URL of the repository, the file of its trusted root, a target, and its
	// directory, which no client looks into.
	URL, Root, Target, Repo string
	// Dir is the client's own directory, empty.
	Dir string
	// At is how many do the work at the same time, For how long.
	At  int
	For time.Duration
	// Releases is how many releases the repository has.
	Releases int
}

// Result is what is printed; 0 is not measured.
type Result struct {
	// Wall is the median of one work in milliseconds.
	Wall float64 `json:"wall"`
	// PerSecond is how often the work was done.
	PerSecond float64 `json:"per_second"`
	// Host and Worker are resident memory in MiB.
	Host   float64 `json:"host"`
	Worker float64 `json:"worker"`
}

// Main does the work that the flag -work names and ends the process.
func Main(works map[string]func(*Job) (Result, error)) {
	j := &Job{}
	work := flag.String("work", "", "what to do")
	flag.StringVar(&j.URL, "url", "", "URL of the repository")
	flag.StringVar(&j.Root, "root", "", "trusted root `file`")
	flag.StringVar(&j.Target, "target", "", "a target of the repository")
	flag.StringVar(&j.Repo, "repo", "", "the repository's `directory`")
	flag.StringVar(&j.Dir, "dir", "", "the client's own `directory`")
	flag.IntVar(&j.At, "at", 1, "how many at a time")
	flag.DurationVar(&j.For, "for", time.Second, "how long")
	flag.IntVar(&j.Releases, "releases", 0, "how many releases the repository has")
	flag.Parse()
	err := fmt.Errorf("no such work: %s", *work)
	if do, ok := works[*work]; ok {
		var result Result
		if result, err = do(j); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Names returns some targets of a large repository.
func (j *Job) Names() (names []string, err error) {
	raw, err := os.ReadFile(filepath.Join(j.Repo, NamesFile))
	if err != nil {
		return nil, err
	}
	return names, json.Unmarshal(raw, &names)
}

// Rate calls do from j.At goroutines for j.For, after one call that does not
// count. do gets a number that differs from call to call.
func (j *Job) Rate(do func(n int) error) (Result, error) {
	if err := do(0); err != nil {
		return Result{}, err
	}
	var stop atomic.Bool
	var done atomic.Int64
	var work sync.WaitGroup
	failed := make([]error, j.At)
	start := time.Now()
	time.AfterFunc(j.For, func() { stop.Store(true) })
	for i := range j.At {
		work.Go(func() {
			n := 0
			for ; !stop.Load() && failed[i] == nil; n++ {
				failed[i] = do(i + n*j.At)
			}
			done.Add(int64(n))
		})
	}
	work.Wait()
	return Result{PerSecond: float64(done.Load()) / time.Since(start).Seconds()}, errors.Join(failed...)
}

// Repeat calls do again and again for j.For, after one call that does not count.
func (j *Job) Repeat(do func() error) (Result, error) {
	if err := do(); err != nil {
		return Result{}, err
	}
	var took []time.Duration
	for end := time.Now().Add(j.For); time.Now().Before(end); {
		start := time.Now()
		if err := do(); err != nil {
			return Result{}, err
		}
		took = append(took, time.Since(start))
	}
	return Result{Wall: median(took)}, nil
}

// EachRelease publishes one release after the other and measures how long do
// takes to fetch it. The first does not count. At the end the repository is as
// it was.
func (j *Job) EachRelease(do func(target string) error) (result Result, err error) {
	defer func() { err = errors.Join(err, j.publish(0)) }()
	var took []time.Duration
	for n := range j.Releases {
		if err := j.publish(n); err != nil {
			return Result{}, err
		}
		start := time.Now()
		if err := do(Release(n)); err != nil {
			return Result{}, fmt.Errorf("release %d: %w", n, err)
		}
		took = append(took, time.Since(start))
	}
	return Result{Wall: median(took[1:])}, nil
}

// publish puts the timestamp of a release in its place.
func (j *Job) publish(n int) error {
	raw, err := os.ReadFile(filepath.Join(j.Repo, TimestampFile(n)))
	if err != nil {
		return err
	}
	fresh := filepath.Join(j.Repo, "timestamp-next.json")
	if err := os.WriteFile(fresh, raw, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(j.Repo, "metadata", "timestamp.json"))
}

func median(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2]) / float64(time.Millisecond)
}

// Resident returns the resident memory of this process in MiB.
func Resident() (mib float64, err error) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	_, err = fmt.Sscan(rest, &mib)
	return mib / 1024, err
}
