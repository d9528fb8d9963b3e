package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/notify/twilio"
	"dunlin/paylink"
	"dunlin/sandbox"
	"dunlin/web/hooks"
)

const (
	token, oldToken = "TWILIOTOKEN", "TWILIOTOKENBEFORE"
	public          = "https://pay.example.test"
	statusPath      = "/hooks/twilio/status"
	inboundPath     = "/hooks/twilio/inbound"
)

// exchange is the two receivers of Twilio's over a real ledger.
type exchange struct {
	*testing.T
	db                *ledger.DB
	receipts, replies *hooks.Receiver
	woken, alerted    atomic.Int64
}

func openExchange(t *testing.T, address string, wrap func(hooks.MessageLedger) hooks.MessageLedger, change ...func(*hooks.MessageConfig)) *exchange {
	t.Helper()
	x := &exchange{T: t, db: ledgertest.Open(t, address, nil)}
	c := hooks.MessageConfig{Provider: "twilio", Ledger: x.db, LiftSources: twilio.LiftSources(),
		Alert: func(context.Context, string, string) { x.alerted.Add(1) },
		Wake:  func(_ context.Context, wakes ...paylink.Wake) error { x.woken.Add(int64(len(wakes))); return nil }}
	if wrap != nil {
		c.Ledger = wrap(x.db)
	}
	for _, f := range change {
		f(&c)
	}
	signed := func(path string) twilio.Signed {
		return twilio.Signed{URL: public + path, Tokens: []string{token, oldToken}}
	}
	var err error
	if x.receipts, err = hooks.NewReceipts(c, twilio.StatusCallbacks{Signed: signed(statusPath)}); err != nil {
		t.Fatal(err)
	}
	if x.replies, err = hooks.NewReplies(c, twilio.Replies{Signed: signed(inboundPath)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.receipts.Close)
	t.Cleanup(x.replies.Close)
	return x
}

// committed makes n messages that are past the point of no return.
func (x *exchange) committed(n int, routes string) []paylink.MessageClaim {
	x.Helper()
	ctx := x.Context()
	wakes, err := x.db.Feed(ctx, ledgertest.Import(x.T, x.db, n, ledgertest.Routes(routes)), n)
	if err != nil {
		x.Fatal(err)
	}
	out := make([]paylink.MessageClaim, n)
	var wg sync.WaitGroup
	worker := paylink.ClaimOptions{Worker: "w", Lease: time.Hour}
	for i, w := range wakes {
		wg.Go(func() {
			c, err := x.db.ClaimSession(ctx, paylink.RequestID(w.ID), w.Epoch, worker)
			if err == nil {
				var next []paylink.Wake
				next, err = x.db.RecordSession(ctx, c, paylink.CheckoutSession{ProviderID: "prov-" + c.OrderNo, OrderNo: c.OrderNo, URL: "https://pay.example", State: paylink.SessionOpen})
				if err == nil {
					out[i], _, err = x.db.ClaimMessage(ctx, paylink.MessageID(next[0].ID), next[0].Epoch, worker)
				}
			}
			if err == nil {
				err = x.db.CommitMessage(ctx, out[i], paylink.CommitOptions{BytesHash: "b", TemplateHash: "t", Timeout: time.Minute})
			}
			if err != nil {
				x.Error(err)
			}
		})
	}
	wg.Wait()
	if x.Failed() {
		x.FailNow()
	}
	return out
}

func (x *exchange) sent(n int, routes string) []paylink.MessageClaim {
	x.Helper()
	claims := x.committed(n, routes)
	for _, c := range claims {
		if err := x.db.AcceptMessage(x.Context(), c, sid(c), 1); err != nil {
			x.Fatal(err)
		}
	}
	return claims
}

// sid is the provider's name for a message.
func sid(c paylink.MessageClaim) string { return fmt.Sprintf("SM%032x", int64(c.Message.ID)) }

func status(c paylink.MessageClaim, word string) url.Values {
	p := url.Values{"MessageSid": {sid(c)}, "SmsSid": {sid(c)}, "MessageStatus": {word}, "SmsStatus": {word}, "To": {c.Contact.Phone}, "From": {"+15005550006"}}
	if word == "undelivered" || word == "failed" {
		p.Set("ErrorCode", "30005")
	}
	return p
}

func post(h http.Handler, key, target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://10.0.0.9"+strings.TrimPrefix(target, public), strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Twilio-Signature", sandbox.SignCallback(key, target, form))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func (x *exchange) tell(c paylink.MessageClaim, word string) int {
	return post(x.receipts, token, public+statusPath+"?a="+c.Token, status(c, word)).Code
}

func (x *exchange) reply(from, text, sid string) *httptest.ResponseRecorder {
	return post(x.replies, token, public+inboundPath, url.Values{"MessageSid": {sid}, "From": {from}, "To": {"+15005550006"}, "Body": {text}})
}

// stands are a request's messages, in words.
func (x *exchange) stands(id paylink.RequestID) string {
	x.Helper()
	l, err := x.db.Request(x.Context(), id)
	if err != nil {
		x.Fatal(err)
	}
	out := string(l.Request.Dispatch)
	for _, m := range l.Messages {
		out += fmt.Sprintf(", %s %s", m.Channel, m.State)
	}
	return out
}

func TestReceipts(t *testing.T) {
	x := openExchange(t, databases[0].open(t), nil)
	c := x.sent(3, "sms>email")
	address := public + statusPath + "?a=" + c[0].Token
	delivered := status(c[0], "delivered")
	for _, tt := range []struct {
		name, key, target string
		form              url.Values
		want              int
		stands            string
	}{
		{"forged", "anything", address, delivered, 403, "sent, sms accepted"},
		{"signed without a key", "", address, delivered, 403, "sent, sms accepted"},
		{"old key", oldToken, address, status(c[0], "sent"), 204, "sent, sms sent"},
		{"delivered", token, address, delivered, 204, "sent, sms delivered"},
		{"doubled", token, address, delivered, 204, "sent, sms delivered"},
		{"late", token, address, status(c[0], "queued"), 204, "sent, sms delivered"},
		{"failed after all, they say", token, address, status(c[0], "undelivered"), 204, "sent, sms delivered"},
		{"a new word", token, address, status(c[0], "teleported"), 204, "sent, sms delivered"},
		{"the token of another", token, public + statusPath + "?a=" + c[1].Token + "x", delivered, 204, "sent, sms delivered"},
		{"no callback", token, address, url.Values{"x": {"y"}}, 400, "sent, sms delivered"},
		{"too large", token, address, url.Values{"x": {strings.Repeat("y", 65<<10)}}, 413, "sent, sms delivered"},
	} {
		if got := post(x.receipts, tt.key, tt.target, tt.form).Code; got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
		if got := x.stands(c[0].Request.ID); got != tt.stands {
			t.Errorf("%s: it stands at %q, want %q", tt.name, got, tt.stands)
		}
	}
	// Stolen and played again with another attempt's token.
	r := httptest.NewRequest(http.MethodPost, statusPath+"?a="+c[1].Token, strings.NewReader(delivered.Encode()))
	r.Header.Set("X-Twilio-Signature", sandbox.SignCallback(token, address, delivered))
	w := httptest.NewRecorder()
	if x.receipts.ServeHTTP(w, r); w.Code != 403 {
		t.Errorf("played again: got %d", w.Code)
	}
	if got := x.receipts.Stats(); got.Forged != 4 || got.Doubled != 1 || got.Lost != 0 {
		t.Errorf("got %+v", got)
	}
	// What fails for certain wakes the route's next channel, once.
	for range 2 {
		x.tell(c[2], "undelivered")
	}
	if got := x.stands(c[2].Request.ID); got != "in_flight, sms undelivered, email owed" || x.woken.Load() != 1 {
		t.Errorf("it stands at %q, %d woken", got, x.woken.Load())
	}
	suspended := status(c[1], "failed")
	suspended.Set("ErrorCode", "30002")
	for range 2 {
		if got := post(x.receipts, token, public+statusPath+"?a="+c[1].Token, suspended).Code; got != 204 || x.alerted.Load() != 1 {
			t.Errorf("got %d, %d alerts", got, x.alerted.Load())
		}
	}
	flags, err := x.db.Flags(t.Context(), 0, 10)
	if err != nil || len(flags) != 2 { // the unknown word and the unknown token
		t.Errorf("got flags %+v, %v", flags, err)
	}
	ledgertest.Audit(t, x.db)
}

// TestShuffledReceipts: a thousand receipts, doubled, shuffled, among them forged ones, some before the answer to the send.
func TestShuffledReceipts(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			x := openExchange(t, d.open(t), nil)
			n := 140
			if d.name == "postgres" {
				n = 30
			}
			claims := append(x.sent(n, "sms"), x.committed(n/4, "sms")...)
			ends := [][]string{{"queued", "sent", "delivered"}, {"queued", "sent", "delivered", "read"}, {"sent", "undelivered"}, {"failed"}}
			type delivery struct {
				c    paylink.MessageClaim
				word string
				key  string
			}
			var all []delivery
			for i, c := range claims {
				for _, word := range ends[i%len(ends)] {
					all = append(all, delivery{c, word, token}, delivery{c, word, oldToken})
				}
				all = append(all, delivery{c, "read", "forged"})
			}
			rng := rand.New(rand.NewPCG(7, 7))
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			var wg sync.WaitGroup
			work := make(chan delivery)
			for range 8 {
				wg.Go(func() {
					for d := range work {
						want := 204
						if d.key == "forged" {
							want = 403
						}
						if got := post(x.receipts, d.key, public+statusPath+"?a="+d.c.Token, status(d.c, d.word)).Code; got != want {
							t.Errorf("%s: got %d, want %d", d.word, got, want)
						}
					}
				})
			}
			for _, d := range all {
				work <- d
			}
			close(work)
			wg.Wait()
			x.receipts.Close()
			for i, c := range claims {
				want := []string{"sent, sms delivered", "sent, sms read", "failed, sms undelivered", "failed, sms failed"}[i%len(ends)]
				if got := x.stands(c.Request.ID); got != want {
					t.Errorf("message %d stands at %q, want %q", i, got, want)
				}
			}
			left, err := x.db.UnappliedEvents(t.Context(), "twilio", 0, 10)
			if err != nil || len(left) > 0 {
				t.Errorf("%d are not applied, %v", len(left), err)
			}
			ledgertest.Audit(t, x.db)
			t.Logf("%d deliveries", len(all))
		})
	}
}

