// Command fileserver serves a directory with net/http's own FileServer and
// nothing else: what a server in Go cannot do much better than. The first line on
// its stdout says where. It runs until it is killed.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Printf("serving %s at http://%s\n", os.Args[1], l.Addr())
		err = http.Serve(l, http.FileServer(http.Dir(os.Args[1])))
	}
	fmt.Fprintln(os.Stderr, "fileserver:", err)
	os.Exit(1)
}
