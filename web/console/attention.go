package console

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"dunlin/jobs"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/web/signin"
)

const attentionOnPage = 50

type attentionView struct {
	Flags    []ledger.OpenFlag
	NextFlag int64
	Lost     []ledger.LostMessage
	NextLost int64
	Gates    []paylink.Gate
	Batches  []paylink.Batch
	Nothing  bool
}

// attention is what a person must look at, with what to do about each.
func (c *Console) attention(w http.ResponseWriter, r *http.Request) error {
	ctx, q := r.Context(), r.URL.Query()
	var v attentionView
	var err error
	if v.Flags, err = c.Ledger.OpenFlags(ctx, int64(intOf(q.Get("flag"))), attentionOnPage+1); err != nil {
		return err
	}
	if len(v.Flags) > attentionOnPage {
		v.Flags = v.Flags[:attentionOnPage]
		v.NextFlag = v.Flags[attentionOnPage-1].ID
	}
	if v.Lost, err = c.Ledger.LostMessages(ctx, paylink.MessageID(intOf(q.Get("lost"))), attentionOnPage+1); err != nil {
		return err
	}
	if len(v.Lost) > attentionOnPage {
		v.Lost = v.Lost[:attentionOnPage]
		v.NextLost = int64(v.Lost[attentionOnPage-1].ID)
	}
	if v.Gates, err = c.Ledger.Gates(ctx); err != nil {
		return err
	}
	if v.Batches, err = c.Ledger.StandingBatches(ctx, attentionOnPage); err != nil {
		return err
	}
	v.Nothing = len(v.Flags)+len(v.Lost)+len(v.Gates)+len(v.Batches) == 0
	return c.render(w, r, http.StatusOK, "attention", "attention", "Needs attention", v)
}

func (c *Console) closeFlag(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("flag"), 10, 64)
	if err != nil {
		return say(http.StatusNotFound, "There is no such note.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	why, err := whyOf(r, true)
	if err != nil {
		return err
	}
	if err := c.Ledger.CloseFlag(r.Context(), id, actor(r), why); err != nil {
		return err
	}
	return to(w, "/console/attention", "closed")
}

// resumeProvider lets a provider be tried again by the command line's own code.
func (c *Console) resumeProvider(w http.ResponseWriter, r *http.Request) error {
	p := jobs.Provider(r.PathValue("provider"))
	if !slices.Contains(jobs.Providers, p) {
		return say(http.StatusNotFound, "There is no such provider.")
	}
	if _, err := jobs.ResumeProvider(r.Context(), c.Ledger, p, actor(r), "tried again from the console"); err != nil {
		return err
	}
	return to(w, "/console/attention", "provider")
}

type healthView struct {
	Ledger    bool
	Queue     bool
	Providers []providerView
	Settings  []Setting
	Version   string
	Go        string
	Now       time.Time
}

type providerView struct {
	Name   jobs.Provider
	Gate   paylink.Gate
	Open   bool
	Used   int64
	Limits []string
	Left   int64 // of today; -1 = no limit of the day
	Day    int64
	Depth  int
	Known  bool // the queue answered
}

// health is how the installation stands: providers, limits and what is left of today, the queue, the settings.
func (c *Console) health(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	v := healthView{Settings: c.Settings, Now: c.Ledger.Now(), Go: runtime.Version(), Queue: true}
	v.Ledger = c.Ledger.Ping(ctx) == nil
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Version += " " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	gates, err := c.Ledger.Gates(ctx)
	if err != nil {
		return err
	}
	for _, p := range jobs.Providers {
		pv := providerView{Name: p, Left: -1}
		for _, g := range gates {
			if g.Provider == string(p) {
				pv.Gate, pv.Open = g, true
			}
		}
		if pv.Used, err = c.Ledger.Used(ctx, string(p), c.Ledger.Now()); err != nil {
			return err
		}
		for _, l := range c.Limits[string(p)] {
			pv.Limits = append(pv.Limits, fmt.Sprintf("%s in %s", number(int64(l.N)), span(l.Per)))
			if l.Per == 24*time.Hour {
				pv.Day = int64(l.N)
				pv.Left = max(0, pv.Day-pv.Used)
			}
		}
		if c.Queue == nil {
			v.Queue = false
		} else if pv.Depth, err = c.Queue.Depth(ctx, p); err != nil {
			v.Queue = false
		} else {
			pv.Known = true
		}
		v.Providers = append(v.Providers, pv)
	}
	return c.render(w, r, http.StatusOK, "health", "health", "Health", v)
}

type usersView struct {
	Users []ledger.User
	Wrong string
	Min   int
}

func (c *Console) users(w http.ResponseWriter, r *http.Request) error {
	return c.showUsers(w, r, http.StatusOK, "")
}

func (c *Console) showUsers(w http.ResponseWriter, r *http.Request, status int, wrong string) error {
	list, err := c.Ledger.Users(r.Context())
	if err != nil {
		return err
	}
	return c.render(w, r, status, "users", "users", "Users", usersView{Users: list, Wrong: wrong, Min: signin.MinPassword})
}

func (c *Console) addUser(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	hash, err := signin.Hash(r.PostFormValue("password"))
	if err != nil {
		return c.showUsers(w, r, http.StatusUnprocessableEntity, "Not added: "+err.Error()+".")
	}
	if err := c.Ledger.AddUser(r.Context(), r.PostFormValue("name"), ledger.Role(r.PostFormValue("role")), hash, actor(r)); err != nil {
		return err
	}
	return to(w, "/console/users", "useradded")
}

func (c *Console) changeUser(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	name := r.PathValue("user")
	u, err := c.Ledger.User(r.Context(), name)
	if err != nil {
		return err
	}
	hash := ""
	if password := r.PostFormValue("password"); password != "" {
		if hash, err = signin.Hash(password); err != nil {
			return c.showUsers(w, r, http.StatusUnprocessableEntity, "Not changed: "+err.Error()+".")
		}
	}
	if err := c.Ledger.ChangeUser(r.Context(), u.Name, ledger.Role(r.PostFormValue("role")), hash, r.PostFormValue("disabled") != "", actor(r), "changed in the console"); err != nil {
		return err
	}
	return to(w, "/console/users", "user")
}
