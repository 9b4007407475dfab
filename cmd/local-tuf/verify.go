package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/repository"
)

// engineNames are the values of --engine, and the modes of the clients.
var engineNames = map[string][]hybrid.Mode{
	"both": {hybrid.ModeGo, hybrid.ModePython}, "go": {hybrid.ModeGo}, "python": {hybrid.ModePython},
}

// libraries are what people call the engines.
var libraries = map[hybrid.Mode]string{hybrid.ModeGo: "go-tuf", hybrid.ModePython: "python-tuf"}

func newVerify(g *global) *cobra.Command {
	var asJSON, metadataOnly, warn bool
	var engine string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the whole repository, as clients would and on the disk",
		Long: `Serve the repository on this machine and let new clients, which trust nothing but
DIR/root.json, verify all of it: one with go-tuf and one with python-tuf. Each
refreshes, lists and looks up every plugin; the first one downloads and hashes
them all. Then look at the disk: missing, damaged and unknown files, leftovers,
permissions, keys that sign for nothing, and metadata that TUF clients read
differently. Nothing is changed.

The exit code is for cron: 0 if clients can use everything, else that of the
first problem; 56 if python-tuf is not installed (then --engine go works
without). With --warn it is 33 if there is anything to look at.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			modes := engineNames[engine]
			if modes == nil {
				return wrongUse(cmd, "--engine must be go, python or both")
			}
			r, done, err := g.open(cmd)
			if err != nil {
				return err
			}
			defer done()
			v := verdict{Clients: []clientReport{}}
			v.check(cmd.Context(), r, modes, metadataOnly)
			out := cmd.OutOrStdout()
			if asJSON {
				err = json.NewEncoder(out).Encode(v)
			} else {
				err = v.print(out)
			}
			if err == nil {
				err = v.err(warn)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	f.BoolVar(&metadataOnly, "metadata-only", false, "download and hash no plugins")
	f.BoolVar(&warn, "warn", false, "exit with 33 if there is anything to look at")
	f.StringVar(&engine, "engine", "both", "who verifies: go, python or both")
	return cmd
}

// verdict is what verify has found.
type verdict struct {
	Clients []clientReport     `json:"clients"`
	Disk    *repository.Report `json:"disk"`
	// Problem is why the disk could not be looked at, "" if it was.
	Problem string `json:"problem,omitempty"`

	diskErr error
}

// clientReport is what a client made of the repository.
type clientReport struct {
	Engine   string          `json:"engine"`
	Versions hybrid.Versions `json:"versions"`
	// Targets were found, Bytes of them downloaded.
	Targets    int   `json:"targets"`
	Downloaded int   `json:"downloaded"`
	Bytes      int64 `json:"bytes"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"milliseconds"`
	// Problem and Hint are why it failed, "" if it did not.
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`

	err error
}

// check fills the verdict. The disk is asked what there is to be found by clients.
func (v *verdict) check(ctx context.Context, r *repository.Repository, modes []hybrid.Mode, metadataOnly bool) {
	want, listErr := r.Targets(ctx)
	for i, mode := range modes {
		start := time.Now()
		c := clientReport{Engine: libraries[mode]}
		c.err = withServer(ctx, r, func(url string) error {
			return c.verify(ctx, r, url, mode, want, listErr == nil, !metadataOnly && i == 0)
		})
		c.Milliseconds = time.Since(start).Milliseconds()
		if e := tuferr.As(c.err); e != nil {
			told := *e
			if e.Code == protocol.CodeMissingDependency || e.Code == protocol.CodeWorkerUnavailable {
				told.Hint = strings.TrimPrefix(told.Hint+"; without python-tuf: local-tuf verify --engine go", "; ")
			}
			c.Problem, c.Hint, c.err = told.Error(), told.Hint, &told
		}
		v.Clients = append(v.Clients, c)
	}
	// The clients hash what they download, and look at nothing else.
	report, err := r.Verify(ctx, repository.VerifyOptions{MetadataOnly: metadataOnly})
	if v.diskErr = err; err != nil {
		v.Problem = err.Error()
		return
	}
	v.Disk = &report
}

// withServer serves the repository on a port of this machine for as long as do
// takes.
func withServer(ctx context.Context, r *repository.Repository, do func(url string) error) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "verify", Msg: "cannot listen on this machine", Err: err}
	}
	srv := &http.Server{Handler: r.Handler(), ReadHeaderTimeout: headerWait}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l) // It ends with Close.
	}()
	err = do("http://" + l.Addr().String())
	_ = srv.Close()
	<-served
	return err
}

// headerWait bounds how long the server waits for a request of its own client.
const headerWait = time.Minute

// settled is how long a client of verify answers from what it has verified.
const settled = 24 * time.Hour

