package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ragnos-labs/vault-tuf/hybrid"
	"github.com/ragnos-labs/vault-tuf/protocol"
	"github.com/ragnos-labs/vault-tuf/vault"
)

func TestHealthCode(t *testing.T) {
	roles := func(left int64, names ...string) (all []vault.RoleStatus) {
		for _, name := range names {
			all = append(all, vault.RoleStatus{RoleStatus: hybrid.RoleStatus{Name: name}, SecondsLeft: left})
		}
		return all
	}
	failed := &hybrid.Status{LastErrorCode: protocol.CodeUnreachable}
	for name, c := range map[string]struct {
		health       vault.Health
		mode         hybrid.Mode
		repo         vault.RepositoryStatus
		code, warned protocol.Code
	}{
		"ok":         {health: vault.HealthOK},
		"degraded":   {health: vault.HealthDegraded, warned: protocol.CodeStale},
		"off":        {vault.HealthDown, hybrid.ModeOff, vault.RepositoryStatus{Health: vault.HealthDown}, protocol.CodeDisabled, protocol.CodeDisabled},
		"store":      {vault.HealthDown, "", vault.RepositoryStatus{Health: vault.HealthDown}, protocol.CodeLocalIO, protocol.CodeLocalIO},
		"no root":    {vault.HealthDown, "", vault.RepositoryStatus{Health: vault.HealthDown, Client: failed}, protocol.CodeNoRoot, protocol.CodeNoRoot},
		"expired":    {vault.HealthDown, "", vault.RepositoryStatus{Health: vault.HealthDown, Client: failed, Roles: roles(-1, "root", "timestamp")}, protocol.CodeExpired, protocol.CodeExpired},
		"a delegate": {vault.HealthDown, "", vault.RepositoryStatus{Health: vault.HealthDown, Client: failed, Roles: append(roles(9, "root"), roles(-1, "acme")...)}, protocol.CodeUnreachable, protocol.CodeUnreachable},
		"no reason":  {vault.HealthDown, "", vault.RepositoryStatus{Health: vault.HealthOK}, protocol.CodeStale, protocol.CodeStale},
	} {
		st := &vault.Status{Health: c.health, Mode: c.mode, Repositories: []vault.RepositoryStatus{c.repo}}
		require.Equal(t, c.code, healthCode(st, false), name)
		require.Equal(t, c.warned, healthCode(st, true), name)
	}
}
