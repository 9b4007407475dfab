package differential

import (
	"fmt"

	"github.com/ragnos-labs/vault-tuf/internal/tuftest"
)

// meta returns the description of a file in a tree of snapshot or timestamp.
func meta(signed tuftest.Map, file string) tuftest.Map {
	return signed["meta"].(tuftest.Map)[file].(tuftest.Map)
}

// badVersions are not integers greater than zero.
var badVersions = []any{0, -1, "2", true, nil, tuftest.Verbatim("2.0"), tuftest.Verbatim("2e0"), tuftest.Map{}}

func versionCases() []Case {
	var cases []Case
	add := func(name, spec, why string, run func(w *World)) {
		cases = append(cases, Case{Group: "versions", Name: name, Spec: spec, Why: why, Run: run})
	}
	for _, role := range roles {
		for _, version := range badVersions {
			add(fmt.Sprintf("%s: version %s", role, show(version)), "4.3", "a version is an integer greater than 0", func(w *World) {
				w.Accept(targetOf(role))
				w.Role(role).EditSigned = func(signed tuftest.Map) { signed["version"] = version }
				w.renew(role)
				w.Refuse(targetOf(role))
				w.repair(role)
				w.Accept(targetOf(role))
			})
		}
		add(role+": no version", "4.3", "the field is required", func(w *World) {
			w.Role(role).EditSigned = func(signed tuftest.Map) { delete(signed, "version") }
			w.renew(role)
			w.Refuse(targetOf(role))
		})
		if role != "root" {
			add(role+": version 1 true from the start", "4.3", "true is not an integer", func(w *World) {
				r := w.Role(role)
				r.SetVersion(0)
				r.EditSigned = func(signed tuftest.Map) { signed["version"] = true }
				w.renew(role)
				w.Refuse(targetOf(role))
			})
			add(role+": version 0 from the start", "4.3", "a version is greater than 0", func(w *World) { w.startAt(role, 0) })
			add(role+": version -1 from the start", "4.3", "a version is greater than 0", func(w *World) { w.startAt(role, -1) })
			add(role+": version 2^31", "4.3", "versions have no upper bound", func(w *World) { w.jump(role, 1<<31) })
			add(role+": version 2^53", "4.3", "versions have no upper bound", func(w *World) { w.jump(role, 1<<53) })
		}
	}
	add("timestamp: version 2^80", "4.3", "how large a version may be is open", func(w *World) {
		w.Timestamp.EditSigned = func(signed tuftest.Map) { signed["version"] = tuftest.Verbatim("1208925819614629174706176") }
		w.renew("timestamp")
		w.Either(plugin)
	})
	for _, file := range []struct{ in, of, name string }{
		{"timestamp", "snapshot", "snapshot.json"}, {"snapshot", "targets", "targets.json"}, {"snapshot", "team", "team.json"},
	} {
		for _, version := range badVersions {
			add(fmt.Sprintf("%s in %s: version %s", file.of, file.in, show(version)), "4.4", "a version is an integer greater than 0", func(w *World) {
				w.Role(file.in).EditSigned = func(signed tuftest.Map) { meta(signed, file.name)["version"] = version }
				w.renew(file.in)
				w.Refuse(targetOf(file.of))
			})
		}
	}
	return append(append(cases, rollbackCases()...), snapshotCases()...)
}

// startAt shows a fresh client a role with a low version that is announced so.
func (w *World) startAt(role string, version int) {
	w.Role(role).EditSigned = func(signed tuftest.Map) { signed["version"] = version }
	if role != "timestamp" {
		announce := w.Timestamp
		if role != "snapshot" {
			announce = w.Snapshot
		}
		announce.EditSigned = func(signed tuftest.Map) {
			raw, _ := w.Get(w.MetadataName(role, w.Role(role).Version))
			w.Put(w.MetadataName(role, version), raw)
			meta(signed, role+".json")["version"] = version
		}
	}
	w.renew(role)
	w.Refuse(targetOf(role))
}

// jump lets a role go on from a high version.
func (w *World) jump(role string, version int) {
	w.Role(role).SetVersion(version - 1)
	w.renew(role)
	w.Accept(targetOf(role))
	w.renew(role)
	w.Accept(targetOf(role))
}

