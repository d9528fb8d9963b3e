package setup

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is "512MiB", or a plain number.
type Size int64

// sizes are the units, from large to small.
func sizes() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

// UnmarshalText reads the text's form.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizes() {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 33) // 8 Gi of the largest unit stay far from overflow
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a size: write 512MiB", text)
	}
	*s = Size(int64(n) * unit)
	return nil
}

// String writes what UnmarshalText reads.
func (s Size) String() string {
	for _, u := range sizes() {
		if n := int64(s); n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
