package telemetry

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/ragnos-labs/vault-tuf/internal/targetpath"
	"github.com/ragnos-labs/vault-tuf/internal/tuferr"
	"github.com/ragnos-labs/vault-tuf/protocol"
)

// Operation is something that takes time; it is the name of its span.
type Operation string

// The operations.
const (
	VaultInstall Operation = "ragnos.vault.install"
	VaultOpen    Operation = "ragnos.vault.open"
	VaultList    Operation = "ragnos.vault.list"
	VaultLookup  Operation = "ragnos.vault.lookup"
	VaultResolve Operation = "ragnos.vault.resolve"

	Initialize  Operation = "ragnos.tuf.initialize"
	Refresh     Operation = "ragnos.tuf.refresh"
	Lookup      Operation = "ragnos.tuf.lookup"
	List        Operation = "ragnos.tuf.list"
	Download    Operation = "ragnos.tuf.download"
	Export      Operation = "ragnos.tuf.export"
	Import      Operation = "ragnos.tuf.import"
	Update      Operation = "ragnos.tuf.update"
	Verify      Operation = "ragnos.tuf.verify"
	Commit      Operation = "ragnos.tuf.commit"
	WorkerStart Operation = "ragnos.tuf.worker.start"
)

const (
	tufPrefix   = "ragnos.tuf."
	vaultPrefix = "ragnos.vault."
)

// short returns the operation's attribute in metrics, and whether it is a vault's.
func (o Operation) short() (attribute.KeyValue, bool) {
	if s := string(o); len(s) > len(vaultPrefix) && s[:len(vaultPrefix)] == vaultPrefix {
		return VaultOperation.String(s[len(vaultPrefix):]), true
	}
	return TUFOperation.String(string(o)[len(tufPrefix):]), false
}

// Telemetry is the spans and instruments of one client, or of a vault. Nil is one
// that is off: its methods do nothing. All but Watch are safe for concurrent
// use, and none blocks.
type Telemetry struct {
	tracer trace.Tracer
	meter  metric.Meter
	// base is on everything, done on the durations of what succeeded, by operation.
	base []attribute.KeyValue
	span trace.SpanStartEventOption
	done map[Operation]counted
	hit  []metric.AddOption
	miss []metric.AddOption
	instruments
	watching metric.Registration
	once     sync.Once
}

// counted is a duration's instrument and its attributes.
type counted struct {
	in      metric.Float64Histogram
	options []metric.RecordOption
}

// New returns the telemetry of the repository of that name, "" for none. A nil
// provider stands for one that does nothing; if both are nil, so is the result.
func New(tp trace.TracerProvider, mp metric.MeterProvider, repository string) *Telemetry {
	if tp == nil && mp == nil {
		return nil
	}
	if tp == nil {
		tp = notrace.NewTracerProvider()
	}
	if mp == nil {
		mp = nometric.NewMeterProvider()
	}
	t := &Telemetry{tracer: tp.Tracer(Scope), meter: mp.Meter(Scope), done: map[Operation]counted{}}
	if repository != "" {
		t.base = []attribute.KeyValue{Repository.String(repository)}
	}
	t.span = trace.WithAttributes(t.base...)
	t.instruments = newInstruments(t.meter)
	for _, row := range Spans {
		attr, vault := row.Op.short()
		in := t.tufDuration
		if vault {
			in = t.vaultDuration
		}
		t.done[row.Op] = counted{in, []metric.RecordOption{t.with(attr)}}
	}
	t.hit = []metric.AddOption{t.with(CacheResult.String("hit"))}
	t.miss = []metric.AddOption{t.with(CacheResult.String("miss"))}
	return t
}

// with returns the attributes beside those that are on everything.
func (t *Telemetry) with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attrs, t.base...)...))
}

// Op is an operation under way. The zero value is that of telemetry that is off.
type Op struct {
	t     *Telemetry
	what  Operation
	span  trace.Span
	began time.Time
}

// Begin begins an operation, which End ends. The context is that of what is part
// of it.
func (t *Telemetry) Begin(ctx context.Context, what Operation) (context.Context, Op) {
	if t == nil {
		return ctx, Op{}
	}
	ctx, span := t.tracer.Start(ctx, string(what), t.span)
	return ctx, Op{t, what, span, time.Now()}
}

