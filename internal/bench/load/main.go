// Command load asks a server for one file over and over, over several
// connections, and prints what it got as JSON. It does as little as it can with
// an answer, because it shares the machine with the server: it reads the status
// line, the length and the body, and looks at nothing else.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Result is what is printed.
type Result struct {
	// Requests is the number of answers, Bytes that of all their bodies.
	Requests, Bytes int64
	// Seconds is how long it took.
	Seconds float64
}

func main() {
	target := flag.String("url", "", "`URL` of the file")
	connections := flag.Int("connections", 1, "how many connections ask at a time")
	length := flag.Duration("for", time.Second, "ask for this `duration`")
	unchanged := flag.Bool("unchanged", false, "say that the file is known, so that the answer is 304")
	flag.Parse()
	result, err := run(*target, *connections, *length, *unchanged)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(target string, connections int, length time.Duration, unchanged bool) (*Result, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	request := "GET " + u.EscapedPath() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n"
	status := "200"
	if unchanged {
		known, err := validators(target)
		if err != nil {
			return nil, err
		}
		request, status = request+known, "304"
	}
	var all Result
	var mu sync.Mutex
	var failed []error
	var work sync.WaitGroup
	start := time.Now()
	for range connections {
		work.Go(func() {
			requests, bytes, err := ask(u.Host, request+"\r\n", status, start.Add(length))
			mu.Lock()
			defer mu.Unlock()
			all.Requests, all.Bytes, failed = all.Requests+requests, all.Bytes+bytes, append(failed, err)
		})
	}
	work.Wait()
	all.Seconds = time.Since(start).Seconds()
	return &all, errors.Join(failed...)
}

// validators returns the lines of a request by which the server knows what is
// known of the file.
func validators(target string) (lines string, err error) {
	resp, err := http.Get(target)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if etag := resp.Header.Get("ETag"); etag != "" {
		lines += "If-None-Match: " + etag + "\r\n"
	}
	if modified := resp.Header.Get("Last-Modified"); modified != "" {
		lines += "If-Modified-Since: " + modified + "\r\n"
	}
	return lines, nil
}

// ask asks until the end.
func ask(host, request, status string, end time.Time) (requests, bytes int64, err error) {
	c, err := net.Dial("tcp", host)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 256<<10)
	for time.Now().Before(end) {
		if _, err := io.WriteString(c, request); err != nil {
			return requests, bytes, err
		}
		n, err := answer(in, status)
		if err != nil {
			return requests, bytes, err
		}
		requests, bytes = requests+1, bytes+n
	}
	return requests, bytes, nil
}

// answer reads one answer and returns the length of its body.
func answer(in *bufio.Reader, status string) (length int64, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !strings.HasPrefix(string(line), "HTTP/1.1 "+status) {
		return 0, fmt.Errorf("the answer is %q", line)
	}
	for len(line) > 2 {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if name, value, ok := strings.Cut(string(line), ": "); ok && name == "Content-Length" && status == "200" {
			if length, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return 0, err
			}
		}
	}
	_, err = in.Discard(int(length))
	return length, err
}
