package queue_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/paylink"
	"dunlin/web/queue"
	"dunlin/web/signin"
)

const password = "correct horse battery"

// world is the dashboard on a socket, over a real ledger and a real Redis with two tasks in it.
type world struct {
	*testing.T
	db     *ledger.DB
	auth   *signin.Auth
	rdb    *redis.Client
	server *httptest.Server
	acts   []string
}

// RecordAct notes what the ledger was given.
func (w *world) RecordAct(ctx context.Context, act, actor, why string) error {
	w.acts = append(w.acts, act+" by "+actor+": "+why)
	return w.db.RecordAct(ctx, act, actor, why)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	w.db, _ = ledgertest.New(t)
	hash, err := signin.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ledger.Roles {
		if err := w.db.AddUser(t.Context(), string(r), r, hash, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if w.auth, err = signin.New(signin.Config{Ledger: w.db, Page: "/signin"}); err != nil {
		t.Fatal(err)
	}
	opt, err := redis.ParseURL(testenv.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	w.rdb = redis.NewClient(opt)
	t.Cleanup(func() { w.rdb.Close() })
	wakes := []paylink.Wake{{Task: paylink.TaskCreate, ID: int64(paylink.NewRequestID(7, 42)), Epoch: 1}, {Task: paylink.TaskSend, ID: 9, Epoch: 1, Channel: paylink.Email}}
	if err := jobs.NewAsynqQueue(w.rdb).Enqueue(t.Context(), wakes...); err != nil {
		t.Fatal(err)
	}
	h, err := queue.New(queue.Config{Redis: jobs.Conn{UniversalClient: w.rdb}, Auth: w.auth, Ledger: w, Page: func(ctx context.Context, task string, payload []byte) string {
		wake, err := jobs.ReadTask(task, payload)
		if err != nil {
			return ""
		}
		id, err := w.db.RequestOf(ctx, wake)
		if err != nil {
			return ""
		}
		return "/console/requests/" + id.String()
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(queue.Path+"/", h)
	mux.HandleFunc("POST /signin", func(rw http.ResponseWriter, r *http.Request) {
		if err := w.auth.SignIn(rw, r, r.PostFormValue("name"), password); err != nil {
			http.Error(rw, err.Error(), http.StatusForbidden)
		}
	})
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

// as is a browser that is signed in under a role; "" = nobody.
func (w *world) as(role string) *http.Client {
	w.Helper()
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if role != "" {
		r, err := c.PostForm(w.server.URL+"/signin", url.Values{"name": {role}})
		if err != nil {
			w.Fatal(err)
		}
		r.Body.Close()
	}
	return c
}

func (w *world) ask(c *http.Client, method, path, origin string) (int, string) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+queue.Path+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	a, err := c.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		w.Fatal(err)
	}
	return a.StatusCode, string(body)
}

func (w *world) paused() bool {
	w.Helper()
	n, err := w.rdb.Exists(w.Context(), "asynq:{checkout}:paused").Result()
	if err != nil {
		w.Fatal(err)
	}
	return n == 1
}

func (w *world) pending() int64 {
	w.Helper()
	n, err := w.rdb.LLen(w.Context(), "asynq:{checkout}:pending").Result()
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// TestRoles: who is not allowed gets 401 or 403, or is led to the sign-in, and does nothing.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		role, method, path string
		want               int
	}{
		{"", "GET", "/", 303},
		{"", "GET", "/api/queues", 303},
		{"", "POST", "/api/queues/checkout:pause", 401},
		{"viewer", "GET", "/", 200},
		{"viewer", "GET", "/api/queues/checkout/pending_tasks", 200},
		{"viewer", "POST", "/api/queues/checkout:pause", 403},
		{"operator", "POST", "/api/queues/checkout:pause", 403},
		{"approver", "POST", "/api/queues/checkout:pause", 403},
		{"admin", "POST", "/api/queues/checkout/pending_tasks:archive_all", 403},
		{"admin", "POST", "/api/queues/checkout/pending_tasks:batch_delete", 403},
		{"admin", "POST", "/api/queues/checkout/pending_tasks/create.b7.42.1:archive", 403},
		{"admin", "POST", "/api/queues/checkout/pending_tasks/create.b7.42.1:run:archive", 403},
		{"admin", "DELETE", "/api/queues/checkout/pending_tasks:delete_all", 403},
		{"admin", "DELETE", "/api/queues/checkout/pending_tasks/create.b7.42.1", 403},
		{"admin", "DELETE", "/api/queues/checkout", 403},
	} {
		if got, body := w.ask(w.as(tt.role), tt.method, tt.path, ""); got != tt.want {
			t.Errorf("%s: %s %s: got %d, want %d: %s", tt.role, tt.method, tt.path, got, tt.want, body)
		}
		if w.paused() || w.pending() != 1 {
			t.Fatalf("%s: %s %s did something", tt.role, tt.method, tt.path)
		}
	}
	admin := w.as("admin")
	if got, _ := w.ask(admin, "POST", "/api/queues/checkout:pause", "https://evil.example"); got != 403 || w.paused() {
		t.Errorf("another site's post: got %d", got)
	}
}

// TestActsAreRecorded pauses and resumes a queue.
func TestActsAreRecorded(t *testing.T) {
	w := newWorld(t)
	admin := w.as("admin")
	if got, body := w.ask(admin, "POST", "/api/queues/checkout:pause", ""); got != 204 || !w.paused() {
		t.Fatalf("pause: got %d, paused %t: %s", got, w.paused(), body)
	}
	if got, _ := w.ask(admin, "POST", "/api/queues/checkout:resume", ""); got != 204 || w.paused() {
		t.Errorf("resume: got %d, paused %t", got, w.paused())
	}
	if got := strings.Join(w.acts, "; "); got != "pause by admin: checkout:pause; resume by admin: checkout:resume" {
		t.Errorf("got record %q", got)
	}
}

// TestTaskPages: a task shows ids and the address of its request's page, and the page its policy.
func TestTaskPages(t *testing.T) {
	w := newWorld(t)
	viewer := w.as("viewer")
	_, tasks := w.ask(viewer, "GET", "/api/queues/checkout/pending_tasks", "")
	if !strings.Contains(tasks, "b7.42") || !strings.Contains(tasks, "/console/requests/b7.42") {
		t.Errorf("got tasks %s", tasks)
	}
	_, tasks = w.ask(viewer, "GET", "/api/queues/email/pending_tasks", "") // of a message that the ledger does not know
	if !strings.Contains(tasks, `m9`) || strings.Contains(tasks, "/console/requests/") {
		t.Errorf("got tasks %s", tasks)
	}
	if _, page := w.ask(viewer, "GET", "/", ""); !strings.Contains(page, `READ_ONLY="true"`) {
		t.Error("a viewer's dashboard has buttons")
	}
	if _, page := w.ask(w.as("admin"), "GET", "/", ""); !strings.Contains(page, `READ_ONLY="false"`) {
		t.Error("an admin's dashboard has no buttons")
	}
}
