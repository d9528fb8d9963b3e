package sandbox

import (
	"encoding/json"
	"strconv"
)

// object writes one JSON object, member by member. Answers are made of known members, and a map through encoding/json
// would cost more than all the rest of a call.
type object struct{ b []byte }

func (o *object) key(name string) {
	if len(o.b) == 0 {
		o.b = append(make([]byte, 0, 1024), '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) str(name, v string) {
	o.key(name)
	o.b = appendString(o.b, v)
}

// strOrNull writes null for "".
func (o *object) strOrNull(name, v string) {
	if v == "" {
		o.raw(name, []byte("null"))
	} else {
		o.str(name, v)
	}
}

func (o *object) num(name string, v int) {
	o.key(name)
	o.b = strconv.AppendInt(o.b, int64(v), 10)
}

// raw writes a value that is JSON already.
func (o *object) raw(name string, v []byte) {
	o.key(name)
	o.b = append(o.b, v...)
}

// end closes the object, which has at least one member, and returns it.
func (o *object) end() json.RawMessage { return append(o.b, '}') }

func appendString(b []byte, v string) []byte {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(v) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, v...)
	return append(b, '"')
}
