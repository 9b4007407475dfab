package differential

import (
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// faults are what may happen to an answer. The expectation is for a file that
// is needed: metadata or a target.
var faults = []struct {
	name, why string
	want      Expect
	reply     tuftest.Reply
}{
	{"400", "the file cannot be had", refuse, tuftest.Status(400)},
	{"401", "the file cannot be had", refuse, tuftest.Status(401)},
	{"403", "the file cannot be had", refuse, tuftest.Status(403)},
	{"404", "the file cannot be had", refuse, tuftest.Status(404)},
	{"410", "the file cannot be had", refuse, tuftest.Status(410)},
	{"500", "the file cannot be had", refuse, tuftest.Status(500)},
	{"503", "the file cannot be had", refuse, tuftest.Status(503)},
	{"503 with Retry-After of an hour", "nobody waits for an hour", refuse, tuftest.RetryAfter(503, 3600)},
	{"429 with Retry-After of an hour", "nobody waits for an hour", refuse, tuftest.RetryAfter(429, 3600)},
	{"503 once", "whether to try again is the client's choice", either, tuftest.Then(1, tuftest.Status(503), tuftest.File)},
	{"reset once", "whether to try again is the client's choice", either, tuftest.Then(1, tuftest.Reset, tuftest.File)},
	{"cut once", "whether to try again is the client's choice", either, tuftest.Then(1, tuftest.Truncated, tuftest.File)},
	{"reset", "the file cannot be had", refuse, tuftest.Reset},
	{"cut in the middle", "the file is not complete", refuse, tuftest.Truncated},
	{"half of it", "the file is not complete", refuse, tuftest.Short},
	{"zeros", "these are not the signed bytes", refuse, tuftest.Garbage},
	{"HTML", "a captive portal answers", refuse, tuftest.HTML},
	{"no bytes", "these are not the signed bytes", refuse, tuftest.Body(nil)},
	{"204", "these are not the signed bytes", refuse, tuftest.Status(204)},
	{"304", "nothing was asked conditionally", refuse, func(x *tuftest.Exchange) { x.WriteHeader(304) }},
	{"203 with the file", "whether that is success is open", either, tuftest.FileWithStatus(203)},
	{"206 with the file", "whether that is success is open", either, tuftest.FileWithStatus(206)},
	{"the file with 404", "the file cannot be had", refuse, tuftest.FileWithStatus(404)},
	{"the file with 500", "the file cannot be had", refuse, tuftest.FileWithStatus(500)},
	{"endless", "no more than the limit is read", refuse, tuftest.Endless},
	{"gzip bomb", "no more than the limit is read", refuse, tuftest.GzipBomb(64)},
	{"gzip when asked for", "HTTP allows it", accept, tuftest.GzipIfAsked},
	{"gzip unasked", "whether to decode it is open", either, tuftest.Gzip},
	{"gzip twice", "whether to decode it is open", either, tuftest.DoubleGzip},
	{"one redirect", "HTTP allows it", accept, tuftest.RedirectTimes(1)},
	{"three redirects", "HTTP allows it", accept, tuftest.RedirectTimes(3)},
	{"six redirects", "the bound is the client's", either, tuftest.RedirectTimes(6)},
	{"redirects without end", "the file cannot be had", refuse, tuftest.RedirectTimes(1 << 30)},
	{"redirect to a file of this machine", "only http and https are followed", refuse, tuftest.Redirect("file:///etc/passwd")},
	{"redirect to nowhere", "the file cannot be had", refuse, tuftest.Redirect("http://127.0.0.1:1/x")},
	{"byte by byte", "it arrives", accept, tuftest.Drip(0)},
	{"silence", "nobody waits for ever", refuse, tuftest.Silence},
	{"a byte a second", "nobody waits for ever", either, tuftest.Drip(time.Second)},
}

func transportCases() []Case {
	var cases []Case
	for _, role := range roles[1:] {
		for _, f := range faults {
			cases = append(cases, Case{Group: "transport", Name: role + ": " + f.name, Spec: downloadedIn[role], Why: f.why, Run: func(w *World) {
				w.Accept(plugin)
				w.renew(role)
				w.Server.On(w.MetadataName(role, w.Role(role).Version), f.reply)
				f.want(w, targetOf(role))
				w.Server.Heal()
				w.Accept(targetOf(role))
			}})
		}
	}
	for _, f := range faults {
		cases = append(cases, Case{Group: "transport", Name: "target: " + f.name, Spec: "5.7.3", Why: f.why, Run: func(w *World) {
			w.Server.On(targetFile(w, plugin), f.reply)
			f.want(w, plugin)
			w.Server.Heal()
			w.Accept(plugin)
		}})
	}
	return append(append(cases, nextRootCases()...), oddServerCases()...)
}

// downloadedIn is the step of the workflow that fetches a role's file.
var downloadedIn = map[string]string{"timestamp": "5.4.1", "snapshot": "5.5.1", "targets": "5.6.1", "team": "5.6.7"}

// nextRootCases are faults where the file asked for does not exist.
func nextRootCases() []Case {
	var cases []Case
	for _, f := range []struct {
		name, why string
		want      Expect
		reply     tuftest.Reply
	}{
		{"404", "it is not available: there is none", accept, tuftest.Status(404)},
		{"403", "it is not available: storage services say so", accept, tuftest.Status(403)},
		{"403 with HTML", "it is not available: storage services say so", accept, func(x *tuftest.Exchange) { x.WriteHeader(403); tuftest.HTML(x) }},
		{"500", "whether that is unavailable is open", either, tuftest.Status(500)},
		{"503", "whether that is unavailable is open", either, tuftest.Status(503)},
		{"401", "whether that is unavailable is open", either, tuftest.Status(401)},
		{"410", "whether that is unavailable is open", either, tuftest.Status(410)},
		{"reset", "whether that is unavailable is open", either, tuftest.Reset},
		{"reset once", "whether to try again is the client's choice", either, tuftest.Then(1, tuftest.Reset, tuftest.Status(404))},
		{"silence", "nobody waits for ever", either, tuftest.Silence},
		{"204", "it is not the next root", either, tuftest.Status(204)},
		{"HTML", "it is available and not signed", refuse, tuftest.HTML},
		{"garbage", "it is available and not signed", refuse, tuftest.Body([]byte("garbage"))},
		{"no bytes", "it is available and not signed", refuse, tuftest.Body(nil)},
		{"endless", "no more than the limit is read", refuse, tuftest.Endless},
		{"redirect to nothing", "it is not available: there is none", accept, tuftest.Redirect("/metadata/none")},
	} {
		cases = append(cases, Case{Group: "transport", Name: "next root: " + f.name, Spec: "5.3.3", Why: f.why, Run: func(w *World) {
			w.Server.On("metadata/2.root.json", f.reply)
			f.want(w, plugin)
			w.Server.Heal()
			w.PublishRoot()
			w.Accept(plugin)
		}})
	}
	return cases
}

// oddServerCases change the repository under the client's feet.
func oddServerCases() []Case {
	odd := func(name, spec, why string, run func(w *World)) Case {
		return Case{Group: "transport", Name: name, Spec: spec, Why: why, Run: run}
	}
	var cases []Case
	for _, name := range []string{"metadata/2.root.json", "metadata/timestamp.json"} {
		cases = append(cases, odd("a new version is published just before "+name+" is asked for", "6.2", "a consistent repository never disturbs", func(w *World) {
			w.Server.Before(name, func() { w.renew("targets"); w.renew("team") })
			w.Accept(plugin)
			w.Accept(tool)
		}))
	}
	for _, role := range []string{"snapshot", "targets"} {
		cases = append(cases, odd("a new version is published just before "+role+" is asked for", "6.2", "a consistent repository never disturbs", func(w *World) {
			was := w.published[plugin]
			w.Server.Before(w.MetadataName(role, w.Role(role).Version), func() { w.renew("targets") })
			w.AcceptContent(plugin, was)
			w.Accept(plugin)
		}))
	}
	return append(cases,
		odd("the repository is gone", "5.4.1", "nothing can be had", func(w *World) { w.Server.Close(); w.Refuse(plugin) }),
		odd("every answer is HTML", "5.4.1", "a captive portal answers", func(w *World) {
			w.Server.On("", tuftest.HTML)
			w.Refuse(plugin)
			w.Server.Heal()
			w.Accept(plugin)
		}),
		odd("every answer is 404", "5.4.1", "nothing can be had", func(w *World) {
			w.Accept(plugin)
			w.Server.On("", tuftest.Status(404))
			w.Either(plugin)
			w.Server.Heal()
			w.Accept(plugin)
		}),
		odd("a timestamp of 100 kB, signed", "5.4.1", "the bound is the application's", func(w *World) {
			w.Timestamp.Signed["x-pad"] = padding(100 << 10)
			w.renew("timestamp")
			w.Either(plugin)
		}),
		odd("a snapshot of 3 MB, signed and announced", "5.5.1", "the announced length is the bound", func(w *World) {
			w.Snapshot.Signed["x-pad"] = padding(3 << 20)
			w.renew("snapshot")
			w.Accept(plugin)
		}),
		odd("a snapshot of 9 MB, signed and announced", "5.5.1", "the application may have a bound of its own", func(w *World) {
			w.Snapshot.Signed["x-pad"] = padding(9 << 20)
			w.renew("snapshot")
			w.Either(plugin)
		}),
		odd("a root of 300 kB, signed", "5.3.3", "the bound is the application's", func(w *World) {
			w.Root.Signed["x-pad"] = padding(300 << 10)
			w.PublishRoot()
			w.Either(plugin)
		}))
}

func padding(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[i%16]
	}
	return string(b)
}
