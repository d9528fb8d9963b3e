package console_test

import (
	"net/http"
	"strings"
	"testing"

	"dunlin/ledger"
	"dunlin/ledger/ledgertest"
	"dunlin/web/console"
)

// TestRolesAndRoutes asks for every route as nobody and as each role. Who may not have it is led to the sign-in (a page),
// or refused, and nothing is done.
func TestRolesAndRoutes(t *testing.T) {
	w := newWorld(t, nil)
	id := ledgertest.Import(t, w.db, 3, ledgertest.Draft)
	fill := strings.NewReplacer("{batch}", id.String(), "{request}", id.String()+".1", "{action}", "cancel", "{upload}", strings.Repeat("0", 64),
		"{provider}", "fax", "{flag}", "99", "{user}", "nobody", "{hash}/{file}", "000000/style.css", "{$}", "")
	browsers := map[ledger.Role]*browser{"": w.browser()}
	for _, role := range ledger.Roles {
		browsers[role] = w.as(string(role) + "1")
	}
	before := state(w)
	for _, route := range console.Routes(w.console) {
		method, pattern, _ := strings.Cut(route.Pattern, " ")
		path := fill.Replace(pattern)
		for role, b := range browsers {
			if role != "" && role.May(route.Least) && (method == http.MethodPost) {
				continue // what is allowed has tests of its own
			}
			if strings.HasSuffix(path, "/live") && role != "" {
				continue
			}
			a := b.do(b.request(method, path, "", ""))
			name := method + " " + path + " as " + string(role)
			switch {
			case route.Least == "":
				if a.status == http.StatusForbidden {
					t.Errorf("%s: got %d on a page for everybody", name, a.status)
				}
			case role == "" && method == http.MethodGet:
				if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/console/signin?next=") {
					t.Errorf("%s: got %d to %q, want 303 to the sign-in", name, a.status, a.header.Get("Location"))
				}
			case role == "":
				if a.status != http.StatusUnauthorized {
					t.Errorf("%s: got %d, want 401", name, a.status)
				}
			case !role.May(route.Least):
				if a.status != http.StatusForbidden {
					t.Errorf("%s: got %d, want 403", name, a.status)
				}
			default:
				if a.status == http.StatusForbidden || a.status == http.StatusUnauthorized || a.status >= 500 {
					t.Errorf("%s: got %d, want it answered\n%s", name, a.status, words(a.body))
				}
			}
			if route.Least != "" && a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got Cache-Control %q, want no-store", name, a.header.Get("Cache-Control"))
			}
		}
	}
	if after := state(w); after != before {
		t.Errorf("something was done:\n%s\nwant\n%s", after, before)
	}
}

// state is what must not change when nothing is allowed.
func state(w *world) string {
	w.Helper()
	var out strings.Builder
	list, err := w.db.Batches(w.Context(), 100)
	if err != nil {
		w.Fatal(err)
	}
	for _, b := range list {
		s, err := w.db.Status(w.Context(), b.ID)
		if err != nil {
			w.Fatal(err)
		}
		out.WriteString(b.ID.String() + " " + string(b.State) + " ")
		for k, n := range s.Payments {
			if n > 0 {
				out.WriteString(string(k))
			}
		}
	}
	users, err := w.db.Users(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, u := range users {
		out.WriteString(" " + u.Name + " " + string(u.Role))
	}
	return out.String()
}

func TestOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	id := ledgertest.Import(t, w.db, 1)
	b := w.as("operator1")
	for name, set := range map[string]func(http.Header){
		"by fetch metadata": func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") },
		"by origin":         func(h http.Header) { h.Set("Origin", "https://evil.example") },
		"same site":         func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") },
		"opaque origin":     func(h http.Header) { h.Set("Origin", "null") },
	} {
		for _, path := range []string{"/console/batches/" + id.String() + "/do/pause", "/console/signin", "/console/signout"} {
			r := b.request(http.MethodPost, path, "application/x-www-form-urlencoded", "why=x&name=operator1&password="+password)
			set(r.Header)
			if a := b.do(r); a.status != http.StatusForbidden {
				t.Errorf("%s %s: got %d, want 403", name, path, a.status)
			}
		}
	}
	if got := state(w); !strings.Contains(got, "running") {
		t.Errorf("got %s, want the batch running", got)
	}
	b.sees("/console/batches", "Batches") // still signed in
}

func TestForgedCookies(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	for _, value := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 44), "admin1", "' OR 1=1 --", strings.Repeat("A", 4000)} {
		r := b.request(http.MethodGet, "/console/batches", "", "")
		r.Header.Set("Cookie", "dunlin="+value)
		if a := b.do(r); a.status != http.StatusSeeOther {
			t.Errorf("cookie %.10q: got %d, want 303", value, a.status)
		}
	}
}

func TestSecureCookie(t *testing.T) {
	w := newWorld(t, func(c *console.Config) { c.PublicURL = "https://pay.example.com" })
	b := w.browser()
	a := b.post("/console/signin", "name", "viewer1", "password", password)
	got := a.header.Get("Set-Cookie")
	for _, want := range []string{"__Host-dunlin=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(got, want) {
			t.Errorf("got cookie without %s: %s", want, got)
		}
	}
	if strings.Contains(got, "Domain") {
		t.Error("a __Host- cookie has no domain")
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t, nil)
	b := w.as("admin1")
	for _, path := range []string{"/console/batches", "/console/nothing", "/console/signin?next=/console/"} {
		h := b.get(path).header
		policy := h.Get("Content-Security-Policy")
		if path != "/console/signin?next=/console/" && (!strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe")) {
			t.Errorf("%s: got policy %q", path, policy)
		}
		if h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got headers %v", path, h)
		}
	}
	for _, page := range []string{"/console/batches", "/console/upload", "/console/health", "/console/users"} {
		body := b.get(page).body
		for _, inline := range []string{" style=", " onclick=", "<style", "javascript:"} {
			if strings.Contains(body, inline) {
				t.Errorf("%s holds %q, which the policy would stop", page, inline)
			}
		}
		if strings.Count(body, "<script") != 1 || !strings.Contains(body, `<script src="/console/static/`) {
			t.Errorf("%s: want one script, of a file", page)
		}
	}
}
