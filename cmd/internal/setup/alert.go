package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"dunlin/jobs"
	"dunlin/notify"
	"dunlin/paylink"
)

// alertQuiet is how long the same cause is not told again.
const alertQuiet = time.Hour

// alerter tells operators of what a person must act on: in the log always, by email or webhook if one is configured. The
// texts carry ids and causes, never a payer's data.
type alerter struct {
	log    *slog.Logger
	target string
	mail   notify.Sender
	client *http.Client

	mu   sync.Mutex
	told map[string]time.Time
}

func (c Config) alerter(log *slog.Logger, mail notify.Sender) jobs.Alerter {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &alerter{log: log, target: string(c.AdminAlert), mail: mail, client: &http.Client{Timeout: 10 * time.Second}, told: map[string]time.Time{}}
}

// Alert tells of a cause, at most once an hour.
func (a *alerter) Alert(ctx context.Context, key, text string) {
	a.mu.Lock()
	last, told := a.told[key]
	quiet := told && time.Since(last) < alertQuiet
	if !quiet {
		a.told[key] = time.Now()
	}
	a.mu.Unlock()
	a.log.Error("operator needed", "cause", key, "text", text, "repeated", quiet)
	if quiet || a.target == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	go func() { // who reports a broken provider must not wait for another one
		defer cancel()
		var err error
		if strings.Contains(a.target, "://") {
			err = a.post(ctx, text)
		} else if a.mail != nil {
			err = a.email(ctx, key, text)
		}
		if err != nil {
			a.log.Error("alert not delivered", "cause", key)
		}
	}()
}

// post speaks the form that Slack, Teams and Mattermost webhooks take.
func (a *alerter) post(ctx context.Context, text string) error {
	body, err := json.Marshal(map[string]string{"text": "Dunlin: " + text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (a *alerter) email(ctx context.Context, key, text string) error {
	now := time.Now()
	_, err := a.mail.Send(ctx, notify.Outgoing{
		Channel: paylink.Email, To: a.target, Subject: "Dunlin: " + key, Text: text + "\n", Language: "en",
		MessageID: "alert." + now.UTC().Format("20060102150405.000") + "@dunlin.invalid", Date: now,
	}, func(context.Context, [32]byte) error { return nil })
	return err
}
