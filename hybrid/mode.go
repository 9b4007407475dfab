package hybrid

import (
	"strings"

	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Mode says which engines answer.
type Mode string

// The modes. The zero value means: what RAGNOS_TUF_CLIENT says, else auto.
const (
	ModeAuto   Mode = "auto"
	ModeGo     Mode = "go"
	ModePython Mode = "python"
	ModeDual   Mode = "dual"
	ModeOff    Mode = "off"
)

// ParseMode reads a mode as people write it: any case, and "js" for the native
// client, ModeGo. An unknown one is an error with code usage.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(strings.ToLower(strings.TrimSpace(s))); m {
	case ModeAuto, ModeGo, ModePython, ModeDual, ModeOff:
		return m, nil
	case "js":
		return ModeGo, nil
	}
	e := tuferr.New(protocol.CodeUsage, "%q is not a client mode", s)
	e.Hint = "choose auto, go (or js), python, dual or off"
	return "", e
}
