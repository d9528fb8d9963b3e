package twilio

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"dunlin/notify"
	"dunlin/paylink"
)

const (
	// pageSize and maxPages bound a look-up: nobody has sent one number this many messages within minutes.
	pageSize = 100
	maxPages = 5
	// clockSlack is how far Twilio's clock may be behind ours.
	clockSlack = 2 * time.Minute
)

// Find looks for a message in the account's list, which can be filtered by recipient only: not by status, body or
// callback, and by date only once a message has left. The list lags by minutes, so that not found proves nothing. An
// error holds a [*paylink.Failure] of kind temporary.
func (c *Client) Find(ctx context.Context, l notify.Lookup) (r notify.Receipt, found bool, err error) {
	to := l.To
	if l.Channel == paylink.WhatsApp {
		to = "whatsapp:" + to
	}
	if !e164(l.To) || l.Mark == "" {
		// An empty mark would be found in every message.
		return notify.Receipt{}, false, &paylink.Failure{Kind: paylink.Temporary, Scope: paylink.ScopeRow, Cause: paylink.CauseInternal, Detail: "a look-up needs a number and a mark"}
	}
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	size, token, number := pageSize, "", ""
	for range maxPages {
		call, service := c.begin(callCtx, nil)
		page, err := service.PageMessage(&api.ListMessageParams{To: &to, PageSize: &size}, token, number)
		if err != nil || call.status != http.StatusOK {
			return notify.Receipt{}, false, because(ctx, onlyRead(call.classify(err)))
		}
		for i := range page.Messages {
			if m := &page.Messages[i]; isIt(m, to, l) {
				if r, ok := receiptOf(m); ok {
					return r, true, nil
				}
			}
		}
		if page.NextPageUri == nil || *page.NextPageUri == "" {
			return notify.Receipt{}, false, nil
		}
		// The next page is asked for by its marks, so that no address out of a response is ever followed.
		next, err := url.Parse(*page.NextPageUri)
		if err != nil {
			return notify.Receipt{}, false, nil
		}
		token, number = next.Query().Get("PageToken"), next.Query().Get("Page")
	}
	return notify.Receipt{}, false, nil
}

func isIt(m *api.ApiV2010Message, to string, l notify.Lookup) bool {
	if m.To == nil || *m.To != to || m.Body == nil || !marked(*m.Body, l.Mark) ||
		m.Direction == nil || !strings.HasPrefix(*m.Direction, "outbound") || m.DateCreated == nil {
		return false
	}
	created, err := time.Parse(time.RFC1123Z, *m.DateCreated)
	// Twilio's dates have whole seconds.
	return err == nil && !created.Before(l.After.Add(-clockSlack).Truncate(time.Second))
}

// Fetch asks what became of an accepted message. The failure is why Twilio gave it up later, nil while it has not. The
// error holds [paylink.ErrNotFound] when the account has no such message, else a [*paylink.Failure] of kind temporary.
func (c *Client) Fetch(ctx context.Context, sid string) (notify.Receipt, *paylink.Failure, error) {
	if !validSID(sid) {
		return notify.Receipt{}, nil, fmt.Errorf("fetch message: malformed SID: %w", paylink.ErrInvalid)
	}
	callCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	call, service := c.begin(callCtx, nil)
	message, err := service.FetchMessage(sid, &api.FetchMessageParams{})
	if call.status == http.StatusNotFound {
		return notify.Receipt{}, nil, fmt.Errorf("fetch message: %w", paylink.ErrNotFound)
	}
	if err != nil || call.status != http.StatusOK {
		return notify.Receipt{}, nil, because(ctx, onlyRead(call.classify(err)))
	}
	receipt, ok := receiptOf(message)
	if !ok {
		return notify.Receipt{}, nil, onlyRead(lost(call.status))
	}
	if end, ok := endOf(message, receipt.State).(*paylink.Failure); ok {
		return receipt, end, nil
	}
	return receipt, nil, nil
}

// marked reports whether body holds mark as a word of its own: the short reference b12.3 is not in "b12.34".
func marked(body, mark string) bool {
	inWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for rest := body; ; {
		i := strings.Index(rest, mark)
		if i < 0 {
			return false
		}
		before, _ := utf8.DecodeLastRuneInString(rest[:i])
		after, _ := utf8.DecodeRuneInString(rest[i+len(mark):])
		if !inWord(before) && !inWord(after) {
			return true
		}
		rest = rest[i+len(mark):]
	}
}
