package setup

import (
	"encoding"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Load reads the configuration through getenv, usually os.LookupEnv. The error names every mistake, one a line, and
// shows no secret.
//
// environ holds the names of all variables there are, usually os.Environ(): a name that begins with DUNLIN_ and is none
// of ours is reported too, because a misspelt variable would otherwise be a default in silence. Names that begin with
// DUNLIN_TEST_ belong to the tests and are let be.
func Load(getenv func(string) (string, bool), environ ...string) (Config, error) {
	var c Config
	var mistakes []error
	rules := rules()
	for _, v := range c.variables() {
		if err := v.read(getenv, rules[v.name]); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	mistakes = append(mistakes, unknownNames(environ)...)
	if c.MerchantName == "" {
		c.MerchantName = senderName(c.MailFrom)
	}
	// Paths are put behind it.
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return c, errors.Join(mistakes...)
}

// variable is one field of a Config with what its tag says.
type variable struct {
	name  string
	def   string
	field reflect.Value
}

// variables are all of them, in the order of the struct.
func (c *Config) variables() []variable {
	s := reflect.ValueOf(c).Elem()
	all := make([]variable, s.NumField())
	for i := range all {
		tag := s.Type().Field(i).Tag
		all[i] = variable{name: tag.Get("env"), def: tag.Get("default"), field: s.Field(i)}
	}
	return all
}

func (v variable) secret() bool { return v.field.Type() == reflect.TypeFor[Secret]() }

// read sets the field to its default, then to what the environment says; rule may be nil.
func (v variable) read(getenv func(string) (string, bool), rule func(string) error) error {
	if v.def != "" {
		if err := parse(v.field, v.def); err != nil {
			return fmt.Errorf("default: %w", err)
		}
	}
	value, err := v.lookup(getenv)
	if err != nil || value == "" {
		return err
	}
	if rule != nil {
		if err := rule(value); err != nil {
			return err
		}
	}
	return parse(v.field, value)
}

// lookup finds a variable's value, for a secret also in the file that NAME_FILE names; "" is unset.
func (v variable) lookup(getenv func(string) (string, bool)) (string, error) {
	value, _ := getenv(v.name)
	if !v.secret() {
		return strings.TrimSpace(value), nil
	}
	file, _ := getenv(v.name + "_FILE")
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("is set, and %s_FILE as well: keep one of them", v.name)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the file that %s_FILE names: %w", v.name, err)
	}
	// Editors and echo end a file with a newline that is no part of the secret.
	value = strings.TrimRight(string(content), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the file that %s_FILE names is empty", v.name)
	}
	return value, nil
}

// parse reads text into a field of the configuration.
func parse(field reflect.Value, text string) error {
	switch p := field.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *[]string:
		*p = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	case *bool:
		switch strings.ToLower(text) {
		case "on", "true", "1":
			*p = true
		case "off", "false", "0":
			*p = false
		default:
			return fmt.Errorf("%q is neither on nor off", text)
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a whole number from 1", text)
		}
		*p = n
	case **time.Location:
		loc, err := time.LoadLocation(text)
		// "Local" would mean another zone on every machine.
		if err != nil || loc == time.Local {
			return fmt.Errorf("%q is not an IANA time zone such as Asia/Kuwait", text)
		}
		*p = loc
	default:
		panic(fmt.Sprintf("setup: no way to read a %s", field.Type()))
	}
	return nil
}

// unknownNames reports the names in environ that look like ours and are not.
func unknownNames(environ []string) []error {
	var known []string
	for _, v := range new(Config).variables() {
		known = append(known, v.name)
		if v.secret() {
			known = append(known, v.name+"_FILE")
		}
	}
	var mistakes []error
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, "DUNLIN_"), strings.HasPrefix(name, "DUNLIN_TEST_"), slices.Contains(known, name):
		case slices.Contains(known, strings.TrimSuffix(name, "_FILE")):
			mistakes = append(mistakes, fmt.Errorf("%s: only a secret may be given as a file", name))
		default:
			mistakes = append(mistakes, fmt.Errorf("%s: there is no such variable%s", name, suggest(name, known)))
		}
	}
	return mistakes
}

// suggest offers the known name that is at most two typing mistakes away.
func suggest(name string, known []string) string {
	for most := 1; most <= 2; most++ {
		for _, k := range known {
			if distance(name, k) <= most {
				return "; did you mean " + k + "?"
			}
		}
	}
	return ""
}

// distance is the Levenshtein distance of two ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// senderName is who a mail address says it is.
func senderName(from string) string {
	addr, err := mail.ParseAddress(from)
	if err != nil {
		return ""
	}
	if addr.Name != "" {
		return addr.Name
	}
	_, host, _ := strings.Cut(addr.Address, "@")
	return host
}
