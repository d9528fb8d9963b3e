package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// listMessages answers the list: newest first, filtered by To, From and DateSent (also DateSent> and DateSent<), in
// pages whose next_page_uri is relative to the host. There are no other filters, as at Twilio.
func (s *Sandbox) listMessages(q url.Values, f *fired) reply {
	size, ok := number(q, "PageSize", 50, 1, 1000)
	page, ok2 := number(q, "Page", 0, 0, 1<<30)
	keep, ok3 := sentFilter(q)
	if !ok || !ok2 || !ok3 {
		return twilioError(http.StatusBadRequest, 20001, "Invalid PageSize, Page or DateSent")
	}
	hideAfter := time.Time{}
	if f.is(ListLag) {
		hideAfter = s.cfg.Now().Add(-f.Delay)
	}

	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	from := s.store.messages
	if to := q.Get("To"); to != "" {
		from = s.store.byTo[to]
	}
	// PageToken pins where the first page began, so that messages that arrive meanwhile do not shift the later ones.
	last, _ := number(q, "PageToken", len(from), 0, len(from))
	found := []json.RawMessage{}
	more := false
	skip := page * size
	for _, m := range slices.Backward(from[:last]) {
		if sender := q.Get("From"); sender != "" && m.From != sender || !keep(m.Sent) || !hideAfter.IsZero() && m.Created.After(hideAfter) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(found) == size {
			more = true
			break
		}
		found = append(found, s.resource(m.Message))
	}

	uri := func(page int) string {
		p := url.Values{}
		for k, v := range q {
			p[k] = v
		}
		p.Set("PageSize", strconv.Itoa(size))
		p.Set("Page", strconv.Itoa(page))
		p.Set("PageToken", strconv.Itoa(last))
		return s.accountPath() + "/Messages.json?" + p.Encode()
	}
	out := map[string]any{
		"messages": found, "page": page, "page_size": size, "start": page * size, "end": page*size + max(len(found)-1, 0),
		"uri": uri(page), "first_page_uri": uri(0), "next_page_uri": nil, "previous_page_uri": nil,
	}
	if more {
		out["next_page_uri"] = uri(page + 1)
	}
	if page > 0 {
		out["previous_page_uri"] = uri(page - 1)
	}
	return jsonReply(http.StatusOK, out)
}

func number(q url.Values, name string, def, least, most int) (int, bool) {
	v := q.Get(name)
	if v == "" {
		return def, true
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return def, false
	}
	return n, true
}

// sentFilter makes a filter of the DateSent parameters. A message that was not sent yet has no such date and passes none.
func sentFilter(q url.Values) (keep func(time.Time) bool, ok bool) {
	var tests []func(time.Time) bool
	for name, values := range q {
		op, isDate := strings.CutPrefix(name, "DateSent")
		if !isDate || len(values) == 0 {
			continue
		}
		day, err := time.Parse(time.DateOnly, values[0])
		exact := err != nil
		if exact {
			if day, err = time.Parse(time.RFC3339, values[0]); err != nil {
				return nil, false
			}
		}
		switch op {
		case ">":
			tests = append(tests, func(t time.Time) bool { return !t.Before(day) })
		case "<":
			tests = append(tests, func(t time.Time) bool { return !t.After(day) })
		case "":
			tests = append(tests, func(t time.Time) bool { return t.UTC().Format(time.DateOnly) == day.UTC().Format(time.DateOnly) })
		}
	}
	return func(t time.Time) bool {
		for _, test := range tests {
			if t.IsZero() || !test(t) {
				return false
			}
		}
		return true
	}, true
}
