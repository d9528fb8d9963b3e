package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
	"dunlin/report"
)

const batchesOnPage = 25

type batchesView struct {
	Lines []batchLine
	Older string // the batch before which the next page begins
	First bool
}

type batchLine struct {
	ledger.BatchLine
	Rows, Through int64
	Percent       int64
	PaidPercent   int64
}

func (c *Console) batches(w http.ResponseWriter, r *http.Request) error {
	var before paylink.BatchID
	if text := r.URL.Query().Get("before"); text != "" {
		var err error
		if before, err = paylink.ParseBatchID(text); err != nil {
			return say(http.StatusNotFound, "There is no such page.")
		}
	}
	lines, err := c.Ledger.BatchLines(r.Context(), before, batchesOnPage+1)
	if err != nil {
		return err
	}
	v := batchesView{First: before == 0}
	if len(lines) > batchesOnPage {
		lines = lines[:batchesOnPage]
		v.Older = lines[batchesOnPage-1].Batch.ID.String()
	}
	for _, l := range lines {
		n := l.Totals.Counts
		line := batchLine{BatchLine: l, Rows: n.Sum(), Through: n.Sum() - n.Pending - n.InFlight}
		line.Percent = percent(line.Through, line.Rows)
		line.PaidPercent = percent(paidOf(l.Totals), line.Rows-n.Rejected)
		v.Lines = append(v.Lines, line)
	}
	return c.render(w, r, http.StatusOK, "batches", "batches", "Batches", v)
}

func percent(n, of int64) int64 {
	if of <= 0 {
		return 0
	}
	return n * 100 / of
}

// paidOf counts the requests whose debt is settled.
func paidOf(t ledger.Totals) int64 {
	return t.Payments[paylink.PaymentPaid] + t.Payments[paylink.PaymentPaidOutside] + t.Payments[paylink.PaymentPartiallyRefunded] + t.Payments[paylink.PaymentRefunded]
}

// tillPart is one place of the till.
type tillPart struct {
	Name  string
	State paylink.DispatchState // "" for rejected rows
	N     int64
	X, W  float64 // in hundredths of the bar
	Tone  string
}

// step is one step of the funnel.
type step struct {
	Name, Note string
	N, Percent int64
}

// liveView is what moves while a batch is being sent.
type liveView struct {
	Batch     paylink.Batch
	Totals    ledger.Totals
	Rows      int64
	Till      []tillPart
	Funnel    []step
	Money     []moneyLine
	Moves     bool
	Rate      string
	Left      string
	Through   int64
	Percent   int64
	CanSee    bool // the reader may see what was rejected
	NotMended int64
}

type moneyLine struct {
	Asked, Collected paylink.Money
	Percent          int64
}

func (c *Console) liveOf(ctx context.Context, id paylink.BatchID) (v liveView, err error) {
	if v.Batch, err = c.Ledger.Batch(ctx, id); err != nil {
		return v, err
	}
	if v.Totals, err = c.Ledger.Totals(ctx, id); err != nil {
		return v, err
	}
	n := v.Totals.Counts
	v.Rows = n.Sum()
	v.Through = v.Rows - n.Pending - n.InFlight
	v.Percent = percent(v.Through, v.Rows)
	x := 0.0
	for _, p := range []tillPart{
		{Name: "sent", State: paylink.DispatchSent, N: n.Sent, Tone: "good"}, {Name: "being sent", State: paylink.DispatchInFlight, N: n.InFlight, Tone: "busy"},
		{Name: "waiting", State: paylink.DispatchPending, N: n.Pending, Tone: "calm"}, {Name: "not sent", State: paylink.DispatchFailed, N: n.Failed, Tone: "bad"},
		{Name: "unclear", State: paylink.DispatchUnknown, N: n.Unknown, Tone: "odd"}, {Name: "must not be written to", State: paylink.DispatchSuppressed, N: n.Suppressed, Tone: "warn"},
		{Name: "no longer owed", State: paylink.DispatchSkipped, N: n.Skipped, Tone: "soft"}, {Name: "called off", State: paylink.DispatchCanceled, N: n.Canceled, Tone: "soft"},
		{Name: "rejected", N: n.Rejected, Tone: "warn"},
	} {
		if p.N == 0 {
			continue
		}
		p.X, p.W = x, float64(p.N)*100/float64(v.Rows)
		x += p.W
		v.Till = append(v.Till, p)
	}
	for _, s := range []step{
		{"Rows in the file", "", v.Rows, 0}, {"Sent", "at least one message was taken", n.Sent, 0},
		{"Delivered", "as far as the providers tell; mail servers do not", v.Totals.Delivered, 0}, {"Went on to pay", "pressed the button on our page", v.Totals.Opened, 0},
		{"Paid", "", paidOf(v.Totals), 0},
	} {
		s.Percent = percent(s.N, v.Rows)
		v.Funnel = append(v.Funnel, s)
	}
	for _, asked := range v.Totals.Asked {
		line := moneyLine{Asked: asked, Collected: paylink.Money{Currency: asked.Currency}}
		for _, m := range v.Totals.Collected {
			if m.Currency == asked.Currency {
				line.Collected = m
			}
		}
		line.Percent = max(0, percent(line.Collected.Minor, asked.Minor))
		v.Money = append(v.Money, line)
	}
	v.Moves = v.Batch.State == paylink.BatchRunning || v.Batch.State == paylink.BatchImporting
	if v.Batch.State == paylink.BatchRunning && !v.Batch.ConfirmedAt.IsZero() {
		v.pace(float64(v.Through-n.Rejected), c.Ledger.Now().Sub(v.Batch.ConfirmedAt))
	}
	return v, nil
}

