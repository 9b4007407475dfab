// Command loop-http makes the requests of a refresh that finds nothing new, one
// after another over one connection, and looks at nothing: the floor.
package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/ragnos-labs/vault-tuf/internal/bench/loop"
)

func main() {
	loop.Main(map[string]func(*loop.Job) (loop.Result, error){"refresh": refresh})
}

func refresh(j *loop.Job) (loop.Result, error) {
	etag := ""
	return j.Repeat(func() (err error) {
		if _, err = get(j.URL+"/metadata/2.root.json", "", http.StatusNotFound); err != nil {
			return err
		}
		status := http.StatusOK
		if etag != "" {
			status = http.StatusNotModified
		}
		etag, err = get(j.URL+"/metadata/timestamp.json", etag, status)
		return err
	})
}

// get reads a file to its end, unless it is still the one that etag names.
func get(url, etag string, status int) (string, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("ETag"), err
}
