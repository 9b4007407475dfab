package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

const (
	// statusTimeout bounds the question to a health handler.
	statusTimeout = 15 * time.Second
	// maxStatus is the longest answer of a health handler in bytes.
	maxStatus = 8 << 20
	// shownEvents is how many events are shown to people.
	shownEvents = 20
)

// printHealth prints the status of a vault. The exit code is that of how it is.
func (a *app) printHealth(st *vault.Status, warn bool, err error) error {
	if err != nil {
		return err
	}
	code := healthCode(st, warn)
	object := struct {
		done
		*vault.Status
	}{done{code == ""}, st}
	if err := a.print(object, func(p *page) { p.health(st, time.Now()) }); err != nil || code == "" {
		return err
	}
	return found{code.Exit()}
}

// healthCode is the code of a status that is down, or of one that is degraded if
// that is to be warned of; else "".
func healthCode(st *vault.Status, warn bool) protocol.Code {
	switch {
	case st.Health == vault.HealthOK || st.Health == vault.HealthDegraded && !warn:
		return ""
	case st.Health == vault.HealthDegraded:
		return protocol.CodeStale
	case st.Mode == hybrid.ModeOff:
		return protocol.CodeDisabled
	case st.Err != nil:
		return st.Err.Code
	}
	for _, r := range st.Repositories {
		if code := downCode(&r); code != "" {
			return code
		}
	}
	return protocol.CodeStale
}

// downCode is the code of what keeps a repository down, "" if it is not, or if that
// is not known.
func downCode(r *vault.RepositoryStatus) protocol.Code {
	is := func(name string) func(vault.RoleStatus) bool {
		return func(role vault.RoleStatus) bool { return role.Name == name }
	}
	topLevel := []string{"root", "timestamp", "snapshot", "targets"}
	switch {
	case r.Health != vault.HealthDown:
		return ""
	case r.Err != nil:
		return r.Err.Code
	case r.Client == nil:
		return protocol.CodeLocalIO
	case !slices.ContainsFunc(r.Roles, is("root")):
		return protocol.CodeNoRoot
	case slices.ContainsFunc(r.Roles, func(role vault.RoleStatus) bool {
		return role.SecondsLeft <= 0 && slices.Contains(topLevel, role.Name)
	}):
		return protocol.CodeExpired
	}
	return r.Client.LastErrorCode
}

// health is a status for people.
func (p *page) health(st *vault.Status, now time.Time) {
	rows := [][]string{{"status", string(st.Health)}}
	if st.Mode != "" {
		rows = append(rows, []string{"mode", string(st.Mode)})
	}
	p.table(rows)
	for _, reason := range st.Reasons {
		p.line("  %s", reason)
	}
	for i := range st.Repositories {
		r := &st.Repositories[i]
		p.line("")
		p.line("repository %s: %s", r.Name, r.Health)
		p.repository(r, now)
	}
	if len(st.Events) == 0 {
		return
	}
	p.line("")
	rows = [][]string{{"time", "severity", "event", "repository", "target", "message"}}
	for _, e := range st.Events[max(0, len(st.Events)-shownEvents):] {
		rows = append(rows, []string{date(e.Time), string(e.Severity), string(e.Code), e.Repository, e.Target, e.Message})
	}
	p.table(rows)
}

func (p *page) repository(r *vault.RepositoryStatus, now time.Time) {
	if r.Client == nil {
		return
	}
	// What a health handler keeps to itself is empty.
	rows := slices.DeleteFunc(clientRows(r.Client, now), func(row []string) bool { return row[1] == "" })
	if code := r.Client.LastErrorCode; code != "" && r.Client.LastError == "" {
		info, _ := code.Lookup()
		rows = append(rows, []string{"last error", fmt.Sprintf("%s (%s)", code, info.Meaning)})
	}
	for _, m := range r.Client.Mirrors {
		row := fmt.Sprintf("%s: %s", m.MetadataURL, m.State)
		if !m.Until.IsZero() {
			row += " until " + date(m.Until)
		}
		if m.LastError != "" {
			row += ": " + m.LastError
		}
		rows = append(rows, []string{"mirror", row})
	}
	p.table(rows)
	roles := make([]hybrid.RoleStatus, len(r.Roles))
	for i := range r.Roles {
		roles[i] = r.Roles[i].RoleStatus
	}
	if len(roles) > 0 {
		p.roles(roles, now)
	}
}

// askStatus asks the health handler of a running application.
func askStatus(ctx context.Context, address string) (*vault.Status, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		e := tuferr.New(protocol.CodeUsage, "--url is not an http or https URL without a user name")
		e.Hint = "give the URL of the health handler, such as http://127.0.0.1:9000" + vault.HealthPath
		return nil, e
	}
	bounded, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := fetchStatus(bounded, u)
	if err != nil && ctx.Err() != nil {
		return nil, tuferr.Cancelled(ctx)
	}
	return st, err
}

func fetchStatus(ctx context.Context, u *url.URL) (*vault.Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, noStatus(u, protocol.CodeUsage, err)
	}
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer stay.CloseIdleConnections()
	resp, err := stay.Do(req)
	if err != nil {
		return nil, noStatus(u, protocol.CodeUnreachable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		e := noStatus(u, protocol.CodeHTTPStatus, errors.New(resp.Status))
		e.Status = resp.StatusCode
		return nil, e
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus+1))
	if err != nil {
		return nil, noStatus(u, protocol.CodeUnreachable, err)
	}
	st, err := decodeStatus(raw)
	if err != nil {
		return nil, noStatus(u, protocol.CodeNotARepository, err)
	}
	return st, nil
}

func decodeStatus(raw []byte) (*vault.Status, error) {
	st := &vault.Status{}
	if len(raw) > maxStatus {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxStatus)
	}
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, err
	}
	switch st.Health {
	case vault.HealthOK, vault.HealthDegraded, vault.HealthDown:
		return st, nil
	}
	return nil, errors.New("it is no status of a vault")
}

// noStatus is the error where an application gives no status. The query of the URL
// may hold secrets.
func noStatus(u *url.URL, code protocol.Code, err error) *tuferr.Error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	e := tuferr.New(code, "the application gives no status")
	e.Op, e.Err = "status", err
	e.URL = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	e.Hint = "check that the application runs, and where its health handler is"
	return e
}
