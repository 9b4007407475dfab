package admission

// Limits bound what a metadata file may cost before anything in it is believed.
// The zero value of a field means its default.
type Limits struct {
	// Root, Timestamp, Snapshot and Targets are the most bytes of a file whose
	// length no signed metadata gives (W, X, Y and Z of the specification).
	Root, Timestamp, Snapshot, Targets int64
	// Depth is how deep JSON values may nest inside the signed part.
	Depth int
	// Signatures, Keys and Roles are the most entries of one file.
	Signatures, Keys, Roles int
}

// The default limits.
const (
	DefaultRootBytes      = 512 << 10
	DefaultTimestampBytes = 16 << 10
	DefaultSnapshotBytes  = 4 << 20
	DefaultTargetsBytes   = 48 << 20
	DefaultDepth          = 2048
	DefaultSignatures     = 1024
	DefaultKeys           = 8192
	DefaultRoles          = 65536

	maxRoleName = 1024
)

// DefaultLimits returns the limits that apply when nothing else is asked for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	setDefault(&l.Root, DefaultRootBytes)
	setDefault(&l.Timestamp, DefaultTimestampBytes)
	setDefault(&l.Snapshot, DefaultSnapshotBytes)
	setDefault(&l.Targets, DefaultTargetsBytes)
	setDefault(&l.Depth, DefaultDepth)
	setDefault(&l.Signatures, DefaultSignatures)
	setDefault(&l.Keys, DefaultKeys)
	setDefault(&l.Roles, DefaultRoles)
	return l
}

func setDefault[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Bytes returns the most bytes a file of the kind may have.
func (l Limits) Bytes(k Kind) int64 {
	l = l.withDefaults()
	switch k {
	case KindRoot:
		return l.Root
	case KindTimestamp:
		return l.Timestamp
	case KindSnapshot:
		return l.Snapshot
	default:
		return l.Targets
	}
}