// flaky is a ledger that fails now and then, and shows what it was given to store.
type flaky struct {
	hooks.MessageLedger
	store, apply atomic.Int64
	kept         []string
}

var errAway = errors.New("the database is away")

func (f *flaky) StoreEvent(ctx context.Context, provider, key string, raw []byte) (paylink.StoredEvent, bool, error) {
	if f.store.Add(-1) >= 0 {
		return paylink.StoredEvent{}, false, errAway
	}
	f.kept = append(f.kept, key+" "+string(raw))
	return f.MessageLedger.StoreEvent(ctx, provider, key, raw)
}

func (f *flaky) ApplyReceipt(ctx context.Context, id paylink.EventID, r paylink.MessageReceipt) (paylink.EventOutcome, []paylink.Wake, error) {
	if f.apply.Add(-1) >= 0 {
		return "", nil, errAway
	}
	return f.MessageLedger.ApplyReceipt(ctx, id, r)
}

func (f *flaky) Suppress(ctx context.Context, s paylink.Suppression) error {
	if f.apply.Add(-1) >= 0 {
		return errAway
	}
	return f.MessageLedger.Suppress(ctx, s)
}

func TestReceiptsOverAnOutage(t *testing.T) {
	var broken flaky
	x := openExchange(t, databases[0].open(t), func(l hooks.MessageLedger) hooks.MessageLedger { broken.MessageLedger = l; return &broken },
		func(c *hooks.MessageConfig) { c.Hold = 400 * time.Millisecond })
	c := x.sent(2, "sms")
	broken.store.Store(1) // held, then stored
	if got := x.tell(c[0], "sent"); got != 204 {
		t.Errorf("got %d after a short outage", got)
	}
	broken.apply.Store(2) // stored, answered, and left to the sweep
	if got := x.tell(c[0], "delivered"); got != 204 {
		t.Errorf("got %d", got)
	}
	x.reply(c[1].Contact.Phone, "STOP", "SM01")
	if got := x.stands(c[0].Request.ID); got != "sent, sms sent" {
		t.Errorf("before the sweep it stands at %q", got)
	}
	for _, h := range []*hooks.Receiver{x.receipts, x.replies} {
		if err := h.Sweep(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := x.stands(c[0].Request.ID); got != "sent, sms delivered" {
		t.Errorf("after the sweep it stands at %q", got)
	}
	if list, err := x.db.Suppressions(t.Context(), 10); err != nil || len(list) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
	for _, kept := range broken.kept {
		if strings.Contains(kept, c[0].Contact.Phone[1:]) || strings.Contains(kept, c[1].Contact.Phone[1:]) {
			t.Errorf("kept %q", kept)
		}
	}
	broken.store.Store(1 << 30)
	if got := x.tell(c[1], "sent"); got != 503 || x.receipts.Stats().Lost != 1 {
		t.Errorf("got %d, %+v", got, x.receipts.Stats())
	}
}

func TestStopAndStart(t *testing.T) {
	x := openExchange(t, databases[0].open(t), nil)
	phone := x.sent(1, "sms")[0].Contact.Phone
	// next is what comes of the next message to the same payer.
	next := func() string {
		b := ledgertest.Import(t, x.db, 1, ledgertest.Routes("sms>whatsapp"))
		wakes, err := x.db.Feed(t.Context(), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		worker := paylink.ClaimOptions{Worker: "w", Lease: time.Hour}
		c, err := x.db.ClaimSession(t.Context(), paylink.RequestID(wakes[0].ID), wakes[0].Epoch, worker)
		if err != nil {
			t.Fatal(err)
		}
		wakes, err = x.db.RecordSession(t.Context(), c, paylink.CheckoutSession{ProviderID: "p" + c.OrderNo, OrderNo: c.OrderNo, URL: "https://pay.example", State: paylink.SessionOpen})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := x.db.ClaimMessage(t.Context(), paylink.MessageID(wakes[0].ID), wakes[0].Epoch, worker); err != nil && !errors.Is(err, paylink.ErrConflict) {
			t.Fatal(err)
		}
		return x.stands(c.Request.ID)
	}
	for i, tt := range []struct{ from, text, want string }{
		{phone, "hello", "in_flight, sms claimed"},
		{phone, "stop", "suppressed, sms suppressed"}, // and is not followed to WhatsApp
		{"whatsapp:" + phone, "START", "suppressed, sms suppressed"},
		{phone, "Start", "in_flight, sms claimed"},
		{"whatsapp:" + phone, "STOP", "in_flight, sms claimed"},
	} {
		w := x.reply(tt.from, tt.text, "SM"+strconv.Itoa(i))
		if w.Code != 200 || !strings.Contains(w.Body.String(), "<Response/>") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/xml") {
			t.Errorf("%s: answered %d %q", tt.text, w.Code, w.Body)
		}
		if got := next(); got != tt.want {
			t.Errorf("after %q from %s: %q, want %q", tt.text, tt.from[:4], got, tt.want)
		}
	}
	// Played again: the first STOP does nothing more.
	if x.reply(phone, "stop", "SM1"); next() != "in_flight, sms claimed" {
		t.Error("an old STOP was applied again")
	}
	if w := post(x.replies, "forged", public+inboundPath, url.Values{"MessageSid": {"SM9"}, "From": {phone}, "Body": {"STOP"}}); w.Code != 403 {
		t.Errorf("forged: got %d", w.Code)
	}
	if got := next(); got != "in_flight, sms claimed" {
		t.Errorf("after a forged STOP: %q", got)
	}
	ledgertest.Audit(t, x.db)
}

func TestNewMessageReceivers(t *testing.T) {
	if _, err := hooks.NewReceipts(hooks.MessageConfig{}, twilio.StatusCallbacks{}); err == nil {
		t.Error("a receiver without a ledger was made")
	}
	if _, err := hooks.NewReplies(hooks.MessageConfig{}, twilio.Replies{}); err == nil {
		t.Error("a receiver without a ledger was made")
	}
}