// pace says how fast it goes and how long it will take, from what was done in a while.
func (v *liveView) pace(done float64, in time.Duration) {
	if done <= 0 || in < time.Second {
		return
	}
	perSecond := done / in.Seconds()
	if perSecond >= 1 {
		v.Rate = fmt.Sprintf("%s a second", number(int64(perSecond+0.5)))
	} else {
		v.Rate = fmt.Sprintf("%s a minute", number(max(1, int64(perSecond*60+0.5))))
	}
	n := v.Totals.Counts
	v.Left = span(time.Duration(float64(n.Pending+n.InFlight)/perSecond*1e9) + time.Second)
}

type batchView struct {
	liveView
	Detail   ledger.Detail
	Plan     *intake.Plan
	Finish   string
	Failed   []causeLine
	Silenced []causeLine
	Events   []paylink.Event
	Channels map[paylink.MessageID]paylink.Channel
	Plot     *plot
	Next     string
	Wrong    string // why reading the file in failed
	Mine     bool   // the reader confirmed it
	Empty    bool   // no row is good
}

type causeLine struct {
	Cause paylink.Cause
	N     int64
}

func (c *Console) batchOf(r *http.Request) (paylink.BatchID, error) {
	id, err := paylink.ParseBatchID(r.PathValue("batch"))
	if err != nil {
		return 0, say(http.StatusNotFound, "There is no batch of this name.")
	}
	return id, nil
}

const eventsOnBatch = 100

func (c *Console) batch(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := batchView{}
	if v.liveView, err = c.liveOf(ctx, id); err != nil {
		return err
	}
	v.CanSee = may(r, ledger.RoleOperator)
	if v.Detail, err = c.Ledger.Detail(ctx, id); err != nil {
		return err
	}
	if v.Batch.State != paylink.BatchImporting {
		if p, err := intake.PlanOf(v.Batch); err == nil && p.Rows > 0 {
			if !v.CanSee {
				p.Rejections = nil
			}
			v.Plan, v.Finish, v.Empty = &p, intake.Span(p.Finish.Duration()), p.Good == 0
		}
	}
	if v.Failed, err = c.causes(ctx, id, paylink.DispatchFailed, v.Totals.Counts.Failed); err != nil {
		return err
	}
	if v.Silenced, err = c.causes(ctx, id, paylink.DispatchSuppressed, v.Totals.Counts.Suppressed); err != nil {
		return err
	}
	if v.Events, err = c.Ledger.BatchEvents(ctx, id, eventsOnBatch); err != nil {
		return err
	}
	v.Plot = plotOf(v.Totals)
	v.Wrong = c.jobs.why(id)
	v.Mine = v.Detail.ConfirmedBy == actor(r)
	return c.render(w, r, http.StatusOK, "batch", "batches", v.Batch.Name, v)
}

func (c *Console) causes(ctx context.Context, id paylink.BatchID, s paylink.DispatchState, n int64) ([]causeLine, error) {
	if n == 0 {
		return nil, nil
	}
	by, err := c.Ledger.CausesOf(ctx, id, s)
	if err != nil {
		return nil, err
	}
	out := make([]causeLine, 0, len(by))
	for _, k := range slices.Sorted(maps.Keys(by)) {
		out = append(out, causeLine{k, by[k]})
	}
	slices.SortStableFunc(out, func(a, b causeLine) int { return cmp.Compare(b.N, a.N) })
	return out, nil
}

// plot is money collected over days as a picture of 600 by 140.
type plot struct {
	Currency   string
	Line, Area string
	From, To   string
	Top        paylink.Money
}

