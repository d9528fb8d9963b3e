// Package client is a small client of Dunlin's HTTP API for Go programs. It imports nothing of Dunlin, so that it can be
// copied; what it does not wrap can be had by [Client.Do].
//
// Every POST carries an Idempotency-Key that is made once and kept over the tries: a call whose answer was lost is asked
// again and done once.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client calls the API at one address under one key. It is safe for concurrent use.
type Client struct {
	// URL is the server's address, as https://pay.example.com; Key is an API key (dk_…).
	URL, Key string
	// HTTP makes the calls; nil = http.DefaultClient.
	HTTP *http.Client
	// Tries is how often a call is made that finds the server away or busy; 0 = 4.
	Tries int
	// Wait is the pause before the second try, doubled after each; 0 = 500 ms. What the server asks for by Retry-After
	// counts more.
	Wait time.Duration
}

// Error is a problem that the server told of (RFC 9457).
type Error struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Batch is the earlier batch of content that was sent before, or the batch that the trouble is with.
	Batch  string `json:"batch"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
		Row      int    `json:"row"`
		Line     int    `json:"line"`
		Field    string `json:"field"`
		Hint     string `json:"hint"`
	} `json:"errors"`
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s: %s", e.Status, e.Title, e.Detail)
	for _, d := range e.Errors {
		where := d.Location
		if d.Row > 0 {
			where = fmt.Sprintf("row %d %s", d.Row, d.Field)
		}
		text += fmt.Sprintf("; %s: %s", where, d.Message)
	}
	return text
}

// Batch is where a batch stands.
type Batch struct {
	Batch    string           `json:"batch"`
	Name     string           `json:"name"`
	State    string           `json:"state"`
	Why      string           `json:"why"`
	Done     bool             `json:"done"`
	Test     bool             `json:"test"`
	Rows     int64            `json:"rows"`
	Counts   map[string]int64 `json:"counts"`
	Payments map[string]int64 `json:"payments"`
}

// Draft is a batch that waits to be confirmed.
type Draft struct {
	Batch    string          `json:"batch"`
	State    string          `json:"state"`
	Rejected int64           `json:"rejected"`
	Plan     json.RawMessage `json:"plan"`
}

// Request is one request, as far as lists tell.
type Request struct {
	ID        string `json:"id"`
	Reference string `json:"reference"`
	Dispatch  string `json:"dispatch_state"`
	Payment   string `json:"payment_state"`
	Cause     string `json:"cause"`
	Amount    string `json:"amount"`
	Paid      string `json:"paid"`
	Left      string `json:"left"`
	Currency  string `json:"currency"`
	Link      string `json:"link"`
}

// Event is one change of state.
type Event struct {
	ID       int64     `json:"id"`
	At       time.Time `json:"at"`
	Batch    string    `json:"batch"`
	Request  string    `json:"request"`
	Entity   string    `json:"entity"`
	EntityID int64     `json:"entity_id"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	FirstRow int       `json:"first_row"`
	LastRow  int       `json:"last_row"`
}

// CreateBatch brings a file in as a draft. options are the API's query parameters, such as name or strict.
func (c *Client) CreateBatch(ctx context.Context, contentType string, file io.ReadSeeker, options url.Values) (d Draft, err error) {
	return d, c.Do(ctx, http.MethodPost, "/api/v1/batches", options, contentType, file, &d)
}

// CreateRows brings rows in as a draft; each is a map or struct of the columns of a payer file.
func (c *Client) CreateRows(ctx context.Context, rows any, options url.Values) (Draft, error) {
	b, err := json.Marshal(rows)
	if err != nil {
		return Draft{}, fmt.Errorf("write the rows: %w", err)
	}
	return c.CreateBatch(ctx, "application/json", bytes.NewReader(b), options)
}

// Batch tells where a batch stands.
func (c *Client) Batch(ctx context.Context, id string) (b Batch, err error) {
	return b, c.Do(ctx, http.MethodGet, "/api/v1/batches/"+url.PathEscape(id), nil, "", nil, &b)
}

// Act confirms, pauses, resumes or cancels a batch.
func (c *Client) Act(ctx context.Context, id, action, why string) (b Batch, err error) {
	body, err := json.Marshal(map[string]string{"why": why})
	if err != nil {
		return b, err
	}
	return b, c.Do(ctx, http.MethodPost, "/api/v1/batches/"+url.PathEscape(id)+"/"+url.PathEscape(action), nil, "application/json", bytes.NewReader(body), &b)
}

// Requests walks the requests that fit the filter, page by page, until fn errs.
func (c *Client) Requests(ctx context.Context, filter url.Values, fn func(Request) error) error {
	q := url.Values{}
	for k, v := range filter {
		q[k] = v
	}
	for {
		var page struct {
			Requests []Request `json:"requests"`
			Next     string    `json:"next"`
		}
		if err := c.Do(ctx, http.MethodGet, "/api/v1/requests", q, "", nil, &page); err != nil {
			return err
		}
		for _, r := range page.Requests {
			if err := fn(r); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Set("after", page.Next)
	}
}

// Events returns what happened behind an event's id, and the id to ask from next.
func (c *Client) Events(ctx context.Context, after int64) (events []Event, next int64, err error) {
	var page struct {
		Events []Event `json:"events"`
		Next   int64   `json:"next"`
	}
	err = c.Do(ctx, http.MethodGet, "/api/v1/events", url.Values{"after": {strconv.FormatInt(after, 10)}}, "", nil, &page)
	return page.Events, page.Next, err
}

// Do makes a call and reads its JSON answer into out, unless that is nil. A problem is an [*Error].
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, contentType string, body io.ReadSeeker, out any) error {
	key := rand.Text()
	tries, wait := max(c.Tries, 1), c.Wait
	if c.Tries == 0 {
		tries = 4
	}
	if wait == 0 {
		wait = 500 * time.Millisecond
	}
	for try := 1; ; try++ {
		asked, err := c.once(ctx, method, path, query, key, contentType, body, out)
		if err == nil || try == tries || asked < 0 || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(max(asked, wait))
		wait *= 2
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		}
	}
}

// once makes one try. again is how long to wait before the next; negative = there is no sense in one.
func (c *Client) once(ctx context.Context, method, path string, query url.Values, key, contentType string, body io.ReadSeeker, out any) (again time.Duration, err error) {
	address := strings.TrimRight(c.URL, "/") + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return -1, fmt.Errorf("begin the body again: %w", err)
		}
		content = io.NopCloser(body) // the transport must not close what the next try needs
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return -1, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", key)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return c.problem(res)
	}
	if out == nil {
		return 0, nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	return 0, nil
}

func (c *Client) problem(res *http.Response) (time.Duration, error) {
	p := &Error{Status: res.StatusCode, Title: http.StatusText(res.StatusCode)}
	_ = json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(p) // a proxy's error is no problem document
	p.Status = res.StatusCode
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	switch {
	case err == nil:
		return time.Duration(seconds) * time.Second, p
	case res.StatusCode >= 500:
		return 0, p
	}
	return -1, p
}
