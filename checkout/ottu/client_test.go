package ottu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/checkout/ottu"
	"dunlin/paylink"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type sent struct {
	Method, Path, Auth, ContentType, Body string
}

// recording answers with body and tells what it was sent.
func recording(t *testing.T, status int, body string) (base string, got *sent) {
	t.Helper()
	got = &sent{}
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*got = sent{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(b)}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}), got
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(got), "", "  "); err != nil {
		t.Fatalf("the request is no JSON: %v", err)
	}
	pretty.WriteByte('\n')
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("request body (-want +got):\n%s", diff)
	}
}

func TestCreateSendsAndReads(t *testing.T) {
	minimal := paylink.CheckoutOrder{OrderNo: "A-abcdefgh2345", Amount: paylink.Money{Minor: 500, Currency: "JPY"}}
	longURL := "https://merchant.example/b/checkout/redirect/start/?session_id=" + sessionID
	for _, test := range []struct {
		name   string
		order  paylink.CheckoutOrder
		answer string
		want   paylink.CheckoutSession
	}{
		{"kwd_arabic", arabicOrder, arabicAnswer, paylink.CheckoutSession{
			ProviderID: sessionID, OrderNo: arabicOrder.OrderNo, URL: "https://merchant.example/b/abc123", State: paylink.SessionOpen,
			RawState: "created", Amount: kwd(12500), ExpiresAt: testNow.Add(49*time.Hour + 5*time.Minute + 8*time.Second),
		}},
		{"jpy_minimal", minimal, `{"session_id":"` + sessionID + `","checkout_url":"` + longURL + `","amount":500,"currency_code":"JPY","state":"created"}`, paylink.CheckoutSession{
			ProviderID: sessionID, OrderNo: minimal.OrderNo, URL: longURL, State: paylink.SessionOpen,
			RawState: "created", Amount: minimal.Amount, ExpiresAt: testNow.Add(24 * time.Hour),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			base, got := recording(t, http.StatusCreated, test.answer)
			s, err := newClient(t, base).Create(t.Context(), test.order)
			if err != nil {
				t.Fatalf("Create: %v", err)
			}
			if diff := cmp.Diff(test.want, s); diff != "" {
				t.Errorf("session (-want +got):\n%s", diff)
			}
			golden(t, "create_"+test.name, got.Body)
			got.Body = ""
			want := sent{"POST", "/b/checkout/v1/pymt-txn/", "Api-Key " + testKey, "application/json", ""}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreateFitsTheFieldsOfOttu(t *testing.T) {
	o := arabicOrder
	o.FirstName, o.Phone, o.Language = strings.Repeat("نو", 40), "+96550001234567890", "ar-KW"
	base, got := recording(t, http.StatusCreated, arabicAnswer)
	if _, err := newClient(t, base).Create(t.Context(), o); err != nil {
		t.Fatalf("Create: %v", err)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		t.Fatal(err)
	}
	if n := len([]rune(body["customer_first_name"].(string))); n != 64 {
		t.Errorf("first name has %d characters, want 64", n)
	}
	if p, there := body["customer_phone"]; there {
		t.Errorf("customer_phone = %v, want none: a shortened number is somebody else's", p)
	}
	if body["language"] != "ar" {
		t.Errorf("language = %v, want ar", body["language"])
	}
}

func TestCreateReadsAnswers(t *testing.T) {
	for _, test := range []struct {
		name, old, new string
		wantURL        string
		wantState      paylink.SessionState
	}{
		{"amount as a number", `"12.500"`, `12.5`, "https://merchant.example/b/abc123", paylink.SessionOpen},
		{"no short link", `"checkout_short_url"`, `"other"`, "https://merchant.example/b/checkout/redirect/start/?session_id=" + sessionID, paylink.SessionOpen},
		{"short link not a web address", `"https://merchant.example/b/abc123"`, `"javascript:alert(1)"`, "https://merchant.example/b/checkout/redirect/start/?session_id=" + sessionID, paylink.SessionOpen},
		{"short link null", `"https://merchant.example/b/abc123"`, `null`, "https://merchant.example/b/checkout/redirect/start/?session_id=" + sessionID, paylink.SessionOpen},
		{"no state", `"state"`, `"other"`, "https://merchant.example/b/abc123", paylink.SessionOpen},
		{"a new word for its state", `"created"`, `"brand_new"`, "https://merchant.example/b/abc123", paylink.SessionOpen},
		{"opened already", `"created"`, `"pending"`, "https://merchant.example/b/abc123", paylink.SessionPending},
		{"no order number", `"order_no"`, `"other"`, "https://merchant.example/b/abc123", paylink.SessionOpen},
	} {
		t.Run(test.name, func(t *testing.T) {
			// 200 too, because the official client takes any 2xx for success.
			base := answering(t, http.StatusOK, nil, strings.Replace(arabicAnswer, test.old, test.new, 1))
			s, err := newClient(t, base).Create(t.Context(), arabicOrder)
			if err != nil {
				t.Fatalf("Create: %v", err)
			}
			if s.URL != test.wantURL || s.State != test.wantState || s.Amount != arabicOrder.Amount || s.OrderNo != arabicOrder.OrderNo {
				t.Errorf("got %s %s %s %s, want %s %s", s.URL, s.State, s.Amount, s.OrderNo, test.wantURL, test.wantState)
			}
		})
	}
}

func TestCreateRefusesWhatCouldNotBeSettled(t *testing.T) {
	for name, spoil := range map[string]func(*paylink.CheckoutOrder){
		"no order number":  func(o *paylink.CheckoutOrder) { o.OrderNo = "" },
		"unknown currency": func(o *paylink.CheckoutOrder) { o.Amount.Currency = "XYZ" },
		"no amount":        func(o *paylink.CheckoutOrder) { o.Amount.Minor = 0 },
		"due date":         func(o *paylink.CheckoutOrder) { o.DueDate = "31/12/2026" },
	} {
		t.Run(name, func(t *testing.T) {
			base := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
			o := arabicOrder
			spoil(&o)
			_, err := newClient(t, base).Create(t.Context(), o)
			want := outcome{paylink.Permanent, paylink.ScopeRow, paylink.CauseInternal, ""}
			if diff := cmp.Diff(want, outcomeOf(t, err)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetrieve(t *testing.T) {
	base, got := recording(t, http.StatusOK, strings.Replace(arabicAnswer, `"created"`, `"Paid"`, 1))
	s, err := newClient(t, base).Retrieve(t.Context(), sessionID)
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	want := paylink.CheckoutSession{ProviderID: sessionID, OrderNo: arabicOrder.OrderNo, URL: "https://merchant.example/b/abc123",
		State: paylink.SessionPaid, RawState: "Paid", Amount: kwd(12500)}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
	wantSent := sent{"GET", "/b/checkout/v1/pymt-txn/" + sessionID + "/", "Api-Key " + testKey, "", ""}
	if diff := cmp.Diff(wantSent, *got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestRetrieveOfAnUnknownSessionIsNotFound(t *testing.T) {
	_, err := newClient(t, answering(t, http.StatusNotFound, nil, `{"detail":"Not found."}`)).Retrieve(t.Context(), sessionID)
	if !errors.Is(err, paylink.ErrNotFound) || paylink.AsFailure(err).Kind != paylink.Permanent {
		t.Errorf("err = %v, want a permanent paylink.ErrNotFound", err)
	}
	_, err = newClient(t, answering(t, http.StatusNotFound, nil, `<html>no such host</html>`)).Retrieve(t.Context(), sessionID)
	if errors.Is(err, paylink.ErrNotFound) {
		t.Errorf("err = %v: a page of something else must not pass for Ottu's word", err)
	}
}

func TestUpdate(t *testing.T) {
	amount, due, noDue, empty, long := kwd(9750), "2027-01-15", "", "", strings.Repeat("x", 70)
	phone, language, expires := "+96550009999", "en", 90*time.Minute
	answer := strings.Replace(arabicAnswer, `"12.500"`, `"9.750"`, 1)
	for _, test := range []struct {
		name   string
		change paylink.SessionChange
		answer string
		want   string
	}{
		{"amount", paylink.SessionChange{Amount: &amount}, answer, `{"amount":"9.750","currency_code":"KWD"}`},
		{"contact", paylink.SessionChange{Email: &empty, Phone: &phone, LastName: &long}, arabicAnswer,
			`{"customer_email":"","customer_last_name":"` + long[:64] + `","customer_phone":"+96550009999"}`},
		{"rest", paylink.SessionChange{DueDate: &due, Language: &language, ExpiresIn: &expires}, arabicAnswer,
			`{"due_datetime":"15/01/2027 12:00","expiration_time":"00 01:30:00","language":"en"}`},
		{"no due date", paylink.SessionChange{DueDate: &noDue}, arabicAnswer, `{"due_datetime":null}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			base, got := recording(t, http.StatusOK, test.answer)
			s, err := newClient(t, base).Update(t.Context(), sessionID, test.change)
			if err != nil {
				t.Fatalf("Update: %v", err)
			}
			want := sent{"PATCH", "/b/checkout/v1/pymt-txn/" + sessionID + "/", "Api-Key " + testKey, "application/json", test.want}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if !s.ExpiresAt.IsZero() || s.ProviderID != sessionID {
				t.Errorf("session = %+v", s)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		ref  ottu.Ref
		end  func(*ottu.Client, ottu.Ref) error
		want string
	}{
		{"expire by order", ottu.Ref{OrderNo: "A-1"}, func(c *ottu.Client, r ottu.Ref) error { return c.Expire(t.Context(), r) }, `{"operation":"expire","order_no":"A-1"}`},
		{"cancel by id", ottu.Ref{ProviderID: sessionID, OrderNo: "A-1"}, func(c *ottu.Client, r ottu.Ref) error { return c.Cancel(t.Context(), r) }, `{"operation":"cancel","session_id":"` + sessionID + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			base, got := recording(t, http.StatusOK, `{"detail":"Done.","operation":"expire","result":"success"}`)
			if err := test.end(newClient(t, base), test.ref); err != nil {
				t.Fatalf("end: %v", err)
			}
			want := sent{"POST", "/b/pbl/v2/operation/", "Api-Key " + testKey, "application/json", test.want}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadIDsNeverReachAPath(t *testing.T) {
	base := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	c := newClient(t, base)
	name := "x"
	for _, id := range []string{"", "../../pbl/v2/operation", "a/b", "a b", "a?b=c", "é", strings.Repeat("a", 129)} {
		_, err := c.Retrieve(t.Context(), id)
		if o := outcomeOf(t, err); o.Kind != paylink.Temporary || o.Cause != paylink.CauseInternal {
			t.Errorf("Retrieve(%q): %v", id, err)
		}
		_, err = c.Update(t.Context(), id, paylink.SessionChange{FirstName: &name})
		if o := outcomeOf(t, err); o.Kind != paylink.Temporary || o.Cause != paylink.CauseInternal {
			t.Errorf("Update(%q): %v", id, err)
		}
		if id != "" {
			err = c.Expire(t.Context(), ottu.Ref{ProviderID: id, OrderNo: "A-1"})
			if o := outcomeOf(t, err); o.Kind == paylink.Permanent {
				t.Errorf("Expire(%q): %v", id, err)
			}
		}
	}
	if _, err := c.Update(t.Context(), sessionID, paylink.SessionChange{}); paylink.AsFailure(err).Kind == paylink.Permanent {
		t.Errorf("an empty change must not look like a refusal of Ottu: %v", err)
	}
	if err := c.Expire(t.Context(), ottu.Ref{}); paylink.AsFailure(err).Kind == paylink.Permanent {
		t.Errorf("an empty reference must not look like a refusal of Ottu: %v", err)
	}
}

func TestSessionState(t *testing.T) {
	for word, want := range map[string]paylink.SessionState{
		"created": paylink.SessionOpen, "invalided": paylink.SessionInvalid, "invalid": paylink.SessionInvalid, " Canceled ": paylink.SessionCanceled,
		"cod": paylink.SessionCOD, "refund_queued": paylink.SessionPaid, "voided": paylink.SessionVoided,
	} {
		if got, ok := ottu.SessionState(word); !ok || got != want {
			t.Errorf("SessionState(%q) = %q, %v, want %q", word, got, ok, want)
		}
	}
	for _, word := range []string{"", "open", "paid!", "superseded"} {
		if got, ok := ottu.SessionState(word); ok || got != "" {
			t.Errorf("SessionState(%q) = %q, %v, want nothing", word, got, ok)
		}
	}
}

func TestNewNamesEveryMistake(t *testing.T) {
	_, err := ottu.New(ottu.Config{BaseURL: "http://merchant.example", APIKey: "a\nb", PGCodes: []string{"ok", "not ok"}, Timeout: -1})
	if err == nil {
		t.Fatal("New took a wrong configuration")
	}
	for _, want := range []string{"https", "API key", "payment method", "timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q: %v", want, err)
		}
	}
	for base, ok := range map[string]bool{
		"https://merchant.example": true, "https://merchant.example/": true, "http://127.0.0.1:8080": true, "http://[::1]:1": true, "http://localhost:1": true,
		"": false, "merchant.example": false, "ftp://merchant.example": false, "https://merchant.example/b": false,
		"https://u:p@merchant.example": false, "https://merchant.example?x=1": false, "http://10.0.0.1": false, "http://localhost.example": false,
	} {
		if _, err := ottu.New(ottu.Config{BaseURL: base, APIKey: testKey, PGCodes: []string{"x"}}); (err == nil) != ok {
			t.Errorf("New with %q: %v, want ok = %v", base, err, ok)
		}
	}
}

func TestTheKeyIsNeverPrinted(t *testing.T) {
	cfg := ottu.Config{BaseURL: "https://u:secretpw@merchant.example/?k=secretq", APIKey: testKey, PGCodes: []string{"x"}}
	client := newClient(t, "https://merchant.example")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("start", "config", cfg, "client", client)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "config", cfg, "client", client)
	asJSON, _ := json.Marshal(struct{ C ottu.Config }{cfg})
	for _, out := range []string{log.String(), string(asJSON), fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v", client, *client, *client)} {
		for _, secret := range []string{testKey, "secretpw", "secretq"} {
			if strings.Contains(out, secret) {
				t.Errorf("%q is in %s", secret, out)
			}
		}
	}
}