// On says whether it makes sense to Set anything.
func (o Op) On() bool { return o.span != nil && o.span.IsRecording() }

// Set sets attributes of the span. Ask On first: making them costs.
func (o Op) Set(attrs ...attribute.KeyValue) { o.span.SetAttributes(attrs...) }

// End ends the operation with its error, if it has one.
func (o Op) End(err error) {
	if o.t == nil {
		return
	}
	took := time.Since(o.began).Seconds()
	done := o.t.done[o.what]
	if err == nil {
		done.in.Record(context.Background(), took, done.options...)
	} else {
		attr, _ := o.what.short()
		done.in.Record(context.Background(), took, o.t.with(append(failure(err), attr)...))
	}
	o.close(err)
}

// Judged ends a verification by an engine.
func (o Op) Judged(engine, mode string, err error) {
	if o.t == nil {
		return
	}
	took := time.Since(o.began).Seconds()
	attrs := append(failure(err), Engine.String(engine))
	attr, _ := Verify.short()
	o.t.tufDuration.Record(context.Background(), took, o.t.with(append(attrs[:len(attrs):len(attrs)], attr)...))
	o.t.verifications.Add(context.Background(), 1, o.t.with(append(attrs[:len(attrs):len(attrs)], Mode.String(mode))...))
	o.span.SetAttributes(Engine.String(engine), Mode.String(mode))
	o.close(err)
}

// close ends the span. What an error says may name local paths: only what is from
// a table, and the evidence that is public, goes out.
func (o Op) close(err error) {
	if err != nil && o.span.IsRecording() {
		o.span.SetAttributes(failure(err)...)
		if e := tuferr.As(err); e != nil {
			o.span.SetAttributes(evidence(e)...)
		}
		if class := tuferr.ClassOf(err); class != protocol.ClassNotFound {
			info, _ := tuferr.CodeOf(err).Lookup()
			o.span.SetStatus(codes.Error, info.Meaning)
		}
	}
	o.span.End()
}

// maxTarget is the longest target path that is told, in bytes.
const maxTarget = 1 << 10

// TargetPath returns the attribute of the target that an operation is about. What
// cannot be one is whatever a caller had at hand, such as a path of this machine, and
// is not told.
func TargetPath(name string) attribute.KeyValue {
	switch {
	case targetpath.Check(name) != nil:
		name = "(not a target path)"
	case len(name) > maxTarget:
		name = strings.ToValidUTF8(name[:maxTarget], "") + "…"
	}
	return Target.String(name)
}

// failure returns the attributes of an error, none for nil.
func failure(err error) []attribute.KeyValue {
	if err == nil {
		return nil
	}
	return []attribute.KeyValue{ErrorType.String(string(tuferr.CodeOf(err))), ErrorClass.String(string(tuferr.ClassOf(err)))}
}

func evidence(e *tuferr.Error) []attribute.KeyValue {
	var attrs []attribute.KeyValue
	for key, value := range map[attribute.Key]string{ErrorSpec: e.Spec, Role: e.Role} {
		if value != "" {
			attrs = append(attrs, key.String(value))
		}
	}
	for key, value := range map[attribute.Key]int64{Trusted: e.Trusted, Received: e.Received} {
		if value != 0 {
			attrs = append(attrs, key.Int64(value))
		}
	}
	return attrs
}

// FellBack notes on the operation of ctx that an engine answered in place of the
// one that failed with why.
func (t *Telemetry) FellBack(ctx context.Context, engine string, why error) {
	if t == nil {
		return
	}
	code := ErrorType.String(string(tuferr.CodeOf(why)))
	t.fallbacks.Add(ctx, 1, t.with(Engine.String(engine), code))
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent(FallbackEvent, trace.WithAttributes(append(failure(why), Engine.String(engine))...))
	}
}

// Carry returns ctx with the span of another context as the current one.
func Carry(ctx, of context.Context) context.Context {
	if span := trace.SpanFromContext(of); span.SpanContext().IsValid() {
		return trace.ContextWithSpan(ctx, span)
	}
	return ctx
}

// TraceParent returns the span of ctx as in a traceparent header (W3C Trace
// Context), "" if there is none.
func TraceParent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + (sc.TraceFlags() & trace.FlagsSampled).String()
}