// verify lets a new client verify everything.
func (c *clientReport) verify(ctx context.Context, r *repository.Repository, url string, mode hybrid.Mode, want []repository.Listed, known, download bool) error {
	root, err := os.ReadFile(filepath.Join(r.Dir(), "root.json"))
	if err != nil {
		return &tuferr.Error{Code: protocol.CodeBadRoot, Op: "verify", Msg: "no trust anchor for clients", Err: err, Hint: "copy metadata/1.root.json there"}
	}
	dir, err := os.MkdirTemp("", "local-tuf-verify-")
	if err != nil {
		return &tuferr.Error{Code: protocol.CodeLocalIO, Op: "verify", Err: err}
	}
	defer os.RemoveAll(dir)
	client, err := hybrid.New(hybrid.Options{
		RepositoryURL: url, MetadataURL: url + "/metadata", TargetsURL: url + "/targets", Root: root, Mode: mode,
		MetadataDir: filepath.Join(dir, "metadata"), CacheDir: filepath.Join(dir, "cache"),
		RefreshInterval: settled, MaxDownloads: parallel,
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Shutdown(context.WithoutCancel(ctx)) }()
	if err := client.Refresh(ctx); err != nil {
		return err
	}
	list, err := client.List(ctx)
	switch {
	case tuferr.CodeOf(err) == protocol.CodeTooMany && known:
		// Too many roles to be listed, which is no reason not to look up.
		list = nil
		for _, t := range want {
			list = append(list, hybrid.TargetInfo{Name: t.Path})
		}
	case err != nil:
		return err
	case known:
		if err := sameTargets(list, want); err != nil {
			return err
		}
	}
	return c.lookUp(ctx, client, list, download)
}

// sameTargets says whether a client found what the repository says it would.
func sameTargets(got []hybrid.TargetInfo, want []repository.Listed) error {
	roles := map[string]string{}
	for _, t := range want {
		roles[t.Path] = t.Role
	}
	for _, t := range got {
		if roles[t.Name] != t.Role {
			return differs(t.Name, fmt.Sprintf("the client finds it in role %q, the repository in %q", t.Role, roles[t.Name]))
		}
		delete(roles, t.Name)
	}
	for name := range roles {
		return differs(name, "the client does not find it")
	}
	return nil
}

func differs(target, msg string) error {
	return &tuferr.Error{Code: protocol.CodeDisagreement, Op: "verify", Target: target, Msg: msg,
		Hint: "was the repository changed meanwhile? then try again"}
}

// parallel is how many targets are looked up, or downloaded, at a time.
const parallel = 4

func (c *clientReport) lookUp(ctx context.Context, client *hybrid.Client, list []hybrid.TargetInfo, download bool) error {
	var downloaded, bytes atomic.Int64
	var all errgroup.Group
	all.SetLimit(parallel)
	for _, t := range list {
		if ctx.Err() != nil {
			break
		}
		all.Go(func() error {
			if !download {
				_, err := client.Lookup(ctx, t.Name)
				return err
			}
			got, err := client.VerifyAndDownloadPlugin(ctx, t.Name, hybrid.DownloadOptions{})
			if err != nil {
				return err
			}
			downloaded.Add(1)
			bytes.Add(got.Length)
			// Nobody wants them all at once. Two plugins may be the same file.
			_ = os.Remove(got.Path)
			return nil
		})
	}
	err := all.Wait()
	c.Targets, c.Downloaded, c.Bytes = len(list), int(downloaded.Load()), bytes.Load()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return &tuferr.Error{Code: protocol.CodeCancelled, Op: "verify", Err: ctx.Err()}
	}
	return c.versions(ctx, client)
}

// versions notes the versions that the client has verified.
func (c *clientReport) versions(ctx context.Context, client *hybrid.Client) error {
	st, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for _, role := range st.Roles {
		switch role.Name {
		case "root":
			c.Versions.Root = role.Version
		case "timestamp":
			c.Versions.Timestamp = role.Version
		case "snapshot":
			c.Versions.Snapshot = role.Version
		case "targets":
			c.Versions.Targets = role.Version
		}
	}
	return nil
}

func (v *verdict) print(out io.Writer) error {
	p := newPainter(out)
	for _, c := range v.Clients {
		if c.err != nil {
			verb := " did not verify the repository:"
			if tuferr.CodeOf(c.err).Class() == protocol.ClassVerdict {
				verb = " refuses the repository:"
			}
			fmt.Fprintf(out, "%s %s\n", p.paint(red, c.Engine+verb), c.Problem)
			continue
		}
		fmt.Fprintf(out, "%s verified root %d, timestamp %d, snapshot %d, targets %d and found %d plugins", c.Engine,
			c.Versions.Root, c.Versions.Timestamp, c.Versions.Snapshot, c.Versions.Targets, c.Targets)
		if c.Downloaded > 0 {
			fmt.Fprintf(out, "; downloaded %d (%d bytes)", c.Downloaded, c.Bytes)
		}
		fmt.Fprintf(out, " in %s\n", time.Duration(c.Milliseconds)*time.Millisecond)
	}
	if v.Disk == nil {
		return nil
	}
	fmt.Fprintf(out, "on the disk: %d metadata files, %d plugins (%d bytes hashed), %d superseded files\n",
		v.Disk.Roles, v.Disk.Targets, v.Disk.Bytes, v.Disk.Superseded)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, problem := range v.Disk.Problems {
		level := p.paint(yellow, "warning")
		if problem.Error {
			level = p.paint(red, "error  ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s: %s\n", level, problem.Kind, problem.Path, problem.Text)
		if problem.Do != "" {
			fmt.Fprintf(w, "\t\t  → %s\n", problem.Do)
		}
	}
	return w.Flush()
}

// err is the first reason why the repository is not all right: what clients refuse,
// what is wrong on the disk, and then what else keeps clients from verifying, which
// mostly follows from that.
func (v *verdict) err(warn bool) error {
	errs := []error{v.diskErr}
	var others []error
	for _, c := range v.Clients {
		if tuferr.CodeOf(c.err).Class() == protocol.ClassVerdict {
			errs = append(errs, c.err)
		} else {
			others = append(others, c.err)
		}
	}
	if v.Disk != nil {
		errs = append(errs, v.Disk.Err())
	}
	errs = append(errs, others...)
	if v.Disk != nil && warn {
		errs = append(errs, v.Disk.Warning())
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}
