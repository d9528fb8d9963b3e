package setup

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dunlin/notify"
)

func TestAlertTellsAWebhookOncePerCause(t *testing.T) {
	told := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("alert is not JSON: %v", err)
		}
		told <- body.Text
	}))
	defer hook.Close()
	a := Config{AdminAlert: Secret(hook.URL)}.alerter(nil, nil)
	for range 3 {
		a.Alert(t.Context(), "halted sms", "sms does not accept our account")
	}
	a.Alert(t.Context(), "batch b1", "batch b1 is halted")
	got := []string{<-told, <-told}
	both := strings.Join(got, "\n")
	if !strings.Contains(both, "does not accept our account") || !strings.Contains(both, "b1 is halted") {
		t.Errorf("told %q, want one alert of each cause", got)
	}
	select {
	case more := <-told:
		t.Errorf("told once more: %q", more)
	default:
	}
}

// letters takes mails instead of sending them.
type letters chan notify.Outgoing

func (l letters) Send(ctx context.Context, m notify.Outgoing, commit notify.Commit) (notify.Receipt, error) {
	err := commit(ctx, [32]byte{})
	l <- m
	return notify.Receipt{Ref: "ok"}, err
}

func TestAlertByEmail(t *testing.T) {
	l := make(letters, 1)
	a := Config{AdminAlert: "ops@example.com"}.alerter(slog.New(slog.DiscardHandler), l)
	a.Alert(t.Context(), "breaker email", "email does not answer")
	m := <-l
	if m.To != "ops@example.com" || !strings.Contains(m.Text, "does not answer") || m.Date.IsZero() || m.MessageID == "" {
		t.Errorf("mail to %q with text %q, id %q, date %v", m.To, m.Text, m.MessageID, m.Date)
	}
}
