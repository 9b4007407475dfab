package otelsetup

import (
	"cmp"
	"fmt"
	"os"
	"strings"
)

// wanted is what the environment asks for.
type wanted struct{ disabled, traces, metrics bool }

// asked reads the environment. An empty variable is one that is not set.
func asked(complain func(error)) wanted {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return wanted{disabled: true}
	}
	signal := func(name string) bool {
		ok, err := exports(name)
		if err != nil {
			complain(err)
		}
		return ok
	}
	return wanted{traces: signal("TRACES"), metrics: signal("METRICS")}
}

// exports says whether a signal is to be exported by OTLP. An error says what of the
// environment is not done.
func exports(signal string) (ok bool, err error) {
	variable := "OTEL_" + signal + "_EXPORTER"
	endpoint := cmp.Or(env("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"), env("OTEL_EXPORTER_OTLP_ENDPOINT"))
	list := env(variable)
	if list == "" {
		ok = endpoint != ""
	}
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "otlp":
			ok = true
		case "", "none":
		case "prometheus": // a command that serves metrics has a flag for that
		default:
			err = fmt.Errorf("%s=%s: only otlp and none are known here", variable, list)
		}
	}
	protocol := cmp.Or(env("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if ok && protocol != "http/protobuf" {
		return false, fmt.Errorf("OTLP by %s is not known here: only http/protobuf", protocol)
	}
	return ok, err
}

func env(name string) string { return strings.TrimSpace(os.Getenv(name)) }
