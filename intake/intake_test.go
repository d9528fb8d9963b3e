package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/templates"
)

var now = time.Date(2027, 1, 10, 12, 0, 0, 0, time.UTC)

func settings(t *testing.T) intake.Settings {
	t.Helper()
	texts, err := templates.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return intake.Settings{Merchant: "Oak School", PublicURL: "https://pay.example.com", Texts: texts, Now: now}
}

func open(t *testing.T) *ledger.DB {
	t.Helper()
	db, err := ledger.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// payers is a file of n rows of which some are wrong and some the same debt again.
func payers(n int) string {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("reference,amount,currency,name,email,phone,channels,language,country,description\n")
	channels := []string{"email", "sms", "email+whatsapp>sms", "whatsapp>sms"}
	for i := range n {
		ref := i
		if rnd.IntN(10) == 0 {
			ref = rnd.IntN(i + 1)
		}
		amount := fmt.Sprintf("%d.250", 1+i%900)
		if rnd.IntN(20) == 0 {
			amount = "0"
		}
		fmt.Fprintf(&b, "R-%d,%s,%s,Payer Number %d,p%d@example.com,+9655%07d,%s,%s,KW,Month %s\n",
			ref, amount, []string{"KWD", "USD"}[i%2], i, i, i, channels[i%4], []string{"ar", "en", "en"}[i%3], strings.Repeat("x", i%60))
	}
	return b.String()
}

// TestPlanIsWhatIsSent: the plan's numbers are those of the ledger's rows, added up by other means; and a check says the
// same as the import that follows.
func TestPlanIsWhatIsSent(t *testing.T) {
	db, set := open(t), settings(t)
	path := file(t, "payers.csv", payers(3500))
	checked, same, err := intake.Check(t.Context(), path, intake.Reading{}, set, db)
	if err != nil || same != nil {
		t.Fatalf("check: got batch %v, %v", same, err)
	}
	b, plan, err := intake.Import(t.Context(), db, set, intake.Order{Path: path, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(checked, plan); diff != "" {
		t.Errorf("check and import differ (-check +import):\n%s", diff)
	}
	if plan.Rejected == 0 || plan.Duplicates == 0 || plan.Rows != 3500 || plan.Good+plan.Rejected != plan.Rows || b.State != paylink.BatchDraft {
		t.Fatalf("got batch %+v and plan %+v", b, plan)
	}
	totals, rows := map[string]int64{}, map[string]int64{}
	messages := map[string]int64{}
	sms := intake.SMS{}
	err = db.Requests(t.Context(), b.ID, ledger.RequestFilter{}, func(l ledger.RequestLine) error {
		r := l.Request
		totals[r.Amount.Currency] += r.Amount.Minor
		rows[r.Amount.Currency]++
		for _, route := range r.Routes {
			for i, ch := range route {
				if i == 0 {
					messages[string(ch)+" "+r.Language]++
				} else {
					messages[string(ch)+" "+r.Language+" else"]++
				}
				if ch != paylink.SMS {
					continue
				}
				link := set.PublicURL + "/p/" + paylink.Token(r.ID, r.Secret)
				text, err := set.Texts.SMS(paylink.PurposeLink, r.Language, templates.NewLinkData(set.Merchant, r, l.Contact, link, r.Language))
				if err != nil {
					return err
				}
				n, unicode := templates.Segments(text)
				if i > 0 {
					sms.FallbackSegments += int64(n)
					continue
				}
				sms.Messages++
				sms.Segments += int64(n)
				sms.Longest = max(sms.Longest, n)
				if unicode {
					sms.Unicode++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, total := range plan.Totals {
		if totals[total.Currency] != total.Minor || rows[total.Currency] != total.Rows {
			t.Errorf("%s: got %d in %d rows, the ledger has %d in %d", total.Currency, total.Minor, total.Rows, totals[total.Currency], rows[total.Currency])
		}
	}
	for _, m := range plan.Messages {
		key := string(m.Channel) + " " + m.Language
		if messages[key] != m.First || messages[key+" else"] != m.Fallback {
			t.Errorf("%s: got %d and %d, the ledger has %d and %d", key, m.First, m.Fallback, messages[key], messages[key+" else"])
		}
	}
	if diff := cmp.Diff(&sms, plan.SMS); diff != "" {
		t.Errorf("SMS differ (-ledger +plan):\n%s", diff)
	}
	kept, err := intake.PlanOf(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan, kept); diff != "" {
		t.Errorf("the ledger keeps another plan (-given +kept):\n%s", diff)
	}
	report, err := db.Verify(t.Context(), b.ID)
	if err != nil || report.Differences != 0 {
		t.Errorf("verify: got %+v, %v", report, err)
	}
}

// killer is a ledger whose program dies when some rows are in.
type killer struct {
	*ledger.DB
	rows int
}

func (k *killer) ImportChunk(ctx context.Context, id paylink.BatchID, rows []ledger.ImportRow, opt ledger.ImportOptions) ([]paylink.Rejection, error) {
	if k.rows < len(rows) {
		if _, err := k.DB.ImportChunk(ctx, id, rows[:k.rows], opt); err != nil {
			return nil, err
		}
		return nil, errors.New("killed")
	}
	k.rows -= len(rows)
	return k.DB.ImportChunk(ctx, id, rows, opt)
}

// TestKilledImportGoesOn: wherever an import dies, the next one ends with the plan of one that lived.
func TestKilledImportGoesOn(t *testing.T) {
	set := settings(t)
	path := file(t, "payers.csv", payers(5000))
	_, want, err := intake.Import(t.Context(), open(t), set, intake.Order{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1, 999, 4000, 4999} {
		db := open(t)
		if _, _, err := intake.Import(t.Context(), &killer{db, at}, set, intake.Order{Path: path}); err == nil {
			t.Fatalf("at %d: the import was not killed", at)
		}
		var resumed bool
		b, got, err := intake.Import(t.Context(), db, set, intake.Order{Path: path, Began: func(_ paylink.Batch, r bool) { resumed = r }})
		if err != nil || !resumed || b.ID != 1 || b.State != paylink.BatchDraft {
			t.Fatalf("at %d: got batch %s %s, resumed %v, %v", at, b.ID, b.State, resumed, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %d: the plan differs:\n%s", at, diff)
		}
	}
}

// TestTwoSendersOfOneFile: both end with the same batch and the same plan.
func TestTwoSendersOfOneFile(t *testing.T) {
	db, set := open(t), settings(t)
	path := file(t, "payers.csv", payers(5000))
	var wg sync.WaitGroup
	plans, errs := make([]intake.Plan, 2), make([]error, 2)
	for i := range plans {
		wg.Go(func() { _, plans[i], errs[i] = intake.Import(t.Context(), db, set, intake.Order{Path: path}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plans[0], plans[1]); diff != "" {
		t.Errorf("the plans differ:\n%s", diff)
	}
	st, err := db.Status(t.Context(), 1)
	if err != nil || st.Counts.Pending != plans[0].Good || st.Counts.Rejected != plans[0].Rejected {
		t.Errorf("got till %+v, %v for plan %+v", st.Counts, err, plans[0])
	}
}

// TestUnreadableFileIsNotSent: rows before the trouble are not used, and the batch is out of the way.
func TestUnreadableFileIsNotSent(t *testing.T) {
	db, set := open(t), settings(t)
	path := file(t, "payers.csv", payers(1500)+"R-x,\"5,KWD,a,a@example.com,,email,en,KW,\n")
	b, _, err := intake.Import(t.Context(), db, set, intake.Order{Path: path})
	if f, ok := intake.AsFileError(err); !ok || f.Line != 1502 {
		t.Fatalf("got %v, want a file error of line 1502", err)
	}
	if b, err = db.Batch(t.Context(), b.ID); err != nil || b.State != paylink.BatchCanceled {
		t.Errorf("got batch %+v, %v, want it canceled", b, err)
	}
}

func TestRecurringRowsAreRejected(t *testing.T) {
	path := file(t, "payers.csv", "amount,currency_code,customer_email,email_notification,rule,start,end_recurring_period\n"+
		"5,KWD,a@example.com,true,monthly,2027-01-01,2027-12-01\n5,KWD,b@example.com,true,,,\n")
	plan, _, err := intake.Check(t.Context(), path, intake.Reading{}, settings(t), nil)
	if err != nil || plan.Good != 1 || plan.Kinds["recurrence"] != 1 {
		t.Errorf("got %+v, %v, want the first row rejected", plan, err)
	}
}

// TestLateKeysOfJSON: keys that come late stand in the batch's header, or the error file would lack their columns.
func TestLateKeysOfJSON(t *testing.T) {
	db := open(t)
	path := file(t, "payers.ndjson", `{"amount":"5","currency":"KWD","email":"a@example.com","channels":"email"}`+"\n"+
		`{"amount":"0","currency":"KWD","email":"b@example.com","channels":"email","room":"7"}`+"\n")
	b, _, err := intake.Import(t.Context(), db, settings(t), intake.Order{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"amount", "currency", "email", "channels", "room"}, b.Header); diff != "" {
		t.Errorf("header differs:\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	const content = "amount,currency,email,phone,channels,language,due_date\n" +
		"5,KWD,a@example.com,+96550000001,email+whatsapp,ar,2027-01-01\n5,KWD,a@example.com,,email,en,2027-03-01\n"
	for _, tt := range []struct {
		name   string
		change func(*intake.Settings)
		want   []string
	}{
		{"all well but a date", func(*intake.Settings) {}, []string{"1 row is due before today."}},
		{"no public address", func(s *intake.Settings) { s.PublicURL = "" }, []string{"DUNLIN_PUBLIC_URL is not set", "the WhatsApp template must have", "1 row is due later than", "before today"}},
		{"no mail", func(s *intake.Settings) {
			s.Missing = func(ch paylink.Channel) error {
				if ch == paylink.Email {
					return errors.New("DUNLIN_SMTP_URL: is required for sending by email\nDUNLIN_MAIL_FROM: is required for sending by email")
				}
				return nil
			}
		}, []string{"before today", "Not configured here: email (DUNLIN_SMTP_URL, DUNLIN_MAIL_FROM)."}},
		{"no Arabic template", func(s *intake.Settings) { s.HasWhatsApp = func(l string) bool { return l == "en" } }, []string{"before today", "has no link:ar"}},
	} {
		set := settings(t)
		tt.change(&set)
		plan, _, err := intake.Check(t.Context(), file(t, "payers.csv", content), intake.Reading{}, set, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Warnings) != len(tt.want) {
			t.Errorf("%s: got %q, want %d warnings", tt.name, plan.Warnings, len(tt.want))
			continue
		}
		for i, w := range tt.want {
			if !strings.Contains(plan.Warnings[i], w) {
				t.Errorf("%s: got %q, want %q", tt.name, plan.Warnings[i], w)
			}
		}
	}
}

func TestFinish(t *testing.T) {
	const second, day = time.Second, 24 * time.Hour
	content := "amount,currency,email,channels\n" + strings.Repeat("5,KWD,a@example.com,email\n", 100)
	for _, tt := range []struct {
		name    string
		limits  map[string][]intake.Limit
		want    time.Duration
		slowest string
	}{
		{"none", nil, 0, "checkout"},
		{"checkout gives four fifths", map[string][]intake.Limit{"checkout": {{10, second}}}, 13 * second, "checkout"},
		{"the slowest wins", map[string][]intake.Limit{"checkout": {{10, second}}, "email": {{5, second}}}, 20 * second, "email"},
		{"a day's limit is waited out", map[string][]intake.Limit{"email": {{10, second}, {40, day}}}, 36*time.Hour + 2*second, "email"},
		{"a day's limit that suffices", map[string][]intake.Limit{"email": {{10, second}, {100, day}}}, 10 * second, "email"},
	} {
		set := settings(t)
		set.Limits = tt.limits
		plan, _, err := intake.Check(t.Context(), file(t, "payers.csv", content), intake.Reading{AllowRepeat: true}, set, nil)
		if err != nil || plan.Good != 100 {
			t.Fatalf("%s: got %+v, %v", tt.name, plan, err)
		}
		if plan.Finish.Duration() != tt.want || plan.Finish.Slowest != tt.slowest {
			t.Errorf("%s: got %s by %s, want %s by %s", tt.name, plan.Finish.Duration(), plan.Finish.Slowest, tt.want, tt.slowest)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", time.Millisecond: "1 s", 59 * time.Second: "59 s", time.Minute: "1 min", 125 * time.Second: "2 min 5 s",
		59*time.Minute + 59*time.Second + 1: "1 h", 90 * time.Minute: "1 h 30 min", 72 * time.Hour: "72 h", 100 * time.Hour: "4 days 4 h",
	} {
		if got := intake.Span(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

// TestReadingRoundTrip: the stored options are the same text for the same reading, or no send could be resumed.
func TestReadingRoundTrip(t *testing.T) {
	rd := intake.Reading{Currency: "KWD", Routes: paylink.Routes{{paylink.WhatsApp, paylink.SMS}}, NumberFormat: paylink.NumberPoint, Canary: 5}
	text, err := rd.Options()
	if err != nil {
		t.Fatal(err)
	}
	var back intake.Reading
	if err := json.Unmarshal([]byte(text), &back); err != nil {
		t.Fatal(err)
	}
	if again, err := back.Options(); err != nil || again != text {
		t.Errorf("got %s, %v, want %s", again, err, text)
	}
}
