package setup

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// String is the configuration as lines NAME=value, secrets redacted, unset variables left out.
func (c Config) String() string {
	var b strings.Builder
	for name, value := range c.shown() {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	return b.String()
}

// GoString is String, so that %#v shows no more.
func (c Config) GoString() string { return c.String() }

// LogValue is a group of the variables that are set, secrets redacted.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for name, value := range c.shown() {
		attrs = append(attrs, slog.String(name, value))
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON is an object of the variables that are set, as text, secrets redacted.
func (c Config) MarshalJSON() ([]byte, error) {
	object := map[string]string{}
	for name, value := range c.shown() {
		object[name] = value
	}
	return json.Marshal(object)
}

// shown yields what may be shown of each variable that is set.
func (c *Config) shown() func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for _, v := range c.variables() {
			var text string
			switch value := v.field.Interface().(type) {
			case []string:
				text = strings.Join(value, ",")
			case bool:
				text = map[bool]string{true: "on", false: "off"}[value]
			case int:
				if value != 0 {
					text = fmt.Sprint(value)
				}
			default:
				text = fmt.Sprint(value)
			}
			if text != "" && !yield(v.name, text) {
				return
			}
		}
	}
}

// Logger writes to w at the configured level and in the configured format.
func (c Config) Logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