// plotOf draws the currency in which most days brought something; nil when there is too little to see.
func plotOf(t ledger.Totals) *plot {
	days := map[string]int{}
	for _, d := range t.Days {
		days[d.Money.Currency]++
	}
	best := ""
	for _, k := range slices.Sorted(maps.Keys(days)) {
		if best == "" || days[k] > days[best] {
			best = k
		}
	}
	if days[best] < 2 {
		return nil
	}
	var sums []int64
	var at []time.Time
	var sum, top int64
	for _, d := range t.Days {
		if d.Money.Currency != best {
			continue
		}
		day, err := time.Parse(time.DateOnly, d.Day)
		if err != nil {
			continue
		}
		sum += d.Money.Minor
		top = max(top, sum)
		sums, at = append(sums, sum), append(at, day)
	}
	if len(at) < 2 || top <= 0 {
		return nil
	}
	whole := at[len(at)-1].Sub(at[0]).Hours()
	p := &plot{Currency: best, From: at[0].Format("2 Jan"), To: at[len(at)-1].Format("2 Jan 2006"), Top: paylink.Money{Minor: top, Currency: best}}
	var line bytes.Buffer
	for i, s := range sums {
		fmt.Fprintf(&line, "%.1f,%.1f ", at[i].Sub(at[0]).Hours()/whole*600, 136-float64(max(0, s))/float64(top)*130)
	}
	p.Line = line.String()
	p.Area = "0,140 " + p.Line + "600,140"
	return p
}

// The times of watching: between two looks, and how long one answer lasts before the browser asks anew.
const (
	liveEvery = time.Second
	liveFor   = 55 * time.Second
	paceOver  = 10 // looks over which the pace is taken
)

// live tells a browser what moves, as server-sent events, each a piece of the page.
func (c *Console) live(w http.ResponseWriter, r *http.Request) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	v, err := c.liveOf(r.Context(), id)
	if err != nil {
		return err
	}
	out := http.NewResponseController(w)
	headers(w.Header())
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	over := time.NewTimer(liveFor)
	defer over.Stop()
	var past []int64
	last, state := "", v.Batch.State
	for {
		v.CanSee = may(r, ledger.RoleOperator)
		past = append(past, v.Through)
		if len(past) > paceOver {
			past = past[1:]
			v.pace(float64(past[len(past)-1]-past[0]), time.Duration(len(past)-1)*liveEvery)
		}
		if v.Batch.State != state { // more of the page is another: it is read anew
			return send(w, out, "state", string(v.Batch.State))
		}
		var b bytes.Buffer
		if err := c.pages["batch"].ExecuteTemplate(&b, "live", v); err != nil {
			return fmt.Errorf("render live: %w", err)
		}
		if text := b.String(); text != last {
			last = text
			if err := send(w, out, "till", text); err != nil {
				return nil // nobody watches any more
			}
		}
		if !v.Moves {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-c.ended.Done():
			return nil
		case <-over.C:
			return nil
		case <-ticker.C:
		}
		if v, err = c.liveOf(r.Context(), id); err != nil {
			if r.Context().Err() == nil {
				c.Log.Error("progress not read", "batch", id.String(), "error", err)
			}
			return nil
		}
	}
}

func send(w http.ResponseWriter, out *http.ResponseController, event, text string) error {
	data, err := json.Marshal(text)
	if err != nil {
		return err
	}
	if err := out.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data); err != nil {
		return err
	}
	return out.Flush()
}

func (c *Console) export(w http.ResponseWriter, r *http.Request) error {
	return c.download(w, r, "", func(ctx context.Context, out *lasting, b paylink.Batch) error {
		return report.Export(ctx, out, c.Ledger, b.ID)
	})
}

func (c *Console) errorFile(w http.ResponseWriter, r *http.Request) error {
	return c.download(w, r, "-errors", func(ctx context.Context, out *lasting, b paylink.Batch) error {
		_, err := report.Errors(ctx, out, c.Ledger, b, r.URL.Query().Get("all") != "")
		return err
	})
}

// lasting gives each piece of a long answer a time of its own to be taken.
type lasting struct {
	http.ResponseWriter
	out *http.ResponseController
}

func (l *lasting) Write(b []byte) (int, error) {
	if err := l.out.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return l.ResponseWriter.Write(b)
}

func (c *Console) download(w http.ResponseWriter, r *http.Request, suffix string, write func(context.Context, *lasting, paylink.Batch) error) error {
	id, err := c.batchOf(r)
	if err != nil {
		return err
	}
	b, err := c.Ledger.Batch(r.Context(), id)
	if err != nil {
		return err
	}
	headers(w.Header())
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(id.String()+suffix+".csv"))
	if err := write(r.Context(), &lasting{w, http.NewResponseController(w)}, b); err != nil {
		if r.Context().Err() == nil {
			c.Log.Error("download broken off", "batch", id.String(), "error", err)
		}
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return nil
}
