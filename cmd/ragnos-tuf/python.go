package main

import (
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	vaulttuf "github.com/ragnos-labs/vault-tuf"
	"github.com/ragnos-labs/vault-tuf/internal/pyenv"
)

func newPython(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "python",
		Short: "Provide python-tuf",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPythonInstall(a))
	return cmd
}

func newPythonInstall(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make a private virtual environment with python-tuf in it",
		Long: `Make a private virtual environment with python-tuf in it, from the requirements
that travel in this program: every package is pinned by its hash. Needs Python
3.10 or newer with venv, and access to a package index. It replaces the one that
is there only when it works. Later runs find it by themselves.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ours := dir == ""
			if ours {
				var err error
				if dir, err = pyenv.VenvDir(); err != nil {
					return err
				}
			}
			return a.installPython(cmd, dir, ours)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "make it in `DIR`; --python then has to name it")
	return cmd
}

func (a *app) installPython(cmd *cobra.Command, dir string, ours bool) error {
	ctx := cmd.Context()
	if err := pyenv.Install(ctx, dir, vaulttuf.Requirements, a.stderr); err != nil {
		return err
	}
	python := interpreterIn(dir)
	v, err := pyenv.Check(ctx, python)
	if err != nil {
		return err
	}
	object := struct {
		done
		Dir      string            `json:"dir"`
		Python   string            `json:"python"`
		Versions map[string]string `json:"versions"`
	}{done{true}, dir, python, map[string]string{
		"python": v.Python, "tuf": v.TUF, "securesystemslib": v.SecureSystemsLib, "cryptography": v.Cryptography}}
	return a.print(object, func(p *page) {
		p.line("python-tuf %s on Python %s is in %s", v.TUF, v.Python, dir)
		if ours {
			p.line("later runs find it by themselves")
		} else {
			p.line("use it with --python %s", python)
		}
	})
}

func interpreterIn(venv string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(venv, "Scripts", "python.exe")
	}
	return filepath.Join(venv, "bin", "python")
}
