package setup_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"dunlin/cmd/internal/setup"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/sandbox"
)

// TestServerTakesTwiliosCallbacks posts what Twilio would, as it would reach the server behind a proxy.
func TestServerTakesTwiliosCallbacks(t *testing.T) {
	const public, payer = "https://pay.example.test", "+96550001234"
	redis := miniredis.RunT(t)
	env := map[string]string{
		"DUNLIN_DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "dunlin.db"), "DUNLIN_REDIS_URL": "redis://" + redis.Addr(),
		"DUNLIN_PUBLIC_URL": public + "/", "DUNLIN_MERCHANT_NAME": "School", "DUNLIN_OTTU_URL": "http://127.0.0.1:1", "DUNLIN_OTTU_API_KEY": "key",
		"DUNLIN_OTTU_PG_CODES": "knet", "TWILIO_ACCOUNT_SID": "AC01", "TWILIO_AUTH_TOKEN": "NEW", "TWILIO_AUTH_TOKEN_OLD": "OLD",
	}
	server := func() *setup.Server {
		t.Helper()
		c, err := setup.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		rdb, err := c.OpenRedis(setup.RedisForEnqueuing)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rdb.Close() })
		s, err := c.NewServer(t.Context(), setup.WorkerOptions{Redis: rdb})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := server()
	post := func(s *setup.Server, token, path string, form url.Values) int {
		r := httptest.NewRequest(http.MethodPost, "http://10.1.2.3:8080"+path, strings.NewReader(form.Encode()))
		r.Header.Set("X-Twilio-Signature", sandbox.SignCallback(token, public+path, form))
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		return w.Code
	}
	stop := url.Values{"MessageSid": {"SM1"}, "From": {payer}, "Body": {"Stop"}}
	status := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}}
	for _, tt := range []struct {
		token, path string
		form        url.Values
		want        int
	}{
		{"OTHER", "/hooks/twilio/inbound", stop, 403},
		{"NEW", "/hooks/twilio/inbound", stop, 200},
		{"OLD", "/hooks/twilio/inbound", stop, 200},
		{"OTHER", "/hooks/twilio/status?a=1.X", status, 403},
		{"OLD", "/hooks/twilio/status?a=1.X", status, 204},
	} {
		if got := post(s, tt.token, tt.path, tt.form); got != tt.want {
			t.Errorf("%s by %s: got %d, want %d", tt.path, tt.token, got, tt.want)
		}
	}
	db := ledgertest.Open(t, env["DUNLIN_DATABASE_URL"], nil)
	list, err := db.Suppressions(t.Context(), 10)
	if err != nil || len(list) != 1 || list[0].Key() != paylink.AddressHash(paylink.SMS, payer) {
		t.Errorf("got suppressions %+v, %v", list, err)
	}
	delete(env, "TWILIO_AUTH_TOKEN")
	delete(env, "TWILIO_AUTH_TOKEN_OLD")
	delete(env, "TWILIO_ACCOUNT_SID")
	env["DUNLIN_DATABASE_URL"] = "sqlite:" + filepath.Join(t.TempDir(), "other.db")
	if got := post(server(), "", "/hooks/twilio/status", status); got != 404 {
		t.Errorf("without an account: got %d, want 404", got)
	}
}