func rollbackCases() []Case {
	return []Case{
		{Group: "versions", Name: "timestamp: an older one", Spec: "5.4.3.1", Why: "rollback", Run: func(w *World) {
			old := w.Files()
			w.renew("targets")
			w.Accept(plugin)
			now := w.Files()
			w.SetFiles(old)
			w.Refuse(plugin)
			w.SetFiles(now)
			w.Accept(plugin)
		}},
		{Group: "versions", Name: "timestamp: the same version, other content", Spec: "5.4.3.1", Why: "it is ignored without an error", Run: func(w *World) {
			w.Accept(plugin)
			was := w.published[plugin]
			w.Timestamp.SetVersion(w.Timestamp.Version - 1)
			w.renew("targets")
			w.published[plugin] = was
			w.Accept(plugin)
		}},
		{Group: "versions", Name: "timestamp: the same version, an older snapshot", Spec: "5.4.3.1", Why: "it is ignored without an error", Run: func(w *World) {
			w.renew("targets")
			w.Accept(plugin)
			w.Timestamp.SetVersion(w.Timestamp.Version - 1)
			w.Snapshot.SetVersion(w.Snapshot.Version - 1)
			w.PublishTimestamp()
			w.Accept(plugin)
		}},
		{Group: "versions", Name: "timestamp: a newer one with an older snapshot", Spec: "5.4.3.2", Why: "rollback", Run: func(w *World) {
			w.renew("targets")
			w.Accept(plugin)
			w.Timestamp.EditSigned = func(signed tuftest.Map) {
				raw, _ := w.Get("metadata/2.snapshot.json")
				signed["meta"] = tuftest.Map{"snapshot.json": tuftest.Map{"version": 2, "length": len(raw), "hashes": tuftest.Map{"sha256": tuftest.SHA256(raw)}}}
			}
			w.PublishTimestamp()
			w.Refuse(plugin)
			w.Timestamp.EditSigned = nil
			w.PublishTimestamp()
			w.Accept(plugin)
		}},
		{Group: "versions", Name: "timestamp: the newer one announces an older snapshot while the trusted one has expired", Spec: "5.4.3.2",
			Why: "expired metadata still guards against rollback", Run: func(w *World) {
				w.Timestamp.Signed["expires"] = "2031-05-07T00:00:00Z"
				w.renew("targets")
				w.Accept(plugin)
				w.Now = w.Now.AddDate(0, 1, 0)
				w.Timestamp.Signed["expires"] = tuftest.Expires
				w.Timestamp.EditSigned = func(signed tuftest.Map) { signed["meta"] = tuftest.Map{"snapshot.json": tuftest.Map{"version": 2}} }
				w.PublishTimestamp()
				w.Refuse(plugin)
			}},
		{Group: "versions", Name: "timestamp: an older one while the trusted one has expired", Spec: "5.4.3.1",
			Why: "expired metadata still guards against rollback", Run: func(w *World) {
				old := w.Files()
				w.Timestamp.Signed["expires"] = "2031-05-07T00:00:00Z"
				w.renew("targets")
				w.Accept(plugin)
				w.Now = w.Now.AddDate(0, 1, 0)
				w.SetFiles(old)
				w.Refuse(plugin)
			}},
	}
}

// snapshotCases are about what a snapshot must keep.
func snapshotCases() []Case {
	return []Case{
		mismatched("snapshot", "timestamp", "snapshot.json", "5.5.4"),
		mismatched("targets", "snapshot", "targets.json", "5.6.4"),
		mismatched("team", "snapshot", "team.json", "5.6.7"),
		rolledBack("targets", "5.5.5"),
		rolledBack("team", "5.5.5"),
		vanished("team", tool), vanished("team", plugin), vanished("targets", plugin),
		{Group: "versions", Name: "snapshot: a delegated role never seen before", Spec: "5.5.5", Why: "new names are welcome", Run: func(w *World) {
			w.Accept(tool)
			w.Delegate("targets", tuftest.Delegation{Name: "new", Paths: []string{"new/*"}})
			w.add("new", "new/a")
			w.Publish("targets", "new")
			w.Accept("new/a")
			w.Accept(tool)
		}},
		{Group: "versions", Name: "snapshot: does not list the delegated role", Spec: "4.4", Why: "all delegated roles must be listed", Run: func(w *World) {
			w.Snapshot.EditSigned = func(signed tuftest.Map) { delete(signed["meta"].(tuftest.Map), "team.json") }
			w.renew("snapshot")
			w.Refuse(tool)
			w.Accept(plugin)
		}},
		{Group: "versions", Name: "snapshot: lists roles that do not exist", Spec: "4.4", Why: "nobody asks for them", Run: func(w *World) {
			w.Snapshot.EditSigned = func(signed tuftest.Map) { signed["meta"].(tuftest.Map)["ghost.json"] = tuftest.Map{"version": 7} }
			w.renew("snapshot")
			w.Accept(tool)
		}},
		{Group: "versions", Name: "nothing changed", Spec: "5.4.3.1", Why: "a normal day", Run: func(w *World) { w.Accept(tool); w.Accept(tool); w.Accept(plugin) }},
	}
}

// mismatched announces another version than the file carries.
func mismatched(of, in, file, spec string) Case {
	return Case{Group: "versions", Name: of + ": not the version that " + in + " announces", Spec: spec, Why: "the versions must match", Run: func(w *World) {
		w.Accept(targetOf(of))
		w.NoHashes = true
		w.Role(in).EditSigned = func(signed tuftest.Map) {
			entry := meta(signed, file)
			version := entry["version"].(int)
			entry["version"] = version + 1
			raw, _ := w.Get(w.MetadataName(of, version))
			w.Put(w.MetadataName(of, version+1), raw)
		}
		w.renew(of)
		w.Refuse(targetOf(of))
	}}
}

// rolledBack announces an older version of a targets role in a newer snapshot.
func rolledBack(role, spec string) Case {
	return Case{Group: "versions", Name: "snapshot: an older version of " + role, Spec: spec, Why: "rollback", Run: func(w *World) {
		w.renew(role)
		w.Accept(targetOf(role))
		r := w.Role(role)
		r.SetVersion(r.Version - 1)
		w.Publish()
		w.Refuse(targetOf(role))
		r.SetVersion(r.Version + 1)
		w.Publish()
		w.Accept(targetOf(role))
	}}
}

// vanished leaves a role out that the trusted snapshot lists.
func vanished(role, target string) Case {
	return Case{Group: "versions", Name: fmt.Sprintf("snapshot: no longer lists %s, asked for %s", role, target), Spec: "5.5.5", Why: "listed files must stay listed", Run: func(w *World) {
		w.Accept(target)
		w.Snapshot.EditSigned = func(signed tuftest.Map) { delete(signed["meta"].(tuftest.Map), role+".json") }
		w.Publish()
		w.Refuse(target)
		w.Snapshot.EditSigned = nil
		w.Publish()
		w.Accept(target)
	}}
}
