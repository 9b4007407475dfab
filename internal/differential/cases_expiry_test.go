package differential

import (
	"fmt"
	"time"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// expiredIn is the step of the workflow that checks a role's expiry.
var expiredIn = map[string]string{"root": "5.3.10", "timestamp": "5.4.4", "snapshot": "5.5.6", "targets": "5.6.5", "team": "5.6.7"}

const dateTime = "2006-01-02T15:04:05Z"

func expiryCases() []Case {
	var cases []Case
	for _, role := range roles {
		add := func(name, spec, why string, run func(w *World)) {
			cases = append(cases, Case{Group: "expiry", Name: role + ": " + name, Spec: spec, Why: why, Run: run})
		}
		at := func(offset time.Duration, want Expect) func(w *World) {
			return func(w *World) {
				w.Accept(targetOf(role))
				w.Role(role).Signed["expires"] = w.Now.Add(offset).Format(dateTime)
				w.renew(role)
				want(w, targetOf(role))
				w.Role(role).Signed["expires"] = tuftest.Expires
				w.renew(role)
				w.Accept(targetOf(role))
			}
		}
		add("long ago", expiredIn[role], "it has expired", at(-time.Hour*24*365, refuse))
		add("a second ago", expiredIn[role], "it has expired", at(-time.Second, refuse))
		add("at the start time", expiredIn[role], "the expiry must be higher", at(0, refuse))
		add("a second from now", expiredIn[role], "it has not expired yet", at(time.Second, accept))
		add("the trusted file has expired, the new one not", expiredIn[role], "the new one replaces it", func(w *World) {
			w.Role(role).Signed["expires"] = w.Now.Add(time.Hour).Format(dateTime)
			w.renew(role)
			w.Accept(targetOf(role))
			w.Now = w.Now.Add(2 * time.Hour)
			w.Refuse(targetOf(role))
			w.Role(role).Signed["expires"] = tuftest.Expires
			w.renew(role)
			w.Accept(targetOf(role))
		})
		if role != "snapshot" && role != "team" { // the same code reads them all
			addDateTimeCases(add, role)
		}
		add("no expires", "4.3", "the field is required", func(w *World) {
			w.Role(role).EditSigned = func(signed tuftest.Map) { delete(signed, "expires") }
			w.renew(role)
			w.Refuse(targetOf(role))
		})
		add("year 9999", "4.2.3", "the format has four digits of year", func(w *World) {
			w.Role(role).Signed["expires"] = "9999-12-31T23:59:59Z"
			w.renew(role)
			w.Accept(targetOf(role))
		})
		add("29 February", "4.2.3", "a day that exists", func(w *World) {
			w.Role(role).Signed["expires"] = "2096-02-29T23:59:59Z"
			w.renew(role)
			w.Accept(targetOf(role))
		})
	}
	return append(cases, expiredCases()...)
}

// addDateTimeCases are about the one format of date-times.
func addDateTimeCases(add adder, role string) {
	for _, value := range []any{
		"2099-12-31T00:00:00+00:00", "2099-12-31T02:00:00+02:00", "2099-12-31T00:00:00.000Z", "2099-12-31T00:00:00.5Z",
		"2099-12-31T00:00:00", "2099-12-31 00:00:00Z", "2099-12-31T00:00Z", "2099-12-31", "2099-12-31t00:00:00z",
		"2099-02-30T00:00:00Z", "2099-12-31T24:00:00Z", "2099-12-31T23:59:60Z", "2099-13-01T00:00:00Z", "12099-12-31T00:00:00Z",
		" 2099-12-31T00:00:00Z", "2099-12-31T00:00:00Z\n", "2099-12-31T00:00:00-00:00", "20991231T000000Z", "never", "",
		nil, 4102444799, true,
	} {
		add(fmt.Sprintf("expires %s", show(value)), "4.2.3", "not a date-time of the one format", func(w *World) {
			w.Accept(targetOf(role))
			w.Role(role).EditSigned = func(signed tuftest.Map) { signed["expires"] = value }
			w.renew(role)
			w.Refuse(targetOf(role))
		})
	}
}

// expiredCases are about files whose expiry matters, or does not.
func expiredCases() []Case {
	return []Case{
		Case{Group: "expiry", Name: "an intermediate root has expired", Spec: "5.3.6", Why: "only the last root's expiry matters", Run: func(w *World) {
			w.Root.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.PublishRoot()
			w.Root.Signed["expires"] = tuftest.Expires
			w.PublishRoot()
			w.Accept(plugin)
		}},
		Case{Group: "expiry", Name: "the shipped root has expired", Spec: "5.2", Why: "it is about to be updated", Run: func(w *World) {
			r := w.Root.Copy()
			r.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.Shipped = r.Bytes()
			w.PublishRoot()
			w.Accept(plugin)
		}},
		Case{Group: "expiry", Name: "the shipped root has expired and there is no newer one", Spec: "5.3.10", Why: "the trusted root has expired", Run: func(w *World) {
			r := w.Root.Copy()
			r.Signed["expires"] = "2020-01-01T00:00:00Z"
			w.Shipped = r.Bytes()
			w.Put("metadata/1.root.json", w.Shipped)
			w.Refuse(plugin)
		}},
		Case{Group: "expiry", Name: "a delegated role that is not needed has expired", Spec: "5.6.7", Why: "nobody asks for it", Run: func(w *World) {
			w.Role("team").Signed["expires"] = "2020-01-01T00:00:00Z"
			w.renew("team")
			w.Accept(plugin)
			w.Refuse(tool)
		}},
		Case{Group: "expiry", Name: "the clock was wrong once, far ahead", Spec: "5", Why: "a client must recover", Run: func(w *World) {
			w.Accept(plugin)
			now := w.Now
			w.Now = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
			w.Refuse(plugin)
			w.Now = now
			w.Accept(plugin)
		}},
	}
}
