//go:build unix

package pywrapper

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

const hello = `{"hello":{"protocol":2,"pid":1,"python":"3","tuf":"7","securesystemslib":"1","cryptography":"1","unknown":[]}}`

// child is the scripted worker. Its script is what it does instead of a greeting,
// or "well"; the methods it is asked are what it does then.
type child struct {
	out sync.Mutex
	mu  sync.Mutex
	// fetched has a channel for every request that waits for a file.
	fetched map[int64]chan protocol.Fetched
	cancel  map[int64]chan struct{}
}

func runChild(length string) {
	n, _ := strconv.Atoi(length)
	raw := make([]byte, n)
	if _, err := io.ReadFull(os.Stdin, raw); err != nil {
		os.Exit(99)
	}
	word, arg, _ := strings.Cut(string(raw), " ")
	c := &child{fetched: map[int64]chan protocol.Fetched{}, cancel: map[int64]chan struct{}{}}
	if !c.greet(word, arg) {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the host is gone
		os.Exit(0)
	}
	c.serve()
	os.Exit(0)
}

// greet plays the script's beginning; false if the child serves nothing then.
func (c *child) greet(word, arg string) bool {
	switch word {
	case "well":
		c.say(hello)
		return true
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		c.say(hello)
		return true
	case "version":
		c.say(`{"hello":{"protocol":1,"pid":1}}`)
	case "silence":
	case "half":
		_, _ = os.Stdout.WriteString(`{"hello":{"proto`)
	case "garbage":
		c.say("Traceback (most recent call last):")
	case "early":
		c.say(`{"id":1,"ok":true}`)
	case "fatal":
		c.say(`{"fatal":{"code":"` + arg + `","class":"fault","message":"install it with this command"}}`)
		os.Exit(protocol.Code(arg).Exit())
	case "exit":
		_, _ = os.Stderr.WriteString("cannot import anything\n")
		n, _ := strconv.Atoi(arg)
		os.Exit(n)
	case "env":
		c.say(hello)
		return true
	}
	return false
}

func (c *child) say(line string) {
	c.out.Lock()
	defer c.out.Unlock()
	_, _ = os.Stdout.WriteString(line + "\n")
}

func (c *child) ok(id int64, result any) {
	raw, _ := json.Marshal(result)
	c.say(fmt.Sprintf(`{"id":%d,"ok":true,"result":%s,"grease":{"a":1}}`, id, raw))
}

func (c *child) fail(id int64, code protocol.Code) {
	c.say(fmt.Sprintf(`{"id":%d,"ok":false,"error":{"code":%q,"class":%q,"message":"as asked","role":"timestamp","detail":{"x":1}}}`,
		id, code, code.Class()))
}

// serve reads frames until the host is gone.
func (c *child) serve() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var f struct {
			protocol.Request
			Fetched *protocol.Fetched
		}
		if json.Unmarshal(line, &f) != nil {
			os.Exit(98)
		}
		if f.Fetched != nil {
			c.mu.Lock()
			ch := c.fetched[f.Fetched.ID]
			c.mu.Unlock()
			ch <- *f.Fetched
			continue
		}
		if f.Method == "deaf" { // reads nothing more
			select {}
		}
		stop := make(chan struct{})
		c.mu.Lock()
		c.fetched[f.ID], c.cancel[f.ID] = make(chan protocol.Fetched, 1), stop
		c.mu.Unlock()
		if f.Method == protocol.MethodCancel {
			c.doCancel(f.Request)
			continue
		}
		go c.do(f.Request, stop)
	}
}

func (c *child) doCancel(req protocol.Request) {
	var p struct{ ID int64 }
	_ = json.Unmarshal(req.Params, &p)
	c.mu.Lock()
	close(c.cancel[p.ID])
	c.mu.Unlock()
	c.ok(req.ID, struct{}{})
}

func (c *child) do(req protocol.Request, stop chan struct{}) {
	var arg string
	_ = json.Unmarshal(req.Params, &arg)
	switch req.Method {
	case protocol.MethodPing, "echo":
		c.ok(req.ID, arg)
	case protocol.MethodShutdown:
		c.ok(req.ID, struct{}{})
		os.Exit(0)
	case "long": // until it is cancelled
		<-stop
		c.fail(req.ID, protocol.CodeCancelled)
	case "hang":
	case "fetch": // arg is a list of roles
		c.doFetch(req.ID, strings.Fields(arg))
	case "error":
		c.fail(req.ID, protocol.Code(arg))
	case "env":
		c.ok(req.ID, map[string]any{"env": os.Environ(), "args": os.Args[1:], "dir": workDir()})
	case "grandchild":
		c.ok(req.ID, startGrandchild(arg))
	default:
		c.misbehave(req, arg)
	}
}

func (c *child) misbehave(req protocol.Request, arg string) {
	switch req.Method {
	case "die": // exits with the code arg
		_, _ = os.Stderr.WriteString("about to die\n")
		n, _ := strconv.Atoi(arg)
		os.Exit(n)
	case "die-once": // as long as the file arg is there
		if os.Remove(arg) == nil {
			os.Exit(1)
		}
		c.ok(req.ID, os.Getpid())
	case "abort":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "answer-and-die":
		c.ok(req.ID, arg)
		os.Exit(7)
	case "half-and-die":
		_, _ = fmt.Printf(`{"id":%d,"ok":tr`, req.ID)
		os.Exit(0)
	case "half-reply":
		_, _ = fmt.Printf(`{"id":%d,"ok":tr`, req.ID)
	case "close-out":
		_ = os.Stdout.Close()
	case "print":
		c.say(arg)
	case "raw": // arg is a line with %d for the id
		c.say(fmt.Sprintf(arg, req.ID))
	case "twice":
		c.ok(req.ID, 1)
		c.ok(req.ID, 2)
	case "big": // a reply of arg bytes
		n, _ := strconv.Atoi(arg)
		c.ok(req.ID, strings.Repeat("x", n))
	case "flood":
		c.flood()
		c.ok(req.ID, "flooded")
	case "log":
		_, _ = os.Stderr.WriteString(arg + "\n")
		c.ok(req.ID, struct{}{})
	}
}

func (c *child) doFetch(id int64, roles []string) {
	var got []string
	for i, role := range roles {
		c.say(fmt.Sprintf(`{"id":%d,"event":"fetch","fetch":{"seq":%d,"role":%q,"version":3,"length":9}}`, id, i+1, role))
		c.mu.Lock()
		ch := c.fetched[id]
		c.mu.Unlock()
		f := <-ch
		if f.Error != nil {
			c.fail(id, f.Error.Code)
			return
		}
		got = append(got, string(f.Data))
	}
	c.ok(id, got)
}

// flood writes 64 MiB to standard error: short lines, then one without an end.
func (c *child) flood() {
	line := strings.Repeat("e", 1023) + "\n"
	block := strings.Repeat(line, 1024)
	for range 32 {
		_, _ = os.Stderr.WriteString(block)
	}
	block = strings.Repeat("E", 1<<20)
	for range 32 {
		_, _ = os.Stderr.WriteString(block)
	}
}

// startGrandchild starts a process that holds the named pipe open until it dies.
func startGrandchild(fifo string) int {
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		os.Exit(97)
	}
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{w}
	if cmd.Start() != nil {
		os.Exit(96)
	}
	return cmd.Process.Pid
}

func workDir() string {
	d, _ := os.Getwd()
	return d
}
