package protocol_test

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/ragnos-labs/vault-tuf/protocol"
)

// A whole conversation: the greeting, a request, the questions for two files, of
// which the worker has one already, their answers, and the reply with what was verified until then.
func Example() {
	host, worker := json.NewEncoder(os.Stdout), json.NewEncoder(os.Stdout)
	ok := false

	frames := []struct {
		from  *json.Encoder
		frame any
	}{
		{worker, protocol.Message{Hello: &protocol.Hello{
			Protocol: protocol.Version, PID: 4711,
			Python: "3.11.7", TUF: "7.0.1", SecureSystemsLib: "1.6.0", Cryptography: "50.0.2",
		}}},
		{host, protocol.Request{
			ID: 1, Method: protocol.MethodRefresh,
			Params: json.RawMessage(`{"reference_time":"2030-01-01T00:00:00Z"}`), DeadlineMS: 30000,
		}},
		{worker, protocol.Message{
			ID: 1, Event: protocol.EventFetch,
			Fetch: &protocol.Fetch{Seq: 1, Role: "root", Local: true, Have: "e3b0c4"},
		}},
		{host, protocol.FetchedFrame{Fetched: protocol.Fetched{ID: 1, Seq: 1, Same: true}}},
		{worker, protocol.Message{
			ID: 1, Event: protocol.EventFetch,
			Fetch: &protocol.Fetch{Seq: 2, Role: "root", Version: 2, Length: 512000},
		}},
		{host, protocol.FetchedFrame{Fetched: protocol.Fetched{ID: 1, Seq: 2, Data: []byte("{}")}}},
		{worker, protocol.Message{ID: 1, OK: &ok, Error: &protocol.Error{
			Code: protocol.CodeUnsigned, Class: protocol.CodeUnsigned.Class(),
			Message: "root was signed by 1/2 keys", Role: "root", Detail: json.RawMessage(`{"verified":[]}`),
		}}},
	}
	for _, f := range frames {
		if err := f.from.Encode(f.frame); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// {"hello":{"protocol":2,"pid":4711,"python":"3.11.7","tuf":"7.0.1","securesystemslib":"1.6.0","cryptography":"50.0.2"}}
	// {"id":1,"method":"refresh","params":{"reference_time":"2030-01-01T00:00:00Z"},"deadline_ms":30000}
	// {"id":1,"event":"fetch","fetch":{"seq":1,"role":"root","local":true,"have":"e3b0c4"}}
	// {"fetched":{"id":1,"seq":1,"same":true}}
	// {"id":1,"event":"fetch","fetch":{"seq":2,"role":"root","version":2,"length":512000}}
	// {"fetched":{"id":1,"seq":2,"data":"e30="}}
	// {"id":1,"ok":false,"error":{"code":"unsigned","class":"verdict","message":"root was signed by 1/2 keys","role":"root","detail":{"verified":[]}}}
}
